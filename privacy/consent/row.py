"""One row of an import: id, purpose, columns or levels, recipients, from, until, evidence; subject where owners consent, too.

What breaks a rule is told by its rule alone.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from federation.align import uscc
from federation.kernel.errors import ConfigurationError
from privacy.consent.days import to_day
from privacy.consent.grant import MOST_EVIDENCE, Terms
from privacy.consent.subject import SubjectKind

NEEDED: Final = ("id", "purpose", "recipients", "from", "until", "evidence")
SCOPE: Final = ("columns", "levels")
OPTIONAL: Final = ("subject",)
MOST_ID: Final = 200
_SUBJECTS: Final[dict[str, SubjectKind]] = {"": "firm", "firm": "firm", "owner": "owner"}


@dataclass(frozen=True)
class Row:
    """A grant as a file says it. id: as written; start, until: days; subject: whom the id names."""

    id: str
    terms: Terms
    start: int
    until: int
    evidence: str
    subject: SubjectKind = "firm"


def check_header(names: Sequence[str], where: str) -> None:
    """Raises ConfigurationError, which names columns, for a header without what is needed, with repeats, or with what is not known."""
    lacking = [name for name in NEEDED if name not in names]
    if not set(SCOPE) & set(names):
        lacking.append("columns or levels")
    if lacking:
        raise ConfigurationError(
            where, f"the table has no column {', '.join(lacking)}", f"Needed: {', '.join(NEEDED)}, and columns or levels."
        )
    unknown = len([name for name in names if name not in (*NEEDED, *SCOPE, *OPTIONAL)])
    if unknown or len(set(names)) < len(names):
        action = f"Known columns: {', '.join((*NEEDED, *SCOPE, *OPTIONAL))}. Leave others out: the ledger keeps nothing else."
        raise ConfigurationError(where, f"the table has {unknown} unknown columns, or one of them twice", action)


def read_row(cells: Mapping[str, object]) -> Row | str:
    """The row, or the rule that it breaks."""
    name, evidence = _text(cells["id"]), _text(cells["evidence"])
    if not name or len(name) > MOST_ID or not (name.isprintable() or uscc.in_any_kind([name])[0]):
        return f"id: text of 1 to {MOST_ID} characters without control characters"
    if not evidence or len(evidence) > MOST_EVIDENCE or not evidence.isprintable():
        return f"evidence: text of 1 to {MOST_EVIDENCE} characters"
    subject = _SUBJECTS.get(_text(cells.get("subject")))
    if subject is None:
        return "subject: firm or owner; a firm where it is empty"
    start, until = _day(cells["from"]), _day(cells["until"])
    if start is None or until is None:
        return "from, until: days, as 2026-01-31"
    if until < start:
        return "until: not before from"
    terms = _terms(_text(cells["purpose"]), _text(cells.get("columns")), _text(cells.get("levels")), _text(cells["recipients"]))
    return terms if isinstance(terms, str) else Row(name, terms, start, until, evidence, subject)


@lru_cache(maxsize=4096)
def _terms(purpose: str, columns: str, levels: str, recipients: str) -> Terms | str:
    level = _highest(levels)
    if level is None:
        return "levels: the highest level, 1 to 5, as 3 or 1-3"
    terms = Terms(purpose, frozenset(_names(columns)), level, frozenset(_names(recipients)))
    try:
        terms.require()
    except ConfigurationError as error:
        return f"{error.where}: {error.what}"
    return terms


def _highest(levels: str) -> int | None:
    """0 where none is named; None for what is not understood."""
    if not levels:
        return 0
    digits = levels.replace(" ", "").removeprefix("1-")
    return int(digits) if digits in {"1", "2", "3", "4", "5"} else None


def _names(cell: str) -> list[str]:
    return [name.strip() for name in cell.split(";")] if cell else []


def _text(cell: object) -> str:
    if isinstance(cell, int):  # an id or level that a database keeps as a number
        return str(cell)
    if isinstance(cell, float):
        return str(int(cell)) if cell.is_integer() else ""
    return cell.strip() if isinstance(cell, str) else ""


def _day(cell: object) -> int | None:
    if isinstance(cell, dt.datetime):
        return to_day(cell.date())
    if isinstance(cell, dt.date):
        return to_day(cell)
    try:
        return to_day(dt.date.fromisoformat(_text(cell)))
    except ValueError:
        return None
