"""The loan book of all banks: loans, monthly instalments, arrears, restructuring, write-off; the cash formula (`traits`, `hazard`) decides.

Instalments are equal parts of the principal with interest, due on the 20th from the month after the loan is paid out. One draw a month and firm
says whether it is short of cash, so that a firm's loans fail together; each loan has a second draw (`hazard.MISSES`). A firm that closes in
order pays off 19 loans of 20, and misses every instalment of the rest. From six unpaid instalments on a bank writes off with probability
0.35 a month; with 2 or 3 it restructures with 0.04: arrears go to the end, twelve months are added.

Loans of refused applicants (granted = False) run beside, by the same rules, and touch nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from simulations.economy import calibration as known
from simulations.economy.applications import Applications, Underwriting, fixed_part
from simulations.economy.calendar import Month
from simulations.economy.firms import Firms
from simulations.economy.hazard import CATCHES_UP, DEFAULT_AT, LENDERS, MISSES, PAYS_OFF, effect, probability
from simulations.economy.hazard import RESTRUCTURED as EASED
from simulations.economy.randomness import Streams
from simulations.economy.traits import CLOSED, MACRO, WEIGHTS, Traits, closing

DUE_DAY: Final = 20
CURRENT, RESTRUCTURED, WRITTEN_OFF, FINISHED = 0, 1, 2, 3
TERMS, TERM_SHARES = (6, 12, 24, 36), (0.15, 0.5, 0.2, 0.15)
SMALLEST_LOAN, LARGEST_LOAN = 20_000, 10_000_000
"""CNY; inclusive loans to small firms are those of at most 10 million in China's statistics."""


@dataclass
class Loans:
    """(k,) each. number: of the loan at its bank, or of the shadow; opened: day; month: of opening; left, instalment: fen of principal;
    arrears: unpaid instalments; default: month of default, or NEVER; probability: of default within twelve months, as of opening.
    """

    number: NDArray[np.int64]
    firm: NDArray[np.int64]
    bank: NDArray[np.int64]
    granted: NDArray[np.bool_]
    opened: NDArray[np.int64]
    month: NDArray[np.int64]
    amount: NDArray[np.int64]
    term: NDArray[np.int64]
    rate: NDArray[np.float64]
    collateral: NDArray[np.int64]
    left: NDArray[np.int64]
    instalment: NDArray[np.int64]
    arrears: NDArray[np.int64]
    status: NDArray[np.int64]
    default: NDArray[np.int64]
    closed: NDArray[np.int64]
    probability: NDArray[np.float64]
    score: NDArray[np.float64]
    cause: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.number)

    def take(self, which: NDArray[Any]) -> Loans:
        """Some of them."""
        return Loans(*(getattr(self, field.name)[which] for field in fields(self)))

    def with_(self, more: Loans) -> Loans:
        """These and more."""
        return Loans(*(np.concatenate([getattr(self, field.name), getattr(more, field.name)]) for field in fields(self)))


NEVER: Final = -999
CAUSES: Final = ("health", "liquidity", "honesty", "macro and shocks", "industry, region and age")
_NONE: Final = np.empty(0, np.int64)


