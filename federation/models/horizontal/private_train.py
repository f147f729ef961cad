"""A scorecard over many banks under a stated epsilon and delta: bins, weights of evidence, fit and figures, all from sums with noise.

    bins (4 sums, `private_bins`) -> products and three gradients (`private_fit`) -> goods and bads over 20 cells of the score, by split

`SCHEDULE` says which part of the allowance each of the nine sums may cost. Means and spreads of the weights of evidence follow from the noisy
tables, and so does information value: what is worked out from totals with noise costs nothing more. One model is fitted, with common
coefficients; beside it stands what this bank finds alone, for which nothing is sent. There are no standard errors: noise would make them wrong.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from federation.kernel.errors import DataError
from federation.models.encoding import Encoding, rounded
from federation.models.horizontal.common_bins import CommonBins
from federation.models.horizontal.design_moments import Moments
from federation.models.horizontal.newton import NewtonFit
from federation.models.horizontal.noise import Noise, Release, Schedule
from federation.models.horizontal.private_bins import NAMES as BIN_NAMES
from federation.models.horizontal.private_bins import FindPrivateBins
from federation.models.horizontal.private_cells import DROWNED
from federation.models.horizontal.private_fit import NAMES as FIT_NAMES
from federation.models.horizontal.private_fit import FitPrivately, PrivateFit
from federation.models.horizontal.score_cells import BAD_ROWS, BADS, GOOD_ROWS, GOODS, MOST_CELLS, Cells
from federation.models.horizontal.selection import Selection, features, screen
from federation.models.horizontal.train import Model, Train, Trained
from federation.models.sample import SPLITS
from federation.models.woe import WoeTable

Reals = NDArray[np.float64]

_BINS = (0.08, 0.05, 0.03, 0.24)
_FIT = (0.14, 0.13, 0.14, 0.15)
_FIGURES = 0.04
SCHEDULE: Schedule = (*zip(BIN_NAMES, _BINS, strict=True), *zip(FIT_NAMES, _FIT, strict=True), ("score cells", _FIGURES))
"""Parts of rho; they add up to one."""
_CELLS = 20


class PrivatelyTrained(Trained, frozen=True):
    """fit: of the sums with noise; the other fields are those of a fit without, filled as they become known."""

    fit: PrivateFit | None = None


@dataclass
class PrivateTrain(Train):
    """The plan of one bank. noise: the run's."""

    noise: Noise | None = None
    kind: type[Trained] = field(default=PrivatelyTrained, init=False)
    schedule: Schedule = field(default=SCHEDULE, init=False)

    def begin(self) -> PrivatelyTrained:
        """Before the first sum."""
        return PrivatelyTrained("bins", bins=self._private_bins().begin())

    def release(self, state: Trained) -> Release:
        """Of the present sum; one row is in one score cell of one split."""
        plan, part = self._present(state)
        if plan is None:
            assert self.noise is not None, "a run with noise"
            return self.noise.counts(_FIGURES, 1)
        release: Release = plan.release(part)
        return release

    def ask(self, state: Trained) -> Reals | None:
        """What the present phase asks for."""
        if state.done:
            return None
        plan, part = self._present(state)
        vector: Reals | None = self._figures(state) if plan is None else plan.ask(part)
        return vector

    def take(self, state: Trained, total: Reals, banks: int) -> Trained:
        """On with the phase, or to the next."""
        plan, part = self._present(state)
        counted = msgspec.structs.replace(state, sums=state.sums + 1, banks=(*state.banks, banks))
        if plan is None:
            return msgspec.structs.replace(counted, cells=self._cells_of(state, total, banks), phase="done")
        part = plan.take(part, total, banks)
        if isinstance(part, CommonBins):
            counted = msgspec.structs.replace(counted, bins=part)
            return self._encoded(counted, part) if part.done else counted
        counted = msgspec.structs.replace(counted, fit=part)
        return self._fitted(counted, part) if part.done else counted

    def shortened(self, state: Trained) -> int:
        """How many of this bank's training rows added less to a gradient than they would, at the last coefficients."""
        plan, part = self._fit_plan(state), _fit_of(state)
        return plan.shortened(part)

    # -- phases -----------------------------------------------------------------------------------------------------------------------

    def _present(self, state: Trained) -> tuple[Any, Any]:
        """The plan of the present phase and its state; None for the score cells."""
        if state.phase == "bins":
            return self._private_bins(), state.bins
        return (self._fit_plan(state), _fit_of(state)) if state.phase == "fit" else (None, None)

    def _private_bins(self) -> FindPrivateBins:
        return self._once(
            "bins", FindPrivateBins,
            lambda: FindPrivateBins(self.table, self.sample, self.weight, {}, self.manifest, self.bins, self.noise, _BINS),
        )  # fmt: skip

    def _encoded(self, state: Trained, bins: CommonBins) -> Trained:
        """Standardise by the noisy tables, and leave out what says nothing or has too little information value."""
        moments = moments_of(bins)
        iv = {table.column: table.iv for table in bins.tables}
        kept, log = screen(features(moments.encoding), np.eye(len(moments.encoding.names) + 1), iv, self.manifest.select)
        if not kept:
            raise DataError("banks", "no column has enough information value", "Loosen [select], or bring other columns.")
        names = {feature.name for feature in kept}
        encoding = Encoding(tuple(part for part in moments.encoding.columns if part.column in names))
        places = [place for feature in kept for place in feature.places]
        moments = msgspec.structs.replace(
            moments, encoding=encoding, correlation=np.eye(len(places) + 1), mean=_chosen(moments.mean, places),
            unit=_chosen(moments.unit, places),
        )  # fmt: skip
        blank = NewtonFit(np.zeros(0), np.zeros(0, bool), np.zeros(0))
        state = msgspec.structs.replace(
            state, phase="fit", moments=moments, selection=Selection(features(encoding), blank, tuple(log), done=True)
        )
        return msgspec.structs.replace(state, fit=self._fit_plan(state).begin())

    def _fit_plan(self, state: Trained) -> FitPrivately:
        return self._once("private fit", FitPrivately, lambda: self._new_fit(state))

    def _new_fit(self, state: Trained) -> FitPrivately:
        assert state.moments is not None and self.noise is not None, "columns are encoded"
        rows = self._rows(state)
        penalty, signs = self._rules(state.moments.encoding)
        return FitPrivately(rows.x, rows.y, state.moments.base, penalty, signs, self.noise, _FIT)

    def _fitted(self, state: Trained, fit: PrivateFit) -> Trained:
        """The model in the words of a fit without noise, and this bank's own beside it."""
        assert state.selection is not None and state.moments is not None and fit.products is not None, "the fit is finished"
        spread = np.sqrt(np.diag(fit.products)[1:])
        inner = fit.products[1:, 1:] / np.outer(spread, spread)
        correlation = np.eye(len(fit.theta))
        correlation[:-1, :-1] = inner
        found = NewtonFit(
            fit.theta,
            np.ones(len(fit.theta), bool),
            np.zeros(0),
            base=fit.theta,
            iteration=fit.sums - 1,
            weight=state.moments.weight,
            done=True,
        )
        model = Model(state.moments.encoding, rounded(fit.theta))
        return msgspec.structs.replace(
            state, phase="cells", moments=msgspec.structs.replace(state.moments, correlation=correlation),
            selection=msgspec.structs.replace(state.selection, fit=found), fits={"global": found},
            models={"global": model, "local": self._local()},
        )  # fmt: skip

    # -- figures ----------------------------------------------------------------------------------------------------------------------

    def _figures(self, state: Trained) -> Reals:
        """Goods and bads of each cell and split of the model, (splits 20 2,)."""
        assert self.table.label is not None, "a bank has labels"
        cell = np.searchsorted(self._cuts(state), state.models["global"].scores(self.table), side="right")
        place = 2 * cell + (self.table.label == 1)
        return np.concatenate([np.bincount(place[getattr(self.sample, split)], minlength=2 * _CELLS) for split in SPLITS]).astype(
            np.float64
        )

    def _cuts(self, state: Trained) -> Reals:
        """Twentieths of a normal distribution with the mean and spread that the noisy products give the score."""
        fit = _fit_of(state)
        assert fit.products is not None, "the fit is finished"
        slopes = fit.theta[1:]
        deviation = np.sqrt(max(float(slopes @ fit.products[1:, 1:] @ slopes) / max(fit.products[0, 0], 1.0), 1e-6))
        return np.asarray(fit.theta[0] + deviation * ndtri(np.arange(1, _CELLS) / _CELLS))

    def _cells_of(self, state: Trained, total: Reals, banks: int) -> Cells:
        """As score cells, none below zero; the bank's own model has none, nor has a split that noise drowns."""
        out = np.zeros((len(state.models), len(SPLITS), MOST_CELLS, 4))
        counts = np.maximum(np.rint(total), 0.0).reshape(len(SPLITS), _CELLS, 2)
        counts[total.reshape(len(SPLITS), -1).sum(axis=1) < DROWNED * math.sqrt(2 * _CELLS) * self.release(state).spread(banks)] = 0.0
        for good, bad in ((GOOD_ROWS, BAD_ROWS), (GOODS, BADS)):
            out[0, :, :_CELLS, good], out[0, :, :_CELLS, bad] = counts[..., 0], counts[..., 1]
        cuts = tuple(self._cuts(state).tolist())
        return Cells(cuts=(cuts, *((),) * (len(state.models) - 1)), totals=out)


