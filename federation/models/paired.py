"""What one model ranks better than another on the same rows: differences of AUC and KS with paired bootstrap intervals, by firm.

A resample draws firms with replacement, as many with a bad row and as many without as there are (each stratum by itself, so that no resample
lacks a class), and takes all rows of each; both models are measured on the same resample. Percentile intervals (Efron and Tibshirani 1993,
chapter 13). Paired, since what makes a sample easy makes it easy for both.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from federation.kernel.errors import DataError
from federation.models.metrics import Sample, ranking

Floats = NDArray[np.float64]
RESAMPLES = 1_000


@dataclass(frozen=True)
class Change:
    """A figure with and without; low, high: 95 % interval of the difference (with less without)."""

    with_it: float
    without: float
    low: float
    high: float

    @property
    def gain(self) -> float:
        """What it is better with it."""
        return self.with_it - self.without


@dataclass(frozen=True)
class Gain:
    """auc, ks: of one sample; rows, firms: in it."""

    auc: Change
    ks: Change
    rows: int
    firms: int


def gain(
    firms: Sequence[str], label: ArrayLike, with_it: ArrayLike, without: ArrayLike, weight: ArrayLike, seed: int, resamples: int = RESAMPLES
) -> Gain:
    """firms, label (0, 1), with_it, without (scores, higher: riskier), weight: (n,), of the same rows. Raises DataError without both classes."""
    bad, weights = np.asarray(label) == 1, np.asarray(weight, np.float64)
    if not (weights[bad].any() and weights[~bad].any()):
        raise DataError("sources", "the sample has no goods or no bads", "Use another [run] holdout, or bring more rows.")
    names, firm = np.unique(np.asarray(firms, object), return_inverse=True)
    ever = np.unique(firm[bad])
    strata = [rows for rows in (ever, np.setdiff1d(np.arange(len(names)), ever)) if len(rows)]
    orders = [np.argsort(np.asarray(score, np.float64), kind="stable") for score in (with_it, without)]
    samples = [Sample.of(label, score, None, weights) for score in (with_it, without)]
    random = np.random.Generator(np.random.Philox(seed))
    drawn = np.empty((resamples, 2))
    times = np.zeros(len(names))
    for resample in range(resamples):
        for stratum in strata:
            times[stratum] = np.bincount(random.integers(0, len(stratum), len(stratum)), minlength=len(stratum))
        rows = times[firm] * weights
        first, second = (ranking(sample, rows[order]) for sample, order in zip(samples, orders, strict=True))
        drawn[resample] = np.subtract(first, second)
    low, high = np.nanpercentile(drawn, [2.5, 97.5], axis=0)
    whole = [ranking(sample, sample.weight) for sample in samples]
    auc, ks = (Change(whole[0][at], whole[1][at], float(low[at]), float(high[at])) for at in range(2))
    return Gain(auc, ks, len(bad), len(names))
