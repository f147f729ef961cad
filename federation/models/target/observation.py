"""The months at which rows are observed, and the last one whose outcomes are known. Months are datetime64[M].

A row as of month M was known on the first day of M: its features come of records before that day, its standing of the records of the month
before, its outcome of the records of the months M to M + performance_months - 1. So no record has a part in both sides of a row.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from federation.kernel.manifest import TargetSettings

Months = NDArray[np.datetime64]


def observed(settings: TargetSettings, months: Months) -> NDArray[np.bool_]:
    """Which of these months rows are observed at, (n,)."""
    number = months.astype("datetime64[M]").astype(np.int64)
    chosen = np.ones(len(number), bool)
    first = 0  # January 1970
    if settings.observe_from is not None:
        first = _number(settings.observe_from)
        chosen &= number >= first
    if settings.observe_to is not None:
        chosen &= number <= _number(settings.observe_to)
    return np.asarray(chosen & ((number - first) % settings.observe_every == 0))


def last_matured(settings: TargetSettings, last: np.datetime64) -> np.datetime64:
    """The last month whose performance window is over when the records end with month `last`."""
    matured: np.datetime64 = last.astype("datetime64[M]") - np.timedelta64(settings.performance_months - 1, "M")
    return matured


def reaches_over(settings: TargetSettings, as_of: NDArray[np.datetime64], day: np.datetime64) -> NDArray[np.bool_]:
    """Which rows' performance windows are not over on a day, (n,): on it, their outcomes were not known."""
    over = (as_of.astype("datetime64[M]") + np.timedelta64(settings.performance_months, "M")).astype("datetime64[D]")
    return np.asarray(over > day.astype("datetime64[D]"))


def _number(month: str) -> int:
    return int(np.datetime64(month, "M").astype(np.int64))
