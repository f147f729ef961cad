"""The visit form: a blank one to fill in, and filled ones read and checked against the dictionary.

As TOML it is one visit, a key for each question; as CSV a row for each visit. An answer left blank is missing. What a question may be
answered with is in the dictionary: its type, its words, and the range of the feature that is made of it. An error names question, rule and
count, and never repeats an answer; nor an unknown name that does not look like one, for a file without a heading begins with answers.
"""

from __future__ import annotations

import csv
import datetime as dt
import difflib
import io
import math
import re
import tomllib
from collections.abc import Mapping, Sequence
from decimal import Decimal, InvalidOperation
from typing import Any, Final

import pandas as pd

from clients.roles.bank.visits import FEATURES
from federation.kernel.errors import ConfigurationError, DataError
from privacy.dictionary.entries import RecordColumn, features, record_kinds

_NAME: Final = re.compile(r"[A-Za-z][A-Za-z_]{0,39}")
_LINE: Final = re.compile(r"at line (\d+)")
_YES: Final = {"yes": True, "true": True, "1": True, "是": True, "no": False, "false": False, "0": False, "否": False}
_DTYPES: Final[dict[str, Any]] = {
    "id": "object",
    "code": "object",
    "day": "datetime64[s]",
    "count": "Int64",
    "money": "Int64",
    "flag": "boolean",
}
_MOST: Final = 10**15
"""CNY; beyond it is no stock of a small firm, and fen would leave int64."""


class _BrokenRuleError(ValueError):
    """An answer that breaks its question's rule. Never leaves this file."""


def questions() -> tuple[RecordColumn, ...]:
    """The form's questions, as the dictionary has them."""
    return record_kinds()["visits"].columns


def rule(question: RecordColumn) -> str:
    """What the question may be answered with, in words."""
    low, high = _range(question)
    if question.type == "code":
        return f"one of: {', '.join(question.values)}"
    if question.type in ("count", "money"):
        what = "a whole number" if question.type == "count" else "CNY with at most two decimals"
        return f"{what}, {low:g} to {high:g}" if math.isfinite(high) else f"{what}, {low:g} or more"
    return {"id": "an id", "day": "a day, as 2024-03-31", "flag": "yes or no"}[question.type]


def blank_toml() -> str:
    """A form for one visit, with what is asked beside each key."""
    lines = ["# One visit. What is not known stays as it is: two quotation marks.", ""]
    for question in questions():
        must = " Required." if question.required else ""
        lines += [f"# {question.definition} ({rule(question)}){must}", f'{question.name} = ""', ""]
    return "\n".join(lines)


def blank_csv() -> str:
    """The heading of a table with a row for each visit."""
    return ",".join(question.name for question in questions()) + "\n"


def read_toml(text: str, where: str, today: dt.date | None = None) -> pd.DataFrame:
    """One filled form as canonical records. where: what errors call it; today: no visit is later.

    Raises ConfigurationError for what is not TOML or an unknown key, DataError for an answer that breaks its rule.
    """
    try:
        answers = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        line = _LINE.search(str(error))
        what = "not valid TOML" + (f" (line {line.group(1)})" if line else "")
        raise ConfigurationError(where, what, "Correct that line: text stands in quotation marks.") from None
    _known(where, list(answers), "key")
    return _records(where, [answers], today)


def read_csv(text: str, where: str, today: dt.date | None = None) -> pd.DataFrame:
    """A table of filled forms as canonical records. Raises as `read_toml`."""
    rows = [row for row in csv.reader(io.StringIO(text.removeprefix("\ufeff"))) if any(cell.strip() for cell in row)]
    if not rows:
        raise DataError(where, "there is no heading", "Begin with the template's first line.")
    heading = [name.strip() for name in rows[0]]
    _known(where, heading, "column")
    if len(set(heading)) < len(heading):
        raise ConfigurationError(where, "a column is there twice", "Keep one of them.")
    if wide := sum(len(row) != len(heading) for row in rows[1:]):
        what = f"{wide:,} of {len(rows) - 1:,} rows have another number of cells than the heading (rule: one cell for each column)"
        raise DataError(where, what, "Put quotation marks around what has a comma in it.")
    return _records(where, [dict(zip(heading, row, strict=True)) for row in rows[1:]], today)


