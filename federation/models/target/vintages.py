"""Vintage curves: of the loans opened in a quarter, which share was bad by so many months on book.

Only loans whose month of origin is known and lies within the table are counted: of others nothing tells whether they were bad before. A curve
ends where the quarter's youngest loan is as old as the table, so that every point is of the same loans. Source: Siddiqi 2017, chapter 6.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from federation.kernel.manifest import TargetSettings
from federation.models.target.histories import Histories, Integers


@dataclass(frozen=True)
class Vintage:
    """quarter: such as 2022Q1; loans, firms: how many; bad: (k,) loans that were bad by 0, 1, ... months on book, bad_firms: (k,) their
    firms.
    """

    quarter: str
    loans: int
    firms: int
    bad: tuple[int, ...]
    bad_firms: tuple[int, ...]


def vintages(loans: Histories, settings: TargetSettings) -> tuple[Vintage, ...]:
    """In the order of the quarters."""
    counted = loans.of(loans.origin_known & (loans.opened >= 0) & loans.recorded.any(axis=1))
    if not len(counted.firm):
        return ()
    age = _age_when_bad(counted, settings)
    origin = (counted.first.astype(np.int64) + counted.opened) // 3
    return tuple(_vintage(counted, age, origin == quarter, int(quarter)) for quarter in np.unique(origin))


def _age_when_bad(loans: Histories, settings: TargetSettings) -> Integers:
    """Months on book at the first month's end at which a loan was bad, (loans,); more than the table has months where it never was."""
    bad = loans.days >= settings.days_past_due
    if settings.written_off == "bad":
        bad |= loans.written_off
    if settings.restructured == "bad":
        bad |= loans.restructured
    return np.where(bad.any(axis=1), np.argmax(bad, axis=1) - loans.opened, loans.months)


def _vintage(loans: Histories, age: Integers, chosen: np.ndarray[tuple[int], np.dtype[np.bool_]], quarter: int) -> Vintage:
    length = loans.months - int(loans.opened[chosen].max())
    firms, of = np.unique(loans.firm[chosen], return_inverse=True)
    first = np.full(len(firms), loans.months, np.int64)
    np.minimum.at(first, of, age[chosen])

    def by_age(ages: Integers) -> tuple[int, ...]:
        counts = np.bincount(np.minimum(ages, length), minlength=length + 1)[:length]
        return tuple(np.cumsum(counts).tolist())

    name = f"{1970 + quarter // 4}Q{quarter % 4 + 1}"
    return Vintage(name, int(chosen.sum()), len(firms), by_age(age[chosen]), by_age(first))
