"""How well scores separate goods from bads over all banks, from totals in at most 100 cells of the score.

    1. rows     row counts over a fine common grid of the score -> cut points, at about every hundredth of all rows
    2. outcomes rows and weight of goods and of bads of each cell and split -> AUC, KS, and PSI against training

No bank shows a score or a label, and a result shows figures, never a cell. Inside a cell rows count as tied, so the true AUC lies within
`blur` of the figure: sum_c g_c b_c / (2 G B). Intervals resample goods and bads over the cells (multinomial bootstrap). PSI is taken over
tenths of the training weight (Siddiqi 2006), since over a hundred cells it would mostly measure chance.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import msgspec
import numpy as np
from numpy.typing import NDArray

from federation.kernel.state import State
from federation.models.sample import SPLITS, Sample
from federation.models.woe import stability

Reals = NDArray[np.float64]

STEP = 0.01
"""The grid of scores in log odds."""
REACH = 10.0
"""Scores beyond +-10 log odds share the outer cells."""
MOST_CELLS = 100
_GRID = round(2 * REACH / STEP)
_RESAMPLES = 200
_TENTHS = 10
GOOD_ROWS, BAD_ROWS, GOODS, BADS = range(4)


class Figure(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A figure over all banks; interval: 95 %; blur: how far the figure without cells may be away; None where a class is missing."""

    value: float | None
    interval: tuple[float, float] | None = None
    blur: float | None = None


