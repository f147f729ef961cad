"""Training over many banks, as one plan: from every bank's own columns to one model and to how it does everywhere.

    logistic    levels -> design (means, products) -> select and fit -> compare -> score cells
    scorecard   bins and weights of evidence -> design -> select and fit -> compare -> score cells

One linear model for all banks can be worse, on average, than each bank's own. So three models on the selected columns stand side by side:
`global` (all coefficients common), `per bank` (an intercept for each bank) and, where asked, `personal` (slopes too); and `local`, what this
bank would have found alone, with bins, selection and fit of its own, for which nothing is sent. Each is measured on this bank's own rows by
split, which stays here, and over all banks by totals in score cells.

Who learns what: every bank learns the totals, and so the common model and the figures over all banks; nobody learns a bank's part of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias, TypeVar

import msgspec
import numpy as np
from numpy.typing import NDArray

from federation.kernel.errors import ConfigurationError, DataError, PolicyRefusal
from federation.kernel.manifest import BankSettings, Manifest
from federation.kernel.state import State
from federation.models.bins import Bins
from federation.models.encoding import Encoding, Missing, rounded
from federation.models.horizontal.common_bins import CommonBins, FindBins
from federation.models.horizontal.design_moments import CountLevels, LevelCounts, MeasureDesign, Moments, training_weight
from federation.models.horizontal.newton import Newton, NewtonFit
from federation.models.horizontal.personal import Rows
from federation.models.horizontal.plan import add_up
from federation.models.horizontal.score_cells import Cells, CountCells
from federation.models.horizontal.selection import Select, Selection, features, screen
from federation.models.horizontal.variants import Variant, fit_settings, selecting_variant, variants
from federation.models.sample import Sample
from federation.models.table import Table
from federation.models.woe import WoeTable

Reals = NDArray[np.float64]
P = TypeVar("P")
Phase: TypeAlias = Literal["levels", "bins", "design", "fit", "compare", "cells", "done"]


class Model(State, frozen=True):
    """A fitted variant, as this bank has it. coefficients: (1 + d,) intercept first, in standardised units of the encoding, rounded to ten
    digits; encoding: of the selected columns alone; reason: "" if it converged, or why there is none (then coefficients are empty).
    """

    encoding: Encoding
    coefficients: Reals
    reason: str = ""

    def scores(self, table: Table) -> Reals:
        """Log odds of bad of a table's rows, (n,)."""
        out: Reals = self.coefficients[0] + self.encoding.design(table.columns) @ self.coefficients[1:]
        return out


class Trained(State, frozen=True):
    """Between two sums. One field for each phase's own state; fits, models: by variant, and `local` among the models."""

    phase: Phase
    levels: LevelCounts | None = None
    bins: CommonBins | None = None
    moments: Moments | None = None
    selection: Selection | None = None
    comparing: Variant | None = None
    fits: dict[str, NewtonFit] = msgspec.field(default_factory=dict)
    models: dict[str, Model] = msgspec.field(default_factory=dict)
    cells: Cells | None = None
    sums: int = 0
    banks: tuple[int, ...] = ()

    @property
    def tables(self) -> tuple[WoeTable, ...]:
        """Weights of evidence over all banks, of a scorecard."""
        return () if self.bins is None else self.bins.tables

    @property
    def done(self) -> bool:
        """Whether all sums were taken."""
        return self.phase == "done"


