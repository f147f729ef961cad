"""What a finished run over many banks leaves in a bank's own results folder: the common model, its own part, figures and scores."""

from __future__ import annotations

import io
import json
from typing import Any

import msgspec
import pandas as pd
import tomli_w

from clients.home import Home
from federation.kernel.participant import Participant
from federation.models.bins import Bins
from federation.models.bins_document import generated_digest, to_toml_dict
from federation.models.encoding import Woe
from federation.models.horizontal.bin_counts import BinCounts, CountBins, woe_parts
from federation.models.horizontal.bin_counts import document as bins_found
from federation.models.horizontal.private_statistics import PrivatelyMeasured, PrivateStatistics
from federation.models.horizontal.private_statistics import document as private_document
from federation.models.horizontal.private_train import PrivateTrain
from federation.models.horizontal.program import Bank, Standing
from federation.models.horizontal.statistics import Measured, Statistics
from federation.models.horizontal.statistics_document import document
from federation.models.horizontal.train import Train, Trained
from federation.models.horizontal.train_document import scores, share_document
from federation.models.sample import SPLITS


def write_bank_results(home: Home, participant: Participant[Standing], program: Bank[Any]) -> None:
    """share.json always; of a trained model metrics.json and curves.json by split, and scores.parquet."""
    standing = participant.state
    table = program.present(standing)
    plan, state = program.plan(standing), program.state_of(standing)
    if isinstance(plan, Train) and isinstance(state, Trained):
        share: dict[str, Any] = share_document(plan, state, program.me)
        share["notes"] = [*table.notes, *share["notes"]]
        if isinstance(plan, PrivateTrain):
            share["own"]["shortened"] = plan.shortened(state)
        chosen = share["variant"]
        home.write("metrics.json", json.dumps(share["own"]["figures"].get(chosen, {})))
        home.write("curves.json", json.dumps(share["own"]["curves"].get(chosen, dict.fromkeys(SPLITS))))
        rows = scores(plan, state, program.me, standing.model_hash)
        if share["tables"]:
            _write_bins(home, {part.column: part.bins for part in plan.encoding(state).columns if isinstance(part, Woe)})
        stream = io.BytesIO()
        pd.DataFrame(rows).to_parquet(stream, index=False)
        home.write("scores.parquet", stream.getvalue())
    elif isinstance(plan, CountBins) and isinstance(state, BinCounts):
        share = bins_found(plan, state) | {"notes": list(table.notes)}
        _write_bins(home, {part.column: part.bins for part in woe_parts(state)})
    elif isinstance(plan, Statistics) and isinstance(state, Measured):
        share = {"statistics": document(plan, state), "notes": list(table.notes)}
    elif isinstance(plan, PrivateStatistics) and isinstance(state, PrivatelyMeasured):
        share = {"statistics": private_document(plan, state), "notes": list(table.notes)}
    share["withdrawals"] = [msgspec.to_builtins(entry) for entry in participant.withdrawals]
    home.write(
        "share.json", json.dumps(share | {"party": program.me, "own_rows": program.table.rows, "left": list(standing.members)}, indent=1)
    )


def _write_bins(home: Home, bins: dict[str, Bins]) -> None:
    """The bins that all banks have alike, to edit by hand: the same edited file goes to every bank."""
    document = to_toml_dict(bins)
    home.write("bins.toml", tomli_w.dumps(document))
    home.write("bins.digest", generated_digest(document))
