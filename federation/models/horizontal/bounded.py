"""Small dense problems that all banks solve alike: a quadratic with signs, and which columns depend on those before them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Reals = NDArray[np.float64]
Mask = NDArray[np.bool_]

DEPENDENT = 1e-11
"""A column counts as dependent when those before it leave less than this share of the largest variance."""
_PATIENCE = 3
_MOST = 1000


def bounded_minimum(hessian: Reals, gradient: Reals, theta: Reals, signs: NDArray[np.int8], free: Mask) -> Reals:
    """The minimiser t of g'(t - theta) + (t - theta)'H(t - theta)/2 with sign_j t_j >= 0, and t_j = 0 where not free, (p,).

    Block principal pivoting (Kim and Park 2011): fix those of the wrong sign at zero, free those whose gradient points inwards, all at
    once; where that does not lessen the number of both for three rounds, one at a time (Murty's rule), which ends. Raises LinAlgError where
    H is not positive definite.
    """
    target = hessian @ theta - gradient  # t minimises t'Ht/2 - target't
    bounded = (signs != 0) & free
    inside = free & ~(bounded & (theta == 0))
    fewest, patience = len(theta) + 1, _PATIENCE
    for _ in range(_MOST):
        found = np.zeros(len(theta))
        if inside.any():
            chosen = np.ix_(inside, inside)
            root = np.linalg.cholesky(hessian[chosen])
            found[inside] = np.linalg.solve(root.T, np.linalg.solve(root, target[inside]))
        slope = hessian @ found - target
        size = 1e-10 * (np.abs(hessian) @ np.abs(found) + np.abs(target))
        wrong = (inside & bounded & (signs * found < 0)) | (bounded & ~inside & (signs * slope < -size))
        if not wrong.any():
            return found
        if wrong.sum() < fewest:
            fewest, patience = int(wrong.sum()), _PATIENCE
        elif patience > 0:
            patience -= 1
        else:
            wrong = np.arange(len(theta)) == np.flatnonzero(wrong)[-1]
        inside = inside ^ wrong
    return found


def dependent_columns(gram: Reals) -> Mask:
    """Which columns of a Gram matrix, (p, p), are combinations of the columns before them, (p,), by Gaussian elimination."""
    rest = gram.copy()
    least = DEPENDENT * max(float(np.diag(gram).max(initial=0.0)), 1e-300)
    out = np.zeros(len(gram), bool)
    for j in range(len(gram)):
        if rest[j, j] <= least:
            out[j] = True
            continue
        rest -= np.outer(rest[:, j], rest[j]) / rest[j, j]
    return out
