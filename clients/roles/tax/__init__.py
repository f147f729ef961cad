"""What a tax bureau's records say of a firm: features by firm and as-of month.

Read features (the way from records to the table), then what records are reduced to: invoices with totals and once; then what is made of
them: view (what is known as of a month), series (growth, trend, volatility of a row of months), volume, quality, activity, balance, partners
and declared, one file for each kind of feature. What each feature means: privacy/dictionary/tax.toml. Why so: docs/adr/0035-tax-adapter.md.
"""
