"""Quantiles of all numeric columns of many banks at once, by cutting the line of all doubles finer and finer around the ranks wanted.

A double's bits, made monotone, are an order-preserving integer. The first cells are its leading 12 bits (sign and exponent), so no range has
to be agreed and billions and millionths are cut alike. Every further sum divides just those cells that a wanted rank lies in, by as many of
the remaining 52 bits as fit a sum (nine, mostly: six more sums).

    quantile p   the smallest x with F(x) >= p, F by weight where rows are weighted
    low, high    so far from each end that a minimum cohort of rows lies at or beyond it: what takes the place of minimum and maximum

A cell is divided only while two cohorts of rows lie in it, and (quantiles) more than `resolution` of the weight. So a value that many rows
share is found exactly. Any other answer is an edge of a cell, the one nearer in rank, so that its rank is off by at most half a cell: a short
decimal strictly between the rows of two cells, or the border where they touch, so that no single row sets it.

The counts of a division are totals that every bank opens. What is fit to be *released* `released` decides: each value has a cohort on both
sides, and between two values is no row or a cohort.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import msgspec
import numpy as np
from numpy.typing import NDArray

from federation.kernel.errors import ConfigurationError
from federation.kernel.state import State
from federation.models.bins import shortest_between
from federation.models.table import Column

Reals = NDArray[np.float64]
Keys = NDArray[np.uint64]

PROBABILITIES = (0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99)
RESOLUTION = 1e-3
FIRST_BITS, MORE_BITS, ALL_BITS = 12, 9, 64
LONGEST = 1 << 20
"""Numbers in one sum at most, as long as the columns times the ranks wanted do not exceed it."""
_END = (1 << ALL_BITS) - 1


class Aim(msgspec.Struct, frozen=True):
    """A rank and the cell that it lies in. first: the cell's smallest key; bits: how many are fixed; rows: in it; below: rows under it;
    size: weight in it (low, high: rows); into: how far into that the rank lies; before, after: the nearest keys on either side that a row
    may have, -1 and 2^64 - 1 (no number has it) for none; open: whether the cell is to be divided.
    """

    into: float
    size: float
    first: int = 0
    bits: int = 0
    rows: float = 0.0
    below: float = 0.0
    before: int = -1
    after: int = _END
    open: bool = True

    @property
    def last(self) -> int:
        """The cell's largest key."""
        return self.first + (1 << (ALL_BITS - self.bits)) - 1


class Quantiles(State, frozen=True):
    """Of each numeric column: aims, low first, then the probabilities in order, high last; rows: with a value; weight: theirs; exponent: their
    magnitudes are below 2^exponent. sums: taken so far.
    """

    aims: dict[str, tuple[Aim, ...]] = msgspec.field(default_factory=dict)
    rows: dict[str, float] = msgspec.field(default_factory=dict)
    weight: dict[str, float] = msgspec.field(default_factory=dict)
    exponent: dict[str, int] = msgspec.field(default_factory=dict)
    sums: int = 0
    done: bool = False


class Spot(msgspec.Struct, frozen=True):
    """A value that may be released. below: rows under it; upto: the same, and with them the rows of a value that a cohort shares."""

    value: float
    below: float
    upto: float


class Released(msgspec.Struct, frozen=True):
    """low, high: see above; values: of each probability; None where it would tell of fewer rows than the cohort."""

    low: float | None
    values: tuple[float | None, ...]
    high: float | None


