"""What the result of a run across parties has of its own: the joined model, the label party's figures, the alignment, what was shown."""

from __future__ import annotations

import json
import shutil
from typing import Any

from clients.residents import resident
from simulations.finished import Finished

TOGETHER = "All parties' coefficients stand together here because this is a simulation; in a deployment each party has its own share only."


def partners(run: Finished) -> dict[str, Any]:
    """Parts of result.json; the label party's curves are copied beside it."""
    manifest, label = run.manifest, run.shares[run.manifest.label_party]
    found: dict[str, Any] = {
        "model": _model(run), "parties": [_party(run, name) for name in run.homes],
        "alignment": {"visibility": manifest.align.visibility, "universe": run.conduct["universe"]},
        "privacy": _privacy(run), "cost": {"iterations": label.get("iterations"), "history": run.history}, "notes": _notes(run),
    }  # fmt: skip
    folder = run.homes[manifest.label_party] / "results"
    if (folder / "metrics.json").exists():
        found["metrics"] = json.loads((folder / "metrics.json").read_text())
        shutil.copyfile(folder / "curves.json", run.out / "curves.json")
    if manifest.task == "train":
        found |= {"converged": label["converged"]} | ({"stop_reason": label["reason"]} if label["reason"] else {})
    return found


def _model(run: Finished) -> dict[str, Any]:
    manifest, shares = run.manifest, run.shares
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


def _party(run: Finished, name: str) -> dict[str, Any]:
    share, party = run.shares[name], run.party(name)
    coefficients = share.get("coefficients", {})
    return party | _dates(run, name) | {
        "columns": [column | {"coefficient": coefficients.get(column["name"])} for column in party["columns"]],
        "rows": share["rows"], "matched": share["matched"]     }  # fmt: skip


def _dates(run: Finished, name: str) -> dict[str, Any]:
    """Of when a partner's values are beside the label's rows: as far as the label party tells, and exactly, as only a simulation can."""
    manifest, told = run.manifest, run.shares[run.manifest.label_party].get("later_rows", {}).get(name)
    undated = any("undated snapshot" in note for note in run.shares[name]["notes"])
    if told is None:
        return {"undated": undated and not manifest.party(name).taken}
    later, perhaps = told["later"], told["perhaps"]
    if perhaps > later and manifest.party(name).dated:
        later = perhaps = _exactly_later(run, name)
    return {
        "undated": told["undated"], "taken": manifest.party(name).taken or None, "later": later, "perhaps_later": perhaps,
        "compared": told["rows"],
    }  # fmt: skip


def _exactly_later(run: Finished, name: str) -> int:
    """Label rows whose firm's row at the partner is of a later month."""
    label, other = (resident(run.homes[one]).table(run.manifest) for one in (run.manifest.label_party, name))
    assert label.as_of is not None and other.as_of is not None, "both are dated"
    months = dict(zip(other.firms, other.as_of.astype("datetime64[M]"), strict=True))
    pairs = zip(label.firms, label.as_of.astype("datetime64[M]"), strict=True)
    return sum(firm in months and bool(months[firm] > month) for firm, month in pairs)


def _privacy(run: Finished) -> dict[str, Any]:
    label, privacy = run.manifest.label_party, run.manifest.privacy
    others = [share for name, share in run.shares.items() if name != label]
    return {
        "releases": sum(share["released_counts"] for share in others), "label_noise": privacy.label_noise,
        "score_reveals": run.shares[label].get("reveals"), "max_score_reveals": privacy.max_score_reveals,
        "partner_columns": sum(len(share.get("coefficients", {})) for share in others), "label_disclosure": privacy.label_disclosure,
        "single_partner_disclosure": privacy.single_partner_disclosure, "max_released_counts": privacy.max_released_counts,
        "minimum_cohort": privacy.minimum_cohort,
    }  # fmt: skip


def _notes(run: Finished) -> list[str]:
    notes = [TOGETHER] if run.manifest.task == "train" else []
    notes += [note if note.startswith(f"{name}: ") else f"{name}: {note}" for name, share in run.shares.items() for note in share["notes"]]
    label = run.shares[run.manifest.label_party]
    if label.get("reason"):
        notes.append(f"not converged: {label['reason']}")
    if label.get("dropped_out_of_time"):
        notes.append(f"{label['dropped_out_of_time']} out-of-time rows belong to firms that train and were left out of all three samples")
    for name, share in run.shares.items():
        notes += [
            f"{name}: column {c!r} has an IV of {iv:.2f}: check that it does not leak the outcome"
            for c, iv in share["iv"].items()
            if iv > 0.5
        ]
    return notes
