"""The audit log: what a node did, on whose approval, checked by an outsider with public keys alone. Pure; its files are in `privacy.store`.

Read in this order: `entry` (what is written, and what is not), `chain` (hash chain and Merkle tree, RFC 6962), `heads` (signed heads, and the
notice by which parties exchange them), `findings` (what can be wrong with a log, by name), `lines` (a walk over the lines of a log), `verify`
(a whole log), `compare` (the accounts of several parties agree), `account` (what a regulator gets).
"""
