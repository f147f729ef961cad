"""Weight of evidence, information value and population stability (Siddiqi 2006, Credit Risk Scorecards, chapter 6).

    WOE_b = ln( (goods_b / G) / (bads_b / B) )       G, B: goods and bads of all bins counted; higher is safer
    IV    = sum_b (goods_b / G - bads_b / B) WOE_b
    PSI   = sum_b (a_b - e_b) ln(a_b / e_b)          a, e: actual and expected shares

Smoothing: `woe_smoothing` (default 0.5, in units of weight) is added to both the goods and the bads of a bin *only when one of the two is
zero*; G and B stay as counted. So every other bin has the textbook value, which anybody can recompute from its counts, and no bin is
infinite. A bin without goods and bads is neutral: WOE 0. The pooled reference is this same code.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from federation.kernel.errors import AbortCode, DataError

Reals = NDArray[np.float64]
Numbers = NDArray[np.int64] | Reals


class WoeRow(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One bin. rows: training rows; share: of all training rows; goods, bads: weighted, None where they were not released;
    bad_rate: None without goods and bads; woe; iv: its part of the information value.
    """

    label: str
    rows: int
    share: float
    goods: float | None
    bads: float | None
    bad_rate: float | None
    woe: float
    iv: float


class WoeTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One column's bins in order, absent last."""

    column: str
    rows: tuple[WoeRow, ...]

    @property
    def iv(self) -> float:
        """The information value."""
        return sum(row.iv for row in self.rows)

    @property
    def values(self) -> tuple[float, ...]:
        """The WOE of each bin."""
        return tuple(row.woe for row in self.rows)

    def document(self, points: Sequence[int] = ()) -> dict[str, Any]:
        """As JSON values. points: of each bin, on a scorecard."""
        bins: list[dict[str, Any]] = [msgspec.to_builtins(row) for row in self.rows]
        for row, value in zip(bins, points, strict=False):
            row["points"] = value
        return {"column": self.column, "iv": self.iv, "bins": bins}


def shares(goods: Numbers, bads: Numbers, smoothing: float) -> tuple[Reals, Reals]:
    """Each bin's share of the goods and of the bads, (k,) each, smoothed as stated above; both 1 for a bin without either.

    Raises DataError when all bins together have one class only.
    """
    g, b = goods.astype(np.float64), bads.astype(np.float64)
    if not (g.sum() > 0 and b.sum() > 0):
        raise DataError("binning", "the training rows have one class only", "Bring goods and bads.", AbortCode.DATA)
    zero = ((g == 0) | (b == 0)) * smoothing
    empty = (g == 0) & (b == 0)
    return np.where(empty, 1.0, (g + zero) / g.sum()), np.where(empty, 1.0, (b + zero) / b.sum())


def weight_of_evidence(goods: Numbers, bads: Numbers, smoothing: float = 0.5) -> Reals:
    """WOE of each bin, (k,). goods, bads: (k,) in units of weight."""
    share_of_goods, share_of_bads = shares(goods, bads, smoothing)
    return np.asarray(np.log(share_of_goods / share_of_bads), np.float64)


def information_value(goods: Numbers, bads: Numbers, smoothing: float = 0.5) -> float:
    """IV over all bins; a smoothed bin enters with its smoothed shares, so that no part is negative."""
    return float(_parts(goods, bads, smoothing).sum())


def stability(expected: Numbers, actual: Numbers, smoothing: float = 0.5) -> float:
    """PSI of two counts over the same bins, (k,) each; smoothed like WOE. Raises DataError when either is all zero."""
    return information_value(actual, expected, smoothing)


def tabulate(
    column: str, labels: tuple[str, ...], rows: NDArray[np.int64], goods: Reals, bads: Reals, smoothing: float, *, hidden: int | None = None
) -> WoeTable:
    """One column's table. rows, goods, bads: (k,), the latter in units of weight; hidden: a bin whose goods and bads were not released
    (they must be zero here): it counts in no total and is neutral.
    """
    woe, parts = weight_of_evidence(goods, bads, smoothing), _parts(goods, bads, smoothing)
    total = int(rows.sum())
    out = []
    for place, label in enumerate(labels):
        g, b, n, shown = float(goods[place]), float(bads[place]), int(rows[place]), place != hidden
        rate = b / (g + b) if g + b > 0 else None
        share = n / total if total else 0.0
        out.append(WoeRow(label, n, share, g if shown else None, b if shown else None, rate, float(woe[place]), float(parts[place])))
    return WoeTable(column, tuple(out))


def _parts(goods: Numbers, bads: Numbers, smoothing: float) -> Reals:
    share_of_goods, share_of_bads = shares(goods, bads, smoothing)
    return (share_of_goods - share_of_bads) * np.log(share_of_goods / share_of_bads)
