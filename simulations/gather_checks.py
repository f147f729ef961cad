"""What the result of a check across institutions has of its own: who asked, about how many, and how many were flagged."""

from __future__ import annotations

from typing import Any

from simulations.finished import Finished


def checks(run: Finished) -> dict[str, Any]:
    """Parts of result.json."""
    manifest, asks = run.manifest, run.manifest.check.asks
    mine, limits = run.shares[asks], {"multi_lender": manifest.check.flag_lenders, "shared_identity": manifest.check.flag_firms}
    return {
        "parties": [run.party(name) | {"rows": run.shares[name]["rows"]} for name in run.homes],
        "alignment": {"visibility": "hidden", "universe": run.conduct["universe"]},
        "privacy": {},
        "check": {
            "asks": asks, "others": len(manifest.members) - 1, "asked": mine["asked"], "flagged": mine["flagged"], "none": mine["none"],
            "limit": limits[manifest.task], "file": "" if mine.get("spoiled") else f"checks/{asks}.parquet",
        },
        "notes": [note for name in run.homes for note in run.shares[name]["notes"]],
    }  # fmt: skip
