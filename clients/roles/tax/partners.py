"""Customers and suppliers: how many, how many new, and how far the firm leans on few of them.

A partner counts in a window with its net amount of valid invoices there, and only where that is above zero: who took everything back is no
customer. Concentration is the Herfindahl-Hirschman index, the sum of squared shares: 1 for a single partner, 1/n for n equal ones.
"""

from __future__ import annotations

import numpy as np

from clients.roles.tax.series import Floats, Ints, ratio
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
        whole, top, top3, squares = _concentration(firm, amount, firms)
        found |= {
            f"{who}s_{length}m": view.known(length, number),
            f"{who}s_new_{length}m": view.known(2 * length, new),
            f"{who}_hhi_{length}m": view.known(length, squares),
            f"{who}_top_share_{length}m": view.known(length, ratio(top, whole)),
            f"{who}_top3_share_{length}m": view.known(length, ratio(top3, whole)),
        }
    found[f"{who}s_new_share_12m"] = view.known(24, ratio(new, number))
    return found


def _window(view: AsOf, ledger: Ledger, length: int) -> tuple[Ints, Ints, Ints]:
    """firm, net amount and first month of each pair that counts in the window, each firm's from the largest down."""
    cells = ledger.partners
    within = np.flatnonzero((cells.month >= view.month - length) & (cells.month < view.month))
    begins = np.flatnonzero(np.diff(cells.pair[within], prepend=-1))
    amount = np.add.reduceat(cells.amount[within], begins) if len(within) else np.zeros(0, np.int64)
    firm, first = cells.firm[within[begins]], cells.first[within[begins]]
    order = np.lexsort((-amount, firm))
    order = order[amount[order] > 0]
    return firm[order], amount[order], first[order]


def _concentration(firm: Ints, amount: Ints, firms: int) -> tuple[Ints, Ints, Ints, Floats]:
    """The whole, the largest, the three largest, and the sum of squared shares of each firm; zeros and missing where it has no partner.

    Shares are added from the largest down, so that the numbering of partners does not matter to the last bit.
    """
    begins = np.flatnonzero(np.diff(firm, prepend=-1))
    rank = np.arange(len(firm)) - np.repeat(begins, np.diff(np.append(begins, len(firm))))
    whole, top, top3 = (np.zeros(firms, np.int64) for _ in range(3))
    if len(firm):
        whole[firm[begins]] = np.add.reduceat(amount, begins)
        top3[firm[begins]] = np.add.reduceat(np.where(rank < 3, amount, 0), begins)
    top[firm[begins]] = amount[begins]
    squares = np.bincount(firm, (amount / np.where(whole > 0, whole, 1)[firm]) ** 2, firms)
    return whole, top, top3, np.where(whole > 0, squares, np.nan)
