"""A bank's records (account flows, balances, loans, repayments, officers' visits) to its features.

Read flows (what comes in and goes out), balances (with credit lines), loans (with repayments: ageing and arrears), visits (the last visit form)
and features, which joins them.
"""
