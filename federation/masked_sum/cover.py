"""What hides a sum from the coordinator who adds it, and shows the members when it is wrong.

All members derive, from the group key that the coordinator lacks, one mask g (k,), one tag mask h and secret weights alpha (k,). A member
with the integers x contributes
    2^s x + g            (mod 2^64)
    <alpha, x> + h       (mod p = 2^61 - 1),
each under masks that cancel in the total of n members (pair masks in `pairwise`; self masks and pair masks with drop-outs). The total is
    2^s X + n g   and   <alpha, X> + n h,     X the true sum.
n g is uniform on the multiples of the largest power of two that divides n, and so, since 2^s >= n, is 2^s X + n g: it tells nothing
of X, not even a low bit. h hides <alpha, X> in the same way (n < p), so the weights stay secret also where X is known.
A total that is not X passes only by guessing alpha: at most 2^-60. This holds because opened sums must keep the bound of `fixed_point`.

The group key is bound to all that the coordinator has broadcast so far: members who were shown different things disagree on g and alpha,
and the next opening fails.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

import numpy as np

from federation.kernel import suite
from federation.kernel.errors import PeerError
from federation.kernel.role import COORDINATOR, Run
from federation.kernel.secret import Secret
from federation.masked_sum import mersenne
from federation.masked_sum.fixed_point import FixedPoint, Integers
from federation.masked_sum.mersenne import Words

_CHUNK = 1 << 15
"""Words: a chunk and its mask stay in the cache of one core."""


@dataclass(frozen=True)
class Masked:
    """A vector modulo 2^64 and its tag modulo p. words: (k,) uint64; tag: in [0, p)."""

    words: Words
    tag: int

    def plus(self, other: Masked) -> Masked:
        """The sum."""
        return Masked(self.words + other.words, (self.tag + other.tag) % mersenne.P)

    def minus(self, other: Masked) -> Masked:
        """The difference."""
        return Masked(self.words - other.words, (self.tag - other.tag) % mersenne.P)

    def times(self, count: int) -> Masked:
        """The sum of `count` copies."""
        return Masked(self.words * np.uint64(count), self.tag * count % mersenne.P)


def total_of(parts: Iterable[Masked], length: int) -> Masked:
    """The sum of all parts, each of `length` words."""
    out = Masked(np.zeros(length, np.uint64), 0)
    for part in parts:
        out = out.plus(part)
    return out


def stretch(key: Secret, length: int) -> Masked:
    """A single-purpose key as a uniform mask: `length` words of its keystream, and the word that follows as the tag's mask."""
    stream = suite.keystream(key, length + 1)
    return Masked(stream[:length], int(mersenne.uniform(stream[length:])[0]))


class Tally:
    """A covered vector to which masks are added in place, chunk by chunk: a mask of any length costs no memory of its own."""

    def __init__(self, start: Masked) -> None:
        self._words, self._tag = start.words.copy(), start.tag

    def add(self, key: Secret, sign: int = 1) -> None:
        """Add (sign 1) or subtract (-1) `stretch(key, length)`."""
        length, words = len(self._words), self._words
        for start in range(0, length, _CHUNK):
            piece = words[start : start + _CHUNK]
            mask = suite.keystream(key, len(piece), start)
            (np.add if sign == 1 else np.subtract)(piece, mask, out=piece)
        tag = int(mersenne.uniform(suite.keystream(key, 1, length))[0])
        self._tag = (self._tag + sign * tag) % mersenne.P

    def add_part(self, part: Masked) -> None:
        """Add a vector that is there already."""
        np.add(self._words, part.words, out=self._words)
        self._tag = (self._tag + part.tag) % mersenne.P

    @property
    def masked(self) -> Masked:
        """What has come together."""
        return Masked(self._words, self._tag)


@dataclass(frozen=True)
class Cover:
    """One step's group mask and weights, at a member. mask: (g, h); weights: alpha, (k,) residues; shift: s."""

    encoding: FixedPoint
    mask: Masked
    weights: Words
    shift: int

    @classmethod
    def from_keys(cls, mask_key: Secret, weights_key: Secret, length: int, encoding: FixedPoint) -> Self:
        """The cover that two single-purpose keys give."""
        return cls(encoding, stretch(mask_key, length), mersenne.uniform(suite.keystream(weights_key, length)), encoding.shift)

    @classmethod
    def agree(cls, run: Run, members: tuple[str, ...], length: int, encoding: FixedPoint) -> Self:
        """The cover of this place in the session. To be called before the step's total is received, which changes the group's view."""
        return cls.from_keys(run.group_key("sum mask", members), run.group_key("tag weights", members), length, encoding)

    def conceal(self, integers: Integers) -> Masked:
        """A member's contribution but for the masks that cancel. integers: (k,), within the encoding's clip."""
        shifted = (integers << np.int64(self.shift)).view(np.uint64)
        return self.mask.plus(Masked(shifted, mersenne.dot(self.weights, integers)))

    def open(self, total: Masked, count: int) -> Integers:
        """The sum, (k,), from the coordinator's total of `count` contributions. Raises PeerError when it is not the members' sum.

        All checks are made whatever the first one says, and all ways to fail read alike: a refusal tells a coordinator nothing of the sum.
        """
        plain = total.minus(self.mask.times(count))
        integers = plain.words.view(np.int64) >> np.int64(self.shift)
        bound = self.encoding.total_bound
        aligned = not (plain.words & np.uint64((1 << self.shift) - 1)).any()
        bounded = bool(((integers <= bound) & (integers >= -bound)).all())
        tagged = mersenne.dot(self.weights, integers) == plain.tag
        if not (aligned and bounded and tagged):
            raise PeerError(COORDINATOR, "a total that its tag contradicts", "the sum of the members' contributions")
        return integers
