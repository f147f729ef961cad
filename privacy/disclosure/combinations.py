"""Whether earlier releases and a new one together tell of a few firms, by any linear combination.

Exact totals over row sets R_1 .. R_m give every total over sum_i a_i 1(R_i): R minus P, R minus P minus Q, and so on. Such a combination is a
word of the code spanned by the sets' indicators over the rationals, and its weight is the number of firms where it is not zero. A new set R
is dangerous if some word with a_R = 1 has a weight of 1 to `least` - 1. Finding a lightest word is NP-hard in general (Chin and Ozsoyoglu 1982
audit exact sums; Vardy 1997), but here `least` is small, and the argument of Brouwer and Zimmermann decides nearly always:

    A set of rows on which the earlier releases have full rank is an information set: just one word with a_R = 1 is zero on all of it. Take
    `least` information sets without a row in common. A word that is zero on none of them has a row in each, and so weighs `least` at least. So
    the lightest word is one of those found, or not small.

Rows that no release tells apart form an atom; an atom of w rows stands in for w information sets, and one of `least` rows in all. Heavy atoms
are taken first: where those of `least` firms already have full rank, one information set proves the release safe against all combinations of
all earlier releases. Where rows run out first, the answer is that nothing is proven.

Arithmetic is modulo p = 2^31 - 1. A set that is independent modulo p is so over the rationals, and a word cannot weigh more modulo p than it
does over them. So no small word is missed but one whose whole-number coefficient of R is a multiple of p, which takes dozens of releases
that were made for it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

PRIME: Final = (1 << 31) - 1
_CHUNK: Final = 1 << 9

Bits = NDArray[np.uint8]
Whole = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Word:
    """A combination that tells of fewer firms than `least`: the places of the earlier releases in it."""

    releases: tuple[int, ...]


@dataclass(frozen=True)
class Unproven:
    """No small word was found, and none is excluded either: there are too many earlier releases for the firms that they have."""


@dataclass(frozen=True)
class Atoms:
    """Rows by who holds them. of_row: (n,) atom of each row; patterns: (m, k) 1.0 where the release has the atom; weights: (k,) firms."""

    of_row: NDArray[np.intp]
    patterns: Floats
    weights: Whole


def atoms(members: Sequence[Bits], firms: Whole | None, rows: int) -> Atoms:
    """Atoms of `rows` rows under releases given as packed bits (little order). firms: (rows,) number of each row's firm, None where rows are
    firms.
    """
    of_row = np.zeros(rows, np.intp)
    for start in range(0, len(members), 32):
        word = np.zeros(rows, np.uint64)
        for place, bits in enumerate(members[start : start + 32]):
            word |= np.unpackbits(bits, count=rows, bitorder="little").astype(np.uint64) << np.uint64(place)
        _, group = np.unique(word, return_inverse=True)
        _, of_row = np.unique(of_row * (int(group.max(initial=0)) + 1) + group, return_inverse=True)
    _, first = np.unique(of_row, return_index=True)
    patterns = np.array([bits[first >> 3] >> (first & 7).astype(np.uint8) & 1 for bits in members], np.float64).reshape(len(members), -1)
    if firms is None:
        weights = np.bincount(of_row, minlength=len(first))
    else:
        pairs = np.unique(of_row * (int(firms.max(initial=0)) + 1) + firms)
        weights = np.bincount(pairs // (int(firms.max(initial=0)) + 1), minlength=len(first))
    return Atoms(of_row, patterns, weights.astype(np.int64))


def small_word(
    earlier: Floats, asked: Floats, weights: Whole, least: int, firms_of: Callable[[NDArray[np.bool_]], int], rows_of_a_firm: int = 1
) -> Word | Unproven | None:
    """A word of weight 1 to `least` - 1 in which `asked` stands; None where there is none; `Unproven` where that is open.

    earlier: (m, k) 0.0 and 1.0; asked: (k,); weights: (k,) firms of each atom; firms_of: firms of a choice of atoms, (k,). rows_of_a_firm: the
    most that one firm has; it may be in so many atoms and counts once, so that so many times the information sets are needed.
    """
    enough = least * rows_of_a_firm
    left = np.where(weights >= least, enough, weights)
    rank, reached = None, 0
    while reached < enough:
        order = np.argsort(-left, kind="stable")
        chosen, combine = _information_set(earlier, order[left[order] > 0])
        rank = len(chosen) if rank is None else rank
        if len(chosen) < rank:
            return Unproven()
        shares = (asked[chosen].astype(np.int64)[:, None] * combine % PRIME).sum(axis=0) % PRIME
        support = np.mod(asked - shares.astype(np.float64) @ earlier, PRIME) != 0
        if 0 < firms_of(support) < least:
            return Word(tuple(np.flatnonzero(shares).tolist()))
        times = int(left[chosen].min(initial=enough))
        reached += times
        left[chosen] -= np.where(weights[chosen] >= least, 0, times)
    return None


def _information_set(code: Floats, order: NDArray[np.intp]) -> tuple[NDArray[np.intp], Whole]:
    """The first atoms in this order on which the code (m, k) has the rank that it has on all of them, (r,), and T (r, m) with
    T code[:, them] = I, modulo p. Gauss-Jordan; products of T and 0-1 columns stay below m p < 2^53, so floating point is exact.
    """
    height = len(code)
    transform = np.eye(height, dtype=np.int64)
    chosen: list[int] = []
    for start in range(0, len(order), _CHUNK):
        if len(chosen) == height:
            break
        columns = order[start : start + _CHUNK]
        reduced = np.mod(transform.astype(np.float64) @ code[:, columns], PRIME).astype(np.int64)
        while len(chosen) < height:
            rank = len(chosen)
            free = np.flatnonzero(reduced[rank:].any(axis=0))
            if not len(free):
                break
            place = int(free[0])
            row = rank + int(np.flatnonzero(reduced[rank:, place])[0])
            column = reduced[:, place].copy()
            _pivot(transform, rank, row, column)
            _pivot(reduced, rank, row, column)
            chosen.append(int(columns[place]))
    return np.array(chosen, np.intp), transform[: len(chosen)]


def _pivot(matrix: Whole, rank: int, row: int, column: Whole) -> None:
    """In place: the row of the pivot goes to place `rank`, is scaled to 1 in `column` (as it was before), and clears the others there."""
    matrix[[rank, row]] = matrix[[row, rank]]
    matrix[rank] = matrix[rank] * pow(int(column[row]), -1, PRIME) % PRIME
    factors = column.copy()
    factors[row], factors[rank] = column[rank], 0
    matrix -= factors[:, None] * matrix[rank] % PRIME
    matrix %= PRIME
