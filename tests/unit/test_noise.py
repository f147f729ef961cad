"""Noise is of just the distribution that is stated: exact samplers and tables by goodness of fit, costs by a second accountant."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from decimal import Decimal, localcontext
from fractions import Fraction

import numpy as np
import pytest
from dp_accounting import GaussianDpEvent, NeighboringRelation
from dp_accounting.rdp import RdpAccountant
from scipy.stats import chi2

from federation.kernel.errors import ConfigurationError, LocalError
from federation.kernel.role import Randomness
from federation.kernel.secret import Secret
from federation.noise import accounting, exact
from federation.noise.stream import Stream
from federation.noise.table import MOST_ENTRIES, draw, exp_bits, flip_table, gaussian_table, reach

CHANCE = 1e-4
"""Below which a fit is refused. Seeds are fixed: the tests fail for a wrong distribution and for nothing else."""


def stream(seed: int) -> Stream:
    return Stream(Randomness(Secret(seed.to_bytes(32, "big"))).words)


def fit(found: Counter[int], chances: dict[int, float]) -> float:
    """p of Pearson's chi-square over cells with at least ten expected draws, the rest in one."""
    draws = sum(found.values())
    cells = {x: p * draws for x, p in chances.items() if p * draws >= 10}
    rest = draws - sum(cells.values())
    statistic = sum((found[x] - expected) ** 2 / expected for x, expected in cells.items())
    beyond = draws - sum(found[x] for x in cells)
    if rest >= 5:
        statistic += (beyond - rest) ** 2 / rest
    return float(chi2.sf(statistic, len(cells) - (0 if rest >= 5 else 1)))


def gaussian(variance: float) -> dict[int, float]:
    weights = {x: math.exp(-x * x / (2 * variance)) for x in range(-400, 401)}
    return {x: w / math.fsum(weights.values()) for x, w in weights.items()}


@pytest.mark.parametrize("variance", [Fraction(1, 4), Fraction(2), Fraction(37, 3)])
def test_the_exact_discrete_gaussian_fits_and_control_another_variance_does_not(variance: Fraction) -> None:
    uniform = stream(1)
    found = Counter(exact.discrete_gaussian(variance, uniform) for _ in range(8_000))
    assert fit(found, gaussian(float(variance))) > CHANCE
    assert fit(found, gaussian(float(variance) * 1.2)) < CHANCE


@pytest.mark.parametrize("scale", [Fraction(1, 2), Fraction(7, 3)])
def test_the_exact_discrete_laplace_fits_and_control_another_scale_does_not(scale: Fraction) -> None:
    uniform = stream(2)
    found = Counter(exact.discrete_laplace(scale, uniform) for _ in range(8_000))

    def chances(at: float) -> dict[int, float]:
        weights = {x: math.exp(-abs(x) / at) for x in range(-200, 201)}
        return {x: w / math.fsum(weights.values()) for x, w in weights.items()}

    assert fit(found, chances(float(scale))) > CHANCE
    assert fit(found, chances(float(scale) * 1.2)) < CHANCE


@pytest.mark.parametrize("gamma", [Fraction(0), Fraction(1, 3), Fraction(1), Fraction(5, 2)])
def test_bernoulli_of_an_exponential(gamma: Fraction) -> None:
    uniform, draws = stream(3), 8_000
    yes = sum(exact.bernoulli_exp(gamma, uniform) for _ in range(draws))
    p = math.exp(-gamma)
    assert abs(yes - draws * p) <= 4 * math.sqrt(draws * p * (1 - p))


@pytest.mark.parametrize("epsilon", [Fraction(1, 2), Fraction(2)])
def test_flips_by_table(epsilon: Fraction) -> None:
    uniform, draws = stream(4), 8_000
    p = 1 / (1 + math.exp(epsilon))
    yes = int(flip_table(epsilon).draw(draws, uniform).sum())
    assert abs(yes - draws * p) <= 4 * math.sqrt(draws * p * (1 - p))


@pytest.mark.parametrize("variance", [Fraction(1, 4), Fraction(37, 3), Fraction(400)])
def test_the_table_fits_and_control_another_variance_does_not(variance: Fraction) -> None:
    found = Counter(gaussian_table(variance).draw(400_000, stream(5)).tolist())
    assert fit(found, gaussian(float(variance))) > CHANCE
    assert fit(found, gaussian(float(variance) * 1.05)) < CHANCE


@pytest.mark.parametrize("variance", [Fraction(16), Fraction(10_007, 3)])
def test_total_variation_of_the_table_is_below_2_to_the_minus_100(variance: Fraction) -> None:
    """Every entry against a sum of exponentials with 80 digits, tails included."""
    table = gaussian_table(variance)
    entries = [(int(h) << 64) + int(l) for h, l in zip(table.high, table.low, strict=True)]
    chances = [b - a for a, b in itertools.pairwise([0, *entries, 1 << 128])]
    with localcontext() as context:
        context.prec = 80
        twice = 2 * Decimal(variance.numerator) / Decimal(variance.denominator)
        size = reach(variance) + 60
        weights = {x: (-Decimal(x * x) / twice).exp() for x in range(-size, size + 1)}
        whole, two = sum(weights.values()), Decimal(2) ** 128
        apart = sum(
            abs(w / whole - (Decimal(chances[x - table.first]) / two if 0 <= x - table.first < len(chances) else 0))
            for x, w in weights.items()
        )
        assert apart / 2 < Decimal(2) ** -100


