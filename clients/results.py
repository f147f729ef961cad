"""What a finished run leaves in a node's own results folder: its share of the model, at the label party scores and metrics, and its log."""

from __future__ import annotations

import io
import json
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pandas as pd
import tomli_w

from federation.align.universe import Universe
from federation.kernel import suite
from federation.kernel.errors import ConfigurationError
from federation.kernel.participant import Participant
from federation.models.as_of import later_rows
from federation.models.bins import Bins
from federation.models.bins_document import Edit, from_toml_dict, generated_digest, to_toml_dict
from federation.models.encoding import Woe
from federation.models.outcome import label_outcome, share_document
from federation.models.table import Table
from federation.models.training import FeatureParty, LabelParty, Progress
from federation.models.validation import validation_document


def key_fingerprint(table: Table) -> str:
    """A hash of the alignment keys in their order: positions belong to just these keys."""
    return suite.digest(*table.keys).hex()


def partner_results(participant: Participant[Progress], program: LabelParty | FeatureParty) -> dict[str, bytes]:
    """Files by name. share.json and alignment.npz always; metrics.json, curves.json, validation.json and scores.parquet at the label party;
    bins.toml after binning.
    """
    state = participant.state
    table, positions = program.present(state)
    buffer = io.BytesIO()
    np.savez_compressed(
        buffer, universe=np.array([state.universe]), positions=positions, keys=np.array([key_fingerprint(table)]),
        manifest=np.array([participant.manifest.hash.hex()]),
    )  # fmt: skip
    share = share_document(program, state) | {
        "rows": program.local.table.rows,
        "notes": [*table.notes, *(state.encoded.notes if state.encoded else ())],
    }
    share["withdrawals"] = [msgspec.to_builtins(entry) for entry in participant.withdrawals]
    if isinstance(program, LabelParty):
        share["dropped_out_of_time"] = program.sample().dropped
        share["later_rows"] = msgspec.to_builtins(later_rows(participant.manifest, table.kept(positions >= 0).as_of))
    made = {"alignment.npz": buffer.getvalue(), "share.json": as_json(share, indent=1)}
    if state.encoded is not None and state.encoded.tables:
        made |= bins_files({part.column: part.bins for part in state.encoded.encoding.columns if isinstance(part, Woe)})
    if isinstance(program, LabelParty) and state.final is not None:
        outcome = label_outcome(program, state)
        shown = {name: msgspec.to_builtins(told.columns) for name, told in state.shown.items()}
        made |= {
            "metrics.json": as_json(outcome.metrics), "curves.json": as_json(outcome.curves),
            "validation.json": as_json(validation_document(program, state) | {"partners": shown}),
            "scores.parquet": scores_file(outcome.scores),
        }  # fmt: skip
    return made


def as_json(value: Any, indent: int | None = None) -> bytes:
    """A file of JSON values."""
    return json.dumps(value, indent=indent).encode()


def bins_files(bins: Mapping[str, Bins]) -> dict[str, bytes]:
    """bins.toml, to edit by hand, and the digest by which an edit is known."""
    document = to_toml_dict(bins)
    return {"bins.toml": tomli_w.dumps(document).encode(), "bins.digest": generated_digest(document).encode()}


def scores_file(columns: Mapping[str, Any]) -> bytes:
    """scores.parquet, one entry of each column for each row."""
    stream = io.BytesIO()
    pd.DataFrame(columns).to_parquet(stream, index=False)
    return stream.getvalue()


def read_alignment(folder: Path, table: Table, former: str) -> Universe:
    """The former run's alignment at this party. Raises ConfigurationError where it is of another run or of other keys."""
    path = folder / "results" / "alignment.npz"
    if not path.exists():
        raise ConfigurationError(
            str(path), "the former run's alignment is not there", "Correct [align] from, or leave it out and align anew."
        )
    with np.load(path) as stored:
        if str(stored["manifest"][0]) != former or str(stored["keys"][0]) != key_fingerprint(table):
            raise ConfigurationError(
                "[align] from", "the former alignment is of another run or of other rows", "Leave it out: this run must align anew."
            )
        return Universe(int(stored["universe"][0]), stored["positions"])


def read_bins(path: Path, digest_path: Path) -> tuple[dict[str, Bins], list[Edit]]:
    """Bins edited by hand, and what was edited. digest_path: where the node kept the digest of what it had generated."""
    try:
        document = tomllib.loads(path.read_text())
    except FileNotFoundError:
        raise ConfigurationError(str(path), "the file of bins is not there", "Correct [[party]] bins.") from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(str(path), f"not valid TOML: {error}", "Correct the file.") from None
    digest = digest_path.read_text() if digest_path.exists() else generated_digest(document)
    return from_toml_dict(document, digest)
