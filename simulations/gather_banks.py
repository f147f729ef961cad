"""From the banks' results folders to result.json of a run over many banks; with --pooled, the fit on all banks' rows beside it."""

from __future__ import annotations

import datetime as dt
import json
import shutil
import time
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pandas as pd

from clients.residents import resident
from federation.kernel.manifest import Manifest
from federation.models import metrics
from federation.models.sample import draw_sample
from federation.models.table import Table
from server import result as results
from server.draft import code_version
from server.run_file import RunFile
from server.withdrawals import notes as withdrawal_notes
from server.withdrawals import withdrawals
from simulations import pooled
from simulations.gather import NO_REFERENCE, copy_audit
from simulations.reference import frame, rule

TOGETHER = (
    "Figures over all rows stand here because this is a simulation; in a deployment each bank has those of its own rows and the totals."
)


def gather_banks(
    settings: RunFile, out: Path, homes: dict[str, Path], conduct: dict[str, Any], seconds: float, *, backend: str, with_pooled: bool
) -> dict[str, Any]:
    """Write DIR/result.json and its neighbours; returns the document."""
    manifest = msgspec.convert(conduct["manifest"], Manifest, strict=False)
    shares = {name: json.loads(path.read_text()) for name, home in homes.items() if (path := home / "results" / "share.json").exists()}
    for folder in ("scores", "models", "bins"):
        shutil.rmtree(out / folder, ignore_errors=True)
    for name in shares:
        _copy(out, homes[name], name)
    copy_audit(out, homes)
    share = next(iter(shares.values()))
    gone = withdrawals(shares, manifest.privacy.minimum_cohort)
    document: dict[str, Any] = {
        "schema_version": results.SCHEMA_VERSION,
        "run": {
            "id": manifest.run, "name": settings.path.stem, "task": manifest.task, "model": manifest.model, "purpose": manifest.purpose,
            "seed": manifest.seed, "holdout": manifest.sample.holdout, "backend": backend, "version": code_version(),
            "finished": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        },
        "manifest_hash": conduct["manifest_hash"], "model_hash": conduct["model_hash"],
        "privacy": _privacy(manifest) | ({"withdrawals": gone} if gone else {}),
        "cost": {
            "seconds_total": seconds, "seconds": conduct["seconds"], "bytes_sent": conduct["bytes_sent"], "messages": conduct["messages"],
        },
        "parties": [_party(manifest, name, shares.get(name)) for name in homes],
        "notes": [TOGETHER, *_notes(homes, shares), *withdrawal_notes(gone), *([NO_REFERENCE] if with_pooled and gone else [])],
    }  # fmt: skip
    if manifest.task == "train":
        document |= _trained(manifest, out, shares, share)
        if with_pooled and not gone:
            document["pooled"] = pooled_document(manifest, {name: homes[name] for name in shares}, share, out)
    elif manifest.task == "binning":
        document["model"] = {"type": "binning", "bins": {"all banks": _bins(share)}}
        document["banks"] = {"stability": share["stability"]}
    else:
        document["statistics"] = {key: value for key, value in share["statistics"].items() if key != "own"}
    results.write_whole(out / "result.json", json.dumps(document, indent=1).encode())
    return document


def _privacy(manifest: Manifest) -> dict[str, Any]:
    """Contracts, and the noise that the manifest states."""
    privacy = manifest.privacy
    stated = {} if privacy.epsilon is None else {"epsilon": privacy.epsilon, "delta": privacy.delta}
    return {"leakage": list(manifest.contracts)} | stated


def _copy(out: Path, home: Path, name: str) -> None:
    wanted = [
        ("bins.toml", "bins", f"{name}.toml"),
        ("bins.digest", "bins", f"{name}.digest"),
        ("share.json", "models", f"{name}.json"),
        ("scores.parquet", "scores", f"{name}.parquet"),
    ]
    for source, folder, target in wanted:
        path = home / "results" / source
        if path.exists():
            (out / folder).mkdir(exist_ok=True)
            shutil.copyfile(path, out / folder / target)


