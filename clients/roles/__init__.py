"""Role adapters: an institution's raw records to the dictionary's features, one row for each firm and month that features are as of.

Records come in batches of canonical columns (`privacy/dictionary/records.toml`); each role's `features.build` reduces them to monthly numbers
by firm and counterparty, and makes features of these. A feature as of a month uses records dated before its first day, and nothing else.

Read totals (batches to exact sums), fields (columns of a batch), monthly (months of a block of firms), series (what a row of months
says), partners (counterparties in a window), assembly (the feature table); then a role's folder, in the order that it tells.
"""
