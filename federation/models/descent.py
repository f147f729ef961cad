"""L-BFGS whose vectors never leave their parties: the two-loop recursion over inner products.

Nocedal and Wright 2006, algorithm 7.4, in the vector-free form of Chen, Wang and Zhou 2014 ("Large-scale L-BFGS using MapReduce"): the
recursion needs only inner products among steps s_i, changes of gradient y_i and the gradient g, so each party adds the products of its own
blocks, the sums are taken by masked_sum, and every member then finds the same weights of its own block of the direction. The initial matrix
is gamma P, P block diagonal: each party's own inverse. Pairs (s, y) may be scaled by any common factor, which keeps the products near one.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

HISTORY = 20


@dataclass(frozen=True)
class Products:
    """Inner products of m pairs and the gradient, summed over all parties.

    sy[i, j] = s_i.y_j (m, m); ypy[i, j] = y_i.P y_j (m, m); sg = s_i.g and ypg = y_i.P g (m,); gpg = g.P g.
    """

    sy: NDArray[np.float64]
    ypy: NDArray[np.float64]
    sg: NDArray[np.float64]
    ypg: NDArray[np.float64]
    gpg: float

    def flat(self) -> NDArray[np.float64]:
        """All products as one vector, (2 m^2 + 2 m + 1,)."""
        return np.concatenate([self.sy.ravel(), self.ypy.ravel(), self.sg, self.ypg, [self.gpg]])

    @staticmethod
    def length(pairs: int) -> int:
        """The length of the flat vector for so many pairs."""
        return 2 * pairs * (pairs + 1) + 1

    @classmethod
    def unflat(cls, flat: NDArray[np.float64], pairs: int) -> Products:
        """The products from their vector."""
        square = pairs * pairs
        sy, ypy, sg, ypg, gpg = np.split(flat, np.cumsum([square, square, pairs, pairs]))
        return cls(sy.reshape(pairs, pairs), ypy.reshape(pairs, pairs), sg, ypg, float(gpg[0]))


def products(
    steps: NDArray[np.float64], changes: NDArray[np.float64], gradient: NDArray[np.float64], inverse: NDArray[np.float64]
) -> Products:
    """One party's contribution. steps, changes: (m, d); gradient: (d,); inverse: its block of P, (d, d)."""
    scaled = changes @ inverse
    return Products(steps @ changes.T, scaled @ changes.T, steps @ gradient, scaled @ gradient, float(gradient @ inverse @ gradient))


@dataclass(frozen=True)
class Weights:
    """The direction as weights: d = -(gamma P (g - sum_i a_i y_i) + sum_i b_i s_i)."""

    gamma: float
    changes: NDArray[np.float64]
    steps: NDArray[np.float64]

    def direction(
        self,
        steps: NDArray[np.float64],
        changes: NDArray[np.float64],
        gradient: NDArray[np.float64],
        inverse: NDArray[np.float64],
    ) -> NDArray[np.float64]:
        """One party's block of the direction, (d,)."""
        return -(self.gamma * (inverse @ (gradient - self.changes @ changes)) + self.steps @ steps)


def weights(total: Products) -> Weights:
    """The two-loop recursion over summed products. Pairs without positive curvature are left out."""
    pairs = len(total.sg)
    a, b = np.zeros(pairs), np.zeros(pairs)
    curvature = np.diag(total.sy)
    used = [i for i in range(pairs) if curvature[i] > 1e-12 and total.ypy[i, i] > 0]
    for i in reversed(used):
        a[i] = (total.sg[i] - a @ total.sy[i]) / curvature[i]
    gamma = float(curvature[used[-1]] / total.ypy[used[-1], used[-1]]) if used else 1.0
    for i in used:
        along = gamma * (total.ypg[i] - total.ypy[i] @ a) + b @ total.sy[:, i]
        b[i] = a[i] - along / curvature[i]
    return Weights(gamma, a, b)
