"""Monthly lists of one firm, and what is said of them, in plain Python: a second computation for the adapters, which work on arrays."""

from __future__ import annotations

import statistics
from collections import defaultdict
from itertools import combinations, groupby

import numpy as np
import pandas as pd

NAN = float("nan")


def month_of(day) -> int:
    return (day.year - 1970) * 12 + day.month - 1


def number(month: np.datetime64) -> int:
    return month_of(pd.Timestamp(month))


def first_day(month: int) -> pd.Timestamp:
    return pd.Timestamp(1970 + month // 12, month % 12 + 1, 1)


def before(frame: pd.DataFrame, firm: str, column: str, month: int) -> pd.DataFrame:
    """A firm's records that are known as of the month."""
    return frame[(frame["firm"] == firm) & frame[column].notna() & (frame[column] < first_day(month))]


def by_month(days, values) -> dict[int, float]:
    sums: dict[int, float] = defaultdict(int)
    for day, value in zip(days, values, strict=True):
        sums[month_of(day)] += value
    return sums


def window(sums: dict[int, float], month: int, width: int, ago: int = 0) -> list:
    return [sums.get(m, 0) for m in range(month - ago - width, month - ago)]


def over(part: float, whole: float) -> float:
    return part / whole if whole > 0 else NAN


def grown(now: float, then: float) -> float:
    return now / then - 1 if then > 0 else NAN


def slope(values: list) -> float:
    pairs = [(b - a) / (j - i) for (i, a), (j, b) in combinations(enumerate(values), 2) if a is not None and b is not None]
    return statistics.median(pairs) if len(pairs) >= 3 else NAN


def tilt(values: list) -> float:
    mean = sum(values) / len(values)
    return slope(values) / mean if mean > 0 else NAN


def unevenness(values: list) -> float:
    mean = sum(values) / len(values)
    return statistics.pstdev(values) / mean if mean > 0 else NAN


def alike(left: list, right: list) -> float:
    return statistics.correlation(left, right) if len(set(left)) > 1 and len(set(right)) > 1 else NAN


def longest_zero(values: list) -> int:
    return max((len(list(run)) for zero, run in groupby(values, lambda value: value == 0) if zero), default=0)


def course(name: str, sums: dict[int, float], month: int, history: float) -> dict[str, float]:
    def sum_of(width: int, ago: int = 0) -> float:
        return sum(window(sums, month, width, ago))

    year = window(sums, month, 12)
    found = {
        f"{name}_growth_3m": (6, grown(sum_of(3), sum_of(3, 3))),
        f"{name}_growth_3m_on_year": (15, grown(sum_of(3), sum_of(3, 12))),
        f"{name}_growth_12m": (24, grown(sum_of(12), sum_of(12, 12))),
        f"{name}_seasonality_24m": (24, alike(year, window(sums, month, 12, 12))),
        f"{name}_peak_quarter_share_12m": (12, over(max(sum(year[i : i + 3]) for i in range(10)), sum(year))),
    }
    for width in (6, 12):
        found[f"{name}_trend_{width}m"] = (width, tilt(window(sums, month, width)))
        found[f"{name}_cv_{width}m"] = (width, unevenness(window(sums, month, width)))
    return {key: value if history >= needed else NAN for key, (needed, value) in found.items()}


def spread(who: str, rows: pd.DataFrame, other: str, month: int, width: int, history: float) -> dict[str, float]:
    """rows: of known records, with the counterparty, `date` and `amount`."""
    named = rows[rows[other].notna()]
    inside = named[named["date"] >= first_day(month - width)]
    earlier = set(named.loc[named["date"] < first_day(month - width), other])
    sums = {who: group["amount"].sum() for who, group in inside.groupby(other)}
    positive = [value for value in sums.values() if value > 0]
    whole = sum(positive)
    found = {
        f"{who}s_{width}m": len(sums),
        f"{who}_hhi_{width}m": sum((value / whole) ** 2 for value in positive) if positive else NAN,
        f"{who}_top_share_{width}m": max(positive) / whole if positive else NAN,
        f"{who}_repeat_share_{width}m": over(sum(count >= 2 for count in inside[other].value_counts()), len(sums)),
    }
    found = {key: value if history >= width else NAN for key, value in found.items()}
    return found | {f"{who}s_new_{width}m": len(set(sums) - earlier) if history >= 2 * width else NAN}


def history_of(days: pd.Series, month: int) -> float:
    return month - month_of(days.min()) if len(days) else NAN


def level(frame: pd.DataFrame, column: str, month: int, width: int) -> list:
    """The mean of each month of the window, None for a month without one."""
    means = {m: group[column].mean() for m, group in frame.groupby(frame["date"].map(month_of))}
    return [means.get(m) for m in range(month - width, month)]


def mean_level(values: list) -> float:
    there = [value for value in values if value is not None]
    return sum(there) / len(there) if there and 2 * len(there) >= len(values) else NAN


def level_slope(values: list) -> float:
    return slope(values) if 2 * sum(value is not None for value in values) >= len(values) else NAN
