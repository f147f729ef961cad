"""Formulas of features of dated records, which the one adapter of all such sources computes: a new source needs no code.

    count(KINDS, N)      matters of these kinds that became known in the last N months
    sum(KINDS, N)        their amounts together, in CNY
    largest(KINDS, N)    the largest of their amounts, in CNY
    share(KINDS:STATUSES, N)   of these kinds' records of the last N months the share with one of these statuses
    months_with(KINDS, N)      of the last N months those with a record
    open(KINDS)          matters that are open as of the month
    open_sum(KINDS)      their amounts together, in CNY
    since_last(KINDS)    months since the last record; 1: it is of the month before
    since_first(KINDS)   months since the first

KINDS is a kind, or several with | between them. count, sum and largest take :STATUSES too: statuses with | between them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

WINDOWED = ("count", "sum", "largest", "share", "months_with")
STATES = ("open", "open_sum", "since_last", "since_first")
MONEY = ("sum", "largest", "open_sum")
_FORM = re.compile(r"([a-z_]+)\(([a-z0-9_]+(?:\|[a-z0-9_]+)*)(?::([a-z0-9_]+(?:\|[a-z0-9_]+)*))?(?:, ([1-9][0-9]?))?\)")


@dataclass(frozen=True)
class Formula:
    """measure: of WINDOWED or STATES; statuses: () for any; months: of the window, 0 for a state."""

    measure: str
    kinds: tuple[str, ...]
    statuses: tuple[str, ...]
    months: int

    @property
    def period(self) -> str:
        """What it looks back on, as a feature's entry says it."""
        return f"{self.months} months" if self.months else ""


def read_formula(text: str) -> Formula | None:
    """The formula, or None where the text is none."""
    found = _FORM.fullmatch(text)
    if found is None:
        return None
    measure, kinds, statuses, months = found.groups()
    formula = Formula(measure, tuple(kinds.split("|")), tuple(statuses.split("|")) if statuses else (), int(months or 0))
    known = formula.measure in (WINDOWED if formula.months else STATES)
    wanted = formula.measure == "share"
    allowed = formula.measure in ("count", "share", "sum", "largest")
    return formula if known and (allowed or not formula.statuses) and (bool(formula.statuses) or not wanted) else None