class Book:
    """Open loans of all banks, and those that ended (`ended`, for the truth)."""

    def __init__(self, streams: Streams, firms: Firms, rule: Underwriting, banks: int, history: int) -> None:
        self._streams, self._firms, self._rule, self._banks, self._history = streams, firms, rule, banks, history
        empty: dict[str, Any] = {field.name: _NONE for field in fields(Loans)}
        self.open = Loans(**(empty | {"granted": np.empty(0, bool), "rate": np.empty(0), "probability": np.empty(0), "score": np.empty(0)}))
        self.ended: list[Loans] = []
        self._numbers = np.zeros(banks + 1, np.int64)

    def lenders(self) -> NDArray[np.int64]:
        """Open loans of each firm, (n,)."""
        return np.bincount(self.open.firm[self.open.granted], minlength=len(self._firms))

    def borrows(self) -> NDArray[np.int64]:
        """Keys firm * banks + bank of open loans, sorted."""
        return np.unique(self.open.firm * self._banks + self.open.bank)

    def month(self, month: Month, traits: Traits, index: NDArray[np.float64]) -> tuple[Loans, NDArray[np.int64]]:
        """Instalments of a month: the loans as of its end, with (k,) paid in the month in fen (interest with it). Ended ones leave the book."""
        loans, rng = self.open, self._streams.of("arrears", month.number + self._history)
        common = rng.random(len(self._firms))[loans.firm]
        draws = rng.random((4, len(loans)))
        others = np.maximum(self.lenders()[loans.firm] - loans.granted, 0)
        short = common < expit(self._rule.intercept + index[loans.firm] + effect(loans.arrears) + LENDERS * others)
        gone = traits.state[loans.firm] == CLOSED
        pays_off = gone & (traits.closed[loans.firm] == month.number) & (loans.arrears == 0) & (draws[0] < PAYS_OFF)
        missed = np.where(gone, ~pays_off, short & (draws[0] < MISSES))
        caught = ~missed & ((draws[1] < CATCHES_UP) | (loans.arrears == 0))
        interest = np.rint(loans.left * loans.rate / 12).astype(np.int64)
        principal = np.where(missed, 0, np.where(caught, loans.arrears + 1, 1) * loans.instalment)
        over = loans.month + loans.term <= month.number
        principal = np.where(pays_off | (over & caught), loans.left, np.minimum(principal, loans.left))
        paid = np.where(missed, 0, principal + interest)
        loans.left = loans.left - principal
        loans.arrears = np.where(missed, loans.arrears + 1, np.where(caught | pays_off, 0, loans.arrears))
        self._judge(loans, month, draws, traits, index)
        ended = (loans.status == WRITTEN_OFF) | (loans.status == FINISHED)
        self.ended.append(loans.take(ended))
        self.open = loans.take(~ended)
        return loans, paid

    def _judge(self, loans: Loans, month: Month, draws: NDArray[np.float64], traits: Traits, index: NDArray[np.float64]) -> None:
        newly = (loans.arrears >= DEFAULT_AT) & (loans.default == NEVER)
        loans.default = np.where(newly, month.number, loans.default)
        loans.cause = np.where(newly, main_cause(self._firms, traits, index, loans.firm), loans.cause)
        eased = (loans.arrears >= 2) & (loans.arrears < DEFAULT_AT) & (draws[2] < EASED) & (loans.status == CURRENT)
        loans.term = np.where(eased, np.maximum(loans.term, month.number - loans.month) + 12, loans.term)
        rest = np.maximum(loans.month + loans.term - month.number, 1)
        loans.instalment = np.where(eased, -(-loans.left // rest), loans.instalment)
        loans.arrears = np.where(eased, 0, loans.arrears)
        written_off = (loans.arrears >= 6) & (draws[3] < 0.35)
        states = [loans.left <= 0, written_off, eased]
        loans.status = np.select(states, [FINISHED, WRITTEN_OFF, RESTRUCTURED], loans.status)
        loans.closed = np.where((loans.left <= 0) | written_off, month.number, loans.closed)

    def lend(self, month: Month, asked: Applications, traits: Traits, index: NDArray[np.float64]) -> Loans:
        """New loans of a month's applications, refused ones as shadows; those granted have their numbers in turn."""
        rng, count = self._streams.of("loans", month.number + self._history), len(asked.firm)
        size = self._firms.size[asked.firm]
        amount = np.clip(size * np.exp(-1.8 + 0.5 * rng.standard_normal(count)), SMALLEST_LOAN, LARGEST_LOAN)
        fen = np.round(amount, -3).astype(np.int64) * 100
        term = rng.choice(TERMS, count, p=TERM_SHARES).astype(np.int64)
        priced = np.full(count, known.RATE) - 0.006 * (asked.score - self._rule.cutoff - 0.8) + 0.004 * rng.standard_normal(count)
        rate = np.asarray(np.round(np.clip(priced, 0.03, 0.12), 4), np.float64)
        secured = rng.random(count) + 0.08 * (np.log(size) - 13.6)
        collateral = np.digitize(secured, [0.55, 0.82])
        fixed = fixed_part(index, traits)[asked.firm]
        named = (traits.health[asked.firm], traits.liquidity[asked.firm], traits.honesty[asked.firm])
        ends = closing(month.number - self._firms.founded[asked.firm].astype(np.int64), named[0])
        known_part = self._rule.intercept + fixed + LENDERS * self.lenders()[asked.firm]
        chance = probability(known_part, named, ends, self._rule.noise)
        opened = month.first + rng.integers(0, month.days, count)
        full = np.full(count, NEVER, np.int64)
        place = np.where(asked.granted, asked.bank, self._banks)
        zero = np.zeros(count, np.int64)
        new = Loans(
            self._numbered(place), asked.firm, asked.bank, asked.granted, opened, np.full(count, month.number), fen, term, rate, collateral,
            fen.copy(), -(-fen // term), zero, zero.copy(), full, full.copy(), chance, asked.score, full.copy(),
        )  # fmt: skip
        self.open = self.open.with_(new)
        return new

    def _numbered(self, place: NDArray[np.int64]) -> NDArray[np.int64]:
        order = np.argsort(place, kind="stable")
        counts = np.bincount(place, minlength=self._banks + 1)
        within = np.empty(len(place), np.int64)
        within[order] = np.arange(len(place)) - np.repeat(np.cumsum(counts) - counts, counts)
        found = self._numbers[place] + within
        self._numbers += counts
        return found


def days_past_due(loans: Loans, month: Month, start: str) -> NDArray[np.int64]:
    """Days since the oldest unpaid instalment was due, as of the month's end, (k,)."""
    oldest = np.datetime64(start, "M") + month.number - np.maximum(loans.arrears - 1, 0)
    due = oldest.astype("datetime64[D]").astype(np.int64) + DUE_DAY - 1
    return np.asarray(np.where(loans.arrears > 0, month.last - due, 0))


def main_cause(firms: Firms, traits: Traits, index: NDArray[np.float64], firm: NDArray[np.int64]) -> NDArray[np.int64]:
    """The largest term of the index at a firm, (k,), index into CAUSES."""
    own = [weight * getattr(traits, name)[firm] for name, weight in WEIGHTS.items()]
    rest = index[firm] - sum(own) - firms.risk[firm]
    outer = traits.shock[firm] + MACRO * firms.of_industry("cyclical")[firm] * traits.macro
    return np.asarray(np.argmax(np.vstack([*own, outer, firms.risk[firm] + rest - outer]), axis=0))