@dataclass
class Train:
    """The plan of one bank. levels: of each categorical column, common to all banks; bins: edited by hand, the same at all banks; alone: for the
    local model, which ends with the fit.
    """

    table: Table
    sample: Sample
    manifest: Manifest
    levels: Mapping[str, tuple[str, ...]]
    bins: Mapping[str, Bins]
    alone: bool = False
    kind: type[Trained] = field(default=Trained, init=False)

    def __post_init__(self) -> None:
        if self.table.label is None:
            raise ConfigurationError("bank", "has no label", "Name the label column in [[party]] label.")
        if self.manifest.select.iv_min is not None and self.manifest.model != "scorecard":
            raise ConfigurationError("[select] iv_min", "needs bins, and this model has none", 'Leave it out, or use model = "scorecard".')
        self.weight = training_weight(self.table, self.sample)
        self._plans: dict[str, object] = {}

    def begin(self) -> Trained:
        """Before the first sum."""
        if self.manifest.model == "scorecard":
            return self._onwards(Trained("bins", bins=self._bins().begin()))
        return self._onwards(Trained("levels", levels=self._levels().begin()))

    def ask(self, state: Trained) -> Reals | None:
        """What the present phase asks for."""
        if state.done:
            return None
        plan, part = self._current(state)
        vector: Reals | None = plan.ask(part)
        return vector

    def take(self, state: Trained, total: Reals, banks: int) -> Trained:
        """On with the phase, or to the next."""
        plan, part = self._current(state)
        part = plan.take(part, total, banks)
        state = msgspec.structs.replace(state, sums=state.sums + 1, banks=(*state.banks, banks))
        return self._onwards(self._stored(state, part))

    # -- phases -----------------------------------------------------------------------------------------------------------------------

    def _current(self, state: Trained) -> tuple[Any, Any]:
        """The plan of the present phase and its state."""
        if state.phase == "levels":
            return self._levels(), state.levels
        if state.phase == "bins":
            return self._bins(), state.bins
        if state.phase == "design":
            return self._measure(state), state.moments
        if state.phase == "fit":
            return self._select(state), state.selection
        if state.phase == "compare":
            assert state.comparing is not None, "a variant is being compared"
            return self._newton(state, state.comparing), state.fits[state.comparing]
        return self._cells(state), state.cells

    def _stored(self, state: Trained, part: Any) -> Trained:
        """The state with its phase's part renewed."""
        if state.phase == "compare":
            assert state.comparing is not None, "a variant is being compared"
            return msgspec.structs.replace(state, fits=state.fits | {state.comparing: part})
        name = {"levels": "levels", "bins": "bins", "design": "moments", "fit": "selection", "cells": "cells"}[state.phase]
        return msgspec.structs.replace(state, **{name: part})

    def _onwards(self, state: Trained) -> Trained:
        """To the next phase, and past those that need no sum."""
        while not state.done and self._current(state)[1].done:
            state = self._next(state)
        return state

    def _next(self, state: Trained) -> Trained:
        if state.phase in ("levels", "bins"):
            state = msgspec.structs.replace(state, phase="design")
            return msgspec.structs.replace(state, moments=self._measure(state).begin())
        if state.phase == "design":
            return msgspec.structs.replace(state, phase="fit", selection=self._select(state).begin())
        if state.phase == "fit":
            assert state.selection is not None, "columns were selected"
            plan = self._select(state).newton(state.selection)
            state = self._with_model(state, selecting_variant(self.manifest), plan, state.selection.fit)
            return msgspec.structs.replace(state, phase="done") if self.alone else self._compare(state)
        if state.phase == "compare":
            assert state.comparing is not None, "a variant is being compared"
            name = state.comparing
            return self._compare(self._with_model(state, name, self._newton(state, name), state.fits[name]))
        return msgspec.structs.replace(state, phase="done")

    def _compare(self, state: Trained) -> Trained:
        """To the next variant, or to the local model and the score cells."""
        left = [name for name in variants(self.manifest) if name not in state.models]
        if left:
            state = msgspec.structs.replace(state, phase="compare", comparing=left[0])
            return msgspec.structs.replace(state, fits=state.fits | {left[0]: self._newton(state, left[0]).begin()})
        state = msgspec.structs.replace(state, models=state.models | {"local": self._local()}, comparing=None, phase="cells")
        return msgspec.structs.replace(state, cells=self._cells(state).begin())

    def _with_model(self, state: Trained, name: Variant, plan: Newton, fit: NewtonFit) -> Trained:
        """Keep a finished fit, and the model that this bank has by it."""
        model = Model(self.encoding(state), rounded(plan.whole(fit)), fit.reason)
        return msgspec.structs.replace(state, fits=state.fits | {name: fit}, models=state.models | {name: model})

    def _local(self) -> Model:
        """What this bank finds alone."""
        alone = msgspec.structs.replace(self.manifest, banks=BankSettings())
        try:
            (state,) = add_up([Train(self.table, self.sample, alone, self.levels, self.bins, alone=True)])
        except (DataError, PolicyRefusal) as error:
            return Model(Encoding(()), np.zeros(0), f"this bank alone: {error.what}")
        return state.models["global"]

    # -- the plans of the phases, built again after a restart ---------------------------------------------------------------------------

    def _levels(self) -> CountLevels:
        minimum, said = self.manifest.privacy.minimum_cohort, self.manifest.settings.missing
        missing: Missing = "mean" if said == "bin" else said
        return self._once("levels", CountLevels, lambda: CountLevels(self.table, self.sample, self.levels, missing, minimum))

    def _bins(self) -> FindBins:
        return self._once(
            "bins", FindBins, lambda: FindBins(self.table, self.sample, self.weight, self.levels, self.manifest, self.bins)
        )  # fmt: skip

    def _measure(self, state: Trained) -> MeasureDesign:
        encoded = state.levels or state.bins
        assert encoded is not None and encoded.encoding is not None, "columns are encoded"
        encoding, minimum = encoded.encoding, self.manifest.privacy.minimum_cohort
        return self._once("design", MeasureDesign, lambda: MeasureDesign(self.table, self.sample, encoding, minimum))

    def _select(self, state: Trained) -> Select:
        return self._once("fit", Select, lambda: self._new_select(state))

    def _newton(self, state: Trained, name: str) -> Newton:
        return self._once(name, Newton, lambda: self._new_newton(state, name))

    def _cells(self, state: Trained) -> CountCells:
        return self._once("cells", CountCells, lambda: self._new_cells(state))

    def _once(self, name: str, kind: type[P], build: Callable[[], P]) -> P:
        plan = self._plans.get(name)
        if not isinstance(plan, kind):
            self._plans[name] = plan = build()
        return plan

    def _new_select(self, state: Trained) -> Select:
        assert state.moments is not None and state.moments.correlation is not None, "the design was measured"
        moments, correlation, select = state.moments, state.moments.correlation, self.manifest.select
        iv = {table.column: table.iv for table in state.tables}
        kept, log = screen(features(moments.encoding), correlation, iv, select)
        penalty, signs = self._rules(moments.encoding)
        return Select(
            self._rows(state), moments.encoding.names, penalty, signs, tuple(kept), tuple(log), select.p_max,
            fit_settings(self.manifest, selecting_variant(self.manifest)), float(np.log(moments.base / (1 - moments.base))),
        )  # fmt: skip

    def _new_newton(self, state: Trained, name: str) -> Newton:
        """A variant on the selected columns, from where the selecting one ended."""
        assert state.selection is not None, "columns were selected"
        select = self._select(state)
        places, chosen = list(state.selection.places), select.newton(state.selection)
        start = np.concatenate([[select.start], state.selection.fit.theta[chosen.offset :]])
        names = tuple(select.names[place] for place in places)
        return Newton(chosen.rows, names, select.penalty[places], fit_settings(self.manifest, name), select.signs[places], start)

    def _new_cells(self, state: Trained) -> CountCells:
        assert self.table.label is not None, "a bank has labels"
        scores = {name: model.scores(self.table) if len(model.coefficients) else None for name, model in state.models.items()}
        return CountCells(scores, self.table.label, self.table.weights, self.sample, self.manifest.privacy.minimum_cohort)

    def _rows(self, state: Trained) -> Rows:
        assert state.moments is not None and self.table.label is not None, "the design was measured"
        return Rows.of(state.moments.encoding.design(self.table.columns), self.table.label, self.weight)

    def _rules(self, encoding: Encoding) -> tuple[Reals, NDArray[np.int8]]:
        """Ridge and sign of each design column, (d,) each."""
        settings = self.manifest.settings
        return encoding.ridge(settings.C, standardize=settings.standardize), encoding.signs(settings.signs)

    def newton(self, state: Trained, name: str) -> Newton:
        """The plan of a variant that was fitted."""
        assert state.selection is not None, "columns were selected"
        return self._select(state).newton(state.selection) if name == selecting_variant(self.manifest) else self._newton(state, name)

    def encoding(self, state: Trained) -> Encoding:
        """The encoding of the selected columns, in the design's order."""
        assert state.moments is not None and state.selection is not None, "columns were selected"
        kept = {feature.name for feature in state.selection.kept}
        return Encoding(tuple(part for part in state.moments.encoding.columns if part.column in kept))
