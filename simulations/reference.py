"""`--pooled`: the reference fit on the joined table, and the label party alone, beside the federated result."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from clients.residents import resident
from federation.kernel.manifest import Manifest
from federation.models import metrics
from federation.models.sample import draw_sample
from federation.models.table import Table
from simulations import pooled


def reference_document(manifest: Manifest, homes: dict[str, Path], shares: dict[str, Any], out: Path) -> dict[str, Any]:
    """Pooled metrics and coefficients with the differences to the federated ones, and the label party's own columns alone."""
    started = time.monotonic()
    tables = {name: resident(home).table(manifest) for name, home in homes.items()}
    label = tables[manifest.label_party]
    keys = np.array(label.keys, object)
    kept = np.ones(len(keys), bool)
    if manifest.align.visibility == "intersection":
        for name in manifest.feature_parties:
            kept &= np.isin(keys, np.array(tables[name].keys, object))
    sample = draw_sample(label, manifest.sample)
    assert label.label is not None, "the label party's table"
    rows = pooled.Rows(keys[kept], label.label[kept].astype(float), label.weights[kept], sample.train[kept])
    frames = {name: frame(table) for name, table in tables.items()}
    rules = {name: {part["column"]: rule(part, manifest, share) for part in share["encoding"]["columns"]} for name, share in shares.items()}
    joined = pooled.fit(rows, frames, rules, manifest.settings.C, standardize=manifest.settings.standardize)
    alone = pooled.fit(
        rows, frames, {manifest.label_party: rules[manifest.label_party]}, manifest.settings.C, standardize=manifest.settings.standardize
    )
    names = sample.split_names()[kept]
    federated = pd.read_parquet(out / "scores" / f"{manifest.label_party}.parquet")
    differences = [
        abs(joined.standardized[name][column] - value) for name, share in shares.items() for column, value in share["standardized"].items()
    ]
    return {
        "metrics": metrics.by_split(names, rows.label, joined.scores, rows.weight)[0],
        "label_party_alone": metrics.by_split(names, rows.label, alone.scores, rows.weight)[0],
        "intercept": joined.intercept, "coefficients": joined.coefficients, "standardized": joined.standardized,
        "max_difference": max(differences, default=0.0), "score_difference": float(np.abs(federated["score"].to_numpy() - joined.scores).max()),
        "seconds": time.monotonic() - started,
    }  # fmt: skip


def frame(table: Table) -> pd.DataFrame:
    """A party's table by key."""
    columns = {name: column.values for name, column in table.columns.items()}
    return pd.DataFrame(columns, index=pd.Index(np.array(table.keys, object)))


def rule(part: dict[str, Any], manifest: Manifest, share: dict[str, Any]) -> dict[str, Any]:
    """What the reference needs of a column's encoding: cut points and levels, and no moment or weight of evidence, which it finds itself."""
    if part["type"] == "numeric":
        return {"kind": "numeric", "missing": part["missing"]}
    if part["type"] == "one hot":
        return {"kind": "levels"} | {key: part[key] for key in ("levels", "reference", "other", "missing")}
    bins = part["bins"]
    table = next(table for table in share["tables"] if table["column"] == part["column"])
    shape = {"edges": bins["edges"]} if bins["kind"] == "numeric" else {"groups": bins["groups"], "other": bins["other"]}
    return shape | {
        "kind": "woe", "special": bins["special"], "joined": bins["joined"], "smoothing": manifest.binning.woe_smoothing,
        "absent_hidden": table["bins"][-1]["goods"] is None, "sign": -1 if manifest.settings.signs == "woe" else 0,
    }  # fmt: skip
