"""The last visit form before a month: small data, as the officer wrote it down on the day.

One form speaks, the last: what it leaves blank is missing, whatever an earlier one said. A form of more than 24 months ago speaks no more.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from clients.roles.assembly import Found, Tables
from clients.roles.fields import ABSENT, coded, days, months, whole
from clients.roles.monthly import LONGEST, Monthly
from clients.roles.series import Floats
from clients.roles.totals import Latest, Registry
from privacy.dictionary.entries import RecordColumn, record_kinds

FEATURES: Final = {
    "owner_age": "owner_age",
    "owner_experience": "owner_experience",
    "owner_education": "owner_education",
    "owner_married": "owner_married",
    "owner_property": "owner_property",
    "visit_employees": "employees",
    "visit_premises": "premises",
    "visit_premises_order": "premises_order",
    "visit_stock": "stock_seen",
    "visit_books": "books_kept",
    "visit_neighbours": "neighbours",
    "visit_recommends": "recommends",
}
"""Features, and the columns of the form that they are."""


class Reader:
    """Visits reduced to the last of each firm and month."""

    def __init__(self, codes: Registry) -> None:
        self._firms = codes["firm"]
        self._last = Latest(("firm", "month"), ("day", *FEATURES.values()))

    def add(self, batch: pd.DataFrame) -> None:
        """One batch of dated records."""
        day = days(batch, "date")
        rows = pd.DataFrame({"firm": self._firms(batch["firm"]), "month": months(day), "day": day})
        for name in FEATURES.values():
            column = _column(name)
            rows[name] = coded(batch, name, column.values) if column.type == "code" else whole(batch, "visits", name)
        self._last.add(rows)

    def tables(self) -> Tables:
        """See assembly."""
        return {"months": self._last.result()}


def features(visits: Monthly, month: int) -> Found:
    """Of the last visit before the month."""
    recent = visits.last("month", month) >= month - LONGEST
    found: dict[str, NDArray[Any]] = {"visit_days_since_last": np.where(recent, visits.days_since(month), np.nan)}
    for feature, name in FEATURES.items():
        column = _column(name)
        values = visits.last(name, month)
        values = np.where(recent & (values != float(ABSENT)), values, np.nan)
        found[feature] = _words(values, column.values) if column.type == "code" else values / 100 if column.type == "money" else values
    return found


def _column(name: str) -> RecordColumn:
    return record_kinds()["visits"].column(name)


def _words(values: Floats, words: tuple[str, ...]) -> NDArray[np.object_]:
    there = np.isfinite(values)
    found = np.full(len(values), None, dtype=object)
    found[there] = np.array(words, dtype=object)[values[there].astype(np.int64)]
    return found