def _known(where: str, names: Sequence[str], what: str) -> None:
    wanted = [question.name for question in questions()]
    for place, name in enumerate(names, 1):
        if name in wanted:
            continue
        if not _NAME.fullmatch(name):
            raise ConfigurationError(where, f"{what} {place} is none of the form's questions", "Begin with the template's first line.")
        near = difflib.get_close_matches(name.lower(), wanted, 1, 0.5)
        action = f"Did you mean {near[0]!r}?" if near else f"Known: {', '.join(wanted)}."
        raise ConfigurationError(where, f"{what} {name!r} is none of the form's questions", action)


def _records(where: str, forms: Sequence[Mapping[str, Any]], today: dt.date | None) -> pd.DataFrame:
    """The forms as a frame of every column. Raises DataError for the first question that has answers which break its rule."""
    columns = {}
    for question in questions():
        values, broken = [], dict[str, int]()
        for form in forms:
            try:
                values.append(_answer(question, form.get(question.name), today))
            except _BrokenRuleError as error:
                broken[str(error)] = broken.get(str(error), 0) + 1
        if broken:
            said, count = next(iter(broken.items()))
            what = f"{question.name!r} has {count:,} of {len(forms):,} answers that break a rule (rule: {said})"
            raise DataError(where, what, "Nothing was taken over. Correct the form.")
        columns[question.name] = pd.Series(values, dtype=object).astype(_DTYPES[question.type])
    found = pd.DataFrame(columns)
    if twice := int(found.duplicated(list(record_kinds()["visits"].key)).sum()):
        what = f"{twice:,} of {len(found):,} forms are of a firm and day that have one already (rule: one form for each visit)"
        raise DataError(where, what, "Keep the form that holds.")
    return found


def _answer(question: RecordColumn, raw: Any, today: dt.date | None) -> Any:
    """The answer as its canonical value, None for a blank one."""
    answer = raw.strip() if isinstance(raw, str) else raw
    if answer is None or answer == "":
        if question.required:
            raise _BrokenRuleError("required")
        return None
    if isinstance(answer, bool) != (question.type == "flag" and not isinstance(answer, str)):
        raise _BrokenRuleError(rule(question))
    return _READ[question.type](question, answer, today)


def _id(question: RecordColumn, answer: Any, _today: dt.date | None) -> str:
    if not isinstance(answer, str):
        raise _BrokenRuleError(f"{rule(question)}, in quotation marks")
    return answer


def _day(question: RecordColumn, answer: Any, today: dt.date | None) -> dt.datetime:
    try:
        day = answer if type(answer) is dt.date else dt.date.fromisoformat(answer)
    except (TypeError, ValueError):
        raise _BrokenRuleError(rule(question)) from None
    if today is not None and day > today:
        raise _BrokenRuleError("not later than today")
    return dt.datetime(day.year, day.month, day.day)  # noqa: DTZ001 - a day of China Standard Time, as all days here


def _code(question: RecordColumn, answer: Any, _today: dt.date | None) -> str:
    if not isinstance(answer, str) or answer.lower() not in question.values:
        raise _BrokenRuleError(rule(question))
    return answer.lower()


def _flag(question: RecordColumn, answer: Any, _today: dt.date | None) -> bool:
    found = answer if isinstance(answer, bool) else _YES.get(answer.lower())
    if found is None:
        raise _BrokenRuleError(rule(question))
    return found


def _number(question: RecordColumn, answer: Any, _today: dt.date | None) -> int:
    """A whole number, or money as fen."""
    low, high = _range(question)
    try:
        value = Decimal(str(answer))
    except InvalidOperation:
        raise _BrokenRuleError(rule(question)) from None
    scaled = value * (100 if question.type == "money" else 1)
    if not value.is_finite() or not low <= value <= min(high, _MOST) or scaled != scaled.to_integral_value():
        raise _BrokenRuleError(rule(question))
    return int(scaled)


_READ: Final = {"id": _id, "day": _day, "code": _code, "flag": _flag, "count": _number, "money": _number}


def _range(question: RecordColumn) -> tuple[float, float]:
    """Of the feature that is made of the question."""
    return next((features()[feature].range for feature, name in FEATURES.items() if name == question.name), (-math.inf, math.inf))
