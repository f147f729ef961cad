"""Bins and weights of evidence common to all banks, from counts with noise.

    1. - 3. cells   rows of each number over cells of the line of all doubles, 12 bits first, then 6 more where many rows lie -> cut points
    4. outcomes     goods and bads of each bin -> merged where noise would drown them, then as everywhere (`binned.finish`)

One row is in one cell of each column and in one bin of each column: an L2 norm of sqrt(columns). Cells with fewer rows than 5.5 standard
deviations of their noise count as empty (`private_cells`). The number of sums is the same whatever the rows are. A categorical column's
levels would be told as they are, so such columns take bins given by hand.

A good or bad count is never taken for less than one standard deviation of its noise: weights of evidence stay finite, and a bin that noise could
have made is weak.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import msgspec
import numpy as np
from numpy.typing import NDArray

from federation.kernel.errors import AbortCode, ConfigurationError, DataError, PolicyRefusal
from federation.models.bin_merging import Counts, merge_small
from federation.models.binned import finish
from federation.models.bins import Bins
from federation.models.horizontal.common_bins import CommonBins, FindBins
from federation.models.horizontal.noise import Noise, Release
from federation.models.horizontal.number_line import Cell
from federation.models.horizontal.private_cells import DIVISIONS, DROWNED, divide

Reals = NDArray[np.float64]

NAMES = (*DIVISIONS, "goods and bads")


@dataclass
class FindPrivateBins(FindBins):
    """The plan. noise: the run's; shares: of rho, for each of the four sums."""

    noise: Noise | None = None
    shares: tuple[float, ...] = ()

    def begin(self) -> CommonBins:
        """Whole number lines. Raises ConfigurationError for a categorical column without bins given by hand."""
        for name, column in self.searched.items():
            if column.kind == "categorical":
                action = "Give every bank the same bins of it ([[party]] bins), or leave the column out ([[party]] exclude)."
                raise ConfigurationError(f"column {name!r}", "is categorical, and levels are told without noise", action)
        whole: tuple[Cell, ...] = (Cell(0, 0),)
        return CommonBins(open=dict.fromkeys(self.searched, whole))

    def release(self, state: CommonBins) -> Release:
        """One row adds one to one number of each column."""
        assert self.noise is not None, "a run with noise"
        columns = len(self.table.columns) if state.bins is not None else len(self.searched)
        return self.noise.counts(self.shares[state.sums], max(1, columns))

    def ask(self, state: CommonBins) -> Reals | None:
        """Rows of the parts of open cells (first those of special values), then goods and bads of each bin; never an empty vector."""
        if state.done:
            return None
        if state.bins is not None:
            return np.concatenate([self._outcomes(name, bins)[:, 1:].ravel() for name, bins in state.bins.items()])
        parts = [self._extra(column) for column in self.searched.values()] if not state.sums else []
        parts += [self._parts(name, cell)[:-1] for name, cells in state.open.items() for cell in cells]
        return np.concatenate([*parts, [0.0]])

    def take(self, state: CommonBins, total: Reals, banks: int) -> CommonBins:
        """Cut finer three times, then choose cut points, then weights of evidence."""
        spread = self.release(state).spread(banks)
        number, state = state.sums, msgspec.structs.replace(state, sums=state.sums + 1)
        if state.bins is not None:
            return self._weighed_with_noise(state, state.bins, total, spread)
        place = 0
        if not number:
            extra = {}
            for name, column in self.searched.items():
                extra[name] = tuple(np.where(total < DROWNED * spread, 0.0, total)[place : place + self._extras(column)].tolist())
                place += len(extra[name])
            state = msgspec.structs.replace(state, extra=extra)
        cells, left = divide(state.cells, state.open, total[place:], spread, self.manifest.privacy.minimum_cohort)
        state = msgspec.structs.replace(state, cells=cells, open=left)
        return state if state.sums < len(DIVISIONS) else self._cut(state)

    def _weighed_with_noise(self, state: CommonBins, bins: Mapping[str, Bins], total: Reals, spread: float) -> CommonBins:
        whole: dict[str, Reals] = {}
        place = 0
        for name, found in bins.items():
            whole[name] = np.maximum(total[place : place + 2 * found.absent].reshape(-1, 2), 0.0)
            place += 2 * found.absent
        goods, bads = np.mean([counts.sum(axis=0) for counts in whole.values()], axis=0).tolist()
        minimum = max(self.manifest.privacy.minimum_cohort, math.ceil(DROWNED * math.sqrt(2) * spread))
        if goods + bads < minimum:
            what = f"fewer training rows over all banks than noise leaves visible (rule: {minimum})"
            raise PolicyRefusal("banks", what, "Raise epsilon, lower [run] holdout, or bring more rows.", AbortCode.COHORT)
        if min(goods, bads) <= DROWNED * spread:
            what = "the training rows have one class only, as far as noise lets see"
            raise DataError("banks", what, "Raise epsilon, or bring goods and bads.")
        exponent = 60 - math.frexp(2 * (goods + bads))[1]
        plan = {name: self._merged(found, whole[name], spread, minimum, exponent) for name, found in bins.items()}
        encoding, tables = finish(plan, self.manifest, exponent)
        return msgspec.structs.replace(state, encoding=encoding, tables=tables)

    def _merged(self, bins: Bins, counts: Reals, spread: float, minimum: int, exponent: int) -> tuple[Bins, Counts]:
        """Bins with rows, goods and bads on the grid; those that noise drowns are empty where they may be, or merged."""
        rows = counts.sum(axis=1)
        seen = rows >= DROWNED / 2 * math.sqrt(2) * spread
        out = np.zeros((bins.size, 3), np.int64)
        out[:-1, 0] = np.where(seen, np.rint(rows), 0).astype(np.int64)
        out[:-1, 1:] = np.rint(np.ldexp(np.where(seen[:, None], counts, 0.0), exponent)).astype(np.int64)
        bins, out = merge_small(bins, out, minimum)
        least = round(math.ldexp(spread, exponent))
        out[:, 1:] = np.where(out[:, :1] > 0, np.maximum(out[:, 1:], least), 0)
        return bins, out
