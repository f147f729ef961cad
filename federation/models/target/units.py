"""What is judged: each loan by itself, or all loans of a firm as one, which has the worst state of any of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from federation.models.target.histories import Days, Flags, Histories, Integers


@dataclass(frozen=True)
class Units:
    """Units by months, all (units, months) but what is said otherwise.

    days, written_off, restructured: as in `Histories`, the worst of a firm's loans; open: a loan is on the books at the month's end; closed: the
    month's record says that the last loan was closed; opened: (units,) the column of the (oldest) loan's origin; fraud: (units,); firm: (units,)
    in the order of the firms.
    """

    days: Days
    open: Flags
    written_off: Flags
    restructured: Flags
    closed: Flags
    opened: Integers
    fraud: Flags
    firm: Integers


def units(loans: Histories, level: Literal["firm", "loan"]) -> Units:
    """The units of a level."""
    on_books = loans.recorded & ~loans.closed & ~loans.written_off
    if level == "loan":
        return Units(loans.days, on_books, loans.written_off, loans.restructured, loans.closed, loans.opened, loans.fraud, loans.firm)
    starts = firm_starts(loans.firm)
    worst, either = np.maximum.reduceat, np.logical_or.reduceat
    is_open = either(on_books, starts, axis=0)
    return Units(
        worst(loans.days, starts, axis=0), is_open, either(loans.written_off, starts, axis=0), either(loans.restructured, starts, axis=0),
        either(loans.closed, starts, axis=0) & ~is_open, np.minimum.reduceat(loans.opened, starts), either(loans.fraud, starts),
        loans.firm[starts],
    )  # fmt: skip


def firm_starts(firm: Integers) -> Integers:
    """Where each firm begins in a sorted list of firms."""
    return np.flatnonzero(np.concatenate([[True], firm[1:] != firm[:-1]]))
