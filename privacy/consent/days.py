"""Moments and calendar days as integers: a moment is in seconds since 1970 UTC, a day is counted since 1970-01-01 in China Standard Time.

A consent "until 31 December" ends with that day where it was given. Read in UTC it would be used for eight hours too long.
"""

from __future__ import annotations

import datetime as dt
from typing import Final

from federation.kernel.errors import ConfigurationError

OFFSET_SECONDS: Final = 8 * 3600
"""UTC+8; no summer time since 1991."""
DAY_SECONDS: Final = 86_400
_EPOCH = dt.date(1970, 1, 1)


def moment(text: str) -> int:
    """Seconds since 1970 of an ISO 8601 time with its zone, as node clocks give it. Raises ConfigurationError."""
    try:
        found = dt.datetime.fromisoformat(text)
    except ValueError:
        found = None
    if found is None or found.tzinfo is None:
        raise ConfigurationError("time", "it is not ISO 8601 with a time zone", "Write it like 2026-01-31T12:00:00Z.")
    return int(found.timestamp() // 1)


def day_of(seconds: int) -> int:
    """The calendar day, in China Standard Time, of a moment."""
    return (seconds + OFFSET_SECONDS) // DAY_SECONDS


def to_day(date: dt.date) -> int:
    """The count of a calendar day."""
    return (date - _EPOCH).days


def to_date(day: int) -> dt.date:
    """The calendar day of a count."""
    return _EPOCH + dt.timedelta(days=day)


def date_of(seconds: int) -> dt.date:
    """The calendar day of a moment, in China Standard Time."""
    return to_date(day_of(seconds))
