"""How far one bank's own rows are from those of all banks, column by column: the population stability index (Siddiqi 2006), for this bank alone.

Nothing is asked for it. The quantiles' totals say how many rows of all banks lie under each edge of each last cell, and the bank counts its
own there; of categories there are totals of levels. Neighbouring cells (of categories the smallest) are joined until all banks have a cohort,
and a twentieth of the rows, in each, since over many small cells PSI measures mostly chance.
"""

from __future__ import annotations

from collections import Counter

import numpy as np
from numpy.typing import NDArray

from federation.models.horizontal.moments import named_levels
from federation.models.horizontal.quantiles import ALL_BITS, ordered_keys
from federation.models.horizontal.statistics import Measured, Statistics
from federation.models.woe import stability

Reals = NDArray[np.float64]

SHARE = 0.05
"""All banks have at least this share of the rows in each cell."""


def own_stability(program: Statistics, state: Measured) -> dict[str, float | None]:
    """PSI of each column, of rows; None where this bank has fewer rows than the cohort."""
    out: dict[str, float | None] = {}
    for name, column in program.columns.items():
        everybody, mine = number_cells(program, state, name) if column.kind == "numeric" else level_cells(program, state, name)
        few = mine.sum() < program.manifest.privacy.minimum_cohort
        out[name] = None if few else _stability(everybody, mine, program.manifest.privacy.minimum_cohort)
    return out


def number_cells(program: Statistics, state: Measured, name: str) -> tuple[Reals, Reals]:
    """Rows of all banks and of this one between the edges of the last cells of the quantiles, missing last, (k,) each."""
    assert state.moments is not None, "the sums are finished"
    under: dict[int, float] = {}
    for aim in state.quantiles.aims[name][1:-1]:
        under |= {aim.first: aim.below} | ({aim.last + 1: aim.below + aim.rows} if aim.last + 1 < 1 << ALL_BITS else {})
    edges = sorted(under)
    rows = state.quantiles.rows[name]
    # where a bank has left between two sums, what was counted later may be less than what was counted before
    reached = np.minimum(np.maximum.accumulate([0.0, *(under[edge] for edge in edges)]), rows)
    missing = program.measure(state).number(state.moments, name).missing
    everybody = np.append(np.diff(reached, append=rows), float(missing))
    values = np.asarray(program.columns[name].values, np.float64)
    there = ordered_keys(values[~np.isnan(values)])
    place = np.searchsorted(np.array(edges, np.uint64), there, side="right")
    mine = np.append(np.bincount(place, minlength=len(edges) + 1), len(values) - len(there))
    return everybody, mine.astype(np.float64)


def level_cells(program: Statistics, state: Measured, name: str) -> tuple[Reals, Reals]:
    """Rows of all banks and of this one of each level, of all others and of missing, those of all banks ascending, (k,) each."""
    assert state.moments is not None, "the sums are finished"
    everybody = np.array(state.moments.levels[name][0], np.float64)
    counts = Counter(program.columns[name].values)
    missing = counts.pop(None, 0)
    known = [counts.pop(level, 0) for level in named_levels(program.levels[name])]
    mine = np.array([*known, sum(counts.values()), missing], np.float64)
    order = np.argsort(everybody, kind="stable")
    return everybody[order], mine[order]


def _stability(everybody: Reals, mine: Reals, minimum_cohort: int) -> float:
    """Over groups of neighbours; what is left over at the end joins the last group."""
    least = max(float(minimum_cohort), SHARE * float(everybody.sum()))
    group, number, inside = np.zeros(len(everybody), np.int64), 0, 0.0
    for place, rows in enumerate(everybody.tolist()):
        group[place], inside = number, inside + rows
        if inside >= least:
            number, inside = number + 1, 0.0
    group = np.minimum(group, max(0, number - 1))
    return stability(np.bincount(group, everybody), np.bincount(group, mine))
