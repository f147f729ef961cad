"""What a finished run means for one party: its share of the model, and at the label party metrics, curves and every row's score."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
from scipy.special import expit

from federation.models import metrics
from federation.models.encoding import Woe
from federation.models.sample import SPLITS
from federation.models.training import FeatureParty, LabelParty, Progress, rounded

RESAMPLES = 200


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
    out: dict[str, Any] = {
        "party": program.me, "matched": encoded.matched, "released_counts": encoded.released, "notes": list(encoded.notes),
        "encoding": msgspec.to_builtins(encoding), "tables": [table_document(table, encoding) for table in encoded.tables],
        "iv": {table.column: table.iv for table in encoded.tables},
    }  # fmt: skip
    if state.fit is None:
        return out
    is_label = program.me == program.manifest.label_party
    theta = state.fit.theta[1:] if is_label else state.fit.theta
    scale = np.array([standard.scale for standard in encoding.standard])
    centre = np.array([standard.centre for standard in encoding.standard])
    raw = rounded(theta / scale) if len(theta) else theta
    out |= {
        "standardized": dict(zip(encoding.names, theta.tolist(), strict=True)),
        "coefficients": dict(zip(encoding.names, raw.tolist(), strict=True)),
        "constant": float((state.fit.theta[0] if is_label else 0.0) - (theta / scale) @ centre),
        "intercept": float(state.fit.theta[0]) if is_label else None,
        "absent": float(encoding.absent_row @ theta),
        "converged": state.fit.reason == "", "reason": state.fit.reason, "iterations": state.fit.iteration, "reveals": state.fit.reveals,
    }  # fmt: skip
    if program.manifest.model == "scorecard":
        points = program.points(state)
        out["points"] = msgspec.to_builtins(points)
        by_column = {part.bins.column: part.points for part in points.characteristics}
        for table in out["tables"]:
            for row, value in zip(table["bins"], by_column.get(table["column"], ()), strict=False):
                row["points"] = value
    return out


def table_document(table: Any, encoding: Any) -> dict[str, Any]:
    """A column's weights of evidence as JSON values."""
    kinds = {part.column: part.bins.kind for part in encoding.columns if isinstance(part, Woe)}
    bins = [
        {"label": row.label, "share": row.share, "goods": row.goods, "bads": row.bads, "woe": row.woe, "iv": row.iv} for row in table.rows
    ]
    return {"column": table.column, "kind": kinds.get(table.column, ""), "iv": table.iv, "bins": bins}


def label_outcome(program: LabelParty, state: Progress) -> LabelOutcome:
    """Metrics with bootstrap intervals, curves, and scores of the label party's rows in the universe, in the order of its keys."""
    table, positions = program.present(state)
    sample = program.sample(state)
    assert state.final is not None and table.label is not None
    rows = np.flatnonzero(positions >= 0)
    names = sample.split_names()[rows]
    probability = expit(state.final)
    weight = np.ones(len(rows)) if table.weight is None else table.weight[rows]
    measured, drawn = {}, {}
    for split in SPLITS:
        chosen = names == split
        figures = metrics.Sample.of(table.label[rows][chosen], state.final[chosen], probability[chosen], weight[chosen])
        random = np.random.Generator(np.random.Philox(program.manifest.seed))
        measured[split] = metrics.measure(figures, random, RESAMPLES).document()
        drawn[split] = msgspec.to_builtins(metrics.curves(figures))
    scores = {
        "id": [table.firms[row] for row in rows], "as_of": None if table.as_of is None else table.as_of[rows].astype(str),
        "split": names, "score": state.final, "probability": probability, "points": state.points,
        "model_version": state.model_hash.hex()[:16],
    }  # fmt: skip
    return LabelOutcome(measured, drawn, scores)