def _trained(manifest: Manifest, out: Path, shares: dict[str, Any], share: dict[str, Any]) -> dict[str, Any]:
    fit = share["fits"][share["variant"]]
    scored = pd.concat([pd.read_parquet(out / "scores" / f"{name}.parquet") for name in shares], ignore_index=True)
    labels, weights = _labels(manifest, out, tuple(shares))
    figures, curves = metrics.by_split(scored["split"].to_numpy(), labels, scored["score"].to_numpy(), weights, manifest.seed)
    (out / "curves.json").write_text(json.dumps(curves))
    model: dict[str, Any] = {
        "type": manifest.model, "intercept": fit["constant"], "coefficients": {"all banks": fit["coefficients"]},
        "standardized": {"all banks": fit["standardized"]},
        "p_values": {"all banks": {name: fit["p"].get(name) for name in fit["coefficients"]}},
    }  # fmt: skip
    if share["tables"]:
        model["bins"] = {"all banks": _bins(share)}
    return {
        "converged": fit["converged"], "stop_reason": fit["reason"] or None, "model": model, "metrics": figures,
        "banks": {
            "variant": share["variant"], "overall": share["overall"], "selection": share["selection"], "fits": share["fits"],
            "alone": {name: own["own"]["figures"] for name, own in shares.items()},
        },
    }  # fmt: skip


def _bins(share: dict[str, Any]) -> dict[str, Any]:
    """All but the last of each column, absent: nobody is, among banks."""
    return {table["column"]: table["bins"][:-1] for table in share["tables"]}


def _labels(manifest: Manifest, out: Path, names: tuple[str, ...]) -> tuple[Any, Any]:
    """Labels and weights of all banks' rows, in the order of their files of scores."""
    tables = [_scored(out, name, resident(out / "parties" / name).table(manifest)) for name in names]
    labels = np.concatenate([table.label for table in tables if table.label is not None])
    return labels, np.concatenate([table.weights for table in tables])


def _scored(out: Path, name: str, table: Table) -> Table:
    """The rows that have a score: all but those that were withdrawn."""
    scored = pd.read_parquet(out / "scores" / f"{name}.parquet", columns=["id"])["id"]
    return table if len(scored) == table.rows else table.kept(np.isin(np.array(table.firms, object), scored.to_numpy(object)))


def _party(manifest: Manifest, name: str, share: dict[str, Any] | None) -> dict[str, Any]:
    declared = manifest.party(name)
    iv = {} if share is None else share.get("iv", {})
    columns = [{"name": column.name, "kind": column.kind, "iv": iv.get(column.name)} for column in declared.columns]
    return {"name": name, "role": declared.role, "columns": columns} | ({} if share is None else {"rows": share["own_rows"]})


def _notes(homes: dict[str, Path], shares: dict[str, Any]) -> list[str]:
    notes = [f"{name} was lost on the way and has no result" for name in homes if name not in shares]
    return notes + sorted({note for share in shares.values() for note in share["notes"]})


def pooled_document(manifest: Manifest, homes: dict[str, Path], share: dict[str, Any], out: Path) -> dict[str, Any]:
    """The same columns, cut points and rules fitted on all banks' rows together, and the differences.

    Of own intercepts and slopes nothing pooled is computed here: the comparison is with the `global` fit.
    """
    started = time.monotonic()
    tables = {name: resident(home).table(manifest) for name, home in homes.items()}
    keys = np.concatenate([np.array([f"{name}/{key}" for key in table.keys], object) for name, table in tables.items()])
    samples = [draw_sample(table, manifest.sample) for table in tables.values()]
    labels, weights = _labels(manifest, out, tuple(homes))
    rows = pooled.Rows(keys, labels.astype(float), weights, np.concatenate([sample.train for sample in samples]))
    frames = [frame(table).set_axis([f"{name}/{key}" for key in table.keys]) for name, table in tables.items()]
    rules = {part["column"]: rule(part, manifest, share) for part in share["encoding"]["columns"]}
    joined = pooled.fit(
        rows, {"all banks": pd.concat(frames)}, {"all banks": rules}, manifest.settings.C, standardize=manifest.settings.standardize
    )
    names = np.concatenate([sample.split_names() for sample in samples])
    fit = share["fits"]["global"]
    figures, _ = metrics.by_split(names, labels, joined.scores, weights)
    differences = [abs(joined.standardized["all banks"][name] - value) for name, value in fit["standardized"].items()]
    return {
        "metrics": figures, "intercept": joined.intercept, "coefficients": joined.coefficients, "standardized": joined.standardized,
        "max_difference": max(differences, default=0.0), "seconds": time.monotonic() - started,
    }  # fmt: skip
