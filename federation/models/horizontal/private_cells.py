"""Rows of a number over cells of the line of all doubles, from counts with noise: three divisions, whatever the rows are.

A row is in one cell of each division. Cells with fewer rows than 5.5 standard deviations of their noise count as empty: of 4,096 empty ones
none is taken for one with rows, but for one column in ten thousand. Only cells with many rows are divided further.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from federation.models.horizontal.common_bins import PARTS
from federation.models.horizontal.number_line import ALL_BITS, Cell

Reals = NDArray[np.float64]
Cells = dict[str, tuple[Cell, ...]]

DIVISIONS = ("cells of 12 bits", "cells of 18 bits", "cells of 24 bits")
DROWNED = 4.0
"""Standard deviations of its noise below which a count of rows says nothing."""
EMPTY = 5.5
"""The same where the count is one of thousands, most of which are zero."""


def rows_of_parts(keys: NDArray[np.uint64], cell: Cell) -> Reals:
    """Rows of each part of a cell, (2^more,). keys: of all values, ascending."""
    width = 1 << (ALL_BITS - cell.bits - cell.more)
    starts = np.array([cell.first + part * width for part in range(1 << cell.more)], np.uint64)
    last = np.searchsorted(keys, np.array([cell.last], np.uint64), side="right")
    return np.diff(np.append(np.searchsorted(keys, starts), last)).astype(np.float64)


def divide(cells: Mapping[str, tuple[Cell, ...]], wide: Cells, total: Reals, spread: float, minimum: int) -> tuple[Cells, Cells]:
    """All cells after a division of the wide ones, and those to be divided next. total: rows of the parts, column by column, cell by cell."""
    rows, place = np.where(total < EMPTY * spread, 0.0, total), 0
    out, left = dict(cells), {}
    for name, open_ in wide.items():
        found = [cell for cell in cells.get(name, ()) if cell not in open_]
        for cell in open_:
            size = 1 << cell.more
            found += _parts(cell, rows[place : place + size])
            place += size
        out[name] = tuple(sorted(found, key=lambda cell: cell.first))
        most = max(sum(cell.rows for cell in found) / PARTS, minimum, 2 * EMPTY * spread)
        finer = tuple(cell for cell in out[name] if cell.rows > most and cell.bits < ALL_BITS)
        if finer:
            left[name] = finer
    return out, left


def _parts(cell: Cell, rows: Reals) -> list[Cell]:
    """The parts of a cell that have rows, or the cell itself where none is seen to have."""
    width = 1 << (ALL_BITS - cell.bits - cell.more)
    found = [Cell(cell.first + part * width, cell.bits + cell.more, count) for part, count in enumerate(rows.tolist()) if count > 0]
    return found or ([cell] if cell.rows > 0 else [])
