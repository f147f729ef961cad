"""Arithmetic modulo SEAL's primes on arrays (..., primes, N) of uint64, and residues that two parties expand from a common label."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from federation.encrypted_linear.parameters import DEGREE
from federation.kernel import suite
from federation.kernel.codec import Array
from federation.kernel.errors import PeerError
from federation.kernel.secret import Secret

Words = NDArray[np.uint64]


def _column(primes: Sequence[int]) -> Words:
    return np.array(primes, np.uint64)[:, None]


def add(left: Words, right: Words, primes: Sequence[int]) -> Words:
    """Give left + right, both already below the primes."""
    total, p = left + right, _column(primes)
    return np.where(total >= p, total - p, total)


def subtract(left: Words, right: Words, primes: Sequence[int]) -> Words:
    """Give left - right, both already below the primes."""
    return np.where(left >= right, left - right, left + _column(primes) - right)


def times(left: Words, right: Words, primes: Sequence[int]) -> Words:
    """Give left * right, for primes below 2^54.

    The quotient is taken in float64: four roundings of 2^-53 each put it at most 2^54 * 2^-51 = 8 from the true one, so the remainder,
    exact modulo 2^64, lies within 9 primes of zero and fits a signed word.
    """
    p = _column(primes)
    quotient = (left.astype(np.float64) * right.astype(np.float64) / p.astype(np.float64)).astype(np.uint64)
    remainder = (left * right - quotient * p).view(np.int64)
    return np.remainder(remainder, p.view(np.int64)).view(np.uint64)


def expand(key: Secret, count: int, primes: Sequence[int]) -> Words:
    """Uniform residues (count, primes, N) from a key that may be public: both sides of a protocol get the same.

    For each prime, of b bits: the low b bits of each word of its own AES-256-CTR stream, in order, less those that are not below the prime.
    """
    out = np.empty((count, len(primes), DEGREE), np.uint64)
    for place, prime in enumerate(primes):
        out[:, place] = _below(suite.derive(key, "residues", place), prime, count * DEGREE).reshape(count, DEGREE)
    return out


def _below(stream: Secret, prime: int, wanted: int) -> Words:
    mask = np.uint64((1 << prime.bit_length()) - 1)
    rejected_often = prime < mask - mask // np.uint64(64)
    parts: list[Words] = []
    found = used = 0
    while found < wanted:
        take = (wanted - found) * (2 if rejected_often else 1)
        words = suite.keystream(stream, take, used) & mask
        used += take
        parts.append(words[words < prime])
        found += len(parts[-1])
    return np.concatenate(parts)[:wanted]


def read(array: Array, sender: str, shape: tuple[int, ...], primes: Sequence[int], axis: int = -2) -> Words:
    """Residues from a message, read-only: of exactly this shape, each below the prime of its place along the axis. Raises PeerError."""
    words = array.read(sender, "<u8", shape)
    for place, prime in enumerate(primes):
        if words.size and int(words.take(place, axis).max()) >= prime:
            raise PeerError(sender, "a coefficient that is not below its prime", "residues modulo the primes of the scheme")
    return words
