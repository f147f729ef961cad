"""What a finished training over banks means for one bank, as JSON values: the common model, its own part, figures, and every row's score.

`share_document` has two parts. What all banks have alike (and what the model hash is over), and `own`: this bank's intercept or slopes, its
points, and its figures, which are nobody else's.
"""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from federation.models import metrics
from federation.models.encoding import rounded
from federation.models.horizontal.newton import NewtonFit, wald
from federation.models.horizontal.score_cells import overall
from federation.models.horizontal.selection import variance_inflation
from federation.models.horizontal.train import Model, Train, Trained
from federation.models.horizontal.variants import chosen_variant, variants
from federation.models.outcome import scores_document
from federation.models.scorecard import PointsTable, points_table
from federation.models.scores import on_score_grid

Reals = NDArray[np.float64]
NOTHING_KEPT = "every column was left out, so that the model is an intercept alone: loosen [select], or bring other columns"


def share_document(program: Train, state: Trained, bank: str) -> dict[str, Any]:
    """The model as this bank has it, ready for JSON; what is undefined is None.

    coefficients: of the columns' own units, so that the log odds of bad are constant + sum_j coefficient_j raw_j (own intercept or slopes
    included, under `own`); standardized: the common ones of the fit, with errors, z and p.
    """
    moments, selection = state.moments, state.selection
    assert moments is not None and selection is not None, "training is finished"
    few_bads = min(moments.bads, moments.rows - moments.bads) < program.manifest.privacy.minimum_cohort
    return {
        "model": program.manifest.model, "variant": chosen_variant(program.manifest), "rows": moments.rows,
        "bads": None if few_bads else moments.bads, "weight": moments.weight, "base": moments.base,
        "banks": list(state.banks), "sums": state.sums,
        "encoding": msgspec.to_builtins(program.encoding(state)),
        "tables": [table.document() for table in state.tables], "iv": {table.column: table.iv for table in state.tables},
        "fits": {name: fit_document(program, state, name) for name in variants(program.manifest)},
        "selection": [msgspec.to_builtins(step) | {"reason": step.reason} for step in selection.log],
        "notes": [*(state.levels.notes if state.levels else ()), *moments.notes, *([] if selection.kept else [NOTHING_KEPT])],
        "overall": msgspec.to_builtins(figures_overall(program, state)),
        "own": own_document(program, state, bank),
    }  # fmt: skip


def fit_document(program: Train, state: Trained, name: str) -> dict[str, Any]:
    """The common part of one variant: coefficients standardised and raw, Wald inference, inflation, and how the fit ended."""
    assert state.moments is not None and state.moments.correlation is not None and state.selection is not None, "training is finished"
    fit, plan, encoding = state.fits[name], program.newton(state, name), program.encoding(state)
    offset, found = plan.offset, wald(fit, plan.bounds)
    theta = fit.theta[offset:]
    raw = rounded(encoding.in_own_units(theta)[0])
    out: dict[str, Any] = {
        "converged": fit.converged, "reason": fit.reason, "iterations": fit.iteration, "weight": fit.weight, "objective": fit.objective,
        "standardized": _named(encoding.names, rounded(theta)), "coefficients": _named(encoding.names, raw),
        "errors": _named(plan.labels, found.error), "raw_errors": _named(encoding.names, found.error[offset:] / encoding.scale),
        "z": _named(plan.labels, found.z), "p": _named(plan.labels, found.p),
        "inflation": {key: _finite(value) for key, value in variance_inflation(state.selection.kept, state.moments.correlation).items()},
        "intercept": float(rounded(fit.theta[:1])[0]) if offset else None,
        "constant": None, "constant_error": None,
    }  # fmt: skip
    if offset:
        towards = np.concatenate([[1.0], -encoding.centre / encoding.scale])
        out["constant"] = float(rounded(np.array([towards @ fit.theta]))[0])
        out["constant_error"] = _finite(float(np.sqrt(towards @ found.covariance @ towards))) if found.covariance.any() else None
    return out


def own_document(program: Train, state: Trained, bank: str) -> dict[str, Any]:
    """This bank's alone: coefficients of each model as it uses them, errors of its own ones, points, and figures by split."""
    out: dict[str, Any] = {"models": {}, "figures": {}, "curves": {}}
    for name, model in state.models.items():
        out["models"][name] = model_document(model)
        if name in state.fits and len(state.fits[name].delta):
            plan = program.newton(state, name)
            out["models"][name]["own_errors"] = [_finite(value) for value in plan.own_error(state.fits[name]).tolist()]
        if len(model.coefficients):
            out["figures"][name], out["curves"][name] = own_figures(program, model)
    table = points(program, state, bank)
    if table is not None:
        out["points"] = msgspec.to_builtins(table)
    return out


def model_document(model: Model) -> dict[str, Any]:
    """A bank's coefficients, common and own together."""
    if not len(model.coefficients):
        return {"reason": model.reason, "constant": None, "coefficients": {}, "standardized": {}, "intercept": None}
    theta = model.coefficients[1:]
    raw, shift = model.encoding.in_own_units(theta)
    return {
        "reason": model.reason, "intercept": float(model.coefficients[0]), "standardized": _named(model.encoding.names, theta),
        "coefficients": _named(model.encoding.names, rounded(raw)),
        "constant": float(rounded(model.coefficients[:1] + shift)[0]),
    }  # fmt: skip


def own_figures(program: Train, model: Model) -> tuple[dict[str, Any], dict[str, Any]]:
    """Metrics with bootstrap intervals, and curves, of one model on this bank's rows by split."""
    table, splits = program.table, program.sample.split_names()
    assert table.label is not None, "a bank has labels"
    return metrics.by_split(splits, table.label, model.scores(table), table.weights, program.manifest.seed)


def figures_overall(program: Train, state: Trained) -> dict[str, Any]:
    """AUC, KS and PSI of each model over all banks by split."""
    if state.cells is None:
        return {}
    return dict(overall(state.cells, tuple(state.models), program.manifest.seed, program.manifest.privacy.minimum_cohort))


def points(program: Train, state: Trained, bank: str) -> PointsTable | None:
    """The points of the run's model at this bank; None where columns have no bins."""
    model = state.models[chosen_variant(program.manifest)]
    if program.manifest.model != "scorecard":
        return None
    return points_table(bank, model.encoding, model.coefficients[1:], program.manifest.scorecard, float(model.coefficients[0]))


def scores(program: Train, state: Trained, bank: str, model_hash: bytes) -> dict[str, Any]:
    """Columns of the bank's own file of scores, by the run's model, one entry for each row of its table."""
    table = program.table
    score = on_score_grid(state.models[chosen_variant(program.manifest)].scores(table))
    card = points(program, state, bank)
    published = None if card is None else card.points(table.columns)
    return scores_document(table, program.sample.split_names(), score, published, model_hash)


def share_lines(program: Train, state: Trained) -> list[str]:
    """What all banks have alike, as lines on the declared grid of ten digits: the model hash is over these."""
    fit: NewtonFit = state.fits[chosen_variant(program.manifest)]
    return program.encoding(state).lines(fit.theta)


def _named(names: tuple[str, ...], values: Reals) -> dict[str, float | None]:
    return {name: _finite(value) for name, value in zip(names, values.tolist(), strict=True)}


def _finite(value: float) -> float | None:
    return value if np.isfinite(value) else None
