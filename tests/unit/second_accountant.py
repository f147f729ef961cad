"""A second accountant, from the definitions: the probabilities of every outcome, their log ratios on a fine grid, convolved.

It shares no code with privacy.budget.account and rounds to the nearest grid point, so it is neither above nor below the truth by design.
The Gaussian on the reals alone has a closed form (Balle and Wang 2018, theorem 8).
"""

from __future__ import annotations

import math

import numpy as np
from scipy.optimize import brentq
from scipy.stats import norm

from federation.kernel.loss import DiscreteGaussian, DiscreteLaplace, Loss, Stated


def gaussian_epsilon(mu: float, delta: float) -> float:
    """Of a Gaussian whose sensitivity is mu standard deviations."""

    def excess(epsilon: float) -> float:
        return float(norm.cdf(mu / 2 - epsilon / mu) - math.exp(epsilon) * norm.cdf(-mu / 2 - epsilon / mu)) - delta

    return 0.0 if excess(0.0) <= 0 else float(brentq(excess, 0.0, mu * mu / 2 + 40 * mu, xtol=1e-12))


def outcomes(loss: Loss, shift: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray, float]:
    """Log ratios of every outcome that matters, their probabilities, and the probability of one that tells all.

    shift: by how much each integer of a noisy vector changes.
    """
    if isinstance(loss, Stated):
        odds = math.exp(-loss.epsilon)
        return np.array([loss.epsilon, -loss.epsilon]), np.array([1, odds]) / (1 + odds) * (1 - loss.delta), loss.delta
    if isinstance(loss, DiscreteLaplace):
        logs = [lambda x: -np.abs(x) / loss.scale] * len(shift)
        reach = int(40 * loss.scale) + max(shift)
    else:
        sigma = loss.sigma * math.sqrt(loss.parties)
        logs = [lambda x: -(x**2) / (2 * sigma**2)] * len(shift)
        reach = int(12 * sigma) + max(shift)
    x = np.arange(-reach, reach + 1)
    ratios, weights = np.zeros(1), np.ones(1)
    for log, by in zip(logs, shift, strict=True):
        p = np.exp(log(x) - np.logaddexp.reduce(log(x)))
        ratios = (ratios[:, None] + (log(x) - log(x - by))[None, :]).ravel()
        weights = (weights[:, None] * p[None, :]).ravel()
        keep = weights > 1e-22
        ratios, weights = ratios[keep], weights[keep]
    return ratios, weights, 0.0


def composed_epsilon(parts: list[tuple[np.ndarray, np.ndarray, float, int]], delta: float, steps: int = 1 << 19) -> float:
    """Parts as `outcomes` gives them, each with its count. The transform of the sum is the product of the transforms."""
    variance = sum(count * float(weights @ ratios**2) for ratios, weights, _, count in parts)
    mean = sum(count * abs(float(weights @ ratios)) for ratios, weights, _, count in parts)
    reach = mean + 14 * math.sqrt(variance) + 2 * max(float(np.max(np.abs(ratios[weights > 1e-13]))) for ratios, weights, _, _ in parts)
    step = 2 * reach / steps
    transform, sure = np.ones(steps // 2 + 1, complex), 1.0
    for ratios, weights, tells_all, count in parts:
        inside = np.abs(ratios) < reach
        places = np.mod(np.rint(ratios[inside] / step).astype(int), steps)
        transform *= np.fft.rfft(np.bincount(places, weights[inside], steps)) ** count
        sure *= (1 - tells_all) ** count
    mass = np.fft.irfft(transform, steps)
    grid = np.fft.fftfreq(steps, 1 / steps) * step
    order = np.argsort(grid)
    grid, mass = grid[order], np.maximum(mass[order], 0)

    def at(epsilon: float) -> float:
        above = grid > epsilon
        return float(mass[above] @ -np.expm1(epsilon - grid[above])) + 1 - sure - delta

    return 0.0 if at(0.0) <= 0 else float(brentq(at, 0.0, reach, xtol=1e-10))


def gaussian_mu(loss: DiscreteGaussian) -> float:
    """Sensitivity over standard deviation, were the noise real."""
    return loss.l2 / (loss.sigma * math.sqrt(loss.parties))
