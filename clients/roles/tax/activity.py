"""In which months a firm was at work at all: months active, gaps, dormant periods, the last invoice, the length of its history."""

from __future__ import annotations

import numpy as np

from clients.roles.tax.series import Flags, Floats, longest, runs
from clients.roles.tax.view import NEVER, AsOf, Ledger


def activity(side: str, view: AsOf, ledger: Ledger) -> dict[str, Floats]:
    """side: "sales" or "purchases", with which the names begin. A month is active with at least one valid invoice."""
    active = view.months(ledger, "number", 12) > 0
    last = ledger.last(view.month)
    found = {f"{side}_active_months_{length}m": view.known(length, active[:, -length:].sum(axis=1)) for length in (3, 6, 12)}
    found[f"{side}_longest_gap_12m"] = view.known(12, longest(~active))
    found[f"{side}_months_since_last"] = np.where(last > -NEVER, view.month - 1.0 - last, np.nan)
    return found


def presence(view: AsOf) -> dict[str, Floats]:
    """Both sides together: a month is dormant where the firm neither sold nor bought."""

    def dormant(length: int) -> Flags:
        sides = [ledger for ledger in (view.sales, view.purchases) if ledger is not None]
        return np.asarray(~np.logical_or.reduce([view.months(ledger, "number", length) > 0 for ledger in sides]))

    return {
        "invoice_history_months": np.where(view.history > 0, view.history, np.nan),
        "dormant_months_12m": view.known(12, dormant(12).sum(axis=1)),
        "dormant_periods_24m": view.known(24, runs(dormant(24), 2)),
    }
