"""Bins: how one column's values become a small number of classes, the same in training, batch scoring and the service.

A column has ordinary bins (intervals of a number, groups of levels), then one bin for each declared special value, then one for missing,
and last one for *absent*, the firms that the column's holder does not know. Every value that can ever occur has a bin:

    numeric      edges e_1 < ... < e_k give k + 1 intervals, closed on the left: (-inf, e_1), [e_1, e_2), ..., [e_k, inf)
    categorical  groups of levels; one of them, `other`, also takes every level that no group names

The missing bin and the absent bin are always there, also where training has no such row, so that a value first missing in production has a
place; bins without a training row are neutral (WOE 0, see `woe`) and ask for no count. A special value or missing may be *joined* to an
ordinary bin: it is then counted and scored with it. Cut points come from the holder's whole file, never from labels.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from decimal import ROUND_FLOOR, Context
from itertools import pairwise
from typing import Any, Literal, TypeAlias

import msgspec
import numpy as np
from numpy.typing import NDArray

from federation.kernel.errors import ConfigurationError, DataError
from federation.models.table import Column

Codes = NDArray[np.int64]
Reals = NDArray[np.float64]
Direction: TypeAlias = Literal["increasing", "decreasing", "auto"]

OWN = -1
"""In `Bins.joined`: the value has a bin of its own."""
OTHER = "other"
"""The name of the group or level that takes all levels not named; a source's own level of this name is one of them."""
_EDIT = "Correct the bins of this column."


