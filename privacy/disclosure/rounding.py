"""Published tables on a grid of multiples of a base (Hundepool et al. 2012, chapter 5).

    deterministic   each number to its nearest multiple; totals rounded by themselves do not add up any more
    controlled      cells and totals each to one of the two multiples next to them, exactly additive, and a multiple stays as it is

Controlled rounding of a two-way table always exists (Bacharach 1966; Cox 1987): cells and totals are a transportation problem with bounds of 0
and 1, whose vertices are whole. No randomness: the same table is always rounded alike, so that repeating a question averages nothing out.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linprog

from federation.kernel.errors import ConfigurationError, LocalError

Counts = NDArray[np.int64]


def to_base(counts: Counts, base: int) -> Counts:
    """Each number to its nearest multiple of the base, halves of an even base away from zero. Raises ConfigurationError for a base below 1."""
    _require(base)
    return np.asarray(np.sign(counts) * ((np.abs(counts) + base // 2) // base) * base, np.int64)


def controlled(table: Counts, base: int) -> Counts:
    """A table (r, c), or (k,), of multiples of the base whose cells, row, column and grand totals each differ from the true ones by less than
    the base; among those the one with the least sum of squared changes of cells.

    Raises ConfigurationError for a base below 1, LocalError for a table that is none.
    """
    _require(base)
    if table.ndim not in (1, 2):
        raise LocalError("controlled rounding", "it has neither one nor two ways", "Report this bug.")
    grid = table.reshape(1, -1) if table.ndim == 1 else table
    down, left = np.divmod(grid, base)
    places = np.argwhere(left > 0)
    if not len(places):
        return table.copy()
    column = np.arange(len(places))
    lines = np.zeros((sum(grid.shape) + 1, len(places)))
    lines[places[:, 0], column] = 1
    lines[grid.shape[0] + places[:, 1], column] = 1
    lines[-1] = 1
    rest = np.concatenate([left.sum(axis=1), left.sum(axis=0), [left.sum()]])
    floor, ceiling = rest // base, -(-rest // base)
    weights = left[places[:, 0], places[:, 1]]
    solved = linprog(
        base - 2.0 * weights,  # (base - left)^2 - left^2, divided by the base: the price of going up
        A_ub=np.concatenate([lines, -lines]), b_ub=np.concatenate([ceiling, -floor]), bounds=(0, 1), method="highs-ds",
    )  # fmt: skip
    assert solved.x is not None, "it always exists"
    up = np.zeros_like(grid)
    up[places[:, 0], places[:, 1]] = np.rint(solved.x).astype(np.int64)
    counted = np.concatenate([up.sum(axis=1), up.sum(axis=0), [up.sum()]])
    assert ((counted >= floor) & (counted <= ceiling)).all(), "a vertex of a transportation problem is whole"
    return ((down + up) * base).reshape(table.shape)


def _require(base: int) -> None:
    if base < 1:
        raise ConfigurationError("rounding", "a base below 1", "Use a whole number such as 3, 5 or 10.")
