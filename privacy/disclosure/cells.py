"""Counts of few firms: merged with a neighbour, or withheld together with what would give them away (Hundepool et al. 2012, chapter 5).

A withheld count is the rest to a published total, so others must be withheld with it (complementary suppression). What a reader can then work
out is an interval: the least and the greatest value that the cell has in any table of non-negative numbers with the published cells and
totals. Here every withheld small cell must have an interval as wide as the minimum, which is checked exactly by linear programming.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linprog

from federation.kernel.errors import LocalError

Counts = NDArray[np.int64]
Mask = NDArray[np.bool_]


def small(counts: Counts, minimum: int) -> Mask:
    """Cells of some firms and fewer than the minimum. None is not few: an empty cell tells of nobody."""
    return (counts > 0) & (counts < minimum)


def merged(counts: Counts, minimum: int) -> tuple[tuple[int, ...], ...]:
    """Groups of neighbouring cells (k,), in order, that have no firm or at least the minimum: the smallest small group joins its smaller
    neighbour again and again. One group where all of them together are fewer than the minimum: it must not be released.
    """
    groups = [[place] for place in range(len(counts))]
    sizes = [int(count) for count in counts]
    while len(groups) > 1 and (few := [place for place, size in enumerate(sizes) if 0 < size < minimum]):
        at = min(few, key=lambda place: sizes[place])
        beside = [place for place in (at - 1, at + 1) if 0 <= place < len(groups)]
        into = min(beside, key=lambda place: (sizes[place] == 0, sizes[place]))  # an empty neighbour would hide nothing
        first, second = sorted((at, into))
        groups[first] += groups.pop(second)
        sizes[first] += sizes.pop(second)
    return tuple(tuple(group) for group in groups)


def withheld(counts: Counts, minimum: int) -> Mask:
    """Cells (r, c), or (k,), to withhold where every row's and column's total is published, so that no small cell can be worked out to an
    interval narrower than the minimum. The smallest cells are taken; not proven least, which is NP-hard. All of them where nothing less will do.

    Raises LocalError for counts that are none.
    """
    if counts.ndim not in (1, 2) or (counts < 0).any():
        raise LocalError("cells", "counts that are negative or no table", "Report this bug.")
    table = counts.reshape(1, -1) if counts.ndim == 1 else counts
    few = small(table, minimum)
    mask = few.copy()
    while not mask.all() and (open_ones := _too_narrow(table, few, mask, minimum)):
        for row, column in open_ones:
            _withhold_one_more(table, mask, row, column)
    return mask.reshape(counts.shape)


def interval(table: Counts, mask: Mask, row: int, column: int) -> tuple[float, float]:
    """What a reader of the published cells and of all totals of an (r, c) table knows of a withheld cell: its least and its greatest value."""
    places = np.argwhere(mask)
    lines = np.zeros((table.shape[0] + table.shape[1], len(places)))
    lines[places[:, 0], np.arange(len(places))] = 1
    lines[table.shape[0] + places[:, 1], np.arange(len(places))] = 1
    hidden = np.where(mask, table, 0)
    rest = np.concatenate([hidden.sum(axis=1), hidden.sum(axis=0)])
    if table.shape[0] == 1:
        lines, rest = lines[:1], rest[:1]  # a row of cells has one total, not one of each cell
    goal = ((places == (row, column)).all(axis=1)).astype(float)
    least, most = (linprog(sign * goal, A_eq=lines, b_eq=rest, bounds=(0, None), method="highs") for sign in (1, -1))
    assert least.fun is not None and most.fun is not None, "the table itself is a solution, and totals bound it"
    return float(least.fun), float(-most.fun)


def _too_narrow(table: Counts, few: Mask, mask: Mask, minimum: int) -> list[tuple[int, int]]:
    """Small cells whose interval is narrower than the minimum."""
    found = []
    for row, column in np.argwhere(few).tolist():
        low, high = interval(table, mask, row, column)
        if high - low < minimum - 1e-6:
            found.append((row, column))
    return found


def _withhold_one_more(table: Counts, mask: Mask, row: int, column: int) -> None:
    """In place: the smallest cell with firms that is still published in the cell's row and in its column, else in the table."""
    rows, columns = np.indices(table.shape)
    beside = [line & ~mask & (table > 0) for line in (rows == row, (columns == column) & (table.shape[0] > 1))]
    lines = [line for line in beside if line.any()] or [~mask]
    for line in lines:
        masked = np.where(line & ~mask, table, np.iinfo(np.int64).max)
        mask[np.unravel_index(int(masked.argmin()), table.shape)] = True
