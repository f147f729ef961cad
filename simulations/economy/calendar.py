"""Months of an economy as days since 1970."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Month:
    """number: from the first month of the economy, 0; first: its first day; days: how many; code: its year and month as yymm."""

    number: int
    first: int
    days: int
    code: int

    @property
    def last(self) -> int:
        """Its last day."""
        return self.first + self.days - 1


def month(start: str, number: int) -> Month:
    """A month by its number from the first. start: the first month, as 2023-01."""
    which = np.datetime64(start, "M") + number
    first, after = (int(value.astype("datetime64[D]").astype(np.int64)) for value in (which, which + 1))
    year, ordinal = divmod(int(which.astype(np.int64)), 12)
    return Month(number, first, after - first, (1970 + year) % 100 * 100 + ordinal + 1)
