"""Long vectors of discrete Gaussian noise and of flips, from tables of cumulative chances of 128 bits.

A table lists floor(2^128 P(X <= x)) for every x that has a chance worth the name; a draw is the number of entries that a uniform 128-bit number
reaches. Two things differ from the exact distribution: tails beyond 14 standard deviations are cut (a chance below 2^-130), and every entry is
rounded down by less than 2^-128. So with fewer than 2^24 entries

    total variation to the exact sampler < 2^-100 for each draw,

which a run of 2^30 draws turns into less than 2^-70, to be read as part of delta. Chances are integers of 320 bits, computed by a recurrence
whose error stays below 2^-256: there is no floating point here.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from itertools import accumulate

import numpy as np
from numpy.typing import NDArray

from federation.kernel.errors import LocalError
from federation.noise.exact import discrete_gaussian
from federation.noise.stream import Stream, Words

Integers = NDArray[np.int64]

MOST_ENTRIES = 1 << 24
_BITS = 320
_ONE = 1 << _BITS
_CUT = _ONE >> 140
_LOW = (1 << 64) - 1
_LEADING = 16


@dataclass(frozen=True)
class Table:
    """high, low: (entries,) uint64, the halves of the cumulative chances, ascending; first: what is drawn below the first entry; guide: of each
    value of the leading 16 bits how many entries lie below all numbers that begin so, and one more for the end.
    """

    high: Words
    low: Words
    first: int
    guide: Integers

    @classmethod
    def of(cls, chances: list[int], first: int) -> Table:
        """From chances, (k,) integers in any unit, of the values first, first + 1, ..."""
        whole = sum(chances)
        reached = [(part << 128) // whole for part in accumulate(chances[:-1])]
        high, low = np.array([r >> 64 for r in reached], np.uint64), np.array([r & _LOW for r in reached], np.uint64)
        starts = np.arange(1 << _LEADING, dtype=np.uint64) << np.uint64(64 - _LEADING)
        return cls(high, low, first, np.append(np.searchsorted(high, starts, side="left"), len(high)).astype(np.int64))

    def draw(self, count: int, stream: Stream) -> Integers:
        """(count,) draws. The lower half of a uniform number is drawn only where the upper one does not decide."""
        upper = stream.words(count)
        leading = (upper >> np.uint64(64 - _LEADING)).astype(np.int64)
        place = self.guide[leading]
        open_ = np.flatnonzero(place != self.guide[leading + 1])
        left, right = (np.searchsorted(self.high, upper[open_], side=side) for side in ("left", "right"))
        place[open_] = left
        for row in open_[left != right].tolist():
            lower = stream.below(1 << 64)
            while place[row] < len(self.high) and self.high[place[row]] == upper[row] and int(self.low[place[row]]) <= lower:
                place[row] += 1
        return place + self.first


def reach(variance: Fraction) -> int:
    """The largest magnitude in a table: 14 standard deviations and one."""
    return 14 * (math.isqrt(math.ceil(variance)) + 1)


@lru_cache(maxsize=8)
def gaussian_table(variance: Fraction) -> Table:
    """The discrete Gaussian's. Raises LocalError where it would have more than 2^24 entries, or for a variance not above zero."""
    most = reach(variance) if variance > 0 else 0
    if not 0 < 2 * most < MOST_ENTRIES:
        raise LocalError("noise", "a variance that is not above zero, or too large for a table", "This is a bug: report it.")
    chances = [_ONE]
    ratio, change = exp_bits(1 / (2 * variance)), exp_bits(1 / variance)
    while len(chances) <= most and chances[-1] > _CUT:  # exp(-(x+1)^2 / 2v) = exp(-x^2 / 2v) exp(-(2x + 1) / 2v)
        chances.append(chances[-1] * ratio >> _BITS)
        ratio = ratio * change >> _BITS
    return Table.of(chances[:0:-1] + chances, 1 - len(chances))


@lru_cache(maxsize=8)
def flip_table(epsilon: Fraction) -> Table:
    """1 with chance 1 / (1 + exp(epsilon)), else 0."""
    if epsilon <= 0:
        raise LocalError("noise", "an epsilon that is not above zero", "This is a bug: report it.")
    return Table.of([_ONE, exp_bits(epsilon)], 0)


def exp_bits(gamma: Fraction) -> int:
    """exp(-gamma) in units of 2^-320, to a few of them, for gamma >= 0: halve until below 1/2, a Taylor series, square back."""
    halvings = max(0, math.ceil(gamma).bit_length() + 1)
    spare = _BITS + 2 * halvings + 32
    step = (gamma.numerator << spare) // (gamma.denominator << halvings)
    term, found, k = 1 << spare, 0, 0
    while term:
        found += -term if k % 2 else term
        k += 1
        term = (term * step >> spare) // k
    for _ in range(halvings):
        found = found * found >> spare
    return found >> (spare - _BITS)


def draw(variance: Fraction, count: int, stream: Stream) -> Integers:
    """(count,) discrete Gaussians: from a table where it has no more entries than four for each draw, else exactly, one by one."""
    if 2 * reach(variance) <= 4 * count and 2 * reach(variance) < MOST_ENTRIES:
        return gaussian_table(variance).draw(count, stream)
    return np.fromiter((discrete_gaussian(variance, stream) for _ in range(count)), np.int64, count)
