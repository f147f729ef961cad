"""Days of China Standard Time out of whatever a table has for dates.

    2020-01-05   2020/1/5   2020.1.5   20200105   2020年1月5日   2020-01 (its first day)
    2020-01-05 23:30   2020-01-05T23:30:00+09:00   ...Z     converted before the day is taken; without a zone it is the mapping's
    43835   43835.5                                         Excel's serial date (1900 system)
    1578182400   1578182400000                              seconds or milliseconds since 1970 (UTC)
A time stamp of midnight sharp without a zone is a day. 03/04/2020 is refused unless the mapping says which comes first.
"""

from __future__ import annotations

import datetime as dt
import re
import zoneinfo
from typing import Any, Final, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from clients.sources.cells import Cell, Parsed, distinct, parsed
from privacy.dictionary.conventions import conventions

IMPOSSIBLE: Final = "impossible date"
NOT_A_DATE: Final = "not a date"
ORDER: Final = "day and month in an unknown order"
BEFORE: Final = "before 1990"
AFTER: Final = "after the extract"
SPELLED: Final = "date spelled otherwise"
MONTH_ONLY: Final = "month without a day"
EXCEL: Final = "Excel serial date"
EPOCH: Final = "seconds or milliseconds since 1970"
CONVERTED: Final = "converted to China Standard Time"
TIME: Final = "time of day left out"

_CHINA: Final = zoneinfo.ZoneInfo(conventions().calendar.time_zone)
_EARLIEST: Final = conventions().calendar.earliest_year
_NAT: Final = np.datetime64("NaT", "s")
_PARTS = (("-", "-", ""), ("/", "/", ""), (r"\.", r"\.", ""), ("年", "月", "日?"))
_DAY = r"(?P<year>\d{4})(?:" + "|".join(rf"{a}(?P<m{n}>\d{{1,2}}){b}(?P<d{n}>\d{{1,2}}){c}" for n, (a, b, c) in enumerate(_PARTS, 1)) + ")"
_TIME = r"(?:[T ]\s*(?P<hour>\d{1,2}):(?P<minute>\d{2})(?::(?P<second>\d{2})(?:[.,]\d+)?)?)?"
_ZONE = r"\s*(?P<zone>Z|UTC|GMT|[+-]\d{2}:?\d{2}|[+-]\d{2})?"
_FULL: Final = re.compile(_DAY + _TIME + _ZONE, re.IGNORECASE)
_COMPACT: Final = re.compile(r"(\d{4})(\d{2})(\d{2})(?:\.0)?")
_MONTH: Final = re.compile(r"(\d{4})(?:[-/.](\d{1,2})|(\d{2})|年(\d{1,2})月)")
_SHORT: Final = re.compile(r"(\d{1,2})[-/.](\d{1,2})[-/.](\d{4})")
_SERIAL: Final = re.compile(r"(\d{5})(\.\d+)?")
_SECONDS: Final = re.compile(r"(\d{9,10})(?:\.\d+)?|(\d{12,13})(?:\.0)?")
_PLAIN: Final = re.compile(r"\d{4}-\d{2}-\d{2}")
_EXCEL_ZERO: Final = dt.date(1899, 12, 30)


class Calendar(NamedTuple):
    """zone: of time stamps that name none; order: "day first", "month first" or "" for unknown."""

    zone: zoneinfo.ZoneInfo = _CHINA
    order: str = ""


def days(column: Any, calendar: Calendar) -> Parsed | None:
    """An Arrow array as datetime64[s] at midnight, NaT for missing. None for an array of a type that holds no dates."""
    kind = column.type
    if pa.types.is_date(kind):
        values = column.cast(pa.date32()).to_numpy(zero_copy_only=False).astype("datetime64[s]")
        return _early(values, Parsed(values, np.isnat(values)))
    if pa.types.is_timestamp(kind):
        return _stamps(column, calendar)
    if pa.types.is_floating(kind):
        column = _as_text(column)
    elif pa.types.is_integer(kind) or pa.types.is_null(kind):
        column = column.cast(pa.string())
    inner = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
    if not (pa.types.is_string(inner) or pa.types.is_large_string(inner) or pa.types.is_string_view(inner)):
        return None
    return parsed(column, lambda text: day(text, calendar), _NAT, "datetime64[s]")


def _as_text(column: Any) -> Any:
    """Floats as text, whole ones without a point."""
    texts, places = distinct(column.cast(pa.float64()))
    spelled = [None if v is None or v != v else str(int(v)) if float(v).is_integer() else repr(v) for v in texts]  # noqa: PLR0124
    return pa.array(spelled, pa.string()).take(pa.array(places))


