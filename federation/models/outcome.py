"""What a finished run means for one party: its share of the model, and at the label party metrics, curves and every row's score."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from federation.models import metrics
from federation.models.encoding import rounded
from federation.models.table import Table
from federation.models.training import FeatureParty, LabelParty, Progress


@dataclass(frozen=True)
class LabelOutcome:
    """metrics and curves by split, as JSON values; scores: columns of the label party's own file of scores."""

    metrics: dict[str, Any]
    curves: dict[str, Any]
    scores: dict[str, Any]


def share_document(program: LabelParty | FeatureParty, state: Progress) -> dict[str, Any]:
    """A party's share as JSON values: encoding, coefficients in standardised and in the columns' own units, constant, points, tables.

    score = constant + sum_j coefficient_j raw_j for a firm that the party knows, `absent` for one that it does not.
    """
    assert state.encoded is not None
    encoded, encoding = state.encoded, state.encoded.encoding
    card = program.points(state) if state.fit is not None and program.manifest.model == "scorecard" else None
    points = {} if card is None else {part.bins.column: part.points for part in card.characteristics}
    out: dict[str, Any] = {
        "party": program.me, "matched": encoded.matched, "released_counts": encoded.released, "notes": list(encoded.notes),
        "encoding": msgspec.to_builtins(encoding), "tables": [table.document(points.get(table.column, ())) for table in encoded.tables],
        "iv": {table.column: table.iv for table in encoded.tables},
    }  # fmt: skip
    if state.fit is None:
        return out
    is_label = program.me == program.manifest.label_party
    theta = state.fit.theta[1:] if is_label else state.fit.theta
    raw, shift = encoding.in_own_units(theta)
    out |= {
        "standardized": dict(zip(encoding.names, theta.tolist(), strict=True)),
        "coefficients": dict(zip(encoding.names, rounded(raw).tolist(), strict=True)),
        "constant": float(state.fit.theta[0] if is_label else 0.0) + shift,
        "intercept": float(state.fit.theta[0]) if is_label else None,
        "absent": float(encoding.absent_row @ theta),
        "converged": state.fit.reason == "", "reason": state.fit.reason, "iterations": state.fit.iteration, "reveals": state.fit.reveals,
    }  # fmt: skip
    return out if card is None else out | {"points": msgspec.to_builtins(card)}


def label_outcome(program: LabelParty, state: Progress) -> LabelOutcome:
    """Metrics with bootstrap intervals, curves, and scores of the label party's rows in the universe, in the order of its keys."""
    table, positions = program.present(state)
    inside = positions >= 0
    table, splits = table.kept(inside), program.sample(state).split_names()[inside]
    assert state.final is not None and table.label is not None
    measured, drawn = metrics.by_split(splits, table.label, state.final, table.weights, program.manifest.seed)
    return LabelOutcome(measured, drawn, scores_document(table, splits, state.final, state.points, state.model_hash))


def scores_document(
    table: Table, splits: NDArray[np.str_], score: NDArray[np.float64], points: NDArray[np.int64] | None, model_hash: bytes
) -> dict[str, Any]:
    """Columns of a party's own file of scores, one entry for each row of the table; points: None of what is no scorecard."""
    return {
        "id": list(table.firms), "as_of": None if table.as_of is None else table.as_of.astype(str), "split": splits,
        "score": score, "probability": expit(score), "points": points, "model_version": model_hash.hex()[:16],
    }  # fmt: skip
