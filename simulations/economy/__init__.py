"""An economy that writes raw records, as institutions have them: the kinds of record of privacy/dictionary/records.toml, one folder each.

Read in this order: `settings` (what may be asked for), `calibration` (published facts, and what was chosen), `randomness` (one stream for
each purpose), `firms` (who there is), `coverage` (who banks, sells and pays tax where), `rings` (fraud, with labels), `traits` (what changes
by month, and the cash formula, the cause of every default), `trade` (who sells to whom), `invoices`, `ring_trade`, `declarations`, `shops`
(platforms), `hazard` (from the formula to default), `applications`, `credit` (loans and repayment), `accounts` (flows and balances),
`visits`, `sources` with `other_sources` (courts and others), `truth` (what nobody sees), `tables` (canonical columns to Parquet) and
`generate` (the months, one after another).

simulations/world.py is the small world: it draws feature tables at once, for tests of models. This one is for adapters, targets, checks
across institutions and monitoring. docs/economy.md says what is drawn, by which formulas, and what is calibrated.
"""
