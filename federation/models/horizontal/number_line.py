"""Cells of the line of all doubles: how the rows of a number are counted finer and finer where they are many, and a cut point between cells.

A double's bits, made monotone, are an order-preserving integer (`quantiles.ordered_keys`). The first cells are its leading 12 bits (sign and
exponent), so no range has to be agreed and billions and millionths are cut alike; a cell is divided into 64 by the next 6 bits. Each division
also counts the rows at the cell's shortest number, which a value that many rows share mostly is after a division or two.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from federation.models.bins import shortest_between
from federation.models.horizontal.quantiles import ordered_keys, value_of

FIRST_BITS, MORE_BITS, ALL_BITS = 12, 6, 64
CLOSE = 100
"""No more than this part of the rows changes sides for a shorter cut point."""
_ZERO = 1 << 63
"""Zero's key."""


class Cell(msgspec.Struct, frozen=True):
    """All doubles whose monotone bits begin so. first: the smallest key; bits: how many are fixed; rows."""

    first: int
    bits: int
    rows: float = 0.0

    @property
    def last(self) -> int:
        """The largest key."""
        return self.first + (1 << (ALL_BITS - self.bits)) - 1

    @property
    def more(self) -> int:
        """By how many bits it is divided."""
        return min(MORE_BITS, ALL_BITS - self.bits) if self.bits else FIRST_BITS

    @property
    def shortest(self) -> int:
        """The key of its number with the fewest digits."""
        if self.first <= _ZERO <= self.last:
            return _ZERO
        low, high = value_of(self.first), value_of(self.last)
        if not (math.isfinite(low) and math.isfinite(high)):
            return self.first
        return min(max(self.first, int(ordered_keys(np.array([shortest_between(math.nextafter(low, -math.inf), high)]))[0])), self.last)


def edges(cells: Sequence[Cell], places: Sequence[int]) -> tuple[float, ...]:
    """Cut points before the cells at `places`: the shortest decimal near each border, 0.51 rather than 0.5078125.

    Near: no more than a hundredth of all rows, and no more than a quarter of the interval's, change sides.
    """
    below = np.cumsum([0.0, *(cell.rows for cell in cells)])
    found = []
    for before, place, after in zip([0, *places], places, [*places[1:], len(cells)]):  # noqa: B905  # the first list is longer by one
        left, right = (min(below[-1] / CLOSE, (below[stop] - below[start]) / 4) for start, stop in ((before, place), (place, after)))
        first, last = place, place
        while first - 1 > before and below[place] - below[first - 1] <= left:
            first -= 1
        while last + 1 < after and below[last + 1] - below[place] <= right:
            last += 1
        low = cells[place - 1].last if first == place else cells[first].first - 1
        found.append(shortest_between(value_of(low), value_of(cells[last].first)))
    return tuple(found)


def divided(cell: Cell, rows: NDArray[np.float64]) -> list[Cell]:
    """The parts of a cell that have rows, or its shortest number where all of them are there."""
    *parts, short = rows.tolist()
    if short == sum(parts) > 0:
        return [Cell(cell.shortest, ALL_BITS, short)]
    width = 1 << (ALL_BITS - cell.bits - cell.more)
    return [Cell(cell.first + part * width, cell.bits + cell.more, count) for part, count in enumerate(parts) if count]
