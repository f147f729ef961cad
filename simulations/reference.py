"""`--pooled`: the reference fit on the joined table, beside the federated result; across parties also the label party alone."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from clients.residents import resident
from federation.kernel.manifest import Manifest
from federation.models import metrics
from federation.models.sample import draw_sample
from federation.models.table import Table
from simulations import pooled
from simulations.finished import Finished


def partners_reference(run: Finished) -> dict[str, Any]:
    """Pooled metrics and coefficients with the differences to the federated ones, and the label party's own columns alone."""
    started, manifest, shares = time.monotonic(), run.manifest, run.shares
    tables = {name: resident(home).table(manifest) for name, home in run.homes.items()}
    rows, kept = _rows(manifest, tables)
    sample = draw_sample(tables[manifest.label_party], manifest.sample)
    frames = {name: frame(table) for name, table in tables.items()}
    rules = {name: _rules(run, name) for name in shares}
    joined, alone = (
        pooled.fit(rows, frames, used, manifest.settings.C, standardize=manifest.settings.standardize)
        for used in (rules, {manifest.label_party: rules[manifest.label_party]})
    )
    names = sample.split_names()[kept]
    federated = pd.read_parquet(run.out / "scores" / f"{manifest.label_party}.parquet")
    return _beside(joined, names, rows, {name: share["standardized"] for name, share in shares.items()}) | {
        "label_party_alone": metrics.by_split(names, rows.label, alone.scores, rows.weight)[0],
        "score_difference": float(np.abs(federated["score"].to_numpy() - joined.scores).max()), "seconds": time.monotonic() - started,
    }  # fmt: skip


def alone_scores(run: Finished) -> NDArray[np.float64]:
    """Log odds of bad of the label party's rows by its own columns alone, with the bins and rules of the run; in the order of its scores."""
    manifest, label = run.manifest, run.manifest.label_party
    tables = {name: resident(home).table(manifest) for name, home in run.homes.items()}
    rows, _ = _rows(manifest, tables)
    mine = {label: _rules(run, label)}
    return pooled.fit(rows, {label: frame(tables[label])}, mine, manifest.settings.C, standardize=manifest.settings.standardize).scores


def _rows(manifest: Manifest, tables: Mapping[str, Table]) -> tuple[pooled.Rows, NDArray[np.bool_]]:
    """The label party's rows in the run, and which of its table's they are."""
    label = tables[manifest.label_party]
    keys = np.array(label.keys, object)
    kept = np.ones(len(keys), bool)
    if manifest.align.visibility == "intersection":
        for name in manifest.feature_parties:
            kept &= np.isin(keys, np.array(tables[name].keys, object))
    sample = draw_sample(label, manifest.sample)
    assert label.label is not None, "the label party's table"
    return pooled.Rows(keys[kept], label.label[kept].astype(float), label.weights[kept], sample.train[kept]), kept


def _rules(run: Finished, name: str) -> dict[str, dict[str, Any]]:
    """A party's rules by column."""
    share = run.shares[name]
    return {part["column"]: rule(part, run.manifest, share) for part in share["encoding"]["columns"]}


def banks_reference(run: Finished) -> dict[str, Any]:
    """The same columns, cut points and rules fitted on all banks' rows together, and the differences.

    Of own intercepts and slopes nothing pooled is computed here: the comparison is with the `global` fit.
    """
    started, manifest, share = time.monotonic(), run.manifest, next(iter(run.shares.values()))
    tables = {name: resident(run.homes[name]).table(manifest) for name in run.shares}
    samples = [draw_sample(table, manifest.sample) for table in tables.values()]
    frames = pd.concat([frame(table).set_axis([f"{name}/{key}" for key in table.keys]) for name, table in tables.items()])
    labels = np.concatenate([table.label for table in tables.values() if table.label is not None])
    weights, train = np.concatenate([table.weights for table in tables.values()]), np.concatenate([sample.train for sample in samples])
    rows = pooled.Rows(frames.index.to_numpy(object), labels.astype(float), weights, train)
    rules = {part["column"]: rule(part, manifest, share) for part in share["encoding"]["columns"]}
    joined = pooled.fit(rows, {"all banks": frames}, {"all banks": rules}, manifest.settings.C, standardize=manifest.settings.standardize)
    names = np.concatenate([sample.split_names() for sample in samples])
    fitted = {"all banks": share["fits"]["global"]["standardized"]}
    return _beside(joined, names, rows, fitted) | {"seconds": time.monotonic() - started}


def _beside(joined: pooled.PooledFit, splits: NDArray[Any], rows: pooled.Rows, fitted: Mapping[str, Mapping[str, float]]) -> dict[str, Any]:
    """The pooled fit as JSON values. splits: (n,) names; fitted: party -> design column -> the federated standardised coefficient."""
    differences = [abs(joined.standardized[name][column] - value) for name, columns in fitted.items() for column, value in columns.items()]
    return {
        "metrics": metrics.by_split(splits, rows.label, joined.scores, rows.weight)[0], "intercept": joined.intercept,
        "coefficients": joined.coefficients, "standardized": joined.standardized, "max_difference": max(differences, default=0.0),
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
