"""Many losses as one epsilon at a delta: by sums, by Renyi divergences and by privacy loss distributions; the smallest, since each is valid.

dp-accounting composes; what this module adds is which of its events bounds each loss.

Renyi (RDP). A discrete Gaussian vector is rho-zCDP with rho = l2^2 / (2 sigma^2) (Canonne, Kamath, Steinke 2020, theorem 14), a sum of n of
them with the terms in tau of Kairouz, Liu, Steinke 2021, proposition 14. A pure epsilon is rho-zCDP with rho = epsilon tanh(epsilon / 2)
(Steinke 2024, "Tight RDP & zCDP bounds from pure DP"); a stated delta is set aside (Kairouz, Oh, Viswanath 2015: such a release is one with
delta 0, but for an event of probability delta).

Distributions (PLD). Where one integer changes, a small sigma has its own distribution. A vector of which several integers change has no
known worst case, so it is compared with a Gaussian on the reals that is released and then rounded. Let s^2 = sigma^2 - r^2, let x be the
answer plus N(0, s^2), and let each y be drawn with probability proportional to exp(-(y - x)^2 / (2 r^2)) on the integers (Peikert 2010,
theorem 3.1). By Poisson's summation the normaliser is within 1 +- eta of r sqrt(2 pi) wherever x lies, with eta <= 3 exp(-2 pi^2 r^2), so
the probability of every y is within a factor exp(+-3 eta) of the discrete Gaussian's, and exp(+-3 eta d) for d integers. Rounding is
post-processing. So with slack a = 3 eta d the discrete Gaussian costs at most epsilon(delta exp(-a)) + 2a of the Gaussian with s; r is taken
such that a is 10^-12, r^2 about 2, which for sigma = 20 is 0.3 % of epsilon. For a sum of n discrete Gaussians a grows by d tau, their
greatest log ratio to one of the same variance (theorem 9 of the same paper).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from federation.kernel.loss import DiscreteGaussian, DiscreteLaplace, Loss, Stated, tally
from federation.noise.accounting import renyi_accountant

_SLACK = 1e-12
"""What rounding may add to epsilon, over all releases of one kind."""
_SMALL_SIGMA = 30.0
"""Below it a single integer's noise is taken as it is; above, rounding costs less than a tenth of a percent of epsilon."""
_POINTS = 50_000
"""Steps of a privacy loss distribution over the range that matters: about a tenth of a second, and epsilon to 10^-4 of itself."""
_GREATEST_RHO = 200.0
"""Of one release with a distribution of its own: above, exp(log ratio) leaves double precision, and nobody is protected anyway."""
_LEAST_DELTA = 1e-14
"""Below it the Fourier transforms in double precision say nothing."""


def epsilon(losses: Iterable[Loss], delta: float) -> float:
    """The least epsilon that is known to hold for all losses together at this delta; inf when none is known.

    A release may depend on earlier answers; how much noise it has may not (a rule of all but the Renyi bound: Feldman and Zrnic 2021). 0.1 to
    0.5 s for new losses, nothing for those asked before.
    """
    return _epsilon(frozenset(tally(losses).items()), delta)


@lru_cache(maxsize=4096)
def _epsilon(counted: frozenset[tuple[Loss, int]], delta: float) -> float:
    if not counted:
        return 0.0
    ordered = Counter(dict(sorted(counted, key=repr)))  # sums of floats in one order: every process finds the same epsilon
    return min(by_sums(ordered, delta), by_renyi(ordered, delta), by_distribution(ordered, delta))


def tau(loss: DiscreteGaussian) -> float:
    """How far a sum of discrete Gaussians is from one of the same variance, at one integer (Kairouz, Liu, Steinke 2021, theorem 1):
    10 sum_{k=1}^{n-1} exp(-2 pi^2 sigma^2 k / (k + 1)).
    """
    return 10 * math.fsum(math.exp(-2 * (math.pi * loss.sigma) ** 2 * k / (k + 1)) for k in range(1, loss.parties))


def _stated(loss: DiscreteLaplace | Stated) -> Stated:
    """What a loss is without its shape."""
    return Stated(loss.l1 / loss.scale) if isinstance(loss, DiscreteLaplace) else loss


def by_sums(counted: Counter[Loss], delta: float) -> float:
    """Epsilons and deltas added up (Dwork and Roth 2014, theorem 3.16); inf where a loss has no epsilon of its own."""
    if any(isinstance(loss, DiscreteGaussian) for loss in counted) or _stated_delta(counted) > delta:
        return math.inf
    return math.fsum(count * _stated(loss).epsilon for loss, count in counted.items() if not isinstance(loss, DiscreteGaussian))


def _stated_delta(counted: Counter[Loss]) -> float:
    """The sum of the stated deltas."""
    return math.fsum(count * loss.delta for loss, count in counted.items() if isinstance(loss, Stated))


def _rho(loss: Loss) -> float:
    """The zCDP parameter of one release, without its stated delta."""
    if not isinstance(loss, DiscreteGaussian):
        pure = _stated(loss).epsilon
        return pure * math.tanh(pure / 2)
    relative = loss.l2 / (loss.sigma * math.sqrt(loss.parties))
    apart = tau(loss)
    # integers: the sum norm is at most the squared Euclidean norm
    l1 = min(loss.l2**2, loss.l2 * math.sqrt(loss.dimension)) / (loss.sigma * math.sqrt(loss.parties))
    return min(relative**2 + 2 * l1 * apart + apart**2 * loss.dimension, (relative + apart * math.sqrt(loss.dimension)) ** 2) / 2


