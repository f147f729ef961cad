"""A lookup table that adds up: the sum of several parties' tables comes apart into the union of their keys, and into nothing else.

An invertible Bloom lookup table (Goodrich and Mitzenmacher 2011) over the field of p = 2^61 - 1, with secret weights. A party puts each of
its keys x, with a fresh uniform weight w, into one cell of each of four rows as
    (w, w x, w x^2)      mod p.
Tables of one size add cell by cell. A key that c parties have is in the sum with the weight W = w_1 + ... + w_c, as uniform as one of them:
whose it was, and how many had it, is not in the sum at all. A cell (W, K, C) holds just one key where W C = K^2 with W not 0 (of two keys
the two sides differ by w_1 w_2 (x_1 - x_2)^2; of more they agree with probability at most 2 / p, by Schwartz and Zippel); the key is K / W.
It is taken out of its other cells, which leaves more cells with one key, until nothing is left ("peeling").

With 1.5 cells for each key and four rows (threshold 1.295, Molloy 2004), a table of n keys does not come apart with probability near
25 / n^2, that of two keys with all four cells in common: 1.5 in a million for 4,096 keys.
"""

from __future__ import annotations

import numpy as np

from federation.kernel import suite
from federation.masked_sum import mersenne
from federation.masked_sum.mersenne import Words

ROWS = 4
_ROUNDS = 500
"""Far more than the log log n that honest tables take: bounds the work of a crafted one."""
_LOW31, _31 = np.uint64((1 << 31) - 1), np.uint64(31)


def cells_for(keys: int) -> int:
    """How many cells a table has that may hold so many keys: a multiple of ROWS."""
    return ROWS * (-(-3 * keys // (2 * ROWS)) + 8)


def fill(keys: Words, weights: Words, cells: int, seed: bytes) -> Words:
    """The table of distinct keys, (3 * cells,) residues. keys, weights: (n,) residues; seed: public, fresh for each table."""
    return _into(np.zeros((3, cells), np.uint64), keys, weights, seed).reshape(-1)


def peel(table: Words, seed: bytes) -> Words | None:
    """The union of the keys, (u,) ascending; None where the table does not come apart. table: (3 * cells,) residues."""
    left = table.reshape(3, -1).copy()
    cells = left.shape[1]
    found = [np.zeros(0, np.uint64)]
    for _ in range(_ROUNDS):
        weights, firsts, squares = left
        pure = np.flatnonzero((weights != 0) & (mersenne.times(weights, squares) == mersenne.times(firsts, firsts)))
        if not len(pure):
            break
        keys = mersenne.times(firsts[pure], inverse(weights[pure]))
        keys, first = np.unique(keys, return_index=True)
        at = pure[first]
        good = (places(keys, cells, seed) == at).any(axis=0)  # always, but for a crafted table
        if not good.any():
            break
        keys, at = keys[good], at[good]
        found.append(keys)
        left = _into(left, keys, mersenne.subtract(np.zeros(len(keys), np.uint64), weights[at]), seed)
    union = np.sort(np.concatenate(found))
    if left.any() or bool((union[1:] == union[:-1]).any()):
        return None
    return union


def places(keys: Words, cells: int, seed: bytes) -> np.ndarray[tuple[int, int], np.dtype[np.int64]]:
    """The cell of each key in each row, (ROWS, n): a_r x + b_r mod p, mod the row's length, with a_r and b_r from the seed."""
    each = cells // ROWS
    out = np.empty((ROWS, len(keys)), np.int64)
    for row in range(ROWS):
        a, b = (np.uint64(int.from_bytes(suite.digest("sketch", seed, row, part)[:8], "little") % mersenne.P) for part in ("a", "b"))
        hashed = mersenne.add(mersenne.times(keys, np.full(len(keys), a)), np.full(len(keys), b))
        out[row] = (hashed % np.uint64(each)).astype(np.int64) + row * each
    return out


def inverse(values: Words) -> Words:
    """1 / values mod p, elementwise, for values that are not 0: x^(p - 2) with p - 2 = 4 (2^59 - 1) + 1 (Fermat)."""

    def onward(power: Words, more: Words, squarings: int) -> Words:
        for _ in range(squarings):
            power = mersenne.times(power, power)
        return mersenne.times(power, more)

    ones = {1: values}  # exponent n stands for x^(2^n - 1)
    for n in (2, 4, 8, 16, 32):
        ones[n] = onward(ones[n // 2], ones[n // 2], n // 2)
    power = ones[32]
    for n in (16, 8, 2, 1):  # 32 + 16 + 8 + 2 + 1 = 59
        power = onward(power, ones[n], n)
    return onward(power, values, 2)


def _into(table: Words, keys: Words, weights: Words, seed: bytes) -> Words:
    """The table with weight times (1, x, x^2) of each key added to its cells."""
    cells = table.shape[1]
    firsts = mersenne.times(weights, keys)
    parts = (weights, firsts, mersenne.times(firsts, keys))
    out = table.copy()
    for at in places(keys, cells, seed):
        for part, values in enumerate(parts):
            out[part] = mersenne.add(out[part], _grouped(at, values, cells))
    return out


def _grouped(at: np.ndarray[tuple[int], np.dtype[np.int64]], values: Words, cells: int) -> Words:
    """The sum of the values of each cell, (cells,) residues: in halves of 31 bits, whose float64 sums are exact for 2^22 values of a cell."""
    low = np.bincount(at, (values & _LOW31).astype(np.float64), cells).astype(np.uint64)
    high = np.bincount(at, (values >> _31).astype(np.float64), cells).astype(np.uint64)
    shift = np.full(cells, np.uint64(1 << 31))
    return mersenne.add(mersenne.times(mersenne.reduce(high), shift), mersenne.reduce(low))
