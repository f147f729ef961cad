"""What a formula of the dictionary (`privacy/dictionary/formula.py`) means: a number for each subject as of a month.

As of month M (months since 1970-01) a record counts where its month lies before M; a window of N months is M - N to M - 1. A matter belongs
to the month of its first record (with one of the statuses, where the formula names some) and counts once. Sums are of whole fen, so exact.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from clients.roles.records.matters import Matters, Places
from privacy.dictionary.entries import RecordSource
from privacy.dictionary.formula import MONEY, Formula

Reals = NDArray[np.float64]
Measure = Callable[[int], Reals]


@dataclass(frozen=True)
class _Events:
    """Chosen records, (k,) each, in the order of `Matters`."""

    subject: Places
    matter: Places
    month: Places
    amount: Reals
    subjects: int

    def first(self) -> _Events:
        """The first of each matter."""
        return self.where(np.append(True, self.matter[1:] != self.matter[:-1])) if len(self.matter) else self

    def where(self, rows: NDArray[np.bool_]) -> _Events:
        """Those of these rows."""
        return _Events(self.subject[rows], self.matter[rows], self.month[rows], self.amount[rows], self.subjects)

    def within(self, month: int, window: int) -> _Events:
        """Those of the window before the month."""
        return self.where((self.month < month) & (self.month >= month - window))

    def counted(self) -> Reals:
        """How many each subject has."""
        return np.bincount(self.subject, minlength=self.subjects).astype(np.float64)

    def money(self, *, largest: bool = False) -> Reals:
        """Their amounts in CNY, together or the largest; 0 without any, NaN where no amount is known."""
        known = self.where(~np.isnan(self.amount))
        if largest:
            fen = np.full(self.subjects, -np.inf)
            np.maximum.at(fen, known.subject, known.amount)
        else:
            fen = np.bincount(known.subject, known.amount, self.subjects)
        some, told = self.counted() > 0, known.counted() > 0
        return np.asarray(np.round(np.where(told, np.where(told, fen, 0.0) / 100, np.where(some, np.nan, 0.0)), 2), np.float64)


def measure(source: RecordSource, formula: Formula, matters: Matters) -> Measure:
    """From a month to the formula's value of each subject, (m,), NaN where the records do not say."""
    if (formula.measure in MONEY and not matters.has_amount) or (_needs_status(formula) and not matters.has_status):
        return lambda _: np.full(len(matters.subjects), np.nan)
    chosen = np.isin(matters.kind, [place for place, kind in enumerate(source.kinds) if kind.name in formula.kinds])
    if formula.measure in ("open", "open_sum"):
        return _open(source, formula, matters, chosen)
    events = _Events(matters.subject, matters.matter, matters.month, matters.amount, len(matters.subjects))
    stated = events.where(chosen & _having(source, formula.statuses, matters))
    window = formula.months
    match formula.measure:
        case "count":
            return lambda month: stated.first().within(month, window).counted()
        case "sum" | "largest":
            return lambda month: stated.first().within(month, window).money(largest=formula.measure == "largest")
        case "share":
            every = events.where(chosen)
            return lambda month: _ratio(stated.within(month, window).first().counted(), every.within(month, window).first().counted())
        case "months_with":
            return lambda month: _months(stated.within(month, window))
        case _:
            return lambda month: _since(stated.within(month, month), month, last=formula.measure == "since_last")


def _needs_status(formula: Formula) -> bool:
    return bool(formula.statuses) or formula.measure in ("open", "open_sum")


def _having(source: RecordSource, statuses: tuple[str, ...], matters: Matters) -> NDArray[np.bool_]:
    """Whether a record has one of these statuses; every record where none is named."""
    if not statuses:
        return np.ones(len(matters.kind), bool)
    found = np.zeros(len(matters.kind), bool)
    for place, kind in enumerate(source.kinds):
        wanted = [at for at, name in enumerate(kind.statuses) if name in statuses]
        found |= (matters.kind == place) & np.isin(matters.status, wanted)
    return found


def _open(source: RecordSource, formula: Formula, matters: Matters, chosen: NDArray[np.bool_]) -> Measure:
    """Matters whose last record before the month leaves them open."""
    left_open = np.zeros(len(matters.kind), bool)
    for place, kind in enumerate(source.kinds):
        left_open |= (matters.kind == place) & np.isin(matters.status, [at for at, name in enumerate(kind.statuses) if name in kind.open])
    rows = chosen & left_open
    following = matters.next_month[rows]
    events = _Events(matters.subject[rows], matters.matter[rows], matters.month[rows], matters.amount[rows], len(matters.subjects))

    def value(month: int) -> Reals:
        standing = events.where((events.month < month) & (following >= month))
        return standing.counted() if formula.measure == "open" else standing.money()

    return value


def _ratio(part: Reals, whole: Reals) -> Reals:
    return np.where(whole > 0, part / np.where(whole > 0, whole, 1.0), np.nan)


def _months(events: _Events) -> Reals:
    """Distinct months with a record."""
    pairs = np.unique(events.subject * 2**32 + events.month)
    return np.bincount(pairs >> 32, minlength=events.subjects).astype(np.float64)


def _since(events: _Events, month: int, *, last: bool) -> Reals:
    """Months since the last or the first record, NaN without any."""
    edge = np.full(events.subjects, -np.inf if last else np.inf)
    (np.maximum if last else np.minimum).at(edge, events.subject, events.month.astype(np.float64))
    return np.where(np.isinf(edge), np.nan, month - edge)
