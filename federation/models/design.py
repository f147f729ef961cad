"""A party's block of the design matrix: its rows as numbers, its place in the universe, and its integers for encrypted sums.

A feature party's numbers are rounded to the dyadic grid of its integers first, and used so everywhere in the fit, so that the encrypted
gradient and the partial scores belong to one and the same matrix. Reductions over rows are in the party's own id order, never by position.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from federation.encrypted_linear.packing import Columns
from federation.encrypted_linear.products import Transforms
from federation.encrypted_linear.protocol import hold
from federation.kernel.codec import Message
from federation.kernel.errors import DataError, PeerError
from federation.kernel.role import Role, Run

Reals = NDArray[np.float64]
Positions = NDArray[np.int64]


FINE = 22
"""Bits that are kept for a holder's columns: residuals become precise by and by (`increment`), columns must be so from the start."""
FINEST = 50


class Grid(Message, frozen=True, tag="logistic/grid"):
    """From the label party, before encrypted residuals: they are in units of 2^-exponent."""

    exponent: int


def residual_bits(universe: int) -> int:
    """The magnitude of an increment's integers is at most 2^bits: what a plaintext's 57 bits leave beside columns and rows."""
    return max(10, 57 - FINE - max(1, universe).bit_length())


def increment(residual: Reals, sent: Reals, bits: int) -> tuple[NDArray[np.int64], int]:
    """The change of the residuals since they were last sent, as integers of at most 2^bits on the finest dyadic grid, and its exponent.

    Residuals are not sent anew in each iteration but corrected: both sides add up, so the error is that of the last correction alone, and it
    shrinks with the steps of a converging fit (iterative refinement, as in Wilkinson 1963, chapter 3).
    """
    change = residual - sent
    largest = float(np.abs(change).max())
    exponent = FINEST if largest == 0 else min(FINEST, bits - math.frexp(largest)[1])
    return np.rint(np.ldexp(change, exponent)).astype(np.int64), exponent


@dataclass(frozen=True)
class Block:
    """One party's columns in standardised units.

    x: (n, d) its rows in the universe; absent: (d,) the row of a firm it does not have; penalty, signs: (d,); curvature: (d, d)
    w0 X'X / W of its own rows; positions: (n,) within [0, universe); routed: at a label party whose rows have become fewer, the positions whose
    scores the coordinator still forwards, ascending: those of rows that are gone are dropped unread.
    """

    x: Reals
    absent: Reals
    penalty: Reals
    signs: NDArray[np.int8]
    curvature: Reals
    positions: Positions
    universe: int
    routed: Positions | None = None

    def inverse(self, free: NDArray[np.bool_]) -> Reals:
        """(curvature + penalty)^-1 over the free coefficients, zero elsewhere, (d, d). A tiny ridge keeps it defined."""
        chosen = np.flatnonzero(free)
        part = (self.curvature + np.diag(self.penalty))[np.ix_(chosen, chosen)]
        part = part + np.eye(len(chosen)) * (1e-9 * max(1e-6, float(np.trace(part)) / max(1, len(chosen))))
        out = np.zeros(self.curvature.shape)
        out[np.ix_(chosen, chosen)] = np.linalg.inv(part)
        return (out + out.T) / 2

    def placed(self, vector: NDArray[np.int64]) -> NDArray[np.int64]:
        """A vector over own rows as one over the universe, zero elsewhere, (universe,)."""
        out = np.zeros(self.universe, np.int64)
        out[self.positions] = vector
        return out


@dataclass(frozen=True)
class Held:
    """A feature party's columns over the whole universe as integers, for encrypted sums under the label party's key, transformed once.

    total: the training weight W.
    """

    transforms: Transforms
    positions: Positions
    universe: int
    total: float

    @property
    def columns(self) -> Columns:
        """The integers themselves."""
        return self.transforms.columns

    def spread(self, own: Reals, absent: float) -> Reals:
        """Own rows' numbers at their positions, `absent` elsewhere, (universe,)."""
        out = np.full(self.universe, absent)
        out[self.positions] = own
        return out


def held_sums(run: Run, owner: str, held: Held, sums: Reals) -> Role[Reals]:
    """X'r, (d,), brought up to date by the owner's encrypted change of r. Raises PeerError for a grid that no double has."""
    received = yield from run.step("grid", expect={owner: Grid})
    exponent = received.of(owner, Grid).exponent
    if not -FINEST <= exponent <= FINEST:
        raise PeerError(owner, "a grid out of range", f"an exponent between -{FINEST} and {FINEST}")
    totals = yield from hold(run, owner, held.transforms)
    return sums + held.columns.real(totals, exponent)


def require_full_rank(where: str, x: Reals, names: tuple[str, ...]) -> None:
    """Without a ridge a party's own columns must not be collinear. Raises DataError naming the column that depends on those before it."""
    norms = np.sqrt((x * x).sum(axis=0))
    constant = [name for name, norm in zip(names, norms, strict=True) if norm < 1e-9 * math.sqrt(max(1, len(x)))]
    if constant:
        raise DataError(where, f"column {constant[0]!r} is constant (rule: C = inf needs determined coefficients)", _REMEDY)
    basis = np.zeros((len(x), 0))
    for name, column in zip(names, (x / norms).T, strict=True):
        rest = column - basis @ (basis.T @ column)
        rest = rest - basis @ (basis.T @ rest)
        length = float(np.linalg.norm(rest))
        if length < 1e-6:
            raise DataError(where, f"column {name!r} is a combination of the columns before it (rule: C = inf)", _REMEDY)
        basis = np.column_stack([basis, rest / length])


_REMEDY = "Nothing was sent. Leave the column out ([[party]] exclude) or use a ridge ([model] C = 1.0)."
