"""What a finished run over many banks leaves in a bank's own results folder: the common model, its own part, figures and scores."""

from __future__ import annotations

from typing import Any

import msgspec

from clients.results import as_json, bins_files, scores_file
from clients.target_results import target_documents
from federation.kernel.participant import Participant
from federation.models.horizontal.program import Bank, Standing
from federation.models.sample import SPLITS, draw_sample


def bank_results(participant: Participant[Standing], program: Bank[Any]) -> dict[str, bytes]:
    """Files by name. share.json always; bins.toml where bins were found, the same at all banks, so that one edited file goes to every bank; of
    a trained model metrics.json and curves.json by split, and scores.parquet; target.json where outcomes were made of repayments.
    """
    standing, task = participant.state, program.task
    plan, state = program.plan(standing), program.state_of(standing)
    share = task.document(plan, state, program.me)
    bins = task.bins(plan, state)
    made = {} if bins is None else bins_files(bins)
    if task.scores is not None:
        chosen, own = share["variant"], share["own"]
        made |= {
            "metrics.json": as_json(own["figures"].get(chosen, {})),
            "curves.json": as_json(own["curves"].get(chosen, dict.fromkeys(SPLITS))),
            "scores.parquet": scores_file(task.scores(plan, state, program.me, standing.model_hash)),
        }
    share["notes"] = [*program.present(standing).notes, *share.get("notes", ())]
    share["withdrawals"] = [msgspec.to_builtins(entry) for entry in participant.withdrawals]
    sample = draw_sample(program.table, program.manifest.sample)
    found = target_documents(program.table, program.present(standing), sample if standing.gone is None else sample.kept(~standing.gone))
    if found is not None:
        made["target.json"], share["target"] = as_json(found[0], indent=1), found[1]
    whole = share | {"party": program.me, "own_rows": program.table.rows, "left": list(standing.members)}
    return made | {"share.json": as_json(whole, indent=1)}