@dataclass
class FindQuantiles:
    """The plan. columns: the numeric ones are looked at; weight: (n,) or None for one each, at all banks alike."""

    columns: Mapping[str, Column]
    weight: Reals | None
    minimum_cohort: int
    probabilities: tuple[float, ...] = PROBABILITIES
    resolution: float = RESOLUTION
    kind: type[Quantiles] = field(default=Quantiles, init=False)

    def __post_init__(self) -> None:
        if not all(0 < p < 1 for p in self.probabilities) or sorted(set(self.probabilities)) != list(self.probabilities):
            raise ConfigurationError("quantiles", "the probabilities do not ascend between 0 and 1", "Correct them.")
        self.names = tuple(name for name, column in self.columns.items() if column.kind == "numeric")
        self._sorted: dict[str, tuple[Keys, Reals]] = {}

    def begin(self) -> Quantiles:
        """Nothing is known, and without a number nothing is asked."""
        return Quantiles(done=not self.names)

    def ask(self, state: Quantiles) -> Reals | None:
        """Rows, and weight where rows are weighted, of every part of every cell that is to be divided."""
        if state.done:
            return None
        cells, more = self._cells(state)
        return np.concatenate([self._parts(name, first, bits, more) for name, first, bits in cells])

    def take(self, state: Quantiles, total: Reals, banks: int) -> Quantiles:  # noqa: ARG002  # a plan's signature
        """Follow each rank into a part of its cell."""
        cells, more = self._cells(state)
        kept = 1 if self.weight is None else 2
        counts = dict(zip(cells, total.reshape(len(cells), kept, 1 << more), strict=True))
        if not state.sums:
            state = self._started(state, {name: count for (name, _, _), count in counts.items()}, more)
        aims = {}
        for name, found in state.aims.items():
            ends = (0, len(found) - 1)
            aims[name] = tuple(
                self._followed(aim, counts[name, aim.first, aim.bits], more, state.weight[name], by_rows=number in ends)
                if aim.open
                else aim
                for number, aim in enumerate(found)
            )
        done = not any(aim.open for found in aims.values() for aim in found)
        return msgspec.structs.replace(state, aims=aims, sums=state.sums + 1, done=done)

    def released(self, state: Quantiles, name: str) -> Released:
        """What of a column may leave the banks. low and high come first, then what is nearest to the median."""
        found, rows, cohort = state.aims[name], state.rows[name], self.minimum_cohort
        if rows < 2 * cohort:
            return Released(None, (None,) * len(self.probabilities), None)
        inner = [_edge(aim, cohort, upper=2 * aim.into > aim.size) for aim in found[1:-1]]
        spots = [_edge(found[0], cohort, upper=True), *inner, _edge(found[-1], cohort, upper=False)]
        nearest = sorted(range(1, len(found) - 1), key=lambda n: abs(self.probabilities[n - 1] - 0.5))
        kept: dict[int, Spot] = {}
        for number in (0, len(found) - 1, *nearest):
            spot = spots[number]
            safe = spot.upto >= cohort and rows - spot.below >= cohort and math.isfinite(spot.value)
            if safe and all(_apart(spot, other, cohort) for other in kept.values()):
                kept[number] = spot
        values = [kept[number].value if number in kept else None for number in range(len(found))]
        return Released(values[0], tuple(values[1:-1]), values[-1])

    # -- cells ------------------------------------------------------------------------------------------------------------------------

    def _cells(self, state: Quantiles) -> tuple[list[tuple[str, int, int]], int]:
        """The cells to divide now (column, first key, bits), each once, and by how many bits: all of them have the same."""
        if not state.sums:
            cells = [(name, 0, 0) for name in self.names]
        else:
            cells = list(dict.fromkeys((name, aim.first, aim.bits) for name, found in state.aims.items() for aim in found if aim.open))
        bits = cells[0][2]
        room = max(1, (LONGEST // (len(cells) * (1 if self.weight is None else 2))).bit_length() - 1)
        return cells, min(room, MORE_BITS if bits else FIRST_BITS, ALL_BITS - bits)

    def _parts(self, name: str, first: int, bits: int, more: int) -> Reals:
        """Rows of each of 2^more parts of a cell, then their weight."""
        if name not in self._sorted:
            column = self.columns[name]
            keys = ordered_keys(column.values[~column.missing])
            order = np.argsort(keys, kind="stable")
            weight = np.ones(len(keys)) if self.weight is None else self.weight[~column.missing][order]
            self._sorted[name] = keys[order], weight
        keys, weight = self._sorted[name]
        last = first + (1 << (ALL_BITS - bits)) - 1
        start, stop = np.searchsorted(keys, np.array([first], np.uint64)), np.searchsorted(keys, np.array([last], np.uint64), side="right")
        inside = slice(int(start[0]), int(stop[0]))
        part = ((keys[inside] - np.uint64(first)) >> np.uint64(ALL_BITS - bits - more)).astype(np.int64)
        rows = np.bincount(part, minlength=1 << more).astype(np.float64)
        return rows if self.weight is None else np.concatenate([rows, np.bincount(part, weight[inside], 1 << more)])

    def _started(self, state: Quantiles, counts: Mapping[str, Reals], more: int) -> Quantiles:
        """Ranks, once it is known how many rows there are."""
        rows = {name: float(count[0].sum()) for name, count in counts.items()}
        weight = {name: float(count[-1].sum()) for name, count in counts.items()}
        aims = {}
        for name, n in rows.items():
            ends = [Aim(min(n, float(self.minimum_cohort)), n), Aim(max(1.0, n - self.minimum_cohort + 1), n)]
            inner = [Aim(p * weight[name], weight[name]) for p in self.probabilities]
            aims[name] = (ends[0], *inner, ends[1]) if n > 0 and weight[name] > 0 else ()
        exponent = {name: _magnitude(count[0], more) for name, count in counts.items()}
        return msgspec.structs.replace(state, aims=aims, rows=rows, weight=weight, exponent=exponent)

    def _followed(self, aim: Aim, counts: Reals, more: int, weight: float, *, by_rows: bool) -> Aim:
        """Into a part of its cell, and whether that is to be divided."""
        near = _nearer(aim, counts, more, by_rows=by_rows)
        wide = by_rows or near.size > self.resolution * weight
        return msgspec.structs.replace(near, open=near.open and wide and near.bits < ALL_BITS and near.rows >= 2 * self.minimum_cohort)


def ordered_keys(values: NDArray[np.float64]) -> Keys:
    """Doubles to integers in the same order, (n,) uint64; both zeros are one."""
    bits = (np.asarray(values, np.float64) + 0.0).view(np.uint64)
    sign = np.uint64(1 << 63)
    return np.where(bits & sign, ~bits, bits | sign)


def value_of(key: int) -> float:
    """The double of a key; beyond all numbers, infinity."""
    bits = key ^ (1 << 63) if key >> 63 else ~key & ((1 << 64) - 1)
    value = float(np.array([bits], np.uint64).view(np.float64)[0])
    return math.copysign(math.inf, 1.0 if key >> 63 else -1.0) if math.isnan(value) else value


# -- one rank -----------------------------------------------------------------------------------------------------------------------


def _nearer(aim: Aim, counts: Reals, more: int, *, by_rows: bool) -> Aim:
    """Into the part of its cell that the rank lies in. counts: (1 or 2, 2^more) rows, then weight.

    Where a bank has left since the cell was counted, the rank keeps its place in proportion.
    """
    rows, size = counts[0], counts[0] if by_rows else counts[-1]
    filled, whole = np.flatnonzero(rows), float(size.sum())
    if whole <= 0:
        return msgspec.structs.replace(aim, open=False)
    into = aim.into if whole == aim.size else aim.into * whole / aim.size
    reached = np.cumsum(size)
    part = int(np.searchsorted(reached, min(into, float(reached[-1]))))
    shift = ALL_BITS - aim.bits - more
    here = int(np.searchsorted(filled, part))
    before = aim.first + ((int(filled[here - 1]) + 1) << shift) - 1 if here else aim.before
    after = aim.first + (int(filled[here + 1]) << shift) if here + 1 < len(filled) else aim.after
    return Aim(
        into - float(reached[part] - size[part]), float(size[part]), aim.first + (part << shift), aim.bits + more, float(rows[part]),
        aim.below + float(rows[:part].sum()), before, after,
    )  # fmt: skip


def _edge(aim: Aim, cohort: int, *, upper: bool) -> Spot:
    """The value itself where a cohort shares it, else the border above or below the cell's rows."""
    if aim.bits == ALL_BITS and aim.rows >= cohort:
        return Spot(value_of(aim.first), aim.below, aim.below + aim.rows)
    reached = aim.below + aim.rows if upper else aim.below
    return Spot(_between(*(aim.last, aim.after) if upper else (aim.before, aim.first), aim.bits), reached, reached)


def _between(low: int, high: int, bits: int) -> float:
    """A short number above one key and below the other, where no row is. Where cells touch, their border, which is set by no row; where
    values touch, none, which is infinity here, as where one side has no row.
    """
    if low < 0 or high >= _END:
        return math.inf
    least, most = value_of(low), math.nextafter(value_of(high), -math.inf)
    if least < most:
        return shortest_between(least, most)
    return value_of(high) if bits < ALL_BITS else math.inf


def _apart(one: Spot, other: Spot, cohort: int) -> bool:
    """Whether no row or a cohort of them lies between two values."""
    low, high = sorted((one, other), key=lambda spot: spot.value)
    return low.value == high.value or not 0 < high.below - low.upto < cohort


def _magnitude(rows: Reals, more: int) -> int:
    """The exponent of a power of two that all values are below."""
    filled = np.flatnonzero(rows).tolist()
    if not filled:
        return 0
    shift = ALL_BITS - more
    most = max(abs(value_of(filled[0] << shift)), abs(value_of(((filled[-1] + 1) << shift) - 1)))
    return math.frexp(most)[1] if math.isfinite(most) else 1024
