"""Vectors and columns as polynomials, and the proof that every total fits.

With r in the coefficients of a block and the column's block reversed, the coefficient N - 1 of the product modulo x^N + 1 is
    sum_i r_i x_(N-1-(N-1-i)) = sum_i r_i x_i,
the block's inner product; blocks add up (the packing of matrix-vector products in SEAL's coefficients, as in Huang et al. 2022, Cheetah).

Bounds are proven when a `Columns` is made: with |r_i| <= 2^bits, a column's total is at most 2^bits * sum_i |x_i|, which the holder knows
exactly and which must stay below t/2. A column beyond that is cut into limbs x = x_0 + 2^w x_1 + ..., |x_0| <= 2^(w-1), each an answer of
its own, put together again in whole numbers. Nothing wraps, nothing is clipped.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from federation.encrypted_linear.parameters import DEGREE, HALF, PLAIN_BITS, PLAIN_MODULUS, decodable
from federation.encrypted_linear.residues import Words
from federation.kernel.errors import ConfigurationError, DataError, LocalError

Integers = NDArray[np.int64]
Reals = NDArray[np.float64]

LARGEST = 1 << 62
"""The largest magnitude of an integer in a column: a limb can be taken off it without leaving int64."""

SPREAD_BITS = 17
"""Bits between a column's standard deviation and its grid step below which a column of real numbers takes a second limb."""

_MOST_VECTOR_BITS = PLAIN_BITS - 2
_EXACT = 53
_WHERE = "encrypted_linear"


