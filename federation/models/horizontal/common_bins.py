"""Bins and weights of evidence common to all banks, from totals.

    1. cells    row counts of each number over cells of all doubles; cells with too many rows are cut finer, sum by sum -> cut points
       levels   row counts of the agreed levels and of special values, with the first of these sums -> groups
    2. outcomes training rows, goods and bads of each bin -> merged below the minimum cohort, then as everywhere (`binned.finish`)

Cells are those of `number_line`: first by sign and exponent, then by 64 where more than a fiftieth of the rows lie in one, until none does or it
is one value. Cut points take whole cells, by the rule of `bins.quantile_edges`, and are short decimals close to their borders; they come from
whole files, never from labels, and depend on totals alone.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import msgspec
import numpy as np
from numpy.typing import NDArray

from federation.kernel.errors import AbortCode, DataError, PolicyRefusal
from federation.kernel.manifest import Manifest
from federation.kernel.state import State
from federation.models.bin_merging import Counts, merge_small
from federation.models.binned import finish
from federation.models.bins import OTHER, OWN, Bins, quantile_edges, same_kind
from federation.models.encoding import Encoding
from federation.models.horizontal.moments import named_levels
from federation.models.horizontal.number_line import ALL_BITS, Cell, divided, edges
from federation.models.horizontal.quantiles import ordered_keys
from federation.models.sample import Sample
from federation.models.table import Column, Table
from federation.models.woe import WoeTable

Reals = NDArray[np.float64]
Keys = NDArray[np.uint64]

PARTS = 50
"""A cell with more than this part of the rows is cut finer."""
_MOST_REPEATED = 1 << 20


class CommonBins(State, frozen=True):
    """cells: of each numeric column, those with rows, in order; open: those of them that are being cut; bins: once cut points are known;
    encoding and tables: at the end.
    """

    cells: dict[str, tuple[Cell, ...]] = msgspec.field(default_factory=dict)
    open: dict[str, tuple[Cell, ...]] = msgspec.field(default_factory=dict)
    extra: dict[str, tuple[float, ...]] = msgspec.field(default_factory=dict)
    bins: dict[str, Bins] | None = None
    encoding: Encoding | None = None
    tables: tuple[WoeTable, ...] = ()
    sums: int = 0

    @property
    def done(self) -> bool:
        """Whether goods and bads were counted."""
        return self.encoding is not None


@dataclass
class FindBins:
    """The plan. levels: of each categorical column, common to all banks; weight: (n,) zero outside training; given: bins edited by hand."""

    table: Table
    sample: Sample
    weight: Reals
    levels: Mapping[str, tuple[str, ...]]
    manifest: Manifest
    given: Mapping[str, Bins] = field(default_factory=dict)
    kind: type[CommonBins] = field(default=CommonBins, init=False)

    def __post_init__(self) -> None:
        assert self.table.label is not None, "a bank has labels"
        self.label = self.table.label
        same_kind(self.given, self.table.columns)
        self.searched = {name: column for name, column in self.table.columns.items() if name not in self.given}
        self._keys: dict[str, Keys] = {}

    def begin(self) -> CommonBins:
        """Whole number lines. Raises DataError where a column's levels were not agreed."""
        for name, column in self.searched.items():
            if column.kind == "categorical" and name not in self.levels:
                raise DataError(f"column {name!r}", "is categorical and its levels were not agreed", "Draft the manifest again.")
        whole: tuple[Cell, ...] = (Cell(0, 0),)
        numbers = {name: whole for name, column in self.searched.items() if column.kind == "numeric"}
        state = CommonBins(open=numbers)
        return state if self.searched else self._cut(state)

    def ask(self, state: CommonBins) -> Reals | None:
        """Rows of the cells that are being cut, and first of all rows of levels and special values; at the end goods and bads."""
        if state.done:
            return None
        if state.bins is not None:
            return np.concatenate([self._outcomes(name, bins).ravel() for name, bins in state.bins.items()])
        parts = [self._extra(column) for column in self.searched.values()] if not state.sums else []
        parts += [self._parts(name, cell) for name, cells in state.open.items() for cell in cells]
        return np.concatenate(parts)

    def take(self, state: CommonBins, total: Reals, banks: int) -> CommonBins:  # noqa: ARG002  # a plan's signature
        """Cut finer, then choose cut points, then weights of evidence. Raises PolicyRefusal and DataError at all banks alike."""
        state = msgspec.structs.replace(state, sums=state.sums + 1)
        if state.bins is not None:
            return self._weighed(state, state.bins, total)
        place = 0
        if state.sums == 1:
            extra = {}
            for name, column in self.searched.items():
                extra[name] = tuple(total[place : place + self._extras(column)].tolist())
                place += len(extra[name])
            state = msgspec.structs.replace(state, extra=extra)
        cells, left = dict(state.cells), {}
        for name, wide in state.open.items():
            found: list[Cell] = [cell for cell in state.cells.get(name, ()) if cell not in wide]
            for cell in wide:
                size = (1 << cell.more) + 1
                found += divided(cell, total[place : place + size])
                place += size
            cells[name] = tuple(sorted(found, key=lambda cell: cell.first))
            most = max(sum(cell.rows for cell in found) / PARTS, self.manifest.privacy.minimum_cohort)
            finer = tuple(cell for cell in cells[name] if cell.rows > most and cell.bits < ALL_BITS)
            if finer:
                left[name] = finer
        state = msgspec.structs.replace(state, cells=cells, open=left)
        return state if left else self._cut(state)

    # -- cut points -------------------------------------------------------------------------------------------------------------------

    def _extras(self, column: Column) -> int:
        """How many counts of levels or special values a column has."""
        return len(named_levels(self.levels[column.name])) + 1 if column.kind == "categorical" else len(self.manifest.binning.special)

    def _extra(self, column: Column) -> Reals:
        if column.kind == "numeric":
            return np.array([(column.values == value).sum() for value in self.manifest.binning.special], np.float64)
        place = {level: number for number, level in enumerate(named_levels(self.levels[column.name]))}
        codes = np.array([place.get(value, len(place)) for value in column.values if value is not None], np.int64)
        return np.bincount(codes, minlength=len(place) + 1).astype(np.float64)

    def _parts(self, name: str, cell: Cell) -> Reals:
        """Rows of each part of a cell, and last those at its shortest number."""
        if name not in self._keys:
            values = np.asarray(self.table.columns[name].values, np.float64)
            values = values[~np.isnan(values)]
            self._keys[name] = np.sort(ordered_keys(values[~np.isin(values, np.array(self.manifest.binning.special))]))
        keys, width = self._keys[name], 1 << (ALL_BITS - cell.bits - cell.more)
        starts = np.array([cell.first + part * width for part in range(1 << cell.more)], np.uint64)
        ends, short = np.array([cell.last, cell.shortest], np.uint64), np.array([cell.shortest], np.uint64)
        last, upto = np.searchsorted(keys, ends, side="right")
        borders = np.append(np.searchsorted(keys, starts), last)
        return np.append(np.diff(borders), upto - np.searchsorted(keys, short)).astype(np.float64)

    def _cut(self, state: CommonBins) -> CommonBins:
        """Bins of every column, in the table's order."""
        bins = {}
        for name, column in self.table.columns.items():
            if name in self.given:
                bins[name] = self.given[name]
            elif column.kind == "numeric":
                bins[name] = self._intervals(name, state.cells[name], state.extra[name])
            else:
                bins[name] = self._groups(name, state.extra[name])
        return msgspec.structs.replace(state, bins=bins, open={}, cells={})

    def _intervals(self, name: str, cells: tuple[Cell, ...], special: tuple[float, ...]) -> Bins:
        settings = self.manifest.binning
        found = tuple(value for value, rows in zip(settings.special, special, strict=True) if rows >= self.manifest.privacy.minimum_cohort)
        rows = np.array([cell.rows for cell in cells])
        less = min(1.0, _MOST_REPEATED / max(1.0, float(rows.sum())))
        repeated = np.repeat(np.arange(len(cells), dtype=np.float64), np.ceil(rows * less).astype(np.int64))
        places = [math.ceil(edge) for edge in quantile_edges(repeated, settings.max_bins, settings.min_share)] if len(cells) else []
        return Bins(column=name, kind="numeric", edges=edges(cells, places), special=found, joined=(OWN,) * (len(found) + 1))

    def _groups(self, name: str, rows: tuple[float, ...]) -> Bins:
        """The rule of `bins.frequent_levels` on totals; no level below the cohort has a group of its own, nor one that is called "other"."""
        settings, least = self.manifest.binning, float(self.manifest.privacy.minimum_cohort)
        counts = {level: count for level, count in zip((*named_levels(self.levels[name]), OTHER), rows, strict=True) if count > 0}
        least = max(least, settings.min_share * sum(counts.values()))
        ranked = sorted((level for level, count in counts.items() if count >= least and level != OTHER), key=lambda v: (-counts[v], v))
        kept = ranked if len(ranked) == len(counts) <= settings.max_bins else ranked[: settings.max_bins - 1]
        groups = (*((level,) for level in kept), ())
        return Bins(column=name, kind="categorical", groups=groups, other=len(groups) - 1)

    # -- outcomes ---------------------------------------------------------------------------------------------------------------------

    def _outcomes(self, name: str, bins: Bins) -> Reals:
        """Training rows, and weight of goods and of bads, of each bin but absent, (size - 1, 3)."""
        train, w, bad = self.sample.train, self.weight[self.sample.train], self.label[self.sample.train] == 1
        codes = bins.codes(self.table.columns[name])[train]
        return np.column_stack([np.bincount(codes, weight, bins.absent) for weight in (None, w * ~bad, w * bad)]).astype(np.float64)

    def _weighed(self, state: CommonBins, bins: Mapping[str, Bins], total: Reals) -> CommonBins:
        whole: dict[str, Reals] = {}
        place = 0
        for name, found in bins.items():
            whole[name] = total[place : place + 3 * found.absent].reshape(-1, 3)
            place += 3 * found.absent
        first = next(iter(whole.values()), np.zeros((1, 3))).sum(axis=0)
        minimum = self.manifest.privacy.minimum_cohort
        if first[0] < minimum:
            what = f"only {int(first[0])} training rows over all banks (rule: minimum_cohort = {minimum})"
            raise PolicyRefusal("banks", what, "Lower [run] holdout, or bring more rows.", AbortCode.COHORT)
        if not (first[1] > 0 and first[2] > 0):
            raise DataError("banks", "the training rows have one class only", "Bring goods and bads, or another seed or holdout.")
        exponent = 60 - math.frexp(float(first[1] + first[2]))[1]  # as fine as 63 bits allow
        plan: dict[str, tuple[Bins, Counts]] = {}
        for name, found in bins.items():
            counts = np.zeros((found.size, 3), np.int64)
            counts[:-1, 0] = np.rint(whole[name][:, 0]).astype(np.int64)
            counts[:-1, 1:] = np.rint(np.ldexp(whole[name][:, 1:], exponent)).astype(np.int64)
            plan[name] = merge_small(found, counts, minimum)
        encoding, tables = finish(plan, self.manifest, exponent)
        return msgspec.structs.replace(state, encoding=encoding, tables=tables)
