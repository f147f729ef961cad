"""Privacy losses as immutable data: which noise protected a release, how often.

A loss says nothing of the data and nothing of the neighbouring relation: its sensitivity is the largest change of the exact answer between
two datasets that the institution calls neighbours (a firm more or less, or a firm's row replaced), in the units of the answer's integers.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from typing import TypeAlias

import msgspec

from federation.kernel.errors import ConfigurationError


def _require(*, holds: bool, field: str, rule: str) -> None:
    if not holds:
        raise ConfigurationError(f"privacy loss, {field}", f"not {rule}", "Correct the noise that the run states.")


class DiscreteGaussian(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="noise", tag="discrete gaussian"):
    """A vector of integers, each with the sum of `parties` independent discrete Gaussians on it (Canonne, Kamath, Steinke 2020; for several
    parties Kairouz, Liu, Steinke 2021).

    sigma: of one party's noise, whose probability at x is proportional to exp(-x^2 / (2 sigma^2)); l2: the vector's sensitivity in the
    Euclidean norm; dimension: the vector's length; parties: how many shares of noise are in the sum for certain; count: how many releases.
    Raises ConfigurationError for what is out of range.
    """

    sigma: float
    l2: float
    dimension: int
    parties: int = 1
    count: int = 1

    def __post_init__(self) -> None:
        _require(holds=0 < self.sigma < math.inf, field="sigma", rule="a finite number above 0")
        _require(holds=0 < self.l2 < math.inf, field="l2", rule="a finite number above 0")
        _require(holds=self.dimension >= 1 and self.parties >= 1 and self.count >= 1, field="dimension, parties, count", rule="at least 1")
        _require(holds=self.parties == 1 or self.sigma >= 0.5, field="sigma", rule="at least 0.5 a party (theorem 1 of 2102.06387)")


class DiscreteLaplace(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="noise", tag="discrete laplace"):
    """A vector of integers with discrete Laplace noise on each (Ghosh, Roughgarden, Sundararajan 2009).

    scale: b, where the noise's probability at x is proportional to exp(-|x| / b); l1: the vector's sensitivity in the sum norm; dimension:
    the vector's length; count: how many releases. Raises ConfigurationError for what is out of range.
    """

    scale: float
    l1: int
    dimension: int
    count: int = 1

    def __post_init__(self) -> None:
        _require(holds=0 < self.scale < math.inf, field="scale", rule="a finite number above 0")
        _require(holds=self.l1 >= 1 and self.dimension >= 1 and self.count >= 1, field="l1, dimension, count", rule="at least 1")


class Stated(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="noise", tag="stated"):
    """Anything that is (epsilon, delta)-differentially private: randomised response, or a whole run by what its manifest states.

    Raises ConfigurationError for what is out of range.
    """

    epsilon: float
    delta: float = 0.0
    count: int = 1

    def __post_init__(self) -> None:
        _require(holds=0 < self.epsilon < math.inf, field="epsilon", rule="a finite number above 0")
        _require(holds=0 <= self.delta < 1, field="delta", rule="at least 0 and below 1")
        _require(holds=self.count >= 1, field="count", rule="at least 1")


Loss: TypeAlias = DiscreteGaussian | DiscreteLaplace | Stated


def distributed(sigma: float, l2: float, dimension: int, *, threshold: int, colluding: int, count: int = 1) -> DiscreteGaussian:
    """A masked sum that carries at least sigma although all but `threshold` parties may drop out and `colluding` of those left subtract
    their own noise: each party adds sigma^2 / (threshold - colluding).

    The noise of more parties than that is independent of the rest and costs nothing. `.sigma` of what is returned is what a party draws with.
    Raises ConfigurationError when nobody honest need be left, or sigma is too small to share.
    """
    honest = threshold - colluding
    _require(holds=colluding >= 0 and honest >= 1, field="threshold", rule="above the number of parties that may collude")
    return DiscreteGaussian(sigma / math.sqrt(honest), l2, dimension, honest, count)


def tally(losses: Iterable[Loss]) -> Counter[Loss]:
    """How often each loss occurs: keys have count 1. Composition asks only for this, so that equal losses are composed once."""
    found: Counter[Loss] = Counter()
    for loss in losses:
        found[msgspec.structs.replace(loss, count=1)] += loss.count
    return found


def listed(tallied: Counter[Loss]) -> tuple[Loss, ...]:
    """A tally as losses with their counts: the inverse of `tally`, up to order."""
    return tuple(msgspec.structs.replace(loss, count=count) for loss, count in tallied.items() if count > 0)
