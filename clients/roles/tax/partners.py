"""Customers and suppliers: how many, how many new, and how far the firm leans on few of them.

A partner counts in a window with its net amount of valid invoices there, and only where that is above zero: who took everything back is no
customer. Concentration is the Herfindahl-Hirschman index, the sum of squared shares: 1 for a single partner, 1/n for n equal ones.
"""

from __future__ import annotations

import numpy as np

from clients.roles.concentration import concentration
from clients.roles.series import Floats, Ints, ratio
from clients.roles.tax.view import AsOf, Ledger

WHO = {"sales": "customer", "purchases": "supplier"}


def partners(side: str, view: AsOf, ledger: Ledger) -> dict[str, Floats]:
    """side: "sales" (customers) or "purchases" (suppliers)."""
    who, found = WHO[side], dict[str, Floats]()
    for length in (3, 6, 12):
        firm, amount, first = _window(view, ledger, length)
        firms = len(ledger.first)
        number = np.bincount(firm, minlength=firms)
        new = np.bincount(firm[first >= view.month - length], minlength=firms)
        leaning = concentration(firm, amount, firms)
        found |= {
            f"{who}s_{length}m": view.known(length, number),
            f"{who}s_new_{length}m": view.known(2 * length, new),
            f"{who}_hhi_{length}m": view.known(length, leaning.squares),
            f"{who}_top_share_{length}m": view.known(length, ratio(leaning.top, leaning.whole)),
            f"{who}_top3_share_{length}m": view.known(length, ratio(leaning.top3, leaning.whole)),
        }
    found[f"{who}s_new_share_12m"] = view.known(24, ratio(new, number))
    return found


def _window(view: AsOf, ledger: Ledger, length: int) -> tuple[Ints, Ints, Ints]:
    """firm, net amount and first month of each pair that counts in the window, (k,) each."""
    cells = ledger.partners
    within = np.flatnonzero((cells.month >= view.month - length) & (cells.month < view.month))
    begins = np.flatnonzero(np.diff(cells.pair[within], prepend=-1))
    amount = np.add.reduceat(cells.amount[within], begins) if len(within) else np.zeros(0, np.int64)
    firm, first = cells.firm[within[begins]], cells.first[within[begins]]
    counts = amount > 0
    return firm[counts], amount[counts], first[counts]
