"""What a row of months says: growth, trend, volatility, likeness, gaps. Arrays are (firms, months), oldest month first; results (firms,).

Sums run month by month over all firms at once, so that a firm's figure does not depend, to the last bit, on which firms stand beside it.
"""

from __future__ import annotations

from itertools import combinations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Flags = NDArray[np.bool_]


def ratio(part: Floats | Ints, whole: Floats | Ints) -> Floats:
    """part / whole, missing where the whole is not above zero."""  # noqa: D403 - an argument's name
    above = whole > 0
    return np.where(above, part / np.where(above, whole, 1), np.nan)


def growth(now: Ints, before: Ints) -> Floats:
    """now / before - 1, missing where there was nothing before."""  # noqa: D403 - an argument's name
    return ratio(now, before) - 1.0


def total(months: Floats) -> Floats:
    """The sum of each row, oldest first."""
    added = np.zeros(len(months))
    for month in months.T:
        added = added + month
    return added


def trend(months: Ints) -> Floats:
    """Change a month as a share of the mean month: the median slope over all pairs of months (Theil 1950, Sen 1968), so that one odd month
    does not make a trend. Missing where the mean is not above zero.
    """
    return ratio(median_slope(months), months.sum(axis=1) / months.shape[1])


def median_slope(months: Ints | Floats) -> Floats:
    """Change a month: the median slope over all pairs of months that are not missing; missing where fewer than three are not."""
    x = months.astype(np.float64)
    slopes = np.stack([(x[:, later] - x[:, earlier]) / (later - earlier) for earlier, later in combinations(range(x.shape[1]), 2)], axis=1)
    slopes.sort(axis=1)  # missing ones come last
    pairs = np.isfinite(slopes).sum(axis=1)
    middle = np.clip(np.stack([(pairs - 1) // 2, pairs // 2], axis=1), 0, None)
    low, high = np.take_along_axis(slopes, middle, axis=1).T
    return np.where(pairs >= 3, low + (high - low) / 2, np.nan)


def variation(months: Ints) -> Floats:
    """Coefficient of variation: the standard deviation over the mean (divided by n). Missing where the mean is not above zero."""
    mean = months.sum(axis=1) / months.shape[1]
    return ratio(np.sqrt(total((months - mean[:, None]) ** 2) / months.shape[1]), mean)


def likeness(left: Ints, right: Ints) -> Floats:
    """Pearson's correlation of two rows of months; missing where one of them does not move."""
    a, b = (x - (x.sum(axis=1) / x.shape[1])[:, None] for x in (left, right))
    return np.clip(ratio(total(a * b), np.sqrt(total(a * a)) * np.sqrt(total(b * b))), -1.0, 1.0)


def longest(flags: Flags) -> Ints:
    """The longest run of months with the flag."""
    run = most = np.zeros(len(flags), np.int64)
    for month in flags.T:
        run = np.where(month, run + 1, 0)
        most = np.maximum(most, run)
    return most


def runs(flags: Flags, at_least: int) -> Ints:
    """How many runs of at least so many months with the flag."""
    run = number = np.zeros(len(flags), np.int64)
    for month in flags.T:
        run = np.where(month, run + 1, 0)
        number = number + (run == at_least)
    return number


def level_mean(levels: Floats) -> Floats:
    """The mean of a level (a balance, a stock) over the months in which it was taken; missing where that is fewer than half."""
    taken = np.isfinite(levels)
    number = taken.sum(axis=1)
    mean = ratio(total(np.where(taken, levels, 0.0)), number)
    return np.where(2 * number >= levels.shape[1], mean, np.nan)


def level_slope(levels: Floats) -> Floats:
    """`median_slope` of a level, missing where it was taken in fewer than half of the months."""
    return np.where(2 * np.isfinite(levels).sum(axis=1) >= levels.shape[1], median_slope(levels), np.nan)
