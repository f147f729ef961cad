"""Checks across institutions: what one of them asks about its own applicants, counted over all others and never told apart by institution.

Read in this order: `fields` (several small numbers in one), `tally` (the counts at the asking institution's own positions), `settings` (what a
check counts), `program` (a run as a chain of stages). Who learns what: privacy/contracts/hidden_union.toml and the task's own contract.
"""
