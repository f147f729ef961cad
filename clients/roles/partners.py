"""Counterparties in a window: how many, how many new, how many come again, and how far the firm leans on few of them.

Concentration is of those whose sum is above zero: the Herfindahl-Hirschman index, the sum of squared shares (1 for a single one, 1/n for n
equal ones), and the share of the largest.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from clients.roles.monthly import Block
from clients.roles.series import Floats, Ints, ratio


@dataclass(frozen=True)
class Spread:
    """(firms,) each. number: of counterparties; new: of them, those never seen before the window; again: of them, those with two records or
    more; hhi, top: missing where no sum is above zero.
    """

    number: Ints
    new: Ints
    again: Ints
    hhi: Floats
    top: Floats


class Partners:
    """table: one row for each firm, partner and month, sorted so, with amount and number of records; a missing partner (-1) is nobody."""

    def __init__(self, table: pd.DataFrame, block: Block) -> None:
        rows = block.rows(table)
        rows = rows[rows["partner"] >= 0]
        self._firms = block.firms
        firm, partner, self._month, self._amount, self._number = (
            rows[name].to_numpy(np.int64) for name in ("firm", "partner", "month", "amount", "number")
        )
        self._firm = firm - block.low
        begins = np.ones(len(rows), np.bool_)
        begins[1:] = (np.diff(firm) != 0) | (np.diff(partner) != 0)
        self._pair = np.cumsum(begins) - 1
        self._first = self._month[begins][self._pair]

    def spread(self, month: int, width: int) -> Spread:
        """Of the so many months before the month."""
        within = np.flatnonzero((self._month >= month - width) & (self._month < month))
        begins = np.flatnonzero(np.diff(self._pair[within], prepend=-1))
        amount, number = (
            np.add.reduceat(column[within], begins) if len(within) else np.zeros(0, np.int64) for column in (self._amount, self._number)
        )
        firm, first = self._firm[within[begins]], self._first[within[begins]]
        hhi, top = concentration(firm, amount, self._firms)
        return Spread(
            np.bincount(firm, minlength=self._firms),
            np.bincount(firm[first >= month - width], minlength=self._firms),
            np.bincount(firm[number >= 2], minlength=self._firms),
            hhi,
            top,
        )


def concentration(firm: Ints, amount: Ints, firms: int) -> tuple[Floats, Floats]:
    """HHI and largest share, (firms,) each, of pairs: (k,) firm and amount.

    Shares are added from the largest down, so that the numbering of partners does not matter to the last bit.
    """
    order = np.lexsort((-amount, firm))
    order = order[amount[order] > 0]
    firm, amount = firm[order], amount[order]
    whole, top = np.zeros(firms, np.int64), np.zeros(firms, np.int64)
    np.add.at(whole, firm, amount)
    np.maximum.at(top, firm, amount)
    squares = np.bincount(firm, (amount / whole[firm]) ** 2, firms)
    return np.where(whole > 0, squares, np.nan), ratio(top, whole)
