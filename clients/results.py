"""What a finished run leaves in a node's own results folder: its share of the model, and at the label party scores and metrics."""

from __future__ import annotations

import io
import json

import numpy as np
import pandas as pd

from clients.home import Home
from federation.kernel.participant import Participant
from federation.models.outcome import label_outcome, share_document
from federation.models.table import Table
from federation.models.training import FeatureParty, LabelParty, Progress


def write_results(home: Home, participant: Participant[Progress], program: LabelParty | FeatureParty, table: Table) -> None:
    """Write share.json always, metrics.json and scores.parquet at the label party, bins.toml after binning, align.npz for later runs."""
    state = participant.state
    assert state.positions is not None, "a finished run is aligned"
    buffer = io.BytesIO()
    np.savez_compressed(buffer, universe=np.array([state.universe]), positions=state.positions, keys=np.array([table.fingerprint]))
    home.write("align.npz", buffer.getvalue())
    share = share_document(program, state)
    home.write("share.json", json.dumps(share, indent=1))
    if isinstance(program, LabelParty) and state.final is not None:
        outcome = label_outcome(program, state)
        home.write("metrics.json", json.dumps(outcome.document))
        stream = io.BytesIO()
        pd.DataFrame(outcome.scores).to_parquet(stream, index=False)
        home.write("scores.parquet", stream.getvalue())
    home.log("finished", run=participant.manifest.run, session=participant.session.hex(), rows=table.rows)
