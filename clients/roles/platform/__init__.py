"""A platform's records (orders, refunds, logistics events, stock, logins) to its features.

Read orders (what was ordered, and when), buyers, fulfilment (cancelled, refunded, delivered), stock, logins, and features, which joins them.
"""
