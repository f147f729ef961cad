"""Binning over many banks: common bins and weights of evidence, then how stable each column is, over time and from bank to bank.

    1. bins     cut points, merging below the cohort, goods and bads -> one encoding for all banks, tables, information value (`common_bins`)
    2. splits   rows and weight of each bin in training, test and out of time -> population stability (Siddiqi 2006, chapter 6)

PSI compares shares of weight over the merged bins, missing and special values among them: test and out-of-time rows with training rows of all
banks, and this bank's own training rows with those of all, which it works out by itself from the total. A side with fewer rows than the
minimum cohort has no PSI. Counts of a bin outside training are opened by the banks and not released.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from federation.kernel.manifest import Manifest
from federation.kernel.state import State
from federation.models.bins import Bins
from federation.models.encoding import Encoding, Woe
from federation.models.horizontal.common_bins import CommonBins, FindBins
from federation.models.horizontal.design_moments import training_weight
from federation.models.sample import SPLITS, Sample
from federation.models.table import Table
from federation.models.woe import WoeTable, stability

Reals = NDArray[np.float64]
ROWS, WEIGHT = 0, 1


class BinCounts(State, frozen=True):
    """bins: the state of finding them; splits: of each column (splits, 2, bins) rows and weight over all banks; banks: in each sum."""

    bins: CommonBins
    splits: dict[str, Reals] | None = None
    banks: tuple[int, ...] = ()

    @property
    def done(self) -> bool:
        """Whether all sums were taken."""
        return self.splits is not None

    @property
    def encoding(self) -> Encoding | None:
        """Weights of evidence, the same at all banks."""
        return self.bins.encoding

    @property
    def tables(self) -> tuple[WoeTable, ...]:
        """One for each column, in the encoding's order."""
        return self.bins.tables

    @property
    def sums(self) -> int:
        """How many were taken."""
        return len(self.banks)


class Stability(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A PSI; None with a reason where one of the two sides has too few rows."""

    value: float | None
    reason: str = ""


@dataclass
class CountBins:
    """The plan of one bank. levels: of each categorical column, common to all banks; given: bins edited by hand, the same at all banks."""

    table: Table
    sample: Sample
    levels: Mapping[str, tuple[str, ...]]
    manifest: Manifest
    given: Mapping[str, Bins] = field(default_factory=dict)
    kind: type[BinCounts] = field(default=BinCounts, init=False)

    def __post_init__(self) -> None:
        weight = training_weight(self.table, self.sample)
        self.find = FindBins(self.table, self.sample, weight, self.levels, self.manifest, self.given)
        self.weight = self.table.weights

    def begin(self) -> BinCounts:
        """Before the first sum."""
        return BinCounts(self.find.begin())

    def ask(self, state: BinCounts) -> Reals | None:
        """What finding the bins asks for, then rows and weight of each bin and split."""
        if not state.bins.done:
            return self.find.ask(state.bins)
        return None if state.done else np.concatenate([*(counts.ravel() for counts in self.own_splits(state).values()), [0.0]])

    def take(self, state: BinCounts, total: Reals, banks: int) -> BinCounts:
        """On with the bins, or the end."""
        state = msgspec.structs.replace(state, banks=(*state.banks, banks))
        if not state.bins.done:
            return msgspec.structs.replace(state, bins=self.find.take(state.bins, total, banks))
        return msgspec.structs.replace(state, splits=self.by_split(state, total))

    def by_split(self, state: BinCounts, total: Reals) -> dict[str, Reals]:
        """The total of all banks' `own_splits`, apart again: of each column (splits, 2, bins)."""
        splits, start = {}, 0
        for part in woe_parts(state):
            size = len(SPLITS) * 2 * part.bins.size
            splits[part.column] = total[start : start + size].reshape(len(SPLITS), 2, part.bins.size)
            start += size
        return splits

    def own_splits(self, state: BinCounts) -> dict[str, Reals]:
        """This bank's own rows and weight of each bin: of each column (splits, 2, bins)."""
        out = {}
        for part in woe_parts(state):
            codes = part.bins.codes(self.table.columns[part.column])
            counts = np.zeros((len(SPLITS), 2, part.bins.size))
            for place, split in enumerate(SPLITS):
                rows = getattr(self.sample, split)
                counts[place, ROWS] = np.bincount(codes[rows], minlength=part.bins.size)
                counts[place, WEIGHT] = np.bincount(codes[rows], self.weight[rows], part.bins.size)
            out[part.column] = counts
        return out

    def stability(self, state: BinCounts) -> dict[str, dict[str, Stability]]:
        """PSI of each column over all banks: "test" and "out_of_time" against training."""
        assert state.splits is not None, "the sums are finished"
        later = tuple(enumerate(SPLITS))[1:]
        return {name: {split: self._compared(of[0], of[place]) for place, split in later} for name, of in state.splits.items()}

    def own_stability(self, state: BinCounts) -> dict[str, Stability]:
        """PSI of each column: this bank's own training rows against those of all banks."""
        assert state.splits is not None, "the sums are finished"
        return {name: self._compared(state.splits[name][0], mine[0]) for name, mine in self.own_splits(state).items()}

    def _compared(self, expected: Reals, actual: Reals) -> Stability:
        """expected, actual: (2, bins) rows and weight."""
        settings, minimum = self.manifest.binning, self.manifest.privacy.minimum_cohort
        if min(expected[ROWS].sum(), actual[ROWS].sum()) < minimum:
            return Stability(None, "no rows" if not actual[ROWS].any() else f"fewer than {minimum} rows")
        if not (expected[WEIGHT].any() and actual[WEIGHT].any()):
            return Stability(None, "no rows of weight")
        return Stability(stability(expected[WEIGHT], actual[WEIGHT], settings.woe_smoothing))


def woe_parts(state: BinCounts) -> list[Woe]:
    """The bins and weights of evidence of each column."""
    assert state.encoding is not None, "bins were found"
    return [part for part in state.encoding.columns if isinstance(part, Woe)]


def document(program: CountBins, state: BinCounts) -> dict[str, Any]:
    """As JSON values: all banks' tables, information value and stability, and under `own` this bank's stability against all."""
    own = {name: msgspec.to_builtins(found) for name, found in program.own_stability(state).items()}
    return common(program, state) | {"own": {"stability": own}}


def common(program: CountBins, state: BinCounts) -> dict[str, Any]:
    """What all banks have alike."""
    assert state.encoding is not None, "bins were found"
    return {
        "rows": sum(row.rows for row in state.tables[0].rows) if state.tables else 0,
        "minimum_cohort": program.manifest.privacy.minimum_cohort, "banks": list(state.banks), "sums": state.sums,
        "encoding": msgspec.to_builtins(state.encoding), "tables": [table.document() for table in state.tables],
        "iv": {table.column: table.iv for table in state.tables},
        "stability": {name: msgspec.to_builtins(found) for name, found in program.stability(state).items()},
    }  # fmt: skip


def share_lines(program: CountBins, state: BinCounts) -> list[str]:
    """What all banks have alike, as lines with numbers to ten digits: the hash of the result is over these."""
    lines = []
    for part in woe_parts(state):
        lines += [f"{part.column} {label} {value:.9e}" for label, value in zip(part.bins.labels, part.values, strict=True)]
    for name, found in program.stability(state).items():
        lines += [f"{name} {split} {psi.value if psi.value is None else format(psi.value, '.9e')}" for split, psi in found.items()]
    return lines
