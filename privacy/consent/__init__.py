"""Whose records may be used, for what, and who may learn of it: consents as data, and the decision. Pure; the ledger is in `privacy.store`.

Read in this order: `days` (moments, and the calendar day that a consent means), `subject` (a firm, or its owner, as a keyed hash), `grant` (what
was consented to, and what ends it), `decide` (which subjects a run may use), `withdrawals` (who is gone since a run began), `row` (a line of an
import), `rights` (what a person may ask: explain, PIPL art. 24; erase, art. 47).
"""
