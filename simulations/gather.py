"""From the parties' own results folders to what the researcher sees: result.json, scores, models, bins, logs. Only a simulation can do this."""

from __future__ import annotations

import datetime as dt
import json
import shutil
from pathlib import Path
from typing import Any

import msgspec

from federation.kernel.manifest import Manifest
from federation.kernel.role import COORDINATOR
from server import result as results
from server.draft import code_version
from server.run_file import RunFile
from server.withdrawals import notes as withdrawal_notes
from server.withdrawals import withdrawals

TOGETHER = "All parties' coefficients stand together here because this is a simulation; in a deployment each party has its own share only."
NO_REFERENCE = "no pooled fit stands beside this one: rows were withdrawn at different stages, which one fit of one table does not have"


def gather(
    settings: RunFile,
    out: Path,
    homes: dict[str, Path],
    conduct: dict[str, Any],
    seconds: float,
    history: list[dict[str, float | int]],
    agencies: dict[str, Path] | None = None,
    *,
    backend: str,
    pooled: bool,
) -> dict[str, Any]:
    """Write DIR/result.json and its neighbours; returns the document."""
    manifest = msgspec.convert(conduct["manifest"], Manifest, strict=False)
    shares = {name: json.loads((home / "results" / "share.json").read_text()) for name, home in homes.items()}
    label = manifest.label_party
    metrics_file = homes[label] / "results" / "metrics.json"
    metrics = json.loads(metrics_file.read_text()) if metrics_file.exists() else None
    _copy(out, homes, label)
    gone = withdrawals(shares, manifest.privacy.minimum_cohort)
    copy_audit(out, homes | (agencies or {}))
    reference = None
    if pooled and manifest.task == "train" and not gone:
        from simulations.reference import reference_document

        reference = reference_document(manifest, homes, shares, out)
    document = {
        "schema_version": results.SCHEMA_VERSION,
        "run": {
            "id": manifest.run, "name": settings.path.stem, "task": manifest.task, "model": manifest.model, "purpose": manifest.purpose,
            "seed": manifest.seed, "holdout": manifest.sample.holdout, "backend": backend, "version": code_version(),
            "finished": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        },
        "manifest_hash": conduct["manifest_hash"], "model_hash": conduct["model_hash"] or None,
        "model": _model(manifest, shares), "metrics": metrics, "parties": [_party(manifest, name, share) for name, share in shares.items()],
        "alignment": {"visibility": manifest.align.visibility, "universe": conduct["universe"]},
        "privacy": _privacy(manifest, shares) | ({"withdrawals": gone} if gone else {}),
        "cost": {
            "seconds_total": seconds, "seconds": conduct["seconds"], "bytes_sent": conduct["bytes_sent"], "messages": conduct["messages"],
            "iterations": shares[label].get("iterations"), "history": history,
        },
        "pooled": reference, "notes": [*_notes(manifest, shares), *withdrawal_notes(gone), *([NO_REFERENCE] if pooled and gone else [])],
    }  # fmt: skip
    if agencies:
        document["agencies"] = [_agency(manifest, name, home) for name, home in agencies.items()]
    if manifest.task == "train":
        document |= {"converged": shares[label]["converged"], "stop_reason": shares[label]["reason"] or None}
    document = {key: value for key, value in document.items() if value is not None}
    results.write_whole(out / "result.json", json.dumps(document, indent=1).encode())
    return document


def _copy(out: Path, homes: dict[str, Path], label: str) -> None:
    """Each party's own files, side by side."""
    for folder in ("scores", "models", "bins"):
        shutil.rmtree(out / folder, ignore_errors=True)
    copy_audit(out, homes)
    wanted = [(name, "share.json", "models", f"{name}.json") for name in homes]
    wanted += [(name, "bins.toml", "bins", f"{name}.toml") for name in homes] + [
        (name, "bins.digest", "bins", f"{name}.digest") for name in homes
    ]
    wanted += [(label, "scores.parquet", "scores", f"{label}.parquet"), (label, "curves.json", ".", "curves.json")]
    for name, source, folder, target in wanted:
        path = homes[name] / "results" / source
        if path.exists():
            (out / folder).mkdir(exist_ok=True)
            shutil.copyfile(path, out / folder / target)


