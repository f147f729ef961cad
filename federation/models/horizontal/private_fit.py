"""A logistic fit over many banks from few sums with noise: one of products, then a few of gradients.

    1.       products   sum of x x' over the training rows, x = (1, standardised weights of evidence) shortened to norm r
    2. - 4.  gradients  sum of (p - y) x at the common coefficients, shortened to norm g

    theta  <-  theta - (w0 G + ridge)^-1 (gradient + ridge theta),    w0 = base (1 - base), G the products, eigenvalues raised to their noise

G stands in for the Hessian (as in the preconditioner of fits across parties), since it is a sum taken once; the error of theta shrinks to about
a fifth with every gradient. Three gradients leave less than noise does at any epsilon up to 8. A row adds no more than r^2 to the products
(the Frobenius norm of the upper triangle of x x') and g to a gradient: r^2 = 2 (1 + d), g^2 = 3/4 (1 + d) for d columns, where (1 + d) is
the mean of |x|^2. Rows beyond are shortened and counted. Bassily, Smith and Thakurta 2014 (noisy gradients); Dwork et al. 2014, Analyze Gauss
(noise on products).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import msgspec
import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from federation.kernel.state import State
from federation.models.horizontal.noise import Noise, Release, clipped

Reals = NDArray[np.float64]

GRADIENTS = 3
NAMES = ("products", *(f"gradient {number + 1}" for number in range(GRADIENTS)))
_ROW, _STEP = 2.0, 0.75
"""The squared norms to which x and (p - y) x are shortened, for each design column, the intercept counted."""


class PrivateFit(State, frozen=True):
    """theta: (1 + d,) intercept first; products: (1 + d, 1 + d), eigenvalues raised, None before the first sum; sums: taken."""

    theta: Reals
    products: Reals | None = None
    sums: int = 0

    @property
    def done(self) -> bool:
        """Whether all sums were taken."""
        return self.sums > GRADIENTS


@dataclass
class FitPrivately:
    """The plan. x: (n, 1 + d) training rows, ones first; y: (n,) in {0, 1}; base: share of bads over all banks, with noise; penalty: (d,);
    signs: (d,), -1 for a coefficient that must not be positive; shares: of rho, for the four sums.
    """

    x: Reals
    y: Reals
    base: float
    penalty: Reals
    signs: NDArray[np.int8]
    noise: Noise
    shares: tuple[float, ...]
    kind: type[PrivateFit] = field(default=PrivateFit, init=False)

    def begin(self) -> PrivateFit:
        """The base rate and no column."""
        theta = np.zeros(self.x.shape[1])
        theta[0] = math.log(self.base / (1 - self.base))
        return PrivateFit(theta)

    def release(self, state: PrivateFit) -> Release:
        """Of products, then of a gradient."""
        size = self.x.shape[1]
        return self.noise.reals(self.shares[state.sums], math.sqrt(_STEP * size) if state.sums else _ROW * size)

    def ask(self, state: PrivateFit) -> Reals | None:
        """The upper triangle of the products, (p (p + 1) / 2,), then gradients, (p,)."""
        return None if state.done else self._sum(state)[0]

    def shortened(self, state: PrivateFit) -> int:
        """How many of this bank's rows add less than they would at the present coefficients: for its own screen."""
        return self._sum(msgspec.structs.replace(state, sums=1))[1]

    def take(self, state: PrivateFit, total: Reals, banks: int) -> PrivateFit:
        """Keep the products, or take a step."""
        size, spread = self.x.shape[1], self.release(state).spread(banks)
        if state.products is None:
            products = np.zeros((size, size))
            products[np.triu_indices(size)] = total
            products += np.triu(products, 1).T
            values, vectors = np.linalg.eigh(products)
            raised = np.maximum(values, spread * math.sqrt(size))  # half of what the noise alone reaches
            return msgspec.structs.replace(state, products=(vectors * raised) @ vectors.T, sums=1)
        ridge = np.concatenate([[0.0], self.penalty])
        hessian = self.base * (1 - self.base) * state.products + np.diag(ridge)
        theta = state.theta - np.linalg.solve(hessian, total + ridge * state.theta)
        held = np.concatenate([[0], self.signs])
        return msgspec.structs.replace(state, theta=np.where(held * theta < 0, 0.0, theta), sums=state.sums + 1)

    def _sum(self, state: PrivateFit) -> tuple[Reals, int]:
        release, size = self.release(state), self.x.shape[1]
        if state.sums:
            return clipped(self.x * (expit(self.x @ state.theta) - self.y)[:, None], release)
        upper = np.triu_indices(size)
        norms = np.maximum(1.0, np.sqrt((self.x**2).sum(axis=1) / (_ROW * size)))
        short = self.x / norms[:, None]
        total, beyond = np.zeros(len(upper[0])), 0
        for first in range(0, len(short), 4096):
            part = short[first : first + 4096]
            found, more = clipped(part[:, upper[0]] * part[:, upper[1]], release)
            total, beyond = total + found, beyond + more
        return total, beyond