def blocks(rows: int) -> int:
    """How many blocks hold so many rows."""
    return -(-rows // DEGREE)


def vector_blocks(vector: Integers) -> Words:
    """(rows,) integers below t/2 in magnitude as (blocks, N) coefficients modulo t, zero behind the last row."""
    padded = np.zeros(blocks(len(vector)) * DEGREE, np.int64)
    padded[: len(vector)] = vector
    return _modulo(padded).reshape(-1, DEGREE)


def column_blocks(column: Integers) -> Words:
    """A column's limb as (blocks, N) coefficients modulo t, each block reversed."""
    return np.ascontiguousarray(vector_blocks(column)[:, ::-1])


def centred(words: Words) -> Integers:
    """Residues modulo t as integers in [-t/2, t/2)."""
    signed = (words & np.uint64(PLAIN_MODULUS - 1)).view(np.int64)
    return np.where(signed >= HALF, signed - PLAIN_MODULUS, signed)


def _modulo(integers: Integers) -> Words:
    return integers.view(np.uint64) & np.uint64(PLAIN_MODULUS - 1)


def l1_norm(column: Integers) -> int:
    """sum_i |x_i|, exactly, (rows,) to a Python integer."""
    magnitude = np.abs(column).view(np.uint64)
    high, low = int((magnitude >> np.uint64(32)).sum()), int((magnitude & np.uint64(0xFFFFFFFF)).sum())
    return (high << 32) + low


def limb_width(rows: int, vector_bits: int) -> int:
    """w: the widest limb for which rows * 2^(w-1) * 2^bits stays below t/2; less than 1 where there is none."""
    return ((HALF - 1) // (rows << vector_bits)).bit_length()


def split(column: Integers, vector_bits: int) -> list[Integers]:
    """A column's limbs, lowest first: sum_k limb_k * 2^(w k) is the column, and the total of each fits. Raises ConfigurationError."""
    width = limb_width(len(column), vector_bits)
    out: list[Integers] = []
    while l1_norm(column) << vector_bits >= HALF:
        if width < 1:
            raise ConfigurationError(
                _WHERE,
                f"{len(column):,} rows with a secret vector of {vector_bits} bits leave no room for a column (rule: rows * 2^bits < 2^57)",
                "Use fewer bits for the vector.",
            )
        half = np.int64(1 << (width - 1))
        low = ((column + half) & np.int64((1 << width) - 1)) - half
        out.append(low)
        column = (column - low) >> np.int64(width)
    return [*out, column]


@dataclass(frozen=True, eq=False, repr=False)
class Columns:
    """A holder's columns, ready for encrypted sums.

    integers: (rows, k) int64 of magnitude at most 2^62; exponents: (k,), column j stands for integers[:, j] * 2^-exponents[j]; bits: the
    owner's vector is at most 2^bits in magnitude. Derived: limbs, how many answers each column takes; answers, their sum. Raises DataError or
    ConfigurationError, before anything is sent, for what does not fit.
    """

    integers: Integers
    exponents: NDArray[np.int64]
    bits: int
    limbs: tuple[int, ...] = field(init=False)

    def __post_init__(self) -> None:
        """Check every bound, and count the limbs."""
        _require_matrix(self.integers)
        norms, bits = [l1_norm(column) for column in self.integers.T], self.bits
        if not 0 <= bits <= _MOST_VECTOR_BITS or self.exponents.shape != self.integers.shape[1:]:
            raise ConfigurationError(
                _WHERE, f"columns need 0 to {_MOST_VECTOR_BITS} vector bits and an exponent each", "This is a bug in the model: report it."
            )
        limbs = tuple(1 if norm << bits < HALF else len(split(column, bits)) for norm, column in zip(norms, self.integers.T, strict=True))
        if not decodable(HALF - 1):
            raise LocalError(_WHERE, "the noise of a total within its range does not fit", "This is a bug: report it.")
        object.__setattr__(self, "limbs", limbs)

    @classmethod
    def whole(cls, integers: Integers, vector_bits: int) -> Columns:
        """Integers as they are, (rows, k): counts and indicators."""
        _require_matrix(integers)
        return cls(integers, np.zeros(integers.shape[1], np.int64), vector_bits)

    @classmethod
    def quantised(cls, matrix: Reals, vector_bits: int) -> Columns:
        """Real numbers, (rows, k), each column on the grid that `quantise` chooses."""
        if matrix.ndim != 2 or 0 in matrix.shape:
            raise DataError(_WHERE, f"columns of shape {matrix.shape}", "Pass at least one row and one column.")
        pairs = [quantise(column, vector_bits, f"{_WHERE}: column {place}") for place, column in enumerate(matrix.T)]
        return cls(
            np.column_stack([integers for integers, _ in pairs]), np.array([exponent for _, exponent in pairs], np.int64), vector_bits
        )

    @property
    def rows(self) -> int:
        """Rows in the universe."""
        return len(self.integers)

    @property
    def answers(self) -> int:
        """How many answers the columns take, all limbs together."""
        return sum(self.limbs)

    def limb_columns(self) -> Iterator[Integers]:
        """Every limb, (rows,), in the order of the answers: columns in order, lowest limb first."""
        for column in self.integers.T:
            yield from split(column, self.bits)

    def combine(self, totals: Sequence[int]) -> list[int]:
        """The totals of all limbs, (answers,), as those of the columns, (k,), in whole numbers."""
        width, place, out = limb_width(self.rows, self.bits), 0, []
        for count in self.limbs:
            out.append(sum(int(total) << (width * limb) for limb, total in enumerate(totals[place : place + count])))
            place += count
        return out

    def rounded(self) -> Reals:
        """The real numbers that the integers stand for, (rows, k)."""
        return np.ldexp(self.integers.astype(np.float64), -self.exponents)

    def real(self, totals: Sequence[int], vector_exponent: int) -> Reals:
        """Totals of integer columns, (k,), with a vector that stands for integers * 2^-vector_exponent: in the units of both."""
        pairs = zip(totals, self.exponents.tolist(), strict=True)
        return np.array([math.ldexp(float(total), -exponent - vector_exponent) for total, exponent in pairs])


def _require_matrix(matrix: NDArray[Any]) -> None:
    if matrix.ndim != 2 or 0 in matrix.shape or matrix.dtype != np.int64:
        raise DataError(_WHERE, f"columns {matrix.dtype} of shape {matrix.shape}", "Pass int64 with at least one row and one column.")
    if int(matrix.max()) > LARGEST or int(matrix.min()) < -LARGEST:
        raise DataError(_WHERE, "an integer beyond 2^62 in a column", "Use a coarser unit or grid for it.")


def quantise(column: Reals, vector_bits: int, where: str = _WHERE) -> tuple[Integers, int]:
    """A column of real numbers, (rows,), as integers and the exponent e of their grid 2^-e.

    Whole numbers stay as they are (e = 0) where one answer or two can hold their total with a vector of at most 2^vector_bits. Others go to
    the finest grid that one answer admits, or two where fewer than SPREAD_BITS bits would be left below the standard deviation.
    Raises DataError where a number is not finite, ConfigurationError where the vector leaves no room.
    """
    finite = int(np.isfinite(column).sum())
    if finite < len(column):
        raise DataError(where, f"{len(column) - finite:,} of {len(column):,} numbers are not finite (rule: finite)", "Map them to missing.")
    most, width, largest = (HALF - 1) >> vector_bits, limb_width(len(column), vector_bits), float(np.abs(column).max())
    if largest == 0:
        return np.zeros(len(column), np.int64), 0
    if largest <= 1 << _EXACT and not np.mod(column, 1.0).any():
        whole = column.astype(np.int64)
        if width >= 1 and len(split(whole, vector_bits)) <= 2:
            return whole, 0
    exponent = math.floor(math.log2(most) - math.log2(largest) - math.log2(float((np.abs(column) / largest).sum())))
    integers = _on_grid(column, exponent)
    while l1_norm(integers) > most:
        exponent -= 1
        integers = _on_grid(column, exponent)
    relative = float((column / largest).std()) or float(np.sqrt(((column / largest) ** 2).mean()))
    fine = math.log2(relative) + math.log2(largest) + exponent >= SPREAD_BITS
    if fine or width <= 1 or np.array_equal(np.ldexp(integers.astype(np.float64), -exponent), column):
        return integers, exponent
    finest = _EXACT - math.frexp(largest)[1]
    exponent = min(exponent + width - 1, max(exponent, finest))
    return _on_grid(column, exponent), exponent


def _on_grid(column: Reals, exponent: int) -> Integers:
    return np.rint(np.ldexp(column, exponent)).astype(np.int64)
