"""What the result of a run over many banks has of its own: the common model, figures over all rows, the banks side by side."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pandas as pd

from clients.residents import resident
from federation.models import metrics
from federation.models.table import Table
from simulations.finished import Finished

TOGETHER = (
    "Figures over all rows stand here because this is a simulation; in a deployment each bank has those of its own rows and the totals."
)


def banks(run: Finished) -> dict[str, Any]:
    """Parts of result.json; curves over all rows are written beside it."""
    share, privacy = next(iter(run.shares.values())), run.manifest.privacy
    found: dict[str, Any] = {
        "parties": [run.party(name) | ({"rows": run.shares[name]["own_rows"]} if name in run.shares else {}) for name in run.homes],
        "privacy": {} if privacy.epsilon is None else {"epsilon": privacy.epsilon, "delta": privacy.delta}, "notes": _notes(run),
    }  # fmt: skip
    if run.manifest.task == "train":
        return found | _trained(run, share)
    if run.manifest.task == "binning":
        return found | {"model": {"type": "binning", "bins": {"all banks": _bins(share)}}, "banks": {"stability": share["stability"]}}
    return found | {"statistics": {key: value for key, value in share["statistics"].items() if key != "own"}}


def _trained(run: Finished, share: dict[str, Any]) -> dict[str, Any]:
    fit = share["fits"][share["variant"]]
    scored = {name: pd.read_parquet(run.out / "scores" / f"{name}.parquet") for name in run.shares}
    tables = [_scored(resident(run.homes[name]).table(run.manifest), scores) for name, scores in scored.items()]
    labels, weights = (
        np.concatenate([table.label for table in tables if table.label is not None]),
        np.concatenate([t.weights for t in tables]),
    )
    scores = pd.concat(scored.values(), ignore_index=True)
    figures, curves = metrics.by_split(scores["split"].to_numpy(), labels, scores["score"].to_numpy(), weights, run.manifest.seed)
    (run.out / "curves.json").write_text(json.dumps(curves))
    model: dict[str, Any] = {
        "type": run.manifest.model, "intercept": fit["constant"], "coefficients": {"all banks": fit["coefficients"]},
        "standardized": {"all banks": fit["standardized"]},
        "p_values": {"all banks": {name: fit["p"].get(name) for name in fit["coefficients"]}},
    }  # fmt: skip
    if share["tables"]:
        model["bins"] = {"all banks": _bins(share)}
    return {
        "converged": fit["converged"], "stop_reason": fit["reason"] or None, "model": model, "metrics": figures,
        "banks": {
            "variant": share["variant"], "overall": share["overall"], "selection": share["selection"], "fits": share["fits"],
            "alone": {name: own["own"]["figures"] for name, own in run.shares.items()},
        },
    }  # fmt: skip


def _bins(share: dict[str, Any]) -> dict[str, Any]:
    """All but the last of each column, absent: nobody is, among banks."""
    return {table["column"]: table["bins"][:-1] for table in share["tables"]}


def _scored(table: Table, scores: pd.DataFrame) -> Table:
    """The rows that have a score: all but those that were withdrawn."""
    return table if len(scores) == table.rows else table.kept(np.isin(np.array(table.firms, object), scores["id"].to_numpy(object)))


def _notes(run: Finished) -> list[str]:
    lost = [f"{name} was lost on the way and has no result" for name in run.homes if name not in run.shares]
    return [TOGETHER, *lost, *sorted({note for share in run.shares.values() for note in share["notes"]})]
