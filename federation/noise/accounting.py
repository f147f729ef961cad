"""What a sum of discrete Gaussians costs, and how much each party adds so that the sum costs what was stated.

Each of m parties adds integers, on which one row has an L2 norm of at most D, and an own discrete Gaussian of variance v to each of the d
numbers. Then (Kairouz, Liu and Steinke 2021, The Distributed Discrete Gaussian Mechanism, theorem 1) the sum is rho-zCDP for adding or removing
a row, with

    rho <= D^2 / (2 m v) + t d / 4,    t = 10 sum_{k=1}^{m-1} exp(-2 pi^2 v k / (k + 1)),    v >= 1/4

The second term is what a sum of discrete Gaussians is short of being one; from v = 16 on it is below 10^-60. Whoever is in league with the
reader tells it its own noise, and whoever was lost added none: of n parties of whom t must stay, c of them in league, m = t - c count, and each
adds the variance s / (t - c) of the stated s.

Costs add up over sums that depend on each other (Bun and Steinke 2016). A ledger books `dp_accounting.ZCDpEvent(rho)`, whose Renyi divergences
are those of a Gaussian of noise multiplier 1 / sqrt(2 rho); epsilon at a delta is that of dp-accounting's RDP accountant.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from fractions import Fraction
from functools import lru_cache
from typing import Any

from federation.kernel.errors import ConfigurationError, LocalError

FEWEST = Fraction(16)
"""The least variance of one party, in squared steps of the grid: the sum is then as good as one discrete Gaussian."""
_ROUNDS = 60
_PARTS = 1 - 1e-11
"""Room for the rounding of a sum of parts, which must not exceed the whole by its last bit."""


def honest_noise(parties: int, threshold: int, few: int = 64) -> int:
    """How many parties' noise is surely in a sum and unknown to its readers: t - c.

    c: as many as may be in league by what the masked sum promises, the most below a third of the parties, of more than `few` a tenth; and
    always one, since every reader knows its own noise. Raises ConfigurationError where nothing is left.
    """
    league = max(1, (parties - 1) // 3 if parties <= few else parties // 10)
    if threshold - league < 1:
        raise ConfigurationError("noise", f"a threshold of {threshold} with {league} in league leaves no noise", "Raise the threshold.")
    return threshold - league


def shortfall(variance: Fraction, parties: int) -> float:
    """The t of the theorem."""
    return 10 * sum(math.exp(-2 * math.pi**2 * float(variance) * k / (k + 1)) for k in range(1, parties))


def cost(square: int, variance: Fraction, parties: int, numbers: int) -> float:
    """The rho of a sum of so many numbers. square: D^2, in squared steps of the grid. Raises LocalError below the theorem's variance."""
    if variance < Fraction(1, 4):
        raise LocalError("noise", "a variance below 1/4, for which no bound is known", "This is a bug: report it.")
    return square / (2 * parties * float(variance)) + shortfall(variance, parties) * numbers / 4


def variance_for(square: int, rho: float, parties: int) -> Fraction:
    """The least whole variance of one party for which the sum costs no more than rho (but for the shortfall), at least 16."""
    return max(FEWEST, Fraction(math.ceil(square / (2 * parties * rho))))


def epsilon_of(rho: float, delta: float) -> float:
    """Epsilon of a composed rho at a delta, by dp-accounting's RDP accountant."""
    return float(_accountant(rho).get_epsilon(delta))


@lru_cache(maxsize=64)
def rho_of(epsilon: float, delta: float) -> float:
    """The largest rho that costs no more than (epsilon, delta), to ten digits, and no more either when it is added up from its parts."""
    low, high = 0.0, epsilon  # rho-zCDP is no better than (rho, .)-DP
    for _ in range(_ROUNDS):
        middle = (low + high) / 2
        low, high = (middle, high) if middle > 0 and epsilon_of(middle, delta) <= epsilon else (low, middle)
    return low * _PARTS


def event(rho: float) -> Any:
    """What a ledger books for a sum: `dp_accounting.ZCDpEvent`."""
    from dp_accounting import ZCDpEvent

    return ZCDpEvent(rho)


def composed(costs: Iterable[float]) -> float:
    """The rho of several sums together."""
    return math.fsum(costs)


def renyi_accountant() -> Any:
    """dp-accounting's RDP accountant over a fine grid of orders: one grid for noise and ledger, so that what a run states is what is found."""
    import numpy as np
    from dp_accounting import NeighboringRelation
    from dp_accounting.rdp import RdpAccountant

    return RdpAccountant(orders=1 + np.logspace(-1.5, 7, 800), neighboring_relation=NeighboringRelation.ADD_OR_REMOVE_ONE)


def _accountant(rho: float) -> Any:
    accountant = renyi_accountant()
    accountant.compose(event(rho))
    return accountant
