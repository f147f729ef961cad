"""Attacks on the logistic fit, by each party with what it holds at the end, and the weakened copies that they must break.

The label party holds one summed score vector of its rows for each iteration (`score_changes`): how much of the partners' columns lies in
their span (`captured`) is what it knows of them. A feature party holds its own gradient of each iteration, one equation in the labels for
each column: the first one, at the base rate, is linear in them (`label_scores`, `recover_labels`). A feature party that does not follow the
protocol shapes those equations (`Crafting`, `read_labels`), and a label party that does not asks for more scores (`Greedy`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import lsq_linear

from federation.encrypted_linear.packing import Columns
from federation.encrypted_linear.parameters import PLAIN_BITS
from federation.encrypted_linear.products import Transforms
from federation.kernel.role import Role, Run
from federation.models.course import Fit, begin
from federation.models.design import Block, increment, residual_bits
from federation.models.logistic import descend
from federation.models.prepare import Prepared
from federation.models.training import FeatureParty, LabelParty, Progress

Reals = NDArray[np.float64]

SMALLEST = 1e-9
"""Singular values below this part of the largest are rounding."""


# -- what each party remembers ----------------------------------------------------------------------------------------------------


@dataclass
class WatchingLabelParty(LabelParty):
    """An honest label party that keeps every iterate."""

    kept: list[Fit] = field(default_factory=list)

    def after_fit(self, state: Progress, fit: Fit) -> Progress:
        """Keeps the iterate and goes on."""
        self.kept.append(fit)
        return super().after_fit(state, fit)


@dataclass
class WatchingFeatureParty(FeatureParty):
    """An honest feature party that keeps every iterate."""

    kept: list[Fit] = field(default_factory=list)

    def after_fit(self, state: Progress, fit: Fit) -> Progress:
        """Keeps the iterate and goes on."""
        self.kept.append(fit)
        return super().after_fit(state, fit)


# -- the label party reconstructs features ----------------------------------------------------------------------------------------


def score_changes(block: Block, kept: Sequence[Fit], start: Fit) -> Reals:
    """The partners' summed scores that the label party saw, (n, k): the change of its scores less its own part, each of length one."""
    out = []
    for before, after in zip((start, *kept), kept, strict=False):
        if before.score is None or after.score is None:
            continue
        seen = after.score - before.score - block.x @ (after.theta - before.theta)
        length = float(np.linalg.norm(seen))
        if length > 0:
            out.append(seen / length)
    return np.column_stack(out) if out else np.zeros((len(block.x), 0))


def captured(view: Reals, columns: Reals) -> Reals:
    """How much of each column's square length lies in the span of the view, (d,) in [0, 1]: 1 where the viewer holds the column.

    view: (n, k) score vectors; columns: (n, d). Coefficients of the combination are not asked for: the viewer knows the columns up to a
    linear map, which a few firms known from elsewhere then fix.
    """
    if not view.shape[1]:
        return np.zeros(columns.shape[1])
    left, values, _ = np.linalg.svd(view, full_matrices=False)
    base = left[:, values > SMALLEST * values[0]]
    rest = columns - base @ (base.T @ columns)
    rest -= base @ (base.T @ rest)
    return np.asarray(1 - (rest**2).sum(axis=0) / (columns**2).sum(axis=0))


def unknown_rows(view: Reals) -> NDArray[np.bool_]:
    """The rows, (n,), with the commonest score in the first vector: firms that no partner knows all have one and the same."""
    _, place, count = np.unique(np.round(view[:, 0], 12), return_inverse=True, return_counts=True)
    return np.asarray(place == count.argmax())


# -- a feature party infers labels ------------------------------------------------------------------------------------------------


def label_scores(x: Reals, sums: Reals) -> Reals:
    """Each row's likeliest badness, (n,), from X'r at the base rate: the least-squares residual, turned round.

    x: (n, d) the party's own rows; sums: (d,). Rows that the party thinks bad come high.
    """
    return -(x @ np.linalg.lstsq(x.T @ x, sums, rcond=None)[0])


def recover_labels(x: Reals, sums: Reals, base: float) -> NDArray[np.int8]:
    """The labels (n,) that fit X'(base - y) = sums best, where every row trains with weight one."""
    target = base * x.sum(axis=0) - sums
    return (lsq_linear(x.T, target, bounds=(0, 1)).x > 0.5).astype(np.int8)  # the nearer of 0 and 1


@dataclass
class Crafting(FeatureParty):
    """A feature party that asks for sums over columns of powers of two instead of its design, and feigns a gradient of zero.

    targets: its rows, `labels_per_answer` for each column; read: the sums that it was given, by iteration.
    """

    targets: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    read: list[Reals] = field(default_factory=list)

    def _fit(self, run: Run, state: Progress) -> Role[Progress]:
        """As the honest one, whom nobody can tell it from, with coefficients that stay zero."""
        side = self.side(state)
        fit, _ = yield from side.gradient(run, state.fit or begin(side.block))
        if fit.sums is not None:
            self.read.append(fit.sums)
        fit, direction = yield from descend(run, side, fit, np.zeros(len(fit.theta)))
        fit, _ = yield from side.along(run, fit, direction)
        return self.after_fit(state, (yield from side.step(run, fit, direction, None)))

    def _prepare(self, state: Progress) -> Prepared:
        """The honest one, but for the columns of the encrypted sums."""
        ready = super()._prepare(state)
        if ready.held is None or not len(self.targets):
            return ready
        return replace(ready, held=replace(ready.held, transforms=Transforms(self._crafted(ready))))

    def _crafted(self, ready: Prepared) -> Columns:
        universe, held = ready.block.universe, ready.held
        width = labels_per_answer(universe)
        matrix = np.zeros((universe, ready.block.x.shape[1]), np.int64)
        for number in range(matrix.shape[1]):
            rows = self.targets[number * width : (number + 1) * width]
            if held is not None:
                matrix[held.positions[rows], number] = 1 << np.arange(len(rows))
        return Columns.whole(matrix, residual_bits(universe))


def labels_per_answer(universe: int) -> int:
    """How many labels one crafted answer can hold: the bits that a plaintext has beside a residual's: 31 of 500 firms, 47 at most."""
    return PLAIN_BITS - 1 - residual_bits(universe)


def read_labels(total: float, base: float, universe: int, count: int) -> NDArray[np.int64]:
    """The labels of the `count` training rows of a crafted column, (count,), from its sum at the base rate."""
    (good, bad), exponent = increment(np.array([base, base - 1.0]), np.zeros(2), residual_bits(universe))
    whole = round(np.ldexp(total, exponent))
    bads = round((whole - int(good) * ((1 << count) - 1)) / (int(bad) - int(good)))
    return np.array([(bads >> place) & 1 for place in range(count)], np.int64)


# -- a label party asks for more --------------------------------------------------------------------------------------------------


@dataclass
class Greedy(LabelParty):
    """A label party that goes on after the optimum and beyond the cap, to see more score vectors. wanted: how many of the fit."""

    wanted: int = 30

    def prepared(self, state: Progress) -> Prepared:
        """The honest one, without limits of its own."""
        ready = super().prepared(state)
        return replace(ready, limits=replace(ready.limits, reveals=10**6, iterations=self.wanted, tolerance=0.0, unpenalised=False))