def _stamps(column: Any, calendar: Calendar) -> Parsed:
    """Time stamps all at once."""
    said = column.type.tz
    naive = pd.Series(pc.cast(column, pa.timestamp("us", tz=said), safe=False).cast(pa.timestamp("us")).to_numpy(zero_copy_only=False))
    midnight = (naive == naive.dt.normalize()).to_numpy()
    blank = naive.isna().to_numpy()
    if said is not None:  # Arrow keeps these in UTC
        local, moved = naive.dt.tz_localize("UTC").dt.tz_convert(_CHINA).dt.tz_localize(None), ~blank
    elif str(calendar.zone) != str(_CHINA):
        aware = naive.dt.tz_localize(calendar.zone, ambiguous=np.ones(len(naive), bool), nonexistent="shift_forward")
        local, moved = aware.dt.tz_convert(_CHINA).dt.tz_localize(None).where(~midnight, naive), ~midnight & ~blank
    else:
        local, moved = naive, np.zeros(len(naive), bool)
    values = local.dt.normalize().to_numpy().astype("datetime64[s]")
    found = Parsed(values, blank)
    if moved.any():
        found.mended[CONVERTED] = moved
    timed = ~midnight & ~blank & ~moved
    if timed.any():
        found.mended[TIME] = timed
    return _early(values, found)


def _early(values: Any, found: Parsed) -> Parsed:
    early = ~found.blank & (values < np.datetime64(f"{_EARLIEST}-01-01"))
    if early.any():
        found.failed[BEFORE] = early
    return found


def day(text: str, calendar: Calendar) -> Cell:
    """A day out of its text."""
    if _PLAIN.fullmatch(text):
        return _made(int(text[:4]), int(text[5:7]), int(text[8:]), ())
    if match := _FULL.fullmatch(text):
        return _full(match, calendar)
    if match := _COMPACT.fullmatch(text):
        return _made(int(match[1]), int(match[2]), int(match[3]), (SPELLED,))
    if match := _MONTH.fullmatch(text):
        return _made(int(match[1]), int(match[2] or match[3] or match[4]), 1, (MONTH_ONLY,))
    if match := _SHORT.fullmatch(text):
        if not calendar.order:
            return Cell(failed=ORDER)
        one, other = int(match[1]), int(match[2])
        return _made(int(match[3]), *((other, one) if calendar.order == "day first" else (one, other)), (SPELLED,))
    if match := _SERIAL.fullmatch(text):
        return _checked(_EXCEL_ZERO + dt.timedelta(days=int(match[1])), (EXCEL,))
    if match := _SECONDS.fullmatch(text):
        seconds = int(match[1]) if match[1] else int(match[2]) // 1000
        return _checked(dt.datetime.fromtimestamp(seconds, _CHINA).date(), (EPOCH,))
    return Cell(failed=NOT_A_DATE)


def _full(match: re.Match[str], calendar: Calendar) -> Cell:
    found = match.groupdict()
    month, date = (next(int(found[f"{part}{n}"]) for n in range(1, 5) if found[f"{part}{n}"]) for part in "md")
    rules = () if found["d1"] and len(found["d1"]) == 2 and len(found["m1"]) == 2 else (SPELLED,)
    plain = _made(int(found["year"]), month, date, rules)
    if plain.failed or found["hour"] is None:
        return plain
    hour, minute, second = (int(found[part] or 0) for part in ("hour", "minute", "second"))
    if hour > 23 or minute > 59 or second > 59:
        return Cell(failed=IMPOSSIBLE)
    if found["zone"] is None and not (hour or minute or second):
        return plain
    zone = calendar.zone if found["zone"] is None else _offset(found["zone"])
    if zone is None:
        return Cell(failed=NOT_A_DATE)
    local = dt.datetime(int(found["year"]), month, date, hour, minute, second, tzinfo=zone).astimezone(_CHINA)
    same = zone is calendar.zone and str(zone) == str(_CHINA)
    return _checked(local.date(), (*rules, TIME if same else CONVERTED))


def _offset(text: str) -> dt.tzinfo | None:
    if text.upper() in ("Z", "UTC", "GMT"):
        return dt.UTC
    digits = text[1:].replace(":", "").ljust(4, "0")
    hours, minutes = int(digits[:2]), int(digits[2:])
    if hours > 14 or minutes > 59:
        return None
    return dt.timezone((1 if text[0] == "+" else -1) * dt.timedelta(hours=hours, minutes=minutes))


def _made(year: int, month: int, date: int, rules: tuple[str, ...]) -> Cell:
    try:
        return _checked(dt.date(year, month, date), rules)
    except ValueError:
        return Cell(failed=IMPOSSIBLE)


def _checked(found: dt.date, rules: tuple[str, ...]) -> Cell:
    if found.year < _EARLIEST:
        return Cell(failed=BEFORE)
    return Cell(np.datetime64(found, "s"), rules)
