"""Attacks on checks across institutions by one that does not follow the protocol, or that shares what it sees with the coordinator.

A neighbour's book by name: other exponents for every list but one. Who else has a key: keys that are left out of the own table, or the own
table taken out of the sum. One bank's counts: a union with numbers in front, shown to that bank alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from federation.align.curve import Points, Progress, exponentiate, fresh_exponent
from federation.align.sketch import peel
from federation.kernel import suite
from federation.kernel.role import Randomness
from federation.kernel.secret import Secret
from federation.masked_sum import mersenne
from federation.masked_sum.mersenne import Words


def raised_otherwise(points: Points, rows: np.ndarray[tuple[int], np.dtype[np.int64]], seed: bytes) -> Points:
    """Points of which some rows were raised to one exponent more: as from one in the ring that treats these otherwise."""
    other = fresh_exponent(Randomness(Secret(suite.digest("other exponent", seed))))
    out = points.copy()
    out[rows] = exponentiate(other, points[rows], "ring", workers=1, progress=Progress(lambda _done, _total: None, len(rows)))
    return out


def had_by_others(own: Mapping[str, int], union: Sequence[int]) -> set[str]:
    """Who has left its keys out of its table, though not out of its list: which of them the union has all the same. own: key to pseudonym."""
    there = set(union)
    return {key for key, pseudonym in own.items() if pseudonym in there}


def without_table(total: Words, table: Words, seed: bytes) -> Words | None:
    """The coordinator and one institution: the union of the others' lists, out of the sum of all tables and that institution's own."""
    return peel(mersenne.subtract(total, table), seed)


def with_numbers_in_front(union: Words, count: int) -> Words:
    """A union in which every key lies `count` places further on."""
    front = np.setdiff1d(np.arange(count + len(union), dtype=np.uint64), union)[:count]
    return np.sort(np.concatenate([union, front]))


def opened_in_league(
    words: Mapping[str, Words], masks: Callable[[str], Words], positions: np.ndarray[tuple[int], np.dtype[np.int64]]
) -> Words:
    """The coordinator and the asking institution: the sums, mod 2^64, at these positions, less the asking institution's masks with each; tags
    are not looked at.
    """
    total = np.zeros(len(positions), np.uint64)
    for name, vector in words.items():
        total = total + vector[positions] - masks(name)[positions]
    return total
