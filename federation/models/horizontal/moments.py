"""Rows, missing, mean and variance of each numeric column, and rows of each level, over the rows of many banks.

    1. magnitudes  rows and weight; unless they are known, rows of each binary exponent of each number  -> units
    2. means       weight and weighted sum of each number
    3. spreads     weighted sum of absolute deviations from that mean                                  -> a unit of the deviations
    4. all         rows, missing, weight, weighted deviations and their squares; rows and weight of each level

Every sum is taken in units of a power of two that its totals set: numbers in one that all are below, weights in their mean, deviations in
their mean magnitude. So nothing is beyond the range of a sum or lost below its grid, in yuan or in millionths, and a wide outlier or a large
common offset costs no digits. A mean is put right by the deviations left around it, so the result does not depend on rounding in between.

All figures come from the last sum and are those of the banks that took part in it. The variance is the unbiased one, for weights
sum w (x - m)^2 / (W - sum w^2 / W), which is numpy's `cov(x, aweights=w)` and with equal weights the sample variance.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import msgspec
import numpy as np
from numpy.typing import NDArray

from federation.kernel.errors import DataError
from federation.kernel.state import State
from federation.models.bins import OTHER
from federation.models.table import Column

Reals = NDArray[np.float64]
Levels = Mapping[str, tuple[str, ...]]

CONSTANT = 2.0**-48
"""A spread below this share of a column's magnitude is rounding."""
LOWEST, HIGHEST = -1074, 1024
"""Binary exponents of doubles, as of `frexp`."""


class ColumnMoments(State, frozen=True):
    """step: sums taken; rows, weight: of all rows; unit: of weights, an exponent of two. The rest is (d,), in the order of the numeric columns:
    exponent: of their unit; centre, spread: in that unit, what deviations are taken from and their mean magnitude, a power of two, zero
    where a column is constant; totals: (6, d) of the last sum. levels: of each categorical column rows and weight of each level, then of
    all others and of missing, two equal tuples.
    """

    step: int = 0
    rows: float = 0.0
    weight: float = 0.0
    unit: int = 0
    exponent: NDArray[np.int64] | None = None
    centre: Reals | None = None
    spread: Reals | None = None
    totals: Reals | None = None
    levels: dict[str, tuple[tuple[float, ...], tuple[float, ...]]] = msgspec.field(default_factory=dict)

    @property
    def done(self) -> bool:
        """Whether all four sums were taken."""
        return self.totals is not None


class Number(msgspec.Struct, frozen=True):
    """One numeric column. count, missing: rows; weight: of the rows with a value; mean, variance: in the column's own unit; None without
    rows of weight, and the variance also where it is not defined (one row) or beyond all doubles; constant: one value throughout.
    """

    count: int
    missing: int
    weight: float
    mean: float | None
    variance: float | None
    constant: bool


