"""Balances and credit lines: how much is there, how low it fell, overdraft days, and how far the line is used.

A month's balance is the mean of the balances taken in it, be that one at its end or one a day; a month without one says nothing. A line of 0 is
no line.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import pandas as pd

from clients.roles.assembly import Found, Tables
from clients.roles.fields import ABSENT, days, months, whole
from clients.roles.monthly import Monthly
from clients.roles.series import Flags, Floats, level_mean, level_slope, ratio
from clients.roles.totals import Registry, Totals

WIDTHS: Final = (3, 6, 12)
GRID: Final = 1_000_000
"""The greatest utilisation is held in millionths."""


class Reader:
    """Balances reduced to months by firm. low: the lowest balance, with the other sign."""

    def __init__(self, codes: Registry) -> None:
        self._firms = codes["firm"]
        self._months = Totals(("firm", "month"), ("number", "balance", "said", "overdraft", "lines", "limit", "used"), ("low", "most"))

    def add(self, batch: pd.DataFrame) -> None:
        """One batch of dated records."""
        balance, limit, used, overdraft = (whole(batch, "balances", name) for name in ("balance", "limit", "used", "overdraft_days"))
        line = (limit > 0) & (used != ABSENT)
        said = overdraft != ABSENT
        rows = pd.DataFrame({"firm": self._firms(batch["firm"]), "month": months(days(batch, "date")), "number": 1, "balance": balance})
        rows["low"], rows["said"], rows["overdraft"] = -balance, said.astype(np.int64), np.where(said, overdraft, 0)
        rows["lines"], rows["limit"], rows["used"] = line.astype(np.int64), np.where(line, limit, 0), np.where(line, used, 0)
        rows["most"] = np.where(line, np.rint(used / np.where(line, limit, 1) * GRID), ABSENT).astype(np.int64)
        self._months.add(rows)

    def tables(self) -> Tables:
        """See assembly."""
        return {"months": self._months.result()}


def features(balances: Monthly, month: int) -> Found:
    """Of what was taken before the month."""
    found: dict[str, Floats] = {}
    for width in WIDTHS:
        levels, lines = balances.levels("balance", "number", month, width), balances.levels("used", "limit", month, width)
        taken, said = balances.present(month, width), balances.months("said", month, width) > 0
        lowest, most = -balances.months("low", month, width), balances.months("most", month, width)
        found |= {
            f"balance_{width}m": balances.known(month, width, level_mean(levels) / 100),
            f"balance_min_{width}m": balances.known(month, width, _half(taken, -_greatest(-lowest, taken) / 100)),
            f"balance_negative_months_{width}m": balances.known(month, width, _half(taken, ((lowest < 0) & taken).sum(axis=1))),
            f"overdraft_days_{width}m": balances.known(month, width, _half(said, balances.sum("overdraft", month, width))),
            f"utilisation_{width}m": balances.known(month, width, level_mean(lines)),
            f"utilisation_max_{width}m": balances.known(
                month, width, _half(np.isfinite(lines), _greatest(most, np.isfinite(lines)) / GRID)
            ),
        }
        if width > WIDTHS[0]:
            usual = level_mean(np.abs(levels))
            found[f"balance_trend_{width}m"] = balances.known(month, width, ratio(level_slope(levels), usual))
            found[f"utilisation_trend_{width}m"] = balances.known(month, width, level_slope(lines))
    return found


def _greatest(values: np.ndarray, there: Flags) -> Floats:
    """(firms,) the greatest of the months that are there."""
    return np.asarray(np.where(there, values.astype(np.float64), -np.inf).max(axis=1))


def _half(there: Flags, values: np.ndarray) -> Floats:
    """The values, missing where fewer than half of the window's months are there."""
    return np.where(2 * there.sum(axis=1) >= there.shape[1], values, np.nan)
