"""What is known of a group of firms as of a month: everything dated before its first day, and nothing else.

`Ledger` holds all months of one side (sales or purchases); `AsOf` is the only way to them. A window is the so many whole months before the
month. A month without invoices is zero where the firm was there before the window began; where its history is shorter than the window, what
is made of the window is missing (`AsOf.known`).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from clients.roles.tax.invoices import MEASURES
from clients.roles.tax.series import Floats, Ints

NEVER = np.iinfo(np.int64).max // 4
"""The month of what did not happen."""


@dataclass(frozen=True)
class Partners:
    """Valid invoices by firm, partner and month, sorted so. pair: numbers firm and partner; first: the pair's first month. All (n,)."""

    firm: Ints
    pair: Ints
    month: Ints
    amount: Ints
    first: Ints


class Ledger:
    """One side's months of some firms, numbered 0 to firms - 1. cells, partners: as of `Reduced`, with these numbers."""

    def __init__(self, cells: pd.DataFrame, partners: pd.DataFrame, firms: int, start: int, end: int) -> None:
        """start, end: the months that a window may reach, from start to before end."""
        self._firms, self._start = firms, start
        firm, month = (cells[name].to_numpy(np.int64) for name in ("firm", "month"))
        valid = cells["number"].to_numpy(np.int64) > 0
        self._valid_firm, self._valid_month = firm[valid], month[valid]
        self.first_record, self.first = _first(firm, month, firms), _first(firm[valid], month[valid], firms)
        within = (month >= start) & (month < end)
        self._panel: dict[str, Ints] = {}
        for name in MEASURES:
            self._panel[name] = np.zeros((firms, end - start), np.int64)
            self._panel[name][firm[within], month[within] - start] = cells[name].to_numpy(np.int64)[within]
        self.partners = _partners(partners)

    def months(self, measure: str, length: int, end: int) -> Ints:
        """The so many months before the month `end`, oldest first, (firms, length)."""
        place = end - self._start
        return self._panel[measure][:, place - length : place]

    def last(self, end: int) -> Ints:
        """The last month before `end` with a valid invoice, -NEVER where there is none."""
        before = self._valid_month < end
        found = np.full(self._firms, -NEVER, np.int64)
        np.maximum.at(found, self._valid_firm[before], self._valid_month[before])
        return found


def _first(firm: Ints, month: Ints, firms: int) -> Ints:
    found = np.full(firms, NEVER, np.int64)
    np.minimum.at(found, firm, month)
    return found


def _partners(cells: pd.DataFrame) -> Partners:
    firm, partner, month, amount = (cells[name].to_numpy(np.int64) for name in ("firm", "partner", "month", "amount"))
    begins = np.ones(len(firm), bool)
    begins[1:] = (firm[1:] != firm[:-1]) | (partner[1:] != partner[:-1])
    pair = np.cumsum(begins) - 1
    return Partners(firm, pair, month, amount, month[begins][pair])


@dataclass(frozen=True)
class AsOf:
    """Some firms as of a month (a number of months since 1970). A side that the institution has no records of is None."""

    month: int
    sales: Ledger | None
    purchases: Ledger | None

    @cached_property
    def history(self) -> Ints:
        """Months from the first valid invoice of either side to the month before this one, (firms,); 0 where there is none."""
        firsts = [ledger.first for ledger in (self.sales, self.purchases) if ledger is not None]
        months: Ints = np.maximum(self.month - np.minimum.reduce(firsts), 0)
        return months

    def known(self, length: int, values: Floats | Ints) -> Floats:
        """The values, missing where the history is shorter than the window."""
        return np.where(self.history >= length, values, np.nan)

    def months(self, ledger: Ledger, measure: str, length: int, ago: int = 0) -> Ints:
        """A window of so many months that ended so many months ago, oldest first, (firms, length)."""
        return ledger.months(measure, length, self.month - ago)

    def sum(self, ledger: Ledger, measure: str, length: int, ago: int = 0) -> Ints:
        """The window's sum, (firms,)."""
        added: Ints = self.months(ledger, measure, length, ago).sum(axis=1)
        return added
