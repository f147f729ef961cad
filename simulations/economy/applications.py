"""Who asks which bank for a loan, and what the bank's own rule says, before any federation: the applicant stream.

A firm that wants credit, is no shy one and is at least three months old asks with probability 0.15 exp(-0.2 liquidity) a month when it has no
loan, 0.02 when it has one; seven in ten ask their main bank. A bank's rule, from what it sees with noise,

    score = 0.5 (liquidity + 0.7 e) + 0.35 (health + 0.9 e) + 0.3 (log size - 13.6) / 1.3 + 0.25 ln(1 + years)   (+ 0.5 in a circular ring)

takes whoever is above a cutoff, such that `acceptance` of the applications of the whole population pass. Who is refused gets no loan, but a
shadow loan runs on in the truth: what would have become of it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq

from simulations.economy.coverage import Coverage, bank_shares
from simulations.economy.firms import Firms, Reals
from simulations.economy.hazard import paths, probability
from simulations.economy.randomness import Streams
from simulations.economy.rings import CIRCULAR, IDENTITY, MULTI_LENDING, Fraud
from simulations.economy.settings import Economy
from simulations.economy.traits import OWN, PULL, WEIGHTS, Traits, closing

FREE, INDEBTED, MAIN_BANK = 0.15, 0.02, 0.7


@dataclass(frozen=True)
class Applications:
    """firm, bank: (k,); score: of the bank's rule; granted: what it decided."""

    firm: NDArray[np.int64]
    bank: NDArray[np.int64]
    score: Reals
    granted: NDArray[np.bool_]


@dataclass(frozen=True)
class Underwriting:
    """cutoff: of the banks' rule; intercept: a of the cash formula; noise: of `hazard.paths`."""

    cutoff: float
    intercept: float
    noise: Reals


def calibrate(streams: Streams, firms: Firms, asked: Economy) -> Underwriting:
    """The cutoff at which `acceptance` of applications pass, and the intercept at which those taken default at `default_rate`, at macro 0."""
    rng = streams.of("pilot")
    which = rng.choice(np.flatnonzero(firms.need & ~firms.shy), 5_000)
    health, liquidity, honesty, one, two = rng.standard_normal((5, len(which)))
    liquidity = PULL * health + OWN * liquidity
    years = np.maximum(-firms.founded[which].astype(np.float64), 6.0) / 12
    score = _score(health, liquidity, firms.size[which], years, one, two)
    asks = rng.random(len(which)) < np.exp(-0.2 * liquidity) / 2
    cutoff = float(np.quantile(score[asks], 1 - asked.acceptance))
    taken = np.flatnonzero(asks & (score > cutoff))
    fixed = firms.risk[which][taken] - np.log1p(years[taken]) / 4
    traits, ends = (health[taken], liquidity[taken], honesty[taken]), closing(np.rint(12 * years[taken]).astype(np.int64), health[taken])
    noise = paths(streams)
    few = noise[::4]
    intercept = brentq(lambda a: float(probability(a + fixed, traits, ends, few).mean()) - asked.default_rate, -12.0, 6.0, xtol=0.01)
    return Underwriting(cutoff, float(intercept), noise)


def _score(health: Reals, liquidity: Reals, size: Reals, years: Reals, one: Reals, two: Reals) -> Reals:
    seen = 0.5 * (liquidity + 0.7 * one) + 0.35 * (health + 0.9 * two)
    return seen + 0.3 * (np.log(size) - 13.6) / 1.3 + 0.25 * np.log1p(years)


class Asking:
    """The applicant stream of all months."""

    def __init__(self, streams: Streams, firms: Firms, coverage: Coverage, fraud: Fraud, asked: Economy, rule: Underwriting) -> None:
        self._streams, self._firms, self._main, self._fraud, self._asked, self._rule = streams, firms, coverage.main, fraud, asked, rule
        self._shares = np.cumsum(bank_shares(asked.banks))

    def month(self, number: int, traits: Traits, lenders: NDArray[np.int64], borrows: NDArray[np.int64]) -> Applications:
        """A month's applications. lenders: (n,) loans that each firm has; borrows: keys firm * banks + bank of open loans, sorted."""
        place = number + self._asked.history
        rng, firms = self._streams.of("applications", place), self._firms
        age = number - firms.founded.astype(np.int64)
        rate = np.where(lenders > 0, INDEBTED, FREE) * np.exp(-0.2 * traits.liquidity)
        asks = (rng.random(len(firms)) < rate) & firms.need & ~firms.shy & (age >= 3) & traits.active
        firm = np.flatnonzero(asks)
        elsewhere = np.minimum(np.searchsorted(self._shares, rng.random(len(firm))), self._asked.banks - 1)
        own = (rng.random(len(firm)) < MAIN_BANK) & (self._main[firm] >= 0)
        bank = np.where(own, self._main[firm], elsewhere).astype(np.int64)
        firm, bank = self._of_rings(number, traits, firm, bank)
        key = firm * self._asked.banks + bank
        _, first = np.unique(key, return_index=True)
        kept = first[~np.isin(key[first], borrows)]
        return self._decided(place, traits, firm[kept], bank[kept], age[firm[kept]])

    def _of_rings(
        self, number: int, traits: Traits, firm: NDArray[np.int64], bank: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        for place, ring in enumerate(self._fraud.rings):
            if ring.start == number and ring.kind in {MULTI_LENDING, IDENTITY}:
                members = ring.members[traits.active[ring.members]].astype(np.int64)
                asked = min(self._asked.banks, 5 if ring.kind == MULTI_LENDING else 2)
                banks = (np.arange(asked) + place) % self._asked.banks
                firm, bank = np.concatenate([firm, np.repeat(members, asked)]), np.concatenate([bank, np.tile(banks, len(members))])
        return firm, bank

    def _decided(
        self, place: int, traits: Traits, firm: NDArray[np.int64], bank: NDArray[np.int64], age: NDArray[np.int64]
    ) -> Applications:
        one, two = self._streams.of("decisions", place).standard_normal((2, len(firm)))
        years = np.maximum(age, 0) / 12
        score = _score(traits.health[firm], traits.liquidity[firm], self._firms.size[firm], years, one, two)
        kind = self._fraud.kind[firm]
        score = score + np.where(kind == CIRCULAR, 0.5, 0.0) + np.where((kind == MULTI_LENDING) | (kind == IDENTITY), 1.0, 0.0)
        return Applications(firm, bank, score, score > self._rule.cutoff)


def fixed_part(index: Reals, traits: Traits) -> Reals:
    """The index without its traits' part, (n,)."""
    return np.asarray(index - sum(weight * getattr(traits, name) for name, weight in WEIGHTS.items()))
