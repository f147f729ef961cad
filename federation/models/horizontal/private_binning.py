"""Binning over many banks under a stated epsilon and delta: bins and weights of evidence with noise, then rows of each bin by split.

    `private_bins` (4 sums) -> rows of each bin in training, test and out of time, with noise: population stability

A row is in one bin of each column and in one split: an L2 norm of sqrt(columns).
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from federation.models.horizontal.bin_counts import ROWS, WEIGHT, BinCounts, CountBins, woe_parts
from federation.models.horizontal.noise import Noise, Release, Schedule
from federation.models.horizontal.private_bins import NAMES, FindPrivateBins
from federation.models.sample import SPLITS

Reals = NDArray[np.float64]

_BINS = (0.15, 0.1, 0.05, 0.5)
_SPLITS = 0.2
SCHEDULE: Schedule = (*zip(NAMES, _BINS, strict=True), ("rows by split", _SPLITS))


@dataclass
class CountPrivateBins(CountBins):
    """The plan of one bank. noise: the run's."""

    noise: Noise | None = None
    schedule: Schedule = field(default=SCHEDULE, init=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        find = self.find
        self.private = FindPrivateBins(self.table, self.sample, find.weight, {}, self.manifest, self.given, self.noise, _BINS)
        self.find = self.private

    def release(self, state: BinCounts) -> Release:
        """Of the present sum."""
        assert self.noise is not None, "a run with noise"
        return self.private.release(state.bins) if not state.bins.done else self.noise.counts(_SPLITS, max(1, len(woe_parts(state))))

    def ask(self, state: BinCounts) -> Reals | None:
        """What finding the bins asks for, then rows of each bin and split."""
        if not state.bins.done:
            return self.find.ask(state.bins)
        return None if state.done else np.concatenate([*(counts[:, ROWS].ravel() for counts in self.own_splits(state).values()), [0.0]])

    def by_split(self, state: BinCounts, total: Reals) -> dict[str, Reals]:
        """As in binning without noise, from rows alone: no count below zero, weight is rows."""
        splits, start = {}, 0
        for part in woe_parts(state):
            size = len(SPLITS) * part.bins.size
            rows = np.maximum(total[start : start + size], 0.0).reshape(len(SPLITS), part.bins.size)
            counts = np.zeros((len(SPLITS), 2, part.bins.size))
            counts[:, ROWS], counts[:, WEIGHT] = rows, rows
            splits[part.column] = counts
            start += size
        return splits
