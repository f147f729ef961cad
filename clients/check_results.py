"""What a finished check leaves in a node's own results folder: at the institution that asked, its keys with counts, flag and reason."""

from __future__ import annotations

import io

import msgspec
import pandas as pd

from clients.results import as_json
from federation.checks.program import SPOILED, Checker, Standing
from federation.checks.settings import findings, names_of, told
from federation.kernel.participant import Participant


def check_results(participant: Participant[Standing], program: Checker) -> dict[str, bytes]:
    """Files by name: share.json, and checks.parquet at the institution that asked; the others have nothing but that the check took place.

    Where the sums were spoiled, the asking institution has no checks.parquet, and its share.json says why: the run itself ends as any other.
    """
    share = {
        "task": program.manifest.task, "rows": program.table.rows, "notes": list(program.table.notes),
        "withdrawals": [msgspec.to_builtins(entry) for entry in participant.withdrawals],
    }  # fmt: skip
    if not program.asks:
        return {"share.json": as_json(share, indent=1)}
    if participant.state.spoiled:
        notes = [*program.table.notes, f"There are no counts: {SPOILED}. Ask who it may be before you ask again."]
        return {
            "share.json": as_json(
                share | {"notes": notes, "spoiled": True, "asked": len(program.table.keys), "flagged": 0, "none": 0}, indent=1
            )
        }
    rows, sums = program.found(participant.state)
    columns = told(program.manifest, sums)
    said = findings(program.manifest, columns)
    frame = pd.DataFrame({"id": [program.table.keys[row] for row in rows]})
    for name, values in zip(names_of(program.manifest), columns.T, strict=True):
        frame[name] = values
    frame["flag"] = [finding.flag for finding in said]
    frame["reason"] = [finding.reason for finding in said]
    stream = io.BytesIO()
    frame.to_parquet(stream, index=False)
    share |= {"asked": len(frame), "flagged": int(frame["flag"].sum()), "none": int((columns[:, 0] == 0).sum())}
    return {"share.json": as_json(share, indent=1), "checks.parquet": stream.getvalue()}
