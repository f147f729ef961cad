"""Whose rows are the same firm, found without showing anyone a list of firms.

Read in this order: `uscc` (what an identifier is), `curve` (points and exponents), `universe` (visibilities, matching, positions), `chain`
(the protocol's roles, `align_member` and `align_coordinator`); then `probes`, `sketch` and `union`,
where not even the coordinator may know whose. Who learns what: privacy/contracts/align.toml.
"""