def test_a_table_as_large_as_is_allowed_has_rounding_left() -> None:
    assert MOST_ENTRIES * 2**-128 + 2**-130 < 2**-100


def test_the_lower_half_decides_where_the_upper_does_not() -> None:
    table = gaussian_table(Fraction(4))
    place = len(table.high) // 2
    for lower, expected in ((int(table.low[place]) - 1, place), (int(table.low[place]), place + 1)):
        words = iter([np.array([table.high[place]], np.uint64), np.array([0] * 4095 + [lower], np.uint64)])
        assert table.draw(1, Stream(lambda _count, words=words: next(words)))[0] == expected + table.first


def test_exponentials_of_320_bits() -> None:
    with localcontext() as context:
        context.prec = 120
        for gamma in (Fraction(0), Fraction(1, 3), Fraction(1), Fraction(77, 3), Fraction(1, 10**9)):
            right = (-Decimal(gamma.numerator) / Decimal(gamma.denominator)).exp() * Decimal(2) ** 320
            assert abs(Decimal(exp_bits(gamma)) - right) < 4


def test_long_vectors_come_from_tables_and_short_ones_are_exact() -> None:
    few = draw(Fraction(2**40), 40, stream(6))
    assert few.dtype == np.int64
    assert 2**18 < few.std() < 2**22
    many = draw(Fraction(100), 20_000, stream(7))
    assert abs(many.var() - 100) < 5


@pytest.mark.parametrize("parameter", [Fraction(0), Fraction(-1)])
def test_a_parameter_that_is_not_above_zero_is_refused(parameter: Fraction) -> None:
    for sampler in (exact.discrete_gaussian, exact.discrete_laplace):
        with pytest.raises(LocalError):
            sampler(parameter, stream(8))
    for build in (gaussian_table, flip_table):
        with pytest.raises(LocalError):
            build(parameter)


# -- costs --------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("epsilon", [0.5, 1.0, 2.0, 4.0, 8.0])
def test_rho_of_an_epsilon_and_back_and_by_a_gaussian_event(epsilon: float) -> None:
    rho = accounting.rho_of(epsilon, 1e-6)
    assert accounting.epsilon_of(rho, 1e-6) == pytest.approx(epsilon, rel=1e-6)
    assert accounting.epsilon_of(rho, 1e-6) <= epsilon
    second = RdpAccountant(neighboring_relation=NeighboringRelation.ADD_OR_REMOVE_ONE)
    second.compose(GaussianDpEvent(1 / math.sqrt(2 * rho)))
    assert second.get_epsilon(1e-6) == pytest.approx(epsilon, rel=0.01)


@pytest.mark.parametrize(("parties", "threshold"), [(3, 3), (5, 4), (8, 6), (64, 43), (65, 44), (2000, 1334)])
def test_a_sum_with_drop_outs_and_a_league_costs_no_more_than_stated(parties: int, threshold: int) -> None:
    honest = accounting.honest_noise(parties, threshold)
    league = threshold - honest
    assert 1 <= league < max(2, 2 * threshold - parties)
    variance = accounting.variance_for(10**6, 0.01, honest)
    assert accounting.cost(10**6, variance, honest, 50_000) <= 0.01 * (1 + 1e-12)
    assert accounting.cost(10**6, variance, honest - 1 or 1, 50_000) >= 0.01 * (1 - 1e-4)


def test_the_cost_is_that_of_the_true_distributions() -> None:
    """Renyi divergences of the convolution itself, numerically, for two parties: none is above alpha rho."""
    variance, parties, shift = 2.0, 2, 1
    one = np.array([math.exp(-x * x / (2 * variance)) for x in range(-12, 13)])
    total = np.convolve(one / one.sum(), one / one.sum())
    moved = np.concatenate([np.zeros(shift), total])
    still = np.concatenate([total, np.zeros(shift)])
    both = (moved > 0) & (still > 0)
    rho = accounting.cost(shift, Fraction(2), parties, 1)
    for alpha in (1.5, 2.0, 8.0):
        divergence = math.log(float((moved[both] ** alpha * still[both] ** (1 - alpha)).sum())) / (alpha - 1)
        assert divergence <= alpha * rho * (1 + 1e-9)
        assert divergence >= alpha * rho * 0.99


def test_too_little_noise_has_no_bound_and_a_threshold_without_noise_is_refused() -> None:
    with pytest.raises(LocalError):
        accounting.cost(1, Fraction(1, 8), 3, 1)
    with pytest.raises(ConfigurationError):
        accounting.honest_noise(9, 2)
