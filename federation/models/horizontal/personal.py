"""A bank's own coefficients, eliminated at the bank: what it adds to a sum is a function of the common coefficients alone.

Bank b minimises over its own delta, the common theta given (profile likelihood; Murphy and van der Vaart 2000),

    F_b(theta, delta) = sum_i w_i log(1 + exp(-y_i z_i)) + (1/2) sum_k ridge_k delta_k^2,   z = X theta + U delta,   U columns of X

and adds the loss, the gradient and the Hessian of theta -> min_delta F_b: with A the Hessian of F_b,

    gradient  g_theta - A_theta,delta A_delta,delta^-1 g_delta        (g_delta is zero but for rounding)
    Hessian   A_theta,theta - A_theta,delta A_delta,delta^-1 A_delta,theta

Newton's method on the totals is then Newton's method on the pooled table with one block of columns for each bank, and neither delta nor
anything that depends on it by itself leaves the bank. Without own coefficients this is the plain gradient and Hessian.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from federation.models.line_search import log_loss

Reals = NDArray[np.float64]
_CHUNK = 8192
_INNER = 100


@dataclass(frozen=True)
class Rows:
    """A bank's training rows. x: (n, D) a column of ones first, then the standardised design; y: (n,) in {0, 1}, 1 = bad; w: (n,) > 0."""

    x: Reals
    y: Reals
    w: Reals

    @classmethod
    def of(cls, design: Reals, y: NDArray[np.generic], w: Reals) -> Rows:
        """From a design without the column of ones, (n, D - 1); rows of weight zero are left out."""
        used = w > 0
        x = np.empty((int(used.sum()), design.shape[1] + 1))
        x[:, 0], x[:, 1:] = 1.0, design[used]
        return cls(x, y[used].astype(np.float64), w[used])

    @property
    def one_class(self) -> bool:
        """Whether there are no goods or no bads: then an intercept of its own goes to infinity and the loss to zero."""
        return not len(self.y) or bool(self.y.min() == self.y.max())


@dataclass(frozen=True)
class Own:
    """Which coefficients a bank has of its own. places: (q,) columns of X, 0 the intercept; ridge: (q,), zero for the intercept."""

    places: NDArray[np.intp]
    ridge: Reals


@dataclass(frozen=True)
class Profile:
    """What a bank adds. gradient: (p,), hessian: (p, p), of the common coefficients; loss; delta: (q,), which stays."""

    gradient: Reals
    hessian: Reals
    loss: float
    delta: Reals


def profile(rows: Rows, theta: Reals, common: NDArray[np.intp], own: Own, start: Reals) -> Profile:
    """The bank's sums at common coefficients theta, (p,), of the columns `common` of X. start: (q,) where delta was last."""
    beta = np.zeros(rows.x.shape[1])
    beta[common] = theta
    if own_diverges(rows, own):  # nothing of these rows is left to explain, whatever theta is
        p = len(common)
        return Profile(np.zeros(p), np.zeros((p, p)), 0.0, start)
    delta = solve_own(rows, beta, own, start) if len(own.places) else start
    whole = beta.copy()
    whole[own.places] += delta
    gradient, hessian, loss = sums(rows, whole)
    if not len(own.places):
        return Profile(gradient[common], hessian[np.ix_(common, common)], loss, delta)
    mixed = hessian[np.ix_(common, own.places)]
    inner = hessian[np.ix_(own.places, own.places)] + np.diag(own.ridge)
    eliminated = np.linalg.solve(inner, np.column_stack([gradient[own.places] + own.ridge * delta, mixed.T]))
    schur = hessian[np.ix_(common, common)] - mixed @ eliminated[:, 1:]
    loss += 0.5 * float(own.ridge @ delta**2)
    return Profile(gradient[common] - mixed @ eliminated[:, 0], (schur + schur.T) / 2, loss, delta)


def own_diverges(rows: Rows, own: Own) -> bool:
    """Whether an unpenalised intercept of the bank's own has no optimum."""
    return bool(((own.places == 0) & (own.ridge == 0)).any()) and rows.one_class


def solve_own(rows: Rows, beta: Reals, own: Own, start: Reals) -> Reals:
    """The bank's delta given common coefficients beta, (D,): Newton's method with halving, to rounding."""
    u = rows.x[:, own.places]
    offset, delta = rows.x @ beta, start

    def value(at: Reals) -> float:
        return log_loss(offset + u @ at, rows.y, rows.w) + 0.5 * float(own.ridge @ at**2)

    now = value(delta)
    for _ in range(_INNER):
        p = expit(offset + u @ delta)
        gradient = u.T @ (rows.w * (p - rows.y)) + own.ridge * delta
        hessian = u.T @ (u * (rows.w * p * (1 - p))[:, None]) + np.diag(own.ridge)
        step = -np.linalg.solve(hessian + np.eye(len(delta)) * 1e-14 * float(hessian.trace()), gradient)
        after = value(delta + step)
        while after > now + 1e-11 * abs(now) and float(np.abs(step).max()) > 1e-12:
            step = step / 2
            after = value(delta + step)
        delta, now = delta + step, after
        if float(np.abs(step).max()) <= 1e-9:
            break
    return delta


def sums(rows: Rows, beta: Reals) -> tuple[Reals, Reals, float]:
    """Gradient (D,), Hessian (D, D) and loss of the weighted logistic loss at beta, (D,), a few thousand rows at a time."""
    width = rows.x.shape[1]
    gradient, hessian, loss = np.zeros(width), np.zeros((width, width)), 0.0
    for first in range(0, len(rows.y), _CHUNK):
        x, y, w = rows.x[first : first + _CHUNK], rows.y[first : first + _CHUNK], rows.w[first : first + _CHUNK]
        z = x @ beta
        p = expit(z)
        gradient += x.T @ (w * (p - y))
        hessian += x.T @ (x * (w * p * (1 - p))[:, None])
        loss += log_loss(z, y, w)
    return gradient, hessian, loss