class Overall(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One model on one split over all banks. n, bads: rows, bads None where fewer than the cohort have one class; psi: of the score against
    training, None for training itself.
    """

    n: int
    bads: int | None
    auc: Figure
    ks: Figure
    psi: float | None = None


class Cells(State, frozen=True):
    """cuts: of each model's score, ascending; totals: (models, splits, 100, 4) rows and weight of goods and bads."""

    cuts: tuple[tuple[float, ...], ...] | None = None
    totals: Reals | None = None

    @property
    def done(self) -> bool:
        """Whether both sums were taken."""
        return self.totals is not None


@dataclass
class CountCells:
    """The plan. scores: model -> (n,) log odds of bad of this bank's rows, the same models at every bank (a model that this bank does not
    have: None); label, weight: (n,).
    """

    scores: Mapping[str, Reals | None]
    label: NDArray[np.int8]
    weight: Reals
    sample: Sample
    minimum_cohort: int
    kind: type[Cells] = field(default=Cells, init=False)

    def begin(self) -> Cells:
        """Nothing is cut."""
        return Cells(totals=None if self.scores else np.zeros((0, len(SPLITS), MOST_CELLS, 4)))

    def ask(self, state: Cells) -> Reals | None:
        """Rows of all splits over the grid; then goods and bads over the cells."""
        if state.totals is not None:
            return None
        masks = [getattr(self.sample, split) for split in SPLITS]
        used = np.logical_or.reduce(masks)
        if state.cuts is None:
            return np.concatenate([_on_grid(score, used) for score in self.scores.values()])
        whole = np.zeros((len(self.scores), len(SPLITS), MOST_CELLS, 4))
        bad = self.label == 1
        for model, (score, cuts) in enumerate(zip(self.scores.values(), state.cuts, strict=True)):
            if score is None:
                continue
            cell = np.searchsorted(np.array(cuts), score, side="right")
            for split, mask in enumerate(masks):
                for column, chosen, weight in ((GOOD_ROWS, ~bad, None), (BAD_ROWS, bad, None), (GOODS, ~bad, 1), (BADS, bad, 1)):
                    rows = mask & chosen
                    whole[model, split, :, column] = np.bincount(cell[rows], None if weight is None else self.weight[rows], MOST_CELLS)
        return whole.ravel()

    def take(self, state: Cells, total: Reals, banks: int) -> Cells:  # noqa: ARG002  # a plan's signature
        """Cut, then count."""
        models = len(self.scores)
        if state.cuts is None:
            return msgspec.structs.replace(state, cuts=tuple(_cut(row, self.minimum_cohort) for row in total.reshape(models, -1)))
        return msgspec.structs.replace(state, totals=total.reshape(models, len(SPLITS), MOST_CELLS, 4))


def overall(cells: Cells, models: tuple[str, ...], seed: int, minimum_cohort: int) -> dict[str, dict[str, Overall]]:
    """Figures of each model on each split, intervals from the seed; a split below the minimum cohort has none."""
    assert cells.totals is not None, "both sums were taken"
    out: dict[str, dict[str, Overall]] = {}
    for model, totals in zip(models, cells.totals, strict=True):
        random = np.random.Generator(np.random.Philox(seed))
        training = totals[0, :, GOODS] + totals[0, :, BADS]
        out[model] = {}
        for split, counts in zip(SPLITS, totals, strict=True):
            rows = int(counts[:, :GOODS].sum())
            if rows < minimum_cohort:
                continue
            weight = counts[:, GOODS] + counts[:, BADS]
            psi = None if split == "train" or not (weight.any() and training.any()) else _stability(training, weight)
            bads = int(counts[:, BAD_ROWS].sum())
            few = min(bads, rows - bads) < minimum_cohort
            out[model][split] = Overall(rows, None if few else bads, *_figures(counts, random), psi)
    return out


def _figures(counts: Reals, random: np.random.Generator) -> tuple[Figure, Figure]:
    """AUC and KS of (cells, 4) counts."""
    goods, bads = counts[:, GOODS], counts[:, BADS]
    if not (goods.any() and bads.any()):
        return Figure(None), Figure(None)
    auc, ks = separation(goods[None], bads[None])
    drawn = [_resampled(counts[:, rows], counts[:, weight], random) for rows, weight in ((GOOD_ROWS, GOODS), (BAD_ROWS, BADS))]
    low, high = np.percentile(np.column_stack(separation(*drawn)), [2.5, 97.5], axis=0)
    inside = goods / goods.sum() * (bads / bads.sum())
    most = float(np.maximum(goods / goods.sum(), bads / bads.sum()).max())
    return (
        Figure(float(auc[0]), (float(low[0]), float(high[0])), float(inside.sum() / 2)),
        Figure(float(ks[0]), (float(low[1]), float(high[1])), most),
    )


def separation(goods: Reals, bads: Reals) -> tuple[Reals, Reals]:
    """AUC and KS of goods and bads over ascending cells, (m, cells) each to (m,); rows of one cell are tied."""
    below = np.cumsum(goods, axis=1) / goods.sum(axis=1, keepdims=True)
    above = np.cumsum(bads, axis=1) / bads.sum(axis=1, keepdims=True)
    before = np.concatenate([np.zeros((len(below), 1)), below[:, :-1]], axis=1)
    share = np.diff(above, axis=1, prepend=0.0)
    return np.asarray((share * (below + before) / 2).sum(axis=1)), np.asarray(np.abs(below - above).max(axis=1))


def _resampled(rows: Reals, weight: Reals, random: np.random.Generator) -> Reals:
    """Weights of each cell under resampled rows, (resamples, cells); a row weighs the mean of its cell."""
    count = int(rows.sum())
    drawn = random.multinomial(count, rows / rows.sum(), _RESAMPLES).astype(np.float64)
    mean = np.where(rows > 0, weight / np.where(rows > 0, rows, 1.0), 0.0)
    return np.asarray(drawn * mean)


def _stability(training: Reals, weight: Reals) -> float:
    """PSI over tenths of the training weight."""
    middle = np.cumsum(training) - training / 2
    tenth = np.minimum((_TENTHS * middle / training.sum()).astype(np.int64), _TENTHS - 1)
    return stability(np.bincount(tenth, training, _TENTHS), np.bincount(tenth, weight, _TENTHS))


def _on_grid(score: Reals | None, used: NDArray[np.bool_]) -> Reals:
    if score is None:
        return np.zeros(_GRID)
    place = np.clip(np.floor((score[used] + REACH) / STEP), 0, _GRID - 1).astype(np.int64)
    return np.bincount(place, minlength=_GRID).astype(np.float64)


def _cut(rows: Reals, minimum: int) -> tuple[float, ...]:
    """Cut points that leave at most 100 cells of about a hundredth of the rows each, and at least the cohort."""
    least = max(float(minimum), float(rows.sum()) / MOST_CELLS)
    cuts: list[float] = []
    inside = 0.0
    for place, count in enumerate(rows.tolist()):
        inside += count
        if inside >= least:
            cuts.append(round((place + 1) * STEP - REACH, 10))
            inside = 0.0
    if inside < least and cuts:  # the last cell takes in what is left over
        cuts.pop()
    return tuple(cuts[: MOST_CELLS - 1])
