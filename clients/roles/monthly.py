"""Monthly numbers of a block of firms, dense in months: what windows are cut from.

A month is a whole number, months since 1970-01. A window is the so many whole months before the month that features are as of, so that nothing
dated in that month or later can reach a feature. A window is known where the firm's first record is in its first month or earlier.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import pandas as pd

from clients.roles.series import Flags, Floats, Ints, ratio

LONGEST: Final = 24
"""Months that a window may look back."""
NEVER: Final = np.iinfo(np.int64).max // 4
"""The month of what did not happen."""


@dataclass(frozen=True)
class Block:
    """Firms low up to high - 1, in the order of their ids; first, last: of the months that features are as of."""

    low: int
    high: int
    first: int
    last: int

    @property
    def firms(self) -> int:
        """How many."""
        return self.high - self.low

    def rows(self, table: pd.DataFrame) -> pd.DataFrame:
        """Its firms' rows. table: sorted by firm."""
        start, end = np.searchsorted(table["firm"].to_numpy(), [self.low, self.high])
        return table.iloc[start:end]


class Monthly:
    """table: one row for each firm and month, sorted so, int64."""

    def __init__(self, table: pd.DataFrame, block: Block) -> None:
        self._rows, self._firms = block.rows(table), block.firms
        self._start, self._months = block.first - LONGEST, block.last - block.first + LONGEST
        self._firm, self._month = self._rows["firm"].to_numpy() - block.low, self._rows["month"].to_numpy()
        inside = (self._month >= self._start) & (self._month < block.last)
        self._inside, self._cells = inside, (self._firm[inside], self._month[inside] - self._start)
        self._present = np.zeros((self._firms, self._months), np.bool_)
        self._present[self._cells] = True
        self._panel: dict[str, Ints] = {}
        self.since = np.full(self._firms, NEVER)
        """(firms,) the month of the first record."""
        np.minimum.at(self.since, self._firm, self._month)

    def months(self, column: str, month: int, width: int, ago: int = 0) -> Ints:
        """(firms, width) the window that ended so many months ago, oldest month first; 0 in a month without a record."""
        if column not in self._panel:
            self._panel[column] = np.zeros((self._firms, self._months), np.int64)
            self._panel[column][self._cells] = self._rows[column].to_numpy()[self._inside]
        end = month - ago - self._start
        return self._panel[column][:, end - width : end]

    def sum(self, column: str, month: int, width: int, ago: int = 0) -> Ints:
        """(firms,) the window's sum."""
        return np.asarray(self.months(column, month, width, ago).sum(axis=1))

    def present(self, month: int, width: int) -> Flags:
        """(firms, width) whether there is a record in the month."""
        end = month - self._start
        return self._present[:, end - width : end]

    def levels(self, part: str, whole: str, month: int, width: int) -> Floats:
        """(firms, width) part / whole of each month, missing where whole is not above zero."""
        return ratio(self.months(part, month, width), self.months(whole, month, width))

    def known(self, month: int, width: int, values: Floats | Ints) -> Floats:
        """The values, missing where the firm's history is shorter than the window."""
        return np.where(self.since <= month - width, values, np.nan)

    def history(self, month: int) -> Floats:
        """(firms,) months from the first record's to the month; missing where there was none."""
        return np.where(self.since < month, month - np.minimum(self.since, month), np.nan)

    def last(self, column: str, month: int) -> Floats:
        """(firms,) the column in the last row before the month, however long ago; missing where there is none."""
        found = np.full(self._firms, np.nan)
        before = self._month < month
        found[self._firm[before]] = self._rows[column].to_numpy()[before]  # rows ascend by month: the last one stands
        return found

    def days_since(self, month: int) -> Floats:
        """(firms,) days from the last record's day, column `day`, to the first day of the month."""
        first = np.datetime64(month, "M").astype("datetime64[D]").astype(np.int64)
        return np.asarray(first - self.last("day", month))
