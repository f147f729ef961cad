"""What a result, which leaves the parties, says of rows withdrawn during the run: at whom, from which stage on, and whether few or many.

The exact count stays in the party's own share.json: next to a result of the same run without the withdrawal it would tell of single rows.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def withdrawals(shares: Mapping[str, Mapping[str, Any]], minimum_cohort: int) -> list[dict[str, Any]]:
    """From the parties' shares, by party: stages, and rows as "fewer than 10" or "at least 10" for a minimum cohort of ten."""
    out = []
    for name, share in shares.items():
        if log := share.get("withdrawals", []):
            rows = sum(entry["rows"] for entry in log)
            stated = f"{'fewer than' if rows < minimum_cohort else 'at least'} {minimum_cohort}"
            out.append({"party": name, "stages": [entry["stage"] for entry in log], "rows": stated})
    return out


def notes(found: list[dict[str, Any]]) -> list[str]:
    """The same as sentences for the report."""
    went_on = "consent was withdrawn during the run, which went on without the rows"
    return [f"{entry['party']}: {went_on}: {entry['rows']}, from {', '.join(entry['stages'])}" for entry in found]
