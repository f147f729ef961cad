"""Exact samplers: integers from uniform integers, in rational arithmetic (Canonne, Kamath and Steinke 2020, The Discrete Gaussian, section 5).

    discrete Laplace    P(x) ~ exp(-|x| / scale)            epsilon = sensitivity / scale
    discrete Gaussian   P(x) ~ exp(-x^2 / (2 variance))     rho = sensitivity^2 / (2 variance) of concentrated privacy

No number is rounded, so no digit of the noise tells of the value that it hides (Mironov 2012). Parameters are Fractions, above zero.
"""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Protocol

from federation.kernel.errors import LocalError


class Uniform(Protocol):
    """Where uniform integers come from."""

    def below(self, bound: int) -> int:
        """A uniform integer in [0, bound)."""


def bernoulli_exp(gamma: Fraction, uniform: Uniform) -> bool:
    """True with chance exp(-gamma), gamma >= 0 (algorithm 1)."""
    for _ in range(math.floor(gamma)):
        if not _below_one(Fraction(1), uniform):
            return False
    return _below_one(gamma - math.floor(gamma), uniform)


def _below_one(gamma: Fraction, uniform: Uniform) -> bool:
    """True with chance exp(-gamma), 0 <= gamma <= 1: whether the first k with Bernoulli(gamma / k) = 0 is odd."""
    k = 1
    while uniform.below(k * gamma.denominator) < gamma.numerator:
        k += 1
    return k % 2 == 1


def discrete_laplace(scale: Fraction, uniform: Uniform) -> int:
    """P(x) ~ exp(-|x| / scale) (algorithm 2). Raises LocalError for a scale that is not above zero."""
    _require(scale)
    t, s = scale.numerator, scale.denominator
    while True:
        first = uniform.below(t)
        if not bernoulli_exp(Fraction(first, t), uniform):
            continue
        whole = 0
        while bernoulli_exp(Fraction(1), uniform):
            whole += 1
        size = (first + t * whole) // s
        negative = uniform.below(2) == 1
        if not (negative and size == 0):
            return -size if negative else size


def discrete_gaussian(variance: Fraction, uniform: Uniform) -> int:
    """P(x) ~ exp(-x^2 / (2 variance)) (algorithm 3). The true variance is never above the parameter, and close to it from 1 on.

    Raises LocalError for a variance that is not above zero.
    """
    _require(variance)
    t = math.isqrt(math.floor(variance)) + 1
    while True:
        found = discrete_laplace(Fraction(t), uniform)
        if bernoulli_exp((abs(found) - variance / t) ** 2 / (2 * variance), uniform):
            return found


def _require(parameter: Fraction) -> None:
    if parameter <= 0:
        raise LocalError("noise", "a scale, variance or epsilon that is not above zero", "This is a bug: report it.")