def copy_audit(out: Path, homes: dict[str, Path]) -> None:
    """Every party's audit log, and the coordinator's, as they would be handed to an auditor."""
    shutil.rmtree(out / "audit", ignore_errors=True)
    for name, home in (homes | {COORDINATOR: out / "coordinator"}).items():
        if (home / "audit").exists():
            shutil.copytree(home / "audit", out / "audit" / name)


def _model(manifest: Manifest, shares: dict[str, Any]) -> dict[str, Any]:
    model: dict[str, Any] = {"type": manifest.model if manifest.task == "train" else "binning"}
    tables = {name: {table["column"]: table["bins"] for table in share["tables"]} for name, share in shares.items() if share["tables"]}
    if tables:
        model["bins"] = tables
    if manifest.task == "train":
        model |= {
            "intercept": sum(share["constant"] for share in shares.values()),
            "coefficients": {name: share["coefficients"] for name, share in shares.items()},
            "standardized": {name: share["standardized"] for name, share in shares.items()},
        }
    if manifest.task == "train" and manifest.model == "scorecard":
        scale = manifest.scorecard
        offset = shares[manifest.label_party]["points"]["base"]
        model["points"] = {"base_points": scale.base_points, "base_odds": scale.base_odds, "pdo": scale.pdo, "offset": offset}
    return model


def _party(manifest: Manifest, name: str, share: dict[str, Any]) -> dict[str, Any]:
    declared = manifest.party(name)
    coefficients = share.get("coefficients", {})
    columns = [
        {"name": column.name, "kind": column.kind, "iv": share["iv"].get(column.name), "coefficient": coefficients.get(column.name)}
        for column in declared.columns
    ]
    return {
        "name": name, "role": declared.role, "rows": share["rows"], "matched": share["matched"], "columns": columns,
        "undated": any("undated snapshot" in note for note in share["notes"]),
    }  # fmt: skip


def _agency(manifest: Manifest, name: str, home: Path) -> dict[str, Any]:
    """What an agency stood between, and how many messages it let pass."""
    parties = [party.name for party in manifest.parties if party.through == name]
    return {"name": name, "parties": parties, **json.loads((home / "results" / "relayed.json").read_text())}


def _privacy(manifest: Manifest, shares: dict[str, Any]) -> dict[str, Any]:
    partners = [share for name, share in shares.items() if name != manifest.label_party]
    return {
        "releases": sum(share["released_counts"] for share in partners), "leakage": list(manifest.contracts),
        "label_noise": manifest.privacy.label_noise,
        "score_reveals": shares[manifest.label_party].get("reveals"), "max_score_reveals": manifest.privacy.max_score_reveals,
        "partner_columns": sum(len(share.get("coefficients", {})) for share in partners),
    }  # fmt: skip


def _notes(manifest: Manifest, shares: dict[str, Any]) -> list[str]:
    notes = [TOGETHER] if manifest.task == "train" else []
    notes += [note if note.startswith(f"{name}: ") else f"{name}: {note}" for name, share in shares.items() for note in share["notes"]]
    label = shares[manifest.label_party]
    if label.get("reason"):
        notes.append(f"not converged: {label['reason']}")
    if label.get("dropped_out_of_time"):
        notes.append(f"{label['dropped_out_of_time']} out-of-time rows belong to firms that train and were left out of all three samples")
    for name, share in shares.items():
        notes += [
            f"{name}: column {c!r} has an IV of {iv:.2f}: check that it does not leak the outcome"
            for c, iv in share["iv"].items()
            if iv > 0.5
        ]
    return notes
