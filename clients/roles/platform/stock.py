"""Stock: how often it turns over, how many days it lasts, and whether it grows.

A month's stock is the mean of its counts; a month without a count says nothing. Turnover is at sales prices (a platform does not know cost), so
that it compares firms of one industry.
"""

from __future__ import annotations

from typing import Final

import pandas as pd

from clients.roles.assembly import Found, Tables
from clients.roles.fields import days, months, whole
from clients.roles.monthly import Monthly
from clients.roles.platform.orders import WIDTHS
from clients.roles.series import Floats, level_mean, level_slope, ratio
from clients.roles.totals import Registry, Totals

YEAR: Final = 365


class Reader:
    """Stock counts reduced to months by firm."""

    def __init__(self, codes: Registry) -> None:
        self._firms, self._months = codes["firm"], Totals(("firm", "month"), ("number", "value"))

    def add(self, batch: pd.DataFrame) -> None:
        """One batch of dated records."""
        month, value = months(days(batch, "date")), whole(batch, "stock", "value")
        self._months.add(pd.DataFrame({"firm": self._firms(batch["firm"]), "month": month, "number": 1, "value": value}))

    def tables(self) -> Tables:
        """See assembly."""
        return {"months": self._months.result()}


def features(stock: Monthly, month: int) -> Found:
    """Of the stock counted before the month."""
    found: dict[str, Floats] = {}
    for width in WIDTHS:
        levels = stock.levels("value", "number", month, width)
        held = level_mean(levels)
        found[f"stock_{width}m"] = stock.known(month, width, held / 100)
        if width > WIDTHS[0]:
            found[f"stock_trend_{width}m"] = stock.known(month, width, ratio(level_slope(levels), held))
    return found


def turnover(stock: Monthly, orders: Monthly, month: int) -> Found:
    """Of stock against orders."""
    found: dict[str, Floats] = {}
    for width in WIDTHS:
        held = level_mean(stock.levels("value", "number", month, width))
        sold = orders.sum("amount", month, width) * (12 // width)  # in a year
        found |= {
            f"stock_turnover_{width}m": stock.known(month, width, orders.known(month, width, ratio(sold, held))),
            f"stock_days_{width}m": stock.known(month, width, orders.known(month, width, ratio(YEAR * held, sold))),
        }
    return found
