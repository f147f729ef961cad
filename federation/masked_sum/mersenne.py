"""Arithmetic modulo the Mersenne prime p = 2^61 - 1, exact and vectorised: the field of the tags that show a wrong sum.

Residues are uint64 arrays with values in [0, p). Everything stays below 2^64 in integer arithmetic, as the bounds at each line show.
A sum tagged with secret uniform weights passes for another with probability at most 2^-60 (Carter and Wegman 1981, universal hashing).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Words = NDArray[np.uint64]

P = (1 << 61) - 1
_P = np.uint64(P)
_LOW30, _LOW31, _LOW32 = np.uint64((1 << 30) - 1), np.uint64((1 << 31) - 1), np.uint64((1 << 32) - 1)
_1, _30, _31, _32, _61 = np.uint64(1), np.uint64(30), np.uint64(31), np.uint64(32), np.uint64(61)


def reduce(words: Words) -> Words:
    """Any 64-bit words modulo p: 2^61 = 1, so the high three bits are added to the low 61."""
    out = (words & _P) + (words >> _61)  # <= p + 7
    np.subtract(out, _P, out=out, where=out >= _P)
    return out


def uniform(words: Words) -> Words:
    """Uniform residues from uniform words: 61 bits, with p taken as 0 (within 2^-61 of uniform each)."""
    out = words & _P
    out[out == _P] = 0
    return out


def residues(integers: NDArray[np.int64]) -> Words:
    """Signed 64-bit integers modulo p."""
    return np.mod(integers, np.int64(P)).view(np.uint64)


def add(left: Words, right: Words) -> Words:
    """The sum left + right."""
    return reduce(left + right)  # < 2^62


def subtract(left: Words, right: Words) -> Words:
    """The difference left - right."""
    return reduce(left + (_P - right))  # < 2^62


def times(left: Words, right: Words) -> Words:
    """The product left * right, from 31-bit halves: a = a1 2^31 + a0 with a1 < 2^30, and 2^62 = 2, 2^61 = 1."""
    a1, a0 = left >> _31, left & _LOW31
    b1, b0 = right >> _31, right & _LOW31
    middle = a1 * b0 + a0 * b1  # < 2^62
    high = (a1 * b1) << _1  # a1 b1 2^62 = 2 a1 b1 < 2^61
    middle = (middle >> _30) + ((middle & _LOW30) << _31)  # middle 2^31, < 2^32 + 2^61
    return reduce(high + middle + a0 * b0)  # < 2^61 + 2^61 + 2^32 + 2^62 < 2^64


def total(values: Words) -> int:
    """The sum of residues, modulo p (at most 2^32 of them)."""
    high, low = int((values >> _32).sum(dtype=np.uint64)), int((values & _LOW32).sum(dtype=np.uint64))
    return ((high << 32) + low) % P


def dot(weights: Words, integers: NDArray[np.int64]) -> int:
    """sum_j weights_j * integers_j modulo p, for residues and signed integers of one shape."""
    return total(times(weights, residues(integers)))


def is_residue(value: int) -> bool:
    """Whether a peer's integer is a residue, in its one form."""
    return 0 <= value < P
