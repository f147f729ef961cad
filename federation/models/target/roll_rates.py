"""Roll rates: from which state of arrears loans move to which, from one month's end to the next and over the performance window.

A loan that is written off or closed moves no further. Source: Siddiqi 2017, Intelligent Credit Scoring, chapter 6 (roll rate analysis).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from federation.kernel.manifest import TargetSettings
from federation.models.target.histories import Histories, Integers
from federation.models.target.observation import Months

FROM = ("current", "1-29", "30-59", "60-89", "90+")
TO = (*FROM, "written off", "closed")
_BOUNDS = np.array([1, 30, 60, 90])
_WRITTEN_OFF, _CLOSED, _NONE = 5, 6, -1


@dataclass(frozen=True)
class Rolls:
    """counts: (5, 7) how often a loan moved from a state of `FROM` to one of `TO`; firms: (5, 7) how many firms these loans are of."""

    counts: Integers
    firms: Integers


def states(loans: Histories) -> NDArray[np.int8]:
    """The state of every loan at every month's end, (loans, months), of `TO`; -1 where there is no record."""
    state = np.searchsorted(_BOUNDS, loans.days, side="right").astype(np.int8)
    state[~loans.recorded] = _NONE
    state[loans.closed] = _CLOSED
    state[loans.written_off] = _WRITTEN_OFF
    return state


def month_to_month(loans: Histories) -> tuple[Rolls, int]:
    """Moves between neighbouring months, and how many had no record at their end though the loan had later ones: these are not counted. A loan
    without any later record was closed.
    """
    state = states(loans)
    before, after = state[:, :-1], state[:, 1:]
    last = state.shape[1] - 1 - np.argmax(state[:, ::-1] != _NONE, axis=1)
    after = np.where((after == _NONE) & (np.arange(1, state.shape[1]) > last[:, None]), np.int8(_CLOSED), after)
    started = (before >= 0) & (before < len(FROM))
    moved = started & (after != _NONE)
    loan, _ = np.nonzero(moved)
    return _count(loans, loan, before[moved], after[moved]), int((started & (after == _NONE)).sum())


def over_the_window(loans: Histories, settings: TargetSettings, months: Months) -> Rolls:
    """From the state at observation to the worst one in the performance window, over these months as far as they have matured. A loan that has
    no record in it, or one that says closed and nothing else, was closed.
    """
    state = states(loans)
    found = []
    for month in np.sort(months):
        column = loans.column(month)
        if column < 1 or column + settings.performance_months > loans.months:
            continue
        before, inside = state[:, column - 1], state[:, column : column + settings.performance_months]
        worst = np.where(inside == _CLOSED, _NONE, inside).max(axis=1)
        worst[worst == _NONE] = _CLOSED
        loan = np.flatnonzero((before >= 0) & (before < len(FROM)))
        found.append((loan, before[loan], worst[loan]))
    if not found:
        return Rolls(np.zeros((len(FROM), len(TO)), np.int64), np.zeros((len(FROM), len(TO)), np.int64))
    loan, start, end = (np.concatenate(parts) for parts in zip(*found, strict=True))
    return _count(loans, loan, start, end)


def _count(loans: Histories, loan: Integers, start: NDArray[np.int8], end: NDArray[np.int8]) -> Rolls:
    cell = start.astype(np.int64) * len(TO) + end
    counts = np.bincount(cell, minlength=len(FROM) * len(TO))
    seen = np.zeros((len(FROM) * len(TO), len(loans.firms)), bool)
    seen[cell, loans.firm[loan]] = True
    shape = (len(FROM), len(TO))
    return Rolls(counts.reshape(shape), seen.sum(axis=1).reshape(shape))
