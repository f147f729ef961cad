"""The node's clock: the one place where time comes in. Everything else takes it as an argument."""

from __future__ import annotations

import datetime as dt


def utc_now() -> str:
    """Now, to the second, ISO 8601 in UTC: "2026-05-01T12:00:00Z"."""
    return dt.datetime.now(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def today() -> dt.date:
    """The day in China, where records are dated."""
    return dt.datetime.now(dt.timezone(dt.timedelta(hours=8))).date()