def moments_of(bins: CommonBins) -> Moments:
    """What the noisy tables say of the weights of evidence: mean and spread of each, rows, and the base rate. Constant columns are left out."""
    assert bins.encoding is not None, "bins were found"
    shares = [_weighed(table) for table in bins.tables]
    kept = [place for place, (weight, woe) in enumerate(shares) if np.ptp(woe[weight > 0]) > 0]
    notes = tuple(
        f"column {table.column!r} says nothing that noise lets see" for place, table in enumerate(bins.tables) if place not in kept
    )
    if not kept:
        raise DataError("banks", "no column says anything that noise lets see", "Raise epsilon, or bring other columns.")
    means = np.array([float(shares[place][0] @ shares[place][1]) for place in kept])
    spreads = np.sqrt([float(shares[place][0] @ (shares[place][1] - mean) ** 2) for place, mean in zip(kept, means, strict=True)])
    totals = np.mean([[sum(row.goods or 0.0 for row in t.rows), sum(row.bads or 0.0 for row in t.rows)] for t in bins.tables], axis=0)
    goods, bads = totals.tolist()
    encoding = Encoding(tuple(bins.encoding.columns[place] for place in kept)).fitted(means, spreads)
    weight = goods + bads
    return Moments(
        encoding, rows=round(weight), bads=round(bads), weight=weight, base=bads / weight, mean=means, unit=np.ones(len(kept)),
        correlation=np.eye(len(kept) + 1), notes=notes,
    )  # fmt: skip


def _weighed(table: WoeTable) -> tuple[Reals, Reals]:
    """Share of the weight and weight of evidence of each bin, (k,) each."""
    weight = np.array([(row.goods or 0.0) + (row.bads or 0.0) for row in table.rows])
    return weight / weight.sum(), np.array(table.values)


def _fit_of(state: Trained) -> PrivateFit:
    assert isinstance(state, PrivatelyTrained) and state.fit is not None, "columns are encoded"
    return state.fit


def _chosen(values: Reals | None, places: list[int]) -> Reals | None:
    return None if values is None else values[places]