def by_renyi(counted: Counter[Loss], delta: float) -> float:
    """By dp-accounting's RdpAccountant over a fine grid of orders; inf when the stated deltas alone exceed delta."""
    import dp_accounting

    rest = delta - _stated_delta(counted)
    if rest <= 0:
        return math.inf
    events = [dp_accounting.SelfComposedDpEvent(dp_accounting.ZCDpEvent(_rho(loss)), count) for loss, count in counted.items()]
    accountant = renyi_accountant()
    accountant.compose(dp_accounting.ComposedDpEvent(events))
    return float(accountant.get_epsilon(rest))


@dataclass(frozen=True)
class _Shape:
    """Which distribution bounds a release, and the slack a: its probabilities are within exp(+-a) of that distribution's.

    mu: sensitivity over standard deviation of a Gaussian on the reals, 0 for none; integer: the same release's sensitivity where its noise is
    taken as it is, 0 otherwise.
    """

    mu: float
    integer: int
    slack: float


def _shape(loss: DiscreteGaussian, count: int) -> _Shape | None:
    """How a discrete Gaussian enters, or None where its noise is too small for a vector's comparison."""
    total = loss.sigma * math.sqrt(loss.parties)
    apart = tau(loss) * loss.dimension if loss.parties > 1 else 0.0
    largest = int(loss.l2) if loss.dimension == 1 else (1 if loss.l2**2 < 2 else 0)
    if largest >= 1 and total <= _SMALL_SIGMA:
        return _Shape(0.0, largest, apart)
    eta = _SLACK / (3 * loss.dimension * count)
    rounding = math.log(3 / eta) / (2 * math.pi**2)
    if total**2 <= 2 * rounding:
        return None
    return _Shape(loss.l2 / math.sqrt(total**2 - rounding), 0, apart + _SLACK / count)


def by_distribution(counted: Counter[Loss], delta: float) -> float:
    """By dp-accounting's privacy loss distributions, pessimistic in every rounding; inf where a loss has none or delta is too small."""
    shapes: dict[Loss, _Shape | None] = {loss: _shape(loss, count) for loss, count in counted.items() if isinstance(loss, DiscreteGaussian)}
    if delta < max(_LEAST_DELTA, _stated_delta(counted)) or None in shapes.values():
        return math.inf
    if max(_rho(loss) for loss in counted) > _GREATEST_RHO:
        return math.inf
    slack = math.fsum(counted[loss] * shape.slack for loss, shape in shapes.items() if shape)
    least = delta * math.exp(-slack)
    if least < _LEAST_DELTA:
        return math.inf
    # one Gaussian stands for all: the squares of mu add up
    gaussian = math.fsum(counted[loss] * shape.mu**2 for loss, shape in shapes.items() if shape)
    others = {loss: count for loss, count in counted.items() if (shape := shapes.get(loss)) is None or shape.integer}
    if not others:
        return _gaussian(gaussian, least) + 2 * slack
    step = _step(counted)
    composed = None
    if gaussian > 0:
        composed = _distributions().from_gaussian_mechanism(1 / math.sqrt(gaussian), value_discretization_interval=step)
    for loss, count in others.items():
        shape = shapes.get(loss)
        one = _distribution(loss, shape.integer if shape else 0, step).self_compose(count)
        composed = one if composed is None else composed.compose(one)
    assert composed is not None
    return float(composed.get_epsilon_for_delta(least)) + 2 * slack


def _gaussian(squared_mu: float, delta: float) -> float:
    """Of Gaussians on the reals alone, whose log ratios add up to one normal one: exact (Balle and Wang 2018, theorem 8)."""
    import dp_accounting
    import numpy as np

    with np.errstate(divide="ignore"):  # the logarithm of a delta that is 0 in double precision
        return float(dp_accounting.get_epsilon_gaussian(1 / math.sqrt(squared_mu), delta))


def _step(counted: Counter[Loss]) -> float:
    """The grid of log ratios: fine against the whole range, and against each stated epsilon, which is rounded up to the grid."""
    rhos = {loss: _rho(loss) for loss in counted}
    variance = 2 * math.fsum(count * rhos[loss] for loss, count in counted.items())
    span = variance / 2 + 14 * math.sqrt(variance)
    finest = [_stated(loss).epsilon for loss in counted if not isinstance(loss, DiscreteGaussian)]
    return max(span / (10 * _POINTS), min([span / _POINTS, *(value / 1000 for value in finest)]))


def _distributions() -> Any:
    from dp_accounting.pld import privacy_loss_distribution

    return privacy_loss_distribution


def _distribution(loss: Loss, integer: int, step: float) -> Any:
    """One release that is no Gaussian on the reals."""
    made = _distributions()
    if isinstance(loss, DiscreteGaussian):
        sigma = loss.sigma * math.sqrt(loss.parties)
        return made.from_discrete_gaussian_mechanism(sigma, integer, value_discretization_interval=step, use_connect_dots=True)
    if isinstance(loss, DiscreteLaplace) and (loss.dimension == 1 or loss.l1 == 1):
        rate = 1 / loss.scale
        return made.from_discrete_laplace_mechanism(rate, loss.l1, value_discretization_interval=step, use_connect_dots=True)
    from dp_accounting.pld import common

    stated = _stated(loss)
    parameters = common.DifferentialPrivacyParameters(stated.epsilon, stated.delta)
    return made.from_privacy_parameters(parameters, value_discretization_interval=step)
