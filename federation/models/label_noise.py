"""Label noise: the label party turns each label over with a stated chance before any partner's count is taken (Warner 1965).

    p = 1 / (1 + exp(epsilon))     randomised response: each label is told as the other class with chance p, drawn once a run, an effect

Whatever a partner asks for, honest bins or columns made to read labels off, it has a function of the turned labels alone: what it learns of any
one label is at most exp(epsilon) times as likely with one class as with the other, however many answers, columns and partners there are (they
all see the same turned labels). Noise on counts would have to know how much one label can change an answer, which the label party cannot see.

The partner takes the bias out: of n rows with weight W of which B is told as bad, (B - p W) / (1 - 2 p) is expected to be bad. Its standard
deviation is W sqrt(p (1 - p) / n) / (1 - 2 p); bads and goods are never taken for less than that, so that weights of evidence stay finite.
"""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from federation.kernel.loss import Stated
from federation.kernel.role import Run
from federation.noise.stream import Stream
from federation.noise.table import flip_table

Mask = NDArray[np.bool_]
Integers = NDArray[np.int64]

TURNED = "labels turned over"
"""The release's name in the ledger."""


def turned(run: Run, bad: Mask, epsilon: float | None) -> Mask:
    """The labels that partners are told counts of, (n,): true ones where there is no noise. What they cost is booked first."""
    if epsilon is None:
        return bad
    run.spend(TURNED, Stated(epsilon))
    table, stream = flip_table(Fraction(epsilon)), Stream(run.random("label noise").words)
    kept = run.effect("label noise", lambda: np.packbits(table.draw(len(bad), stream).astype(bool)).tobytes())
    over: Mask = np.unpackbits(np.frombuffer(kept, np.uint8), count=len(bad)).astype(bool)
    return bad ^ over


def chance(epsilon: float) -> float:
    """With which a label is turned."""
    return 1 / (1 + math.exp(epsilon))


def unbiased(counts: Integers, epsilon: float | None) -> Integers:
    """Counts of rows, goods and bads, (k, 3), the latter two on one grid and of turned labels, as they are to be expected of true ones."""
    if epsilon is None:
        return counts
    p, out = chance(epsilon), counts.copy()
    rows, weight, bads = counts[:, 0].astype(np.float64), counts[:, 1:].sum(axis=1).astype(np.float64), counts[:, 2]
    least = np.minimum(weight / 2, weight * np.sqrt(p * (1 - p) / np.maximum(rows, 1.0)) / (1 - 2 * p))
    expected = np.rint(np.clip((bads - p * weight) / (1 - 2 * p), least, weight - least)).astype(np.int64)
    out[:, 2] = expected
    out[:, 1] = counts[:, 1:].sum(axis=1) - expected
    return out


def unbiased_share(share: float, rows: int, epsilon: float | None) -> float:
    """The share of bads that is to be expected of true labels, by that of turned ones."""
    if epsilon is None:
        return share
    p = chance(epsilon)
    least = min(0.5, max(1 / rows, math.sqrt(p * (1 - p) / rows) / (1 - 2 * p)))
    return min(1 - least, max(least, (share - p) / (1 - 2 * p)))
