"""What both sides of binning share: the result, the grid of weights, the caps, and counts to WOE.

The protocol itself is in `binning`; everything here is a function of counts, which the pooled reference calls too.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from federation.kernel.errors import AbortCode, DataError, PolicyRefusal
from federation.kernel.manifest import Manifest, PrivacySettings
from federation.kernel.state import State
from federation.models.bin_merging import Counts, make_monotone, merge_few_bads
from federation.models.bins import Bins, cut, same_kind
from federation.models.encoding import Encoding, Woe
from federation.models.table import Column
from federation.models.woe import WoeTable, tabulate

Columns = Mapping[str, Column]
Integers = NDArray[np.int64]

WEIGHT_BITS = 30
"""A weight is an integer of at most 2^30: over fewer than 2^27 rows a sum stays below 2^57, the room of one answer."""


class Binned(State, frozen=True):
    """One party's result. encoding: WOE of each column; tables: in the same order; matched: training rows that the party has;
    sizes: bin sizes, released: label-dependent counts, that this party was told (label party: told to all holders);
    allowed: the cap on `released` for one holder, at the label party, None at a holder.
    """

    encoding: Encoding
    tables: tuple[WoeTable, ...]
    matched: int
    sizes: int
    released: int
    allowed: int | None = None


@dataclass(frozen=True)
class Cap:
    """How many answers one holder may have: sizes, and counts that depend on labels; rule: how that came about."""

    sizes: int
    counts: int
    rule: str

    @classmethod
    def of(cls, rows: int, bads: int, privacy: PrivacySettings) -> Cap:
        """The caps for so many training rows and bads among them."""
        most = privacy.max_answers
        if privacy.label_disclosure:
            return cls(most, most, "max_answers")
        if privacy.max_released_counts is not None:
            counts = min(most, privacy.max_released_counts)
            return cls(min(most, max(rows // 10, counts)), counts, "max_released_counts")
        return cls(min(most, rows // 10), min(most, bads // 10), "a tenth of the bads in training, for sizes a tenth of its rows")

    def check(self, where: str, holder: str, asked: int, allowed: int, what: str) -> None:
        """Raises PolicyRefusal, code CAP."""
        if asked > allowed:
            raise PolicyRefusal(
                where,
                f"{holder} asks for {asked} {what}, {allowed} are allowed (rule: {self.rule})",
                "Nothing that depends on a label was sent. Ask for fewer bins ([binning] max_bins, or fewer columns), or let the parties "
                "agree that labels may be worked out with [privacy] label_disclosure = true.",
                AbortCode.CAP,
            )


@dataclass(frozen=True)
class WeightCode:
    """Weights as integers in units of 2^-exponent. weighted = False: every weight is one, exponent 0."""

    weighted: bool
    exponent: int

    @classmethod
    def of(cls, weight: NDArray[np.float64]) -> WeightCode:
        """The finest grid on which the largest weight is at most 2^30. Raises DataError."""
        if not (np.isfinite(weight).all() and (weight >= 0).all() and (weight > 0).any()):
            raise DataError("column weight", "has values that are negative, not finite, or all zero", "Correct the weights.")
        if (weight == 1).all():
            return cls(weighted=False, exponent=0)
        return cls(weighted=True, exponent=WEIGHT_BITS - math.frexp(float(weight.max()))[1])

    @property
    def bits(self) -> int:
        """Magnitudes are at most 2^bits."""
        return WEIGHT_BITS if self.weighted else 0

    def integers(self, weight: NDArray[np.float64]) -> Integers:
        """Weights on the grid, ties to even, (n,)."""
        return np.rint(np.ldexp(weight, self.exponent)).astype(np.int64)


def require_cohort(where: str, rows: int, manifest: Manifest, what: str) -> None:
    """Raises PolicyRefusal (code COHORT) below the minimum cohort."""
    minimum = manifest.privacy.minimum_cohort
    if rows < minimum:
        raise PolicyRefusal(
            where,
            f"{rows} {what} (rule: minimum_cohort = {minimum})",
            "Nothing more was sent. Bring more rows or another universe.",
            AbortCode.COHORT,
        )


def cut_columns(columns: Columns, manifest: Manifest, given: Mapping[str, Bins]) -> dict[str, Bins]:
    """The bins of each column before any count: the given ones (edited by hand) where there are, else from the whole file."""
    same_kind(given, columns)
    settings = manifest.binning
    return {
        name: given[name] if name in given else cut(column, settings.max_bins, settings.min_share, settings.special)
        for name, column in columns.items()
    }


def finish(plan: Mapping[str, tuple[Bins, Counts]], manifest: Manifest, exponent: int) -> tuple[Encoding, tuple[WoeTable, ...]]:
    """Encoding and tables from counted bins: too few bads are merged, then the bad rate is made monotone where asked, then WOE.

    plan: bins and counts (size, 3) of rows, goods and bads, the latter on the grid 2^-exponent, absent last (zero goods and bads where they
    were not released).
    """
    settings, parts, tables = manifest.binning, [], []
    for name, (found, counted) in plan.items():
        bins, counts = merge_few_bads(found, counted, math.ceil(math.ldexp(settings.min_bads, exponent)))
        direction = bins.direction or (None if settings.monotone == "none" else settings.monotone)
        if direction is not None:
            bins, counts = make_monotone(bins, counts, direction, settings.woe_smoothing)
        rows, weights = counts[:, 0], np.ldexp(counts[:, 1:].astype(np.float64), -exponent)
        hidden = bins.absent if 0 < rows[-1] < manifest.privacy.minimum_cohort else None
        table = tabulate(name, bins.labels, rows, weights[:, 0], weights[:, 1], settings.woe_smoothing, hidden=hidden)
        parts.append(Woe(name, bins, table.values))
        tables.append(table)
    return Encoding(tuple(parts)), tuple(tables)
