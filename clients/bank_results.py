"""What a finished run over many banks leaves in a bank's own results folder: the common model, its own part, figures and scores."""

from __future__ import annotations

import io
import json
from typing import Any

import pandas as pd

from clients.home import Home
from federation.kernel.participant import Participant
from federation.models.horizontal.program import Bank, Standing
from federation.models.horizontal.statistics import Measured, Statistics
from federation.models.horizontal.statistics_document import document
from federation.models.horizontal.train import Train, Trained
from federation.models.horizontal.train_document import scores, share_document
from federation.models.sample import SPLITS


def write_bank_results(home: Home, participant: Participant[Standing], program: Bank[Any]) -> None:
    """share.json always; of a trained model metrics.json and curves.json by split, and scores.parquet."""
    standing, table = participant.state, program.table
    plan, state = program.plan(standing), program.state_of(standing)
    if isinstance(plan, Train) and isinstance(state, Trained):
        share: dict[str, Any] = share_document(plan, state, program.me)
        share["notes"] = [*table.notes, *share["notes"]]
        chosen = share["variant"]
        home.write("metrics.json", json.dumps(share["own"]["figures"].get(chosen, {})))
        home.write("curves.json", json.dumps(share["own"]["curves"].get(chosen, dict.fromkeys(SPLITS))))
        rows = scores(plan, state, program.me) | {"model_version": standing.model_hash.hex()[:16]}
        stream = io.BytesIO()
        pd.DataFrame(rows).to_parquet(stream, index=False)
        home.write("scores.parquet", stream.getvalue())
    elif isinstance(plan, Statistics) and isinstance(state, Measured):
        share = {"statistics": document(plan, state), "notes": list(table.notes)}
    home.write("share.json", json.dumps(share | {"party": program.me, "own_rows": table.rows, "left": list(standing.members)}, indent=1))
    home.log(
        "finished", run=participant.manifest.run, session=participant.session.hex(), manifest=participant.manifest.hash.hex(), rows=table.rows,
        model_hash=standing.model_hash.hex(),
    )  # fmt: skip
