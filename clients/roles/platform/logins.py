"""Logins: whether the merchant is still there. A day that is written down without a login is a day without one."""

from __future__ import annotations

import pandas as pd

from clients.roles.assembly import Found, Tables
from clients.roles.fields import days, months, whole
from clients.roles.monthly import Monthly
from clients.roles.platform.orders import WIDTHS
from clients.roles.series import growth, trend
from clients.roles.totals import Registry, Totals


class Reader:
    """Logins reduced to months by firm."""

    def __init__(self, codes: Registry) -> None:
        self._firms, self._months = codes["firm"], Totals(("firm", "month"), ("number", "days"), ("day",))

    def add(self, batch: pd.DataFrame) -> None:
        """One batch of dated records."""
        number, day = whole(batch, "logins", "count"), days(batch, "date")
        rows = pd.DataFrame({"firm": self._firms(batch["firm"]), "month": months(day), "day": day, "number": number, "days": 1})
        self._months.add(rows[number > 0])

    def tables(self) -> Tables:
        """See assembly."""
        return {"months": self._months.result()}


def features(logins: Monthly, month: int) -> Found:
    """Of the logins before the month."""
    quarter, previous = (logins.sum("number", month, 3, ago) for ago in (0, 3))
    found = {
        "logins_growth_3m": logins.known(month, 6, growth(quarter, previous)),
        "login_days_since_last": logins.days_since(month),
    }
    for width in WIDTHS:
        number = logins.months("number", month, width)
        found |= {
            f"logins_{width}m": logins.known(month, width, number.sum(axis=1)),
            f"login_days_{width}m": logins.known(month, width, logins.sum("days", month, width)),
            f"login_active_months_{width}m": logins.known(month, width, (number > 0).sum(axis=1)),
        }
        if width > WIDTHS[0]:
            found[f"logins_trend_{width}m"] = logins.known(month, width, trend(number))
    return found
