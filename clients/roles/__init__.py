"""Role adapters: an institution's raw records to the dictionary's features, one row for each firm and month that features are as of.

Records come in batches of canonical columns (`privacy/dictionary/records.toml`); each role's `features.build` reduces them to monthly numbers
by firm and counterparty, and makes features of these. A feature as of a month uses records dated before its first day, and nothing else.

Read canonical (what a batch is), totals (batches to exact sums), series (what a row of months says) and concentration, which all roles share;
fields (columns of a batch), monthly (months of a block of firms), course, partners (counterparties in a window) and assembly (the feature
table), which platform and bank share; then a role's folder, in the order that it tells.
"""
