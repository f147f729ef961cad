"""Real numbers as three integer limbs, so that a masked sum needs no clip from the data: magnitudes to 2^60 on the grid 2^-60.

    x = (h 2^80 + m 2^40 + l) / 2^60,    |h|, |m|, |l| <= 2^40, all of the sign of x

A float64 is cut into its limbs without rounding but for what lies below the grid; limbs are added separately and put together again as exact
integers, so a sum is wrong by at most n 2^-61, and whole numbers below 2^53 are added exactly. Limbs fit the bounds of `fixed_point` for as
many as 2^11 members.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from federation.kernel.errors import AbortCode, LocalError
from federation.masked_sum.fixed_point import FixedPoint, Integers, Reals

LIMBS = 3
LARGEST = 2.0**60
MOST_MEMBERS = 1 << 11
_LIMB = 40


def limbs(members: int) -> FixedPoint:
    """The encoding of each limb. Raises ConfigurationError above 2^11 members."""
    return FixedPoint(2.0**_LIMB, members, 0)


def encode(vector: NDArray[Any], where: str = "masked sum") -> Integers:
    """(k,) real numbers to (3 k,) int64: all high limbs, all middle ones, all low ones. Raises LocalError beyond the range."""
    real = np.asarray(vector, np.float64)
    size = np.abs(real)
    if not (size <= LARGEST).all():
        bad = int((~(size <= LARGEST)).sum())
        raise LocalError(
            where,
            f"{bad:,} of {real.size:,} numbers are not finite or beyond the range of a sum (rule: |x| <= 2^60)",
            "Nothing was sent. Declare the column in a larger unit.",
            AbortCode.DATA,
        )
    high = np.floor(np.ldexp(size, -20))
    rest = size - np.ldexp(high, 20)
    middle = np.floor(np.ldexp(rest, 20))
    low = np.rint(np.ldexp(rest - np.ldexp(middle, -20), 60))
    signed: Reals = np.concatenate([high, middle, low]) * np.tile(np.sign(real), LIMBS)
    return signed.astype(np.int64)


def decode(totals: Integers) -> Reals:
    """(3 k,) sums of limbs to (k,) float64, each correctly rounded."""
    high, middle, low = totals.reshape(LIMBS, -1).tolist()
    return np.array([((h << 80) + (m << 40) + w) / (1 << 60) for h, m, w in zip(high, middle, low, strict=True)], np.float64)