@dataclass
class MeasureColumns:
    """The plan. columns, weight: of the rows to be measured, (n,), None for one each, at all banks alike; levels: of each categorical
    column, common to all banks; exponent: of each numeric column, if it is known that magnitudes are below 2^exponent over all banks
    (`Quantiles.exponent`). Raises DataError where levels were not agreed.
    """

    columns: Mapping[str, Column]
    weight: Reals | None
    levels: Levels
    exponent: Mapping[str, int] | None = None
    kind: type[ColumnMoments] = field(default=ColumnMoments, init=False)

    def __post_init__(self) -> None:
        self.names = tuple(name for name, column in self.columns.items() if column.kind == "numeric")
        self.categories = tuple(name for name, column in self.columns.items() if column.kind == "categorical")
        for name in self.categories:
            if name not in self.levels:
                raise DataError(f"column {name!r}", "is categorical and its levels were not agreed", "Draft the manifest again.")
        self.size = len(next(iter(self.columns.values())).values) if self.columns else 0
        self._w = np.ones(self.size) if self.weight is None else self.weight

    def begin(self) -> ColumnMoments:
        """Nothing is known."""
        return ColumnMoments()

    def ask(self, state: ColumnMoments) -> Reals | None:
        """The vector of the present step."""
        if state.done:
            return None
        if state.exponent is None:
            sizes = [] if self.exponent is not None else [self._magnitudes(name) for name in self.names]
            return np.concatenate([[float(self.size), float(self._w.sum())], *sizes])
        w = np.ldexp(self._w, -state.unit)
        parts = [self._number(state, place, name, w) for place, name in enumerate(self.names)]
        if state.spread is not None:
            parts += [self._levels(name, w) for name in self.categories]
        return np.concatenate([*parts, [0.0]])  # never empty

    def take(self, state: ColumnMoments, total: Reals, banks: int) -> ColumnMoments:  # noqa: ARG002  # a plan's signature
        """On to the next step."""
        state = msgspec.structs.replace(state, step=state.step + 1)
        if state.exponent is None:
            return self._units(state, total)
        d = len(self.names)
        if state.centre is None or state.spread is None:
            weight, sums = total[: 2 * d].reshape(d, 2).T
            mean = np.where(weight > 0, sums / np.where(weight > 0, weight, 1.0), 0.0)
            if state.centre is None:
                return msgspec.structs.replace(state, centre=mean)
            rounded = np.exp2(np.ceil(np.log2(np.where(mean > CONSTANT, mean, 1.0))))
            return msgspec.structs.replace(state, spread=np.where(mean > CONSTANT, rounded, 0.0))
        return self._counted(state, total)

    def number(self, state: ColumnMoments, name: str) -> Number:
        """The figures of a numeric column. Raises ValueError before the end."""
        if state.totals is None or state.exponent is None or state.centre is None or state.spread is None:
            msg = "the sums are not finished"
            raise ValueError(msg)
        place = self.names.index(name)
        count, missing, weight, squared, first, second = state.totals[:, place].tolist()
        exponent, spread = int(state.exponent[place]), float(state.spread[place])
        weighed = float(np.ldexp(weight, state.unit))
        if not weight > 0:
            return Number(round(count), round(missing), weighed, None, None, constant=False)
        with np.errstate(over="ignore"):
            mean = float(np.ldexp(state.centre[place] + (spread or 1.0) * first / weight, exponent))
            free = weight - squared / weight
            within = max(0.0, second - first**2 / weight) if spread else 0.0
            variance = float(np.ldexp(within / free * spread**2, 2 * exponent)) if count > 1 and free > 0 else None
        return Number(round(count), round(missing), weighed, mean, variance if variance is not None and np.isfinite(variance) else None,
                      constant=not spread)  # fmt: skip

    # -- one bank's vectors -----------------------------------------------------------------------------------------------------------

    def _magnitudes(self, name: str) -> Reals:
        """Rows of each binary exponent."""
        values = self.columns[name].values
        exponents = np.frexp(values[~np.isnan(values) & (values != 0)])[1].astype(np.int64)
        return np.bincount(exponents - LOWEST, minlength=HIGHEST - LOWEST + 1).astype(np.float64)

    def _number(self, state: ColumnMoments, place: int, name: str, w: Reals) -> Reals:
        """(2,) or at the end (6,): the sums of one numeric column."""
        assert state.exponent is not None, "units are set"
        values = self.columns[name].values
        there = ~np.isnan(values)
        x, w = np.ldexp(values[there], -int(state.exponent[place])), w[there]
        if state.centre is None:
            return np.array([w.sum(), (w * x).sum()])
        deviation = x - state.centre[place]
        if state.spread is None:
            return np.array([w.sum(), (w * np.abs(deviation)).sum()])
        deviation = deviation / (state.spread[place] or 1.0)
        sums = [w.sum(), (w**2).sum(), (w * deviation).sum(), (w * deviation**2).sum()]
        return np.array([float(there.sum()), float((~there).sum()), *sums])

    def _levels(self, name: str, w: Reals) -> Reals:
        """(2 (levels + 2),): rows, then weight."""
        codes, size = self._codes(name)
        return np.concatenate([np.bincount(codes, minlength=size).astype(np.float64), np.bincount(codes, w, size)])

    def _codes(self, name: str) -> tuple[NDArray[np.int64], int]:
        """The place of each row's level, (n,), and how many places there are: levels, all others, missing."""
        place = {level: number for number, level in enumerate(named_levels(self.levels[name]))}
        values = self.columns[name].values
        codes = (len(place) + 1 if value is None else place.get(value, len(place)) for value in values)
        return np.fromiter(codes, np.int64, len(values)), len(place) + 2

    # -- totals -----------------------------------------------------------------------------------------------------------------------

    def _units(self, state: ColumnMoments, total: Reals) -> ColumnMoments:
        rows, weight = total[:2].tolist()
        unit = int(np.frexp(weight / rows)[1]) if rows > 0 and weight > 0 else 0
        if self.exponent is not None:
            known = [self.exponent[name] for name in self.names]
        else:
            counts = total[2:].reshape(len(self.names), HIGHEST - LOWEST + 1)
            known = [int(np.flatnonzero(row)[-1]) + LOWEST if row.any() else 0 for row in counts]
        return msgspec.structs.replace(state, rows=rows, weight=weight, unit=unit, exponent=np.array(known, np.int64))

    def _counted(self, state: ColumnMoments, total: Reals) -> ColumnMoments:
        d = len(self.names)
        found, start = {}, 6 * d
        for name in self.categories:
            size = len(named_levels(self.levels[name])) + 2
            rows, weight = total[start : start + 2 * size].reshape(2, size)
            found[name] = tuple(rows.tolist()), tuple(np.ldexp(weight, state.unit).tolist())
            start += 2 * size
        return msgspec.structs.replace(state, totals=total[: 6 * d].reshape(d, 6).T, levels=found)


def named_levels(levels: tuple[str, ...]) -> tuple[str, ...]:
    """The levels that are counted apart: a source's own level "other" is one of all others."""
    return tuple(level for level in levels if level != OTHER)
