"""How well scores separate goods from bads, with honest intervals: what a label party computes on its own rows after a fit.

Everything is weighted, exact on ties and defined for every sample: a sample of one class has no AUC, and says so, instead of raising.
Conventions: label 1 = bad; a *higher* score or probability means *more* risk (pass minus the points of a scorecard). A tied group of
scores counts as one step of both distribution functions, so AUC is the weighted Mann-Whitney statistic with half for ties and KS is read
only between groups. Intervals: percentile bootstrap (Efron and Tibshirani 1993, chapter 13), stratified by label, rows drawn with
their weights.

The curves contain at most 200 points of the label party's own sample and stay with it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import msgspec
import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit

from federation.kernel.errors import DataError
from federation.models.sample import SPLITS

Floats = NDArray[np.float64]

NAMES = ("auc", "ks", "gini", "brier", "log_loss")
CURVE_POINTS = 200
_NORMAL_95 = 1.959963984540054


@dataclass(frozen=True)
class Metric:
    """One figure, or None and why this sample does not define it; interval: (low, high) at 95 %, None without a bootstrap."""

    value: float | None
    reason: str = ""
    interval: tuple[float, float] | None = None


@dataclass(frozen=True)
class Measures:
    """The figures of one split.  n: rows; goods, bads: rows of each class; weight: their total weight."""

    auc: Metric
    ks: Metric
    gini: Metric
    brier: Metric
    log_loss: Metric
    n: int
    goods: int
    bads: int
    weight: float

    def document(self) -> dict[str, object]:
        """Its entry of result.json: values (None where undefined), n, goods, bads, intervals{name: [low, high]}, reasons{name}."""
        metrics = {name: getattr(self, name) for name in NAMES}
        return {
            **{name: metric.value for name, metric in metrics.items()},
            "n": self.n,
            "goods": self.goods,
            "bads": self.bads,
            "intervals": {name: list(metric.interval) for name, metric in metrics.items() if metric.interval is not None},
            "reasons": {name: metric.reason for name, metric in metrics.items() if metric.reason},
        }


@dataclass(frozen=True)
class Sample:
    """A split, checked and sorted by score, so that every figure and every resample is a few passes over it.

    bad: (n,) bool; score: (n,) ascending; probability: (n,) of being bad, or None; weight: (n,) >= 0. All in the order of the scores.
    """

    bad: NDArray[np.bool_]
    score: Floats
    weight: Floats
    probability: Floats | None = None

    @classmethod
    def of(cls, label: ArrayLike, score: ArrayLike, probability: ArrayLike | None = None, weight: ArrayLike | None = None) -> Sample:
        """Check and sort. label: (n,) of 0 and 1; score: (n,) finite; probability: (n,) in [0, 1]; weight: (n,) finite, >= 0, default 1.

        Raises DataError that names the argument and the number of offending rows, never a value.
        """
        labels, scores = _vector("label", label), _vector("score", score)
        weights = np.ones(len(labels)) if weight is None else _vector("weight", weight)
        chances = None if probability is None else _vector("probability", probability)
        for name, column in (("score", scores), ("weight", weights), ("probability", chances)):
            if column is not None and len(column) != len(labels):
                raise DataError("metrics", f"{name} has {len(column)} rows and label has {len(labels)}", "Pass one value for each row.")
        _require("label", (labels == 0) | (labels == 1), "0 or 1")
        _require("weight", weights >= 0, "not negative")
        if chances is not None:
            _require("probability", (chances >= 0) & (chances <= 1), "between 0 and 1")
        order = np.argsort(scores, kind="stable")
        return cls(labels[order] == 1, scores[order], weights[order], None if chances is None else chances[order])

    @cached_property
    def ends(self) -> NDArray[np.intp]:
        """Index of the last row of each group of tied scores, ascending."""
        return np.flatnonzero(np.append(self.score[1:] != self.score[:-1], True)) if len(self.score) else np.zeros(0, np.intp)

    @cached_property
    def losses(self) -> tuple[Floats, Floats] | None:
        """Each row's squared error and log loss, or None without probabilities; probabilities are clipped as in scikit-learn."""
        if self.probability is None:
            return None
        smallest = np.finfo(np.float64).eps
        clipped = np.clip(self.probability, smallest, 1 - smallest)
        return (self.probability - self.bad) ** 2, -np.where(self.bad, np.log(clipped), np.log1p(-clipped))

    def cumulative(self, weight: Floats) -> tuple[Floats, Floats]:
        """Weight of bads and of goods with a score up to each tied group's, two arrays (groups,)."""
        bads = np.cumsum(weight * self.bad)[self.ends]
        return bads, np.cumsum(weight)[self.ends] - bads


