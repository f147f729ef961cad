"""What the result of a check across institutions has of its own: who asked, about how many, and how many were flagged."""

from __future__ import annotations

from typing import Any

from federation.kernel.manifest import COMPARES
from simulations.finished import Finished


def checks(run: Finished) -> dict[str, Any]:
    """Parts of result.json."""
    manifest, asks = run.manifest, run.manifest.check.asks
    mine, check = run.shares[asks], run.manifest.check
    limits = {"multi_lender": check.flag_lenders, "shared_identity": check.flag_firms, COMPARES: check.flag_common}
    aligned = {} if manifest.task == COMPARES else {"alignment": {"visibility": "hidden", "universe": run.conduct["universe"]}}
    return aligned | {
        "parties": [run.party(name) | {"rows": run.shares[name]["rows"]} for name in run.homes],
        "privacy": {},
        "check": {
            "asks": asks, "others": len(manifest.members) - 1, "asked": mine["asked"], "flagged": mine["flagged"], "none": mine["none"],
            "limit": limits[manifest.task], "file": "" if mine.get("spoiled") else f"checks/{asks}.parquet",
        } | ({"pairs": True, "not_compared": mine["not_compared"]} if manifest.task == COMPARES else {}),
        "notes": [note for name in run.homes for note in run.shares[name]["notes"]],
    }  # fmt: skip