class Bins(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The bins of one column, in the order: ordinary, special, missing, absent.

    edges: numeric, finite and strictly increasing; groups: categorical, distinct levels, only group `other` may be empty; other: its
    index, -1 when numeric; special: distinct values; joined: for each special value, then for missing, the ordinary bin it is counted with,
    or OWN; direction: which way the *bad rate* must run from the first ordinary bin to the last, None where the run's setting decides
    (categorical: the groups have no order). Raises ConfigurationError.
    """

    column: str
    kind: Literal["numeric", "categorical"]
    edges: tuple[float, ...] = ()
    groups: tuple[tuple[str, ...], ...] = ()
    other: int = -1
    special: tuple[float | str, ...] = ()
    joined: tuple[int, ...] = (OWN,)
    direction: Direction | None = None

    def __post_init__(self) -> None:
        (_check_numeric if self.kind == "numeric" else _check_categorical)(self)
        if len(self.joined) != len(self.special) + 1 or not all(OWN <= home < self.ordinary for home in self.joined):
            raise _wrong(self, "joins a special value or missing to a bin that does not exist")
        if len(set(self.special)) != len(self.special):
            raise _wrong(self, "names a special value twice")

    @property
    def ordinary(self) -> int:
        """How many intervals or groups there are: bins 0 to ordinary - 1."""
        return len(self.edges) + 1 if self.kind == "numeric" else len(self.groups)

    @property
    def ordered(self) -> bool:
        """Whether ordinary bins have neighbours: numbers always, groups when a direction is declared."""
        return self.kind == "numeric" or self.direction is not None

    @property
    def size(self) -> int:
        """How many bins there are, absent included."""
        return self.ordinary + self.joined.count(OWN) + 1

    @property
    def absent(self) -> int:
        """The bin of firms that the holder does not know: the last."""
        return self.size - 1

    @property
    def homes(self) -> tuple[int, ...]:
        """The bin of each special value, then of missing."""
        own, homes = self.ordinary, []
        for home in self.joined:
            homes.append(own if home == OWN else home)
            own += home == OWN
        return tuple(homes)

    @property
    def labels(self) -> tuple[str, ...]:
        """A name for each bin, for humans: "[10, 200)", "A, B", "= -1", "missing", "absent"; what is joined follows its bin's name."""
        names = _interval_names(self.edges) if self.kind == "numeric" else [
            ", ".join((*group, *([OTHER] if place == self.other else []))) for place, group in enumerate(self.groups)
        ]  # fmt: skip
        extra = [*(f"= {number(value) if isinstance(value, float) else value}" for value in self.special), "missing"]
        for home, name in zip(self.joined, extra, strict=True):
            if home != OWN:
                names[home] += f", {name}"
        return (*names, *(name for home, name in zip(self.joined, extra, strict=True) if home == OWN), "absent")

    def codes(self, column: Column) -> Codes:
        """The bin of each row, (n,) int64; never the absent bin, which belongs to rows that the column does not have.

        Raises DataError when the column is of the other kind.
        """
        if column.kind != self.kind:
            what = f"is {column.kind}, its bins are {self.kind}"
            raise DataError(f"column {column.name!r}", what, "Declare its type in [[party]] types.")
        *special, missing = self.homes
        if self.kind == "categorical":
            home = {level: place for place, group in enumerate(self.groups) for level in group}
            home |= dict(zip(self.special, special, strict=True))  # type: ignore[arg-type]
            found = (missing if level is None else home.get(level, self.other) for level in column.values)
            return np.fromiter(found, np.int64, len(column.values))
        codes = np.searchsorted(np.array(self.edges), column.values, side="right").astype(np.int64)
        for value, place in zip(self.special, special, strict=True):
            codes[column.values == value] = place
        codes[column.missing] = missing
        return codes


# -- how bins are found -----------------------------------------------------------------------------------------------------------


def cut(column: Column, max_bins: int, min_share: float, special: tuple[float, ...] = ()) -> Bins:
    """The bins of a column from the holder's whole file; a special value that the file does not have gets no bin."""
    if column.kind == "categorical":
        groups = (*((level,) for level in frequent_levels(column.values, max_bins, min_share)), ())
        return Bins(column=column.name, kind="categorical", groups=groups, other=len(groups) - 1)
    values = column.values[~column.missing].astype(np.float64)
    found = tuple(float(value) for value in special if (values == value).any())
    edges = quantile_edges(values[~np.isin(values, np.array(special))], max_bins, min_share)
    return Bins(column=column.name, kind="numeric", edges=edges, special=found, joined=(OWN,) * (len(found) + 1))


def quantile_edges(values: Reals, max_bins: int, min_share: float) -> tuple[float, ...]:
    """Cut points for at most `max_bins` intervals of about equal numbers of values, each with at least `min_share` of them.

    values: (n,) without NaN. From the left, each interval takes whole distinct values until it is nearest to an equal share of what is
    left, so that a value which many firms have (zero, mostly) gets an interval of its own and takes no share from the others. An edge is
    the shortest decimal that separates the two neighbouring values.
    """
    distinct, counts = np.unique(values, return_counts=True)
    below = np.concatenate([[0], np.cumsum(counts)])
    cuts, start = [0], 0
    for left in range(max_bins, 1, -1):
        aim = below[start] + (below[-1] - below[start]) / left
        stop = max(start + 1, int(np.searchsorted(below, aim)))
        if stop - 1 > start and aim - below[stop - 1] < below[stop] - aim:
            stop -= 1
        if stop >= len(distinct):
            break
        cuts.append(stop)
        start = stop
    sizes = np.diff([*below[cuts], below[-1]]).tolist()
    while len(sizes) > 1 and min(sizes) < min_share * below[-1]:
        small = sizes.index(min(sizes))
        left = small - 1 if small == len(sizes) - 1 or (small > 0 and sizes[small - 1] <= sizes[small + 1]) else small
        sizes[left : left + 2] = [sizes[left] + sizes[left + 1]]
        del cuts[left + 1]
    return tuple(shortest_between(float(distinct[stop - 1]), float(distinct[stop])) for stop in cuts[1:])


def frequent_levels(values: NDArray[Any], max_bins: int, min_share: float) -> tuple[str, ...]:
    """The most frequent levels, most frequent first, ties in alphabetical order: all of them if `max_bins` and the share allow, else
    `max_bins` - 1 and the rest is left to "other". None (missing) is no level.
    """
    counts = Counter(value for value in values if value is not None)
    least = min_share * sum(counts.values())
    ranked = [level for level, count in sorted(counts.items(), key=lambda item: (-item[1], item[0])) if count >= least and level != OTHER]
    return tuple(ranked if len(counts) == len(ranked) <= max_bins else ranked[: max_bins - 1])


def shortest_between(low: float, high: float) -> float:
    """The number in (low, high] with the fewest digits: high, rounded down as far as low allows."""
    if not (math.isfinite(low) and math.isfinite(high)):
        return high if math.isfinite(high) else float(np.nextafter(high, low))
    for digits in range(1, 18):
        candidate = float(Context(prec=digits, rounding=ROUND_FLOOR).create_decimal_from_float(high))
        if low < candidate <= high:
            return candidate
    return high


def number(value: float) -> str:
    """A number as a human writes it: "200", not "200.0"."""
    return repr(float(value)).removesuffix(".0")


def same_kind(bins: Mapping[str, Bins], columns: Mapping[str, Column]) -> None:
    """Every one of the bins belongs to a column of its kind. Raises ConfigurationError."""
    for name, given in bins.items():
        if name not in columns or given.column != name:
            where, what = f"bins of column {name!r}", "the party contributes no such column"
            raise ConfigurationError(where, what, "Remove them, or include the column.")
        if given.kind != columns[name].kind:
            raise ConfigurationError(f"bins of column {name!r}", f"are {given.kind}, the column is {columns[name].kind}", _EDIT)


def _interval_names(edges: tuple[float, ...]) -> list[str]:
    marks = ["-inf", *map(number, edges), "inf"]
    return [f"{'[' if place else '('}{low}, {high})" for place, (low, high) in enumerate(pairwise(marks))]


def _check_numeric(bins: Bins) -> None:
    if bins.groups or bins.other != -1 or any(isinstance(value, str) for value in bins.special):
        raise _wrong(bins, "is numeric and has groups or special levels")
    if not all(map(math.isfinite, (*bins.edges, *bins.special))):  # type: ignore[arg-type]
        raise _wrong(bins, "has an edge or a special value that is not a finite number")
    if any(low >= high for low, high in pairwise(bins.edges)):
        raise _wrong(bins, "has edges that do not increase")


def _check_categorical(bins: Bins) -> None:
    levels = [level for group in bins.groups for level in group] + list(bins.special)
    if bins.edges or any(not isinstance(value, str) for value in levels):
        raise _wrong(bins, "is categorical and has edges or special numbers")
    if len(set(levels)) != len(levels):
        raise _wrong(bins, "names a level twice")
    if OTHER in levels:
        raise _wrong(bins, f"names the level {OTHER!r}, which always belongs to the group of all other levels")
    if not 0 <= bins.other < len(bins.groups) or any(not group and place != bins.other for place, group in enumerate(bins.groups)):
        raise _wrong(bins, "needs one group for all other levels, and only that group may name none")


def _wrong(bins: Bins, what: str) -> ConfigurationError:
    return ConfigurationError(f"bins of column {bins.column!r}", what, _EDIT)
