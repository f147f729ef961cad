"""The outcome of every unit as of a month, and of every row of a feature table.

Outcomes are numbers in the order of `OUTCOMES`, so that of a firm's loans, each judged by itself, the greatest is the firm's: bad before
indeterminate before good, and a loan that was judged before one that was left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from federation.kernel.manifest import TargetSettings
from federation.models.target.histories import Flags, Histories
from federation.models.target.observation import Months, observed
from federation.models.target.units import Units, firm_starts, units

Codes = NDArray[np.int8]
OUTCOMES = (
    "not an observation month", "no loan", "not matured", "not open", "bad at observation", "in arrears at observation", "too new", "fraud",
    "restructured", "written off", "good", "indeterminate", "bad",
)  # fmt: skip
"""Why a row has no outcome, in the order in which reasons are asked for, and the three outcomes."""
(
    NOT_OBSERVED, NO_LOAN, NOT_MATURED, NOT_OPEN, BAD_BEFORE, ARREARS_BEFORE, TOO_NEW, FRAUD, RESTRUCTURED_OUT, WRITTEN_OFF_OUT, GOOD,
    INDETERMINATE, BAD,
) = range(len(OUTCOMES))  # fmt: skip


@dataclass(frozen=True)
class Judged:
    """Outcomes of rows. code: (n,) of `OUTCOMES`; unseen: good rows without a record at the window's end and none that says closed."""

    code: Codes
    unseen: int


def judge(unit: Units, settings: TargetSettings, column: int) -> Codes:
    """The outcome of every unit as of one column's month, (units,). Only the columns column - 1 to column + window - 1 are looked at, and
    whether a unit was written off before.
    """
    count, months = unit.days.shape
    window = settings.performance_months
    if column + window > months:
        return np.full(count, NOT_MATURED, np.int8)
    if column < 1:
        return np.full(count, NOT_OPEN, np.int8)
    code = _performance(unit, settings, column)
    at = column - 1
    days, off = unit.days[:, at], unit.written_off[:, at]
    defaulted = (days >= settings.days_past_due) | off | (unit.restructured[:, at] & (settings.restructured == "bad"))
    if settings.fraud == "exclude":
        code[unit.fraud] = FRAUD
    code[column - unit.opened < settings.months_on_book] = TOO_NEW
    code[days > settings.standing] = ARREARS_BEFORE
    code[defaulted] = BAD_BEFORE
    code[~unit.open[:, at] & ~off] = NOT_OPEN
    return code


def _performance(unit: Units, settings: TargetSettings, column: int) -> Codes:
    """The outcome of the window alone."""
    inside = slice(column, column + settings.performance_months)
    days, restructured = unit.days[:, inside], unit.restructured[:, inside]
    if settings.rule == "ever":
        worst, changed = days.max(axis=1), restructured.any(axis=1)
    else:
        rows = np.arange(len(days))
        last = days.shape[1] - 1 - np.argmax(days[:, ::-1] >= 0, axis=1)
        worst, changed = days[rows, last], restructured[rows, last]
    code = np.full(len(days), GOOD, np.int8)
    code[worst >= settings.gray_from] = INDETERMINATE
    code[changed] = _COUNTS_AS[settings.restructured, RESTRUCTURED_OUT]
    code[worst >= settings.days_past_due] = BAD
    code[unit.written_off[:, inside.stop - 1]] = _COUNTS_AS[settings.written_off, WRITTEN_OFF_OUT]
    if settings.fraud == "bad":
        code[unit.fraud] = BAD
    return code


_COUNTS_AS: dict[tuple[Literal["bad", "indeterminate", "exclude"], int], int] = {
    ("bad", RESTRUCTURED_OUT): BAD, ("indeterminate", RESTRUCTURED_OUT): INDETERMINATE, ("exclude", RESTRUCTURED_OUT): RESTRUCTURED_OUT,
    ("bad", WRITTEN_OFF_OUT): BAD, ("indeterminate", WRITTEN_OFF_OUT): INDETERMINATE, ("exclude", WRITTEN_OFF_OUT): WRITTEN_OFF_OUT,
}  # fmt: skip


def judge_rows(loans: Histories, settings: TargetSettings, firms: Sequence[str], months: Months) -> Judged:
    """The outcomes of rows of a feature table. firms, months: (n,) of each row."""
    months = months.astype("datetime64[M]")
    code = np.full(len(months), NOT_OBSERVED, np.int8)
    wanted = observed(settings, months)
    number = {name: place for place, name in enumerate(loans.firms)}
    of_row = np.array([number.get(firm, -1) for firm in firms], np.int64)
    code[wanted & (of_row < 0)] = NO_LOAN
    unit, unseen = units(loans, settings.level), 0
    starts = firm_starts(unit.firm)
    line = np.full(len(loans.firms), -1, np.int64)
    line[unit.firm[starts]] = np.arange(len(starts))
    here = wanted & (of_row >= 0)
    for month in np.unique(months[here]):
        rows = np.flatnonzero(here & (months == month))
        column = loans.column(month)
        judged = judge(unit, settings, column)
        missing = (judged == GOOD) & _unseen(unit, column, settings.performance_months)
        known = line[of_row[rows]]
        code[rows] = np.where(known >= 0, np.maximum.reduceat(judged, starts)[known], NO_LOAN)
        unseen += int((np.logical_or.reduceat(missing, starts)[known] & (known >= 0) & (code[rows] == GOOD)).sum())
    return Judged(code, unseen)


def _unseen(unit: Units, column: int, window: int) -> Flags:
    """Units that have no record at the window's end, and none in the window that says closed."""
    if column < 0 or column + window > unit.days.shape[1]:
        return np.zeros(len(unit.days), bool)
    inside = slice(column, column + window)
    return (unit.days[:, inside.stop - 1] < 0) & ~unit.closed[:, inside].any(axis=1)
