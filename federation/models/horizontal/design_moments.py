"""One design for all banks: which levels a column has, then the training mean, spread and correlations of every design column.

    1. levels   rows and missing of each column, rows of each level     -> one encoding for all (not asked for when bins encode the columns)
    2. means    weight, weighted sum and sum of magnitudes of each design column; rows and bads
    3. products weighted products of deviations from those means, the label's too, upper triangle -> spread, correlations, VIF

Levels below the minimum cohort over all banks join "other"; "other" and missing below it say nothing (they are encoded as the mean). What is
constant over all banks is left out, with a note. Deviations are from the common mean, so no digits cancel, and in units of the mean
magnitude (a power of two), so that their products are neither too large for a sum nor lost below its grid.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import msgspec
import numpy as np
from numpy.typing import NDArray

from federation.kernel.errors import AbortCode, DataError, PolicyRefusal
from federation.kernel.state import State
from federation.models.bins import OTHER
from federation.models.encoding import ColumnEncoding, Encoding, Missing, Numeric, OneHot
from federation.models.sample import Sample
from federation.models.table import Column, Table

Reals = NDArray[np.float64]
Levels = Mapping[str, tuple[str, ...]]

CONSTANT = 1e-12
"""A spread below this share of the mean is rounding."""
GRID = 2.0**-58
"""So far a mean may be off by the grid of a sum."""


def training_weight(table: Table, sample: Sample) -> Reals:
    """The weight of each row in training, (n,), zero elsewhere."""
    return np.where(sample.train, table.weights, 0.0)


# -- levels -------------------------------------------------------------------------------------------------------------------------


class LevelCounts(State, frozen=True):
    """encoding: not yet standardised, None before the sum; notes: for the report."""

    encoding: Encoding | None = None
    notes: tuple[str, ...] = ()

    @property
    def done(self) -> bool:
        """Whether the encoding is there."""
        return self.encoding is not None


@dataclass
class CountLevels:
    """The plan that finds one encoding of plain columns. levels: of each categorical column, in an order common to all banks."""

    table: Table
    sample: Sample
    levels: Levels
    missing: Missing
    minimum_cohort: int
    kind: type[LevelCounts] = field(default=LevelCounts, init=False)

    def begin(self) -> LevelCounts:
        """Nothing is known. Raises DataError where a value is missing and the rule forbids it."""
        for name, column in self.table.columns.items():
            if column.kind == "numeric":
                Numeric(name, self.missing).raw(column)
            elif name not in self.levels:
                raise DataError(f"column {name!r}", "is categorical and its levels were not agreed", "Draft the manifest again.")
        return LevelCounts()

    def ask(self, state: LevelCounts) -> Reals | None:
        """Training rows with and without a value for each number; of each level, all others, and missing for each categorical column."""
        if state.encoding is not None:
            return None
        train = self.sample.train
        parts = [self._counts(column, train) for column in self.table.columns.values()]
        return np.concatenate([*parts, [float(train.sum())]])

    def take(self, state: LevelCounts, total: Reals, banks: int) -> LevelCounts:  # noqa: ARG002  # a plan's signature
        """The encoding that the totals allow."""
        parts: list[ColumnEncoding] = []
        notes, start = [], 0
        for name, column in self.table.columns.items():
            width = 2 if column.kind == "numeric" else len(self.levels[name]) + 2
            counts, start = total[start : start + width], start + width
            part = self._number(name, counts) if column.kind == "numeric" else self._one_hot(name, counts)
            if part is None:
                notes.append(f"column {name!r} has one value for all training rows, or too few values, and was left out")
            else:
                parts.append(part)
        return msgspec.structs.replace(state, encoding=Encoding(tuple(parts)), notes=tuple(notes))

    def _counts(self, column: Column, train: NDArray[np.bool_]) -> Reals:
        if column.kind == "numeric":
            gone = int((column.missing & train).sum())
            return np.array([train.sum() - gone, gone], np.float64)
        levels = self.levels[column.name]
        place = {level: number for number, level in enumerate(levels)}
        codes = (len(levels) + 1 if value is None else place.get(value, len(levels)) for value in column.values[train])
        return np.bincount(np.fromiter(codes, np.int64, int(train.sum())), minlength=len(levels) + 2).astype(np.float64)

    def _number(self, name: str, counts: Reals) -> Numeric | None:
        if counts[0] < self.minimum_cohort:
            return None
        shown = self.missing != "indicator" or counts[1] >= self.minimum_cohort
        return Numeric(name, self.missing if shown else "mean")

    def _one_hot(self, name: str, counts: Reals) -> OneHot | None:
        levels, least = self.levels[name], self.minimum_cohort
        kept = [place for place, level in enumerate(levels) if counts[place] >= least and level != OTHER]
        pooled = float(counts[:-1].sum() - counts[kept].sum())
        reference = max(kept, key=lambda place: (counts[place], -place), default=None)
        part = OneHot(
            name, tuple(levels[place] for place in kept), None if reference is None else levels[reference], pooled >= least,
            bool(counts[-1] >= least),
        )  # fmt: skip
        return part if part.names else None


# -- moments ------------------------------------------------------------------------------------------------------------------------


class Moments(State, frozen=True):
    """rows, bads: training rows over all banks; weight, base: their weight and its share of bads; mean, unit: (d,) of the design before
    standardisation; correlation: (d + 1, d + 1), the label last; encoding: standardised, without constant columns, at the end.
    """

    encoding: Encoding
    rows: int = 0
    bads: int = 0
    weight: float = 0.0
    base: float = 0.0
    mean: Reals | None = None
    unit: Reals | None = None
    correlation: Reals | None = None
    notes: tuple[str, ...] = ()

    @property
    def done(self) -> bool:
        """Whether both sums were taken."""
        return self.correlation is not None


@dataclass
class MeasureDesign:
    """The plan that standardises an encoding over all banks. Both classes must train, and a cohort of rows at least."""

    table: Table
    sample: Sample
    encoding: Encoding
    minimum_cohort: int
    kind: type[Moments] = field(default=Moments, init=False)

    def __post_init__(self) -> None:
        self.weight = training_weight(self.table, self.sample)
        assert self.table.label is not None, "a bank has labels"
        self.label = self.table.label.astype(np.float64)
        self._raw: tuple[Reals, Reals] | None = None

    def begin(self) -> Moments:
        """Before the first of two sums."""
        return Moments(self.encoding)

    def ask(self, state: Moments) -> Reals | None:
        """Means, then products."""
        if state.correlation is not None:
            return None
        raw, counted = self._design()
        train, w, y = self.sample.train, self.weight[self.sample.train], self.label[self.sample.train]
        if state.mean is None or state.unit is None:
            head = [float(train.sum()), float(y.sum()), float(w.sum()), float(w @ y)]
            return np.concatenate([head, w @ counted, w @ (raw * counted), w @ (np.abs(raw) * counted)])
        deviation = np.column_stack([np.where(counted > 0, (raw - state.mean) / state.unit, 0.0), y - state.base])
        products = deviation.T @ (deviation * w[:, None])
        return np.asarray(products[np.triu_indices(len(products))])

    def take(self, state: Moments, total: Reals, banks: int) -> Moments:  # noqa: ARG002  # a plan's signature
        """Raises PolicyRefusal below the cohort and DataError with one class, at all banks alike."""
        if state.mean is None or state.unit is None:
            return self._means(state, total)
        size = len(state.mean) + 1
        products = np.zeros((size, size))
        products[np.triu_indices(size)] = total
        products = products + np.triu(products, 1).T
        diagonal = np.diag(products)
        rounding = np.append((CONSTANT * state.mean / state.unit) ** 2 + (GRID / state.unit) ** 2, 0.0)  # what a constant column leaves
        spread = np.sqrt(np.where(diagonal > state.weight * rounding, diagonal, 0.0))
        safe = np.where(spread > 0, spread, 1.0)
        correlation = np.where(np.outer(spread, spread) > 0, products / np.outer(safe, safe), 0.0)
        np.fill_diagonal(correlation, np.where(spread > 0, 1.0, 0.0))
        scale = spread[:-1] * state.unit / np.sqrt(state.weight)
        return _without_constants(state, scale, correlation)

    def _design(self) -> tuple[Reals, Reals]:
        """The design before standardisation and which entries count, (training rows, d) each."""
        if self._raw is None:
            train = self.sample.train
            self._raw = self.encoding.raw(self.table.columns)[train], self.encoding.counted(self.table.columns)[train].astype(np.float64)
        return self._raw

    def _means(self, state: Moments, total: Reals) -> Moments:
        rows, bads, weight, bad_weight = total[:4].tolist()
        if rows < self.minimum_cohort:
            what = f"only {int(rows)} training rows over all banks (rule: minimum_cohort = {self.minimum_cohort})"
            raise PolicyRefusal("banks", what, "Lower [run] holdout, or bring more rows.", AbortCode.COHORT)
        if not 0 < bad_weight < weight:
            raise DataError("banks", "the training rows have one class only", "Bring goods and bads, or another seed or holdout.")
        counted, sums, magnitudes = np.split(total[4:], 3)
        safe = np.where(counted > 0, counted, 1.0)
        unit = np.exp2(np.ceil(np.log2(np.where(magnitudes > 0, magnitudes / safe, 1.0))))
        return msgspec.structs.replace(
            state, rows=int(rows), bads=int(bads), weight=weight, base=bad_weight / weight, mean=sums / safe, unit=unit
        )  # fmt: skip


def _without_constants(state: Moments, scale: Reals, correlation: Reals) -> Moments:
    """Leave out the columns all of whose design columns are constant over all banks, and standardise the rest."""
    assert state.mean is not None, "means come first"
    parts, places, notes, start = [], [], [], 0
    for part in state.encoding.columns:
        mine = list(range(start, start + len(part.names)))
        start += len(part.names)
        if (scale[mine] > 0).any():
            parts.append(part)
            places += mine
        else:
            notes.append(f"column {part.column!r} is the same for all training rows and was left out")
    kept = [*places, len(scale)]
    encoding = Encoding(tuple(parts)).fitted(state.mean[places], scale[places])
    return msgspec.structs.replace(
        state, encoding=encoding, mean=state.mean[places], unit=None if state.unit is None else state.unit[places],
        correlation=correlation[np.ix_(kept, kept)], notes=tuple(notes)
    )  # fmt: skip
