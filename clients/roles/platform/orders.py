"""Orders: turnover, activity, size and prices.

Turnover (GMV) is of all orders taken, those that were cancelled later among them: what was known on the day of the order. The one thing of an
order that is known later, its status, is used for the cancelled share alone (fulfilment).
"""

from __future__ import annotations

from typing import Final

import numpy as np
import pandas as pd

from clients.roles.assembly import Found, Tables
from clients.roles.course import course
from clients.roles.fields import ABSENT, coded, days, months, whole
from clients.roles.monthly import Monthly
from clients.roles.series import Flags, Floats, Ints, growth, longest, ratio, trend
from clients.roles.totals import Registry, Totals

WIDTHS: Final = (3, 6, 12)
GRID: Final = 10_000
"""Logarithms of prices are held in ten-thousandths, so that their sums are exact: a price is off by 0.005 % at most."""
_STATUS: Final = ("completed", "cancelled", "open")


class Reader:
    """Orders reduced: months by firm; buyers by firm, buyer and month; cancelled by firm, month, and the month in which that was known."""

    def __init__(self, codes: Registry) -> None:
        self._firms, self._buyers = codes["firm"], codes["buyer"]
        self._months = Totals(("firm", "month"), ("number", "amount", "stated", "priced", "log", "log2"), ("day",))
        self._by_buyer = Totals(("firm", "partner", "month"), ("number", "amount"))
        self._cancelled = Totals(("firm", "month", "known"), ("number",))

    def add(self, batch: pd.DataFrame) -> None:
        """One batch of dated records."""
        day, status, settled = days(batch, "date"), coded(batch, "status", _STATUS), days(batch, "settled")
        amount, pieces = whole(batch, "orders", "amount"), whole(batch, "orders", "quantity")
        priced = (pieces > 0) & (amount > 0)
        log = _log_price(amount, pieces, priced)
        month = months(day)
        rows = pd.DataFrame({
            "firm": self._firms(batch["firm"]), "partner": self._buyers(batch["buyer"]), "month": month, "day": day,
            "known": np.where(settled == ABSENT, month, months(settled)), "number": 1, "amount": amount,
            "stated": (status != ABSENT).astype(np.int64), "priced": priced.astype(np.int64), "log": log, "log2": log**2,
        })  # fmt: skip
        self._months.add(rows)
        self._by_buyer.add(rows)
        self._cancelled.add(rows[status == _STATUS.index("cancelled")])

    def tables(self) -> Tables:
        """See assembly."""
        return {"months": self._months.result(), "buyers": self._by_buyer.result(), "cancelled": self._cancelled.result()}


def features(orders: Monthly, month: int) -> Found:
    """Of what was ordered before the month."""
    active = orders.months("number", month, 12) > 0
    quarter, previous = (orders.sum("number", month, 3, ago) for ago in (0, 3))
    found = course("gmv", orders, "amount", month) | {
        "orders_growth_3m": orders.known(month, 6, growth(quarter, previous)),
        "order_longest_gap_12m": orders.known(month, 12, longest(~active)),
        "order_days_since_last": orders.days_since(month),
        "order_history_months": orders.history(month),
    }
    for width in WIDTHS:
        amount, number = orders.sum("amount", month, width), orders.sum("number", month, width)
        found |= {
            f"gmv_{width}m": orders.known(month, width, amount / 100),
            f"orders_{width}m": orders.known(month, width, number),
            f"order_value_{width}m": orders.known(month, width, ratio(amount, number * 100)),
            f"order_active_months_{width}m": orders.known(month, width, active[:, -width:].sum(axis=1)),
            f"price_dispersion_{width}m": orders.known(month, width, _dispersion(orders, month, width)),
        }
    for width in (6, 12):
        found[f"orders_trend_{width}m"] = orders.known(month, width, trend(orders.months("number", month, width)))
    return found


def _log_price(amount: Ints, pieces: Ints, priced: Flags) -> Ints:
    """(n,) logarithm of the price of a piece (in fen) in ten-thousandths; 0 where there is none."""
    price = np.where(priced, amount, 1) / np.where(priced, pieces, 1)
    return np.asarray(np.rint(np.log(price) * GRID), dtype=np.int64)


def _dispersion(orders: Monthly, month: int, width: int) -> Floats:
    """(firms,) standard deviation (divided by n) of the logarithm of a piece's price; missing with fewer than two orders that have one."""
    number, log, log2 = (orders.sum(name, month, width) for name in ("priced", "log", "log2"))
    variance = np.clip(ratio(log2, number) - ratio(log, number) ** 2, 0, None)
    return np.where(number >= 2, np.sqrt(variance) / GRID, np.nan)
