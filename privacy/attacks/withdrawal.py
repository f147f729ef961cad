"""What a run that goes on without a row tells of that row (`[privacy] withdrawal = "continue"`): the difference between before and after.

Near the end of a fit the coefficients hardly move any more, so that what is released before and after a withdrawal differs by the row alone:

    a partner     X'r of its own columns: the difference is  x_i r_i  of the bank's row i, which it looks for among its own rows
    the bank      the score of each of its firms: the one whose score jumps is the one that withdrew at a partner
    other banks   the gradient, intercept first:  w_i (p_i - y_i) (1, x_i), from which the row follows by division

Each function is honest work on released numbers; nobody deviates from the protocol.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Reals = NDArray[np.float64]


def row_of_difference(difference: Reals, x: Reals) -> tuple[int, float, float]:
    """A partner's guess: which of its rows, x (n, d) with d >= 2, is collinear with the difference of two X'r, before less after, (d,); the
    residual that it had (negative: a bad); and how far the best row is from collinear, as a share of the difference.
    """
    lengths = np.maximum((x * x).sum(axis=1), 1e-300)
    factor = x @ difference / lengths
    rest = np.linalg.norm(difference - factor[:, None] * x, axis=1)
    row = int(rest.argmin())
    return row, float(factor[row]), float(rest[row] / np.linalg.norm(difference))


def jumped(before: Reals, after: Reals) -> tuple[int, float]:
    """The bank's guess: the firm whose score, (n,), changed most, and by how many times more than the next."""
    change = np.abs(after - before)
    first, second = np.argsort(change)[::-1][:2]
    return int(first), float(change[first] / max(change[second], 1e-300))


def row_of_gradient(difference: Reals) -> tuple[Reals, bool]:
    """Another bank's guess from the difference of two gradients (before less after), (1 + d,), intercept first: the row's design values, (d,),
    and whether it was bad.
    """
    return difference[1:] / difference[0], bool(difference[0] < 0)
