"""Columns and vectors as polynomial coefficients, with the proof that a sum cannot wrap.

Coefficient packing: a block of N = 8192 entries of r stands in the coefficients of one plaintext, the same block of a column reversed in
another; coefficient N - 1 of their product modulo X^N + 1 is the inner product of the two, and blocks add up.

A column's sum is bounded by its L1 norm times the largest entry of r, and the holder knows its own L1 norm exactly:
    sum_i |X_ij| * 2^vector_bits < t / 2                                         (required at construction, so nothing ever wraps)
The same norm bounds the noise: 41 * L1 < 2^63 of 2^162 before switching down, under 2^14 of Delta = 2^50 after it, so that a flood of up to
Delta / 4 stays decodable. A column whose range needs more is split into two limbs, X = 2^h hi + lo, each a sum of its own.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from federation.encrypted_linear.seal_bytes import DEGREE, PLAIN_BITS, Words
from federation.kernel.errors import LocalError

Integers = NDArray[np.int64]
Reals = NDArray[np.float64]
FINE_BITS = 18
"""Fractional bits, relative to a column's spread, below which a column gets a second limb."""
LIMB_BITS = 24


@dataclass(frozen=True)
class Columns:
    """A holder's integer columns for sums with vectors of magnitude up to 2^vector_bits.

    integers: (rows, answers) int64, one column for each sum asked for; parts: for each of them the design column it belongs to and its power
    of two; exponents: for each design column, real = integer * 2^-exponent. Raises LocalError where the bound does not hold.
    """

    integers: Integers
    parts: tuple[tuple[int, int], ...]
    exponents: tuple[int, ...]
    vector_bits: int

    def __post_init__(self) -> None:
        if len(self.parts) != self.integers.shape[1]:
            raise LocalError("encrypted_linear", "parts and columns differ in number", "This is a bug: report it.")
        for column in self.integers.T:
            if _norm(column) << self.vector_bits >= 1 << (PLAIN_BITS - 1):
                raise LocalError(
                    "encrypted_linear", "a column's bound exceeds the plaintext (rule: L1 norm * 2^vector_bits < 2^57)",
                    "Split the column or lower the precision.",
                )  # fmt: skip

    @classmethod
    def exact(cls, integers: Integers, vector_bits: int) -> Columns:
        """Integer columns as they are, (rows, k): counts and indicators."""
        count = integers.shape[1]
        return cls(integers, tuple((j, 0) for j in range(count)), (0,) * count, vector_bits)

    @classmethod
    def quantised(cls, matrix: Reals, vector_bits: int) -> Columns:
        """Real columns, (rows, k), each on the finest dyadic grid that the bound admits, or in two limbs where that is too coarse."""
        integers: list[Integers] = []
        parts: list[tuple[int, int]] = []
        exponents: list[int] = []
        for j, column in enumerate(matrix.T):
            limbs, exponent = _quantise(np.ascontiguousarray(column), vector_bits)
            exponents.append(exponent)
            for limb, power in limbs:
                integers.append(limb)
                parts.append((j, power))
        stacked = np.column_stack(integers) if integers else np.zeros((len(matrix), 0), np.int64)
        return cls(stacked, tuple(parts), tuple(exponents), vector_bits)

    @property
    def answers(self) -> int:
        """How many encrypted sums the columns take."""
        return self.integers.shape[1]

    def whole(self, totals: list[int]) -> list[int]:
        """The sums of the design columns from those of their limbs: exact integers."""
        out = [0] * len(self.exponents)
        for (j, power), total in zip(self.parts, totals, strict=True):
            out[j] += total << power
        return out

    def real(self, totals: list[int], vector_exponent: int) -> Reals:
        """The sums in real units, (k,), for a vector in units of 2^-vector_exponent."""
        whole = self.whole(totals)
        return np.array([_scaled(total, -exponent - vector_exponent) for total, exponent in zip(whole, self.exponents, strict=True)])

    def rounded(self) -> Reals:
        """The columns that the sums really use, (rows, k)."""
        out = np.zeros((len(self.integers), len(self.exponents)))
        for limb, (j, power) in zip(self.integers.T, self.parts, strict=True):
            out[:, j] += np.ldexp(limb.astype(np.float64), power - self.exponents[j])
        return out


def _norm(column: Integers) -> int:
    """The exact L1 norm: halves are summed apart, so that it cannot wrap below 2^31 rows."""
    magnitude = np.abs(column).astype(np.uint64)
    return (int((magnitude >> np.uint64(32)).sum()) << 32) + int((magnitude & np.uint64(0xFFFFFFFF)).sum())


def _scaled(total: int, power: int) -> float:
    """total * 2^power, rounded once."""
    return math.ldexp(total, power) if abs(total) < 1 << 1000 else float(total) * 2.0**power


def _quantise(column: Reals, vector_bits: int) -> tuple[list[tuple[Integers, int]], int]:
    norm = float(np.abs(column).sum())
    if norm == 0.0:
        return [(np.zeros(len(column), np.int64), 0)], 0
    room = PLAIN_BITS - 1 - vector_bits
    largest = float(np.abs(column).max())
    # half a grid step of rounding in each row may add to the norm: len / 2 is taken off first
    admitted = math.floor(math.log2(max(2.0**room - len(column), 1.0) / norm)) if 2.0**room > len(column) else -1
    exponent = min(admitted, 51 - math.frexp(largest)[1])
    grid = np.rint(np.ldexp(column, exponent))
    spread = float(np.sqrt(np.mean(column**2)))
    if exponent + math.log2(spread) >= FINE_BITS or np.array_equal(np.ldexp(grid, -exponent), column):
        return [(grid.astype(np.int64), 0)], exponent
    exponent = min(math.ceil(LIMB_BITS - math.log2(spread)), 51 - math.frexp(largest)[1])
    whole = np.rint(np.ldexp(column, exponent)).astype(np.int64)
    power = max(1, room - max(1, len(column)).bit_length())
    high = (whole + (1 << (power - 1))) >> power
    return [(high, power), (whole - (high << power), 0)], exponent


def blocks_of(rows: int) -> int:
    """How many blocks so many rows take."""
    return max(1, -(-rows // DEGREE))


def _padded(vector: Integers) -> NDArray[Any]:
    out = np.zeros(blocks_of(len(vector)) * DEGREE, np.int64)
    out[: len(vector)] = vector
    return out.reshape(-1, DEGREE)


def _residues(blocks: NDArray[Any]) -> Words:
    """Signed integers modulo t."""
    return blocks.view(np.uint64) & np.uint64((1 << PLAIN_BITS) - 1)


def vector_blocks(vector: Integers) -> Words:
    """r in blocks of N coefficients modulo t, (blocks, N) uint64."""
    return _residues(_padded(vector))


def column_blocks(column: Integers) -> Words:
    """A column in blocks, each reversed, modulo t, (blocks, N) uint64."""
    return _residues(np.ascontiguousarray(_padded(column)[:, ::-1]))


def signed(value: int) -> int:
    """A residue modulo t as the integer nearest zero."""
    value %= 1 << PLAIN_BITS
    return value - (1 << PLAIN_BITS) if value >> (PLAIN_BITS - 1) else value
