"""The privacy budget: what runs may cost the firms in a dataset, what they have cost, and what is left.

Read `loss` (what a mechanism costs, as data), `account` (many losses as one epsilon at a delta), `limits` (what may be spent, losses and plain
counts alike), `ledger` (reserve, spend, settle). The file on disk is `privacy.store.budget_file`.
"""
