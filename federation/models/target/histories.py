"""The repayment table as one line of months for each loan, from the table's first month to its last.

Loans are sorted by firm, so that sums over a firm's loans are over neighbours. A loan that was written off stays so: a bank that no longer
reports it has not been repaid.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from federation.kernel.errors import DataError
from federation.models.target.observation import Months

Flags = NDArray[np.bool_]
Days = NDArray[np.int16]
Integers = NDArray[np.int64]
CURRENT, RESTRUCTURED, WRITTEN_OFF, CLOSED = range(4)
STATUSES = ("current", "restructured", "written_off", "closed")
MOST_DAYS = 32_767
_ONCE = "Nothing was sent. Give each loan one row for each month's end."


@dataclass(frozen=True)
class Records:
    """The rows of a repayment table. loan, firm: (n,) numbers from 0; month: (n,) datetime64[M]; days: (n,) float64 days past due, NaN for
    missing; status: (n,) of `STATUSES`; opened: month of origin by loan, NaT where not known; fraud: by loan.
    """

    loan: Integers
    firm: Integers
    month: Months
    days: NDArray[np.float64]
    status: NDArray[np.int8]
    opened: Months
    fraud: Flags


@dataclass(frozen=True)
class Histories:
    """Loans by months, all (loans, months) but what is said otherwise.

    firms: the names that `firm`, (loans,), counts; first: the first month; days: past due, -1 where there is no record; written_off: from the
    month of the first such record on; restructured, closed: by the month's record; opened: (loans,) the column of its month of origin, below 0
    before the first; origin_known: (loans,); fraud: (loans,).
    """

    firms: tuple[str, ...]
    firm: Integers
    first: np.datetime64
    days: Days
    written_off: Flags
    restructured: Flags
    closed: Flags
    opened: Integers
    origin_known: Flags
    fraud: Flags

    @property
    def months(self) -> int:
        """How many months the table spans."""
        return int(self.days.shape[1])

    @property
    def last(self) -> np.datetime64:
        """The last month."""
        return self.first + np.timedelta64(self.months - 1, "M")

    @property
    def recorded(self) -> Flags:
        """Where there is a record."""
        return self.days >= 0

    def column(self, month: np.datetime64) -> int:
        """A month's column, which may lie outside."""
        return int((month.astype("datetime64[M]") - self.first).astype(np.int64))

    def of(self, loans: Flags) -> Histories:
        """Of these loans alone, (loans,)."""
        return Histories(
            self.firms, self.firm[loans], self.first, self.days[loans], self.written_off[loans], self.restructured[loans],
            self.closed[loans], self.opened[loans], self.origin_known[loans], self.fraud[loans],
        )  # fmt: skip


def histories(records: Records, firms: Sequence[str], span: tuple[np.datetime64, np.datetime64], where: str) -> Histories:
    """The records by loan and month. span: the whole table's first and last month, whatever part of it the records are; where: how errors name
    the party. Raises DataError: which rule, how many.
    """
    loans = len(records.opened)
    by_loan = _firm_of(records, loans, where)
    month = records.month.astype("datetime64[M]")
    first = span[0].astype("datetime64[M]")
    column = (month - first).astype(np.int64)
    width = int((span[1].astype("datetime64[M]") - first).astype(np.int64)) + 1
    order = np.argsort(by_loan, kind="stable")
    line = np.empty(loans, np.int64)
    line[order] = np.arange(loans)
    at = (line[records.loan], column)
    days = np.full((loans, width), -1, np.int16)
    days[at] = _days(records, where)
    twice = len(column) - int((days >= 0).sum())
    if twice:
        raise DataError(where, f"{twice:,} rows of the repayment table are a loan's second of a month (rule: one)", _ONCE)
    status = np.full((loans, width), -1, np.int8)
    status[at] = records.status
    begun = np.argmax(days >= 0, axis=1)
    opened, known = _opened(records.opened[order], begun, first, where)
    return Histories(
        tuple(firms), by_loan[order], first, days, np.logical_or.accumulate(status == WRITTEN_OFF, axis=1), status == RESTRUCTURED,
        status == CLOSED, opened, known, records.fraud[order],
    )  # fmt: skip


def _firm_of(records: Records, loans: int, where: str) -> Integers:
    """Each loan's firm."""
    by_loan = np.zeros(loans, np.int64)
    by_loan[records.loan] = records.firm
    several = len(np.unique(records.loan[by_loan[records.loan] != records.firm]))
    if several:
        what = f"{several:,} loans of the repayment table are of more than one firm (rule: one)"
        raise DataError(where, what, "Nothing was sent. Give every loan a number of its own.")
    return by_loan


def _days(records: Records, where: str) -> Days:
    """Days past due; a loan that is closed or written off may say none."""
    ended = (records.status == CLOSED) | (records.status == WRITTEN_OFF)
    days = np.where(ended & np.isnan(records.days), 0.0, records.days)
    wrong = int((~((days >= 0) & (days == np.floor(days)))).sum())  # NaN is wrong, too
    if wrong:
        what = f"column 'days_past_due' has {wrong:,} of {len(days):,} values that are no whole number from 0 on (rule: days)"
        raise DataError(where, what, "Nothing was sent. Write 0 where nothing is due, and leave no open loan's days blank.")
    return np.minimum(days, MOST_DAYS).astype(np.int16)


def _opened(opened: Months, begun: Integers, first: np.datetime64, where: str) -> tuple[Integers, Flags]:
    """Each loan's column of origin, and whether it is known: by the table of loans, or by a first record after the table's first month."""
    told = ~np.isnat(opened)
    column = np.where(told, (np.where(told, opened.astype("datetime64[M]"), first) - first).astype(np.int64), begun)
    late = int((column > begun).sum())
    if late:
        what = f"{late:,} loans have a row in the repayment table from before the month in which they were opened (rule: opened first)"
        raise DataError(where, what, "Nothing was sent. Correct 'opened' in the table of loans.")
    return column, told | (begun > 0)