def by_split(
    splits: NDArray[Any], label: NDArray[Any], score: Floats, weight: Floats, seed: int | None = None
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Figures (with intervals where a seed is given) and curves of each split, as JSON values.

    splits: (n,) the split of each row; label: (n,) of 0 and 1; score: (n,) log odds of bad; weight: (n,).
    """
    figures, drawn = {}, {}
    for split in SPLITS:
        chosen = splits == split
        sample = Sample.of(label[chosen], score[chosen], expit(score[chosen]), weight[chosen])
        figures[split] = measure(sample, None if seed is None else np.random.Generator(np.random.Philox(seed))).document()
        drawn[split] = msgspec.to_builtins(curves(sample))
    return figures, drawn


def measure(sample: Sample, random: np.random.Generator | None = None, resamples: int = 200) -> Measures:
    """All figures of a split; with `random`, 95 % intervals from that many bootstrap resamples (40,000 rows: about half a second)."""
    figures = dict(zip(NAMES, _figures(sample, sample.weight), strict=True))
    intervals = {} if random is None else _intervals(sample, random, resamples)
    bads = int(np.count_nonzero(sample.bad))
    reason = _undefined(sample)
    metrics = {
        name: Metric(None, _reason(name, sample, reason)) if np.isnan(value) else Metric(float(value), interval=intervals.get(name))
        for name, value in figures.items()
    }
    return Measures(**metrics, n=len(sample.score), goods=len(sample.score) - bads, bads=bads, weight=float(sample.weight.sum()))


def ranking(sample: Sample, weight: Floats) -> tuple[float, float]:
    """AUC and KS under these row weights, in the order of the sample's scores; NaN where a class has none."""
    auc, ks, *_ = _figures(sample, weight)
    return auc, ks


def _figures(sample: Sample, weight: Floats) -> tuple[float, float, float, float, float]:
    """The figures in the order of NAMES under these row weights, NaN where undefined."""
    total = float(weight.sum())
    auc = ks = brier = log_loss = float("nan")
    if total > 0:
        bads, goods = sample.cumulative(weight)
        if bads[-1] > 0 and goods[-1] > 0:
            below, above = goods / goods[-1], bads / bads[-1]
            # trapezoids under (goods, bads) accumulated from the safest score: the area is P(good riskier) + half the ties
            auc = 1.0 - _dot(np.diff(below, prepend=0.0), above + np.append(0.0, above[:-1])) / 2
            ks = float(np.max(np.abs(below - above)))
        if sample.losses is not None:
            brier, log_loss = (_dot(weight, loss) / total for loss in sample.losses)
    return auc, ks, 2 * auc - 1, brier, log_loss


def _dot(left: Floats, right: Floats) -> float:
    """The inner product without BLAS, whose threads give other bits and stall on a busy machine."""
    return float(np.sum(left * right))


def _intervals(sample: Sample, random: np.random.Generator, resamples: int) -> dict[str, tuple[float, float]]:
    """Percentile intervals: a resample draws as many bads and goods as there are, with replacement, as multiplicities of sorted rows."""
    strata = [rows for rows in (np.flatnonzero(sample.bad), np.flatnonzero(~sample.bad)) if len(rows)]
    if not strata or resamples < 1:
        return {}
    drawn = np.empty((resamples, len(NAMES)))
    times = np.zeros(len(sample.score))
    for resample in range(resamples):
        for rows in strata:
            times[rows] = np.bincount(random.integers(0, len(rows), len(rows)), minlength=len(rows))
        drawn[resample] = _figures(sample, sample.weight * times)
    kept = ~np.isnan(drawn)
    return {
        name: (float(low), float(high))
        for column, name in enumerate(NAMES)
        if kept[:, column].any()
        for low, high in [np.percentile(drawn[kept[:, column], column], [2.5, 97.5])]
    }


def _undefined(sample: Sample) -> str:
    """Why ranking figures are undefined, or empty."""
    if not len(sample.score):
        return "no rows"
    if not sample.weight[sample.bad].any():
        return "no bads in this sample"
    return "" if sample.weight[~sample.bad].any() else "no goods in this sample"


def _reason(name: str, sample: Sample, ranking: str) -> str:
    """Why one figure is None."""
    if name in {"auc", "ks", "gini"}:
        return ranking
    return "no rows" if not sample.weight.any() else "no probabilities were given"


def _vector(name: str, values: ArrayLike) -> Floats:
    """Finite float64 of one dimension."""
    vector = np.asarray(values, np.float64)
    if vector.ndim != 1:
        raise DataError("metrics", f"{name} has {vector.ndim} dimensions", "Pass one value for each row.")
    _require(name, np.isfinite(vector), "finite")
    return vector


def _require(name: str, holds: NDArray[np.bool_], rule: str) -> None:
    broken = int(np.count_nonzero(~holds))
    if broken:
        raise DataError("metrics", f"{name} has {broken} of {len(holds)} values that are not {rule}", "Score the rows again.")


@dataclass(frozen=True)
class Line:
    """A curve as points, at most 200: x and y of equal length, both ascending."""

    x: tuple[float, ...]
    y: tuple[float, ...]


@dataclass(frozen=True)
class KsCurve:
    """Share of goods and of bads with a score up to the given share of the population; `at`: the share where they are furthest apart."""

    population: tuple[float, ...]
    goods: tuple[float, ...]
    bads: tuple[float, ...]
    at: float
    ks: float


@dataclass(frozen=True)
class CalibrationPoint:
    """A decile: mean predicted and observed bad rate, weighted; low, high: 95 % Wilson interval of the observed rate; n: rows."""

    predicted: float
    observed: float
    low: float
    high: float
    n: int


@dataclass(frozen=True)
class Histogram:
    """Share of the goods' and of the bads' weight in each bar.  edges: (bars + 1,)."""

    edges: tuple[float, ...]
    goods: tuple[float, ...]
    bads: tuple[float, ...]


@dataclass(frozen=True)
class Curves:
    """What the report draws for one split; a part is None or empty where the sample does not define it. For JSON: msgspec.to_builtins."""

    roc: Line | None = None
    ks: KsCurve | None = None
    calibration: tuple[CalibrationPoint, ...] = field(default=())
    histogram: Histogram | None = None


def curves(sample: Sample, bars: int = 30) -> Curves:
    """ROC, KS, calibration by decile and score histogram of one split."""
    if not sample.weight.any():
        return Curves()
    if _undefined(sample):
        return Curves(calibration=_calibration(sample))
    bads, goods = sample.cumulative(sample.weight)
    population = np.append(0.0, (bads + goods) / (bads[-1] + goods[-1]))
    below, above = np.append(0.0, goods / goods[-1]), np.append(0.0, bads / bads[-1])
    apart = int(np.argmax(np.abs(below - above)))
    shown = _thin(below + above, keep=apart)
    return Curves(
        roc=Line(_tuple(1 - below[shown][::-1]), _tuple(1 - above[shown][::-1])),
        ks=KsCurve(
            _tuple(population[shown]),
            _tuple(below[shown]),
            _tuple(above[shown]),
            float(population[apart]),
            float(abs(below[apart] - above[apart])),
        ),
        calibration=_calibration(sample),
        histogram=_histogram(sample, bars),
    )


def _thin(along: Floats, keep: int) -> NDArray[np.intp]:
    """Indices of at most 200 points spread evenly by arc length (`along` ascends from 0), with both ends and the point `keep`."""
    if len(along) <= CURVE_POINTS:
        return np.arange(len(along))
    wanted = np.searchsorted(along, np.linspace(0, along[-1], CURVE_POINTS - 2))
    return np.unique(np.concatenate([np.minimum(wanted, len(along) - 1), [0, keep, len(along) - 1]]))[:CURVE_POINTS]


def _calibration(sample: Sample) -> tuple[CalibrationPoint, ...]:
    """Ten groups of equal weight by predicted probability; equal probabilities stay in one group."""
    if sample.probability is None:
        return ()
    order = np.argsort(sample.probability, kind="stable")
    chance, bad, weight = sample.probability[order], sample.bad[order], sample.weight[order]
    middle = np.cumsum(weight) - weight / 2
    decile = np.minimum((10 * middle / weight.sum()).astype(np.intp), 9)
    first = np.append(True, chance[1:] != chance[:-1])
    decile = decile[np.maximum.accumulate(np.where(first, np.arange(len(chance)), 0))]
    points = (_decile(chance[rows], bad[rows], weight[rows]) for rows in (decile == group for group in range(10)) if weight[rows].any())
    return tuple(points)


def _decile(chance: Floats, bad: NDArray[np.bool_], weight: Floats) -> CalibrationPoint:
    total = float(weight.sum())
    observed = float(weight @ bad) / total
    rows = total**2 / float(weight @ weight)  # Kish's effective size: what an interval may lean on when weights differ
    centre = (observed + _NORMAL_95**2 / (2 * rows)) / (1 + _NORMAL_95**2 / rows)
    half = _NORMAL_95 / (1 + _NORMAL_95**2 / rows) * np.sqrt(observed * (1 - observed) / rows + _NORMAL_95**2 / (4 * rows**2))
    low, high = min(max(0.0, centre - half), observed), max(min(1.0, centre + half), observed)
    return CalibrationPoint(float(weight @ chance) / total, observed, float(low), float(high), len(chance))


def _histogram(sample: Sample, bars: int) -> Histogram:
    """Bars between the 0.5th and 99.5th percentile of the scores; what lies outside is counted in the outer bars."""
    low, high = np.percentile(sample.score, [0.5, 99.5])
    edges = np.linspace(low, high if high > low else low + 1.0, bars + 1)
    inside = np.clip(sample.score, edges[0], edges[-1])
    goods, bads = (np.histogram(inside[rows], edges, weights=sample.weight[rows])[0] for rows in (~sample.bad, sample.bad))
    return Histogram(_tuple(edges), _tuple(goods / goods.sum()), _tuple(bads / bads.sum()))


def _tuple(values: Floats) -> tuple[float, ...]:
    return tuple(float(value) for value in values)
