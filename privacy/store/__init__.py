"""The files and databases of `privacy`, apart from its logic: audit log, budget ledger, releases, consents, policy folders, approvals."""
