"""From the parties' own results folders to what the researcher sees: result.json, scores, models, bins, logs. Only a simulation can do this.

Here is what every result has; what a run across parties has besides is in `gather_partners`, and one over many banks in `gather_banks`.
"""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path
from typing import Any

from server import result as results
from server.draft import code_version
from server.result import Result
from server.run_file import RunFile
from server.withdrawals import notes as withdrawal_notes
from server.withdrawals import withdrawals
from simulations.finished import Finished, copy_audit
from simulations.gather_banks import banks
from simulations.gather_checks import checks
from simulations.gather_partners import partners
from simulations.reference import banks_reference, partners_reference

NO_REFERENCE = "no pooled fit stands beside this one: rows were withdrawn at different stages, which one fit of one table does not have"


def gather(
    settings: RunFile, out: Path, homes: dict[str, Path], agencies: dict[str, Path], conduct: dict[str, Any], seconds: float,
    history: list[dict[str, float | int]], *, backend: str, pooled: bool,
) -> Result:  # fmt: skip
    """Write DIR/result.json and its neighbours. ConfigurationError where the document would not be one that `server.result` reads."""
    run = Finished.read(out, homes, conduct, history)
    manifest = run.manifest
    run.copy()
    copy_audit(out, homes | agencies)
    gone = withdrawals(run.shares, manifest.privacy.minimum_cohort)
    found = checks(run) if manifest.is_check else banks(run) if manifest.horizontal else partners(run)
    document = found | {
        "schema_version": results.SCHEMA_VERSION,
        "run": {
            "id": manifest.run, "name": settings.path.stem, "task": manifest.task,
            "model": None if manifest.is_check else manifest.model, "purpose": manifest.purpose,
            "seed": manifest.seed, "holdout": manifest.sample.holdout, "backend": backend, "version": code_version(),
            "finished": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        },
        "manifest_hash": conduct["manifest_hash"],
        "privacy": {"leakage": list(manifest.contracts)} | found["privacy"] | ({"withdrawals": gone} if gone else {}),
        "cost": {"seconds_total": seconds} | {key: conduct[key] for key in ("seconds", "bytes_sent", "messages")} | found.get("cost", {}),
        "notes": [*found["notes"], *withdrawal_notes(gone), *([NO_REFERENCE] if pooled and gone else [])],
    }  # fmt: skip
    targets = {name: share["target"] for name, share in run.shares.items() if "target" in share}
    if targets:
        document["target"] = targets
    if conduct["model_hash"]:
        document["model_hash"] = conduct["model_hash"]
    if agencies:
        document["agencies"] = [_agency(run, name, home) for name, home in agencies.items()]
    if pooled and manifest.task == "train" and not gone:
        document["pooled"] = banks_reference(run) if manifest.horizontal else partners_reference(run)
    return results.write(out / "result.json", document)


def _agency(run: Finished, name: str, home: Path) -> dict[str, Any]:
    """What an agency stood between, and how many messages it let pass."""
    parties = [party.name for party in run.manifest.parties if party.through == name]
    return {"name": name, "parties": parties, **json.loads((home / "results" / "relayed.json").read_text())}
