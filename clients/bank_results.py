"""What a finished run over many banks leaves in a bank's own results folder: the common model, its own part, figures and scores."""

from __future__ import annotations

import json
from typing import Any

import msgspec

from clients.home import Home
from clients.results import write_bins, write_scores
from federation.kernel.participant import Participant
from federation.models.horizontal.program import Bank, Standing
from federation.models.sample import SPLITS


def write_bank_results(home: Home, participant: Participant[Standing], program: Bank[Any]) -> None:
    """share.json always; bins.toml where bins were found, the same at all banks, so that one edited file goes to every bank; of a trained
    model metrics.json and curves.json by split, and scores.parquet.
    """
    standing, task = participant.state, program.task
    plan, state = program.plan(standing), program.state_of(standing)
    share = task.document(plan, state, program.me)
    bins = task.bins(plan, state)
    if bins is not None:
        write_bins(home, bins)
    if task.scores is not None:
        chosen, own = share["variant"], share["own"]
        home.write("metrics.json", json.dumps(own["figures"].get(chosen, {})))
        home.write("curves.json", json.dumps(own["curves"].get(chosen, dict.fromkeys(SPLITS))))
        write_scores(home, task.scores(plan, state, program.me, standing.model_hash))
    share["notes"] = [*program.present(standing).notes, *share.get("notes", ())]
    share["withdrawals"] = [msgspec.to_builtins(entry) for entry in participant.withdrawals]
    home.write(
        "share.json", json.dumps(share | {"party": program.me, "own_rows": program.table.rows, "left": list(standing.members)}, indent=1)
    )
