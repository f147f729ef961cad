"""What the label party can say of a source from two runs of its own: with it and without, on the same rows, from its own scores and outcomes.

Nothing leaves it and nothing is asked of anybody: both runs gave it these scores.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from federation.kernel.errors import DataError
from federation.models.paired import Gain, gain
from federation.models.table import Table


@dataclass(frozen=True)
class Scored:
    """A run's rows at the label party, (n,) each, in the order of its file of scores. split: "train", "test", "out_of_time" or ""."""

    key: NDArray[np.object_]
    firm: NDArray[np.object_]
    split: NDArray[np.object_]
    score: NDArray[np.float64]
    label: NDArray[np.int8]
    weight: NDArray[np.float64]

    @property
    def judged(self) -> str:
        """The split that a model is judged by: test, or else out of time. Raises DataError where neither has both classes."""
        for name in ("test", "out_of_time"):
            rows = (self.split == name) & (self.weight > 0)
            if len(np.unique(self.label[rows])) == 2:
                return name
        raise DataError("sources", "no test rows with both goods and bads", "Set [run] holdout, or out_of_time_from.")


def scored(home: Path, table: Table) -> Scored:
    """A finished run's scores with the outcomes of its rows. home: the label party's in that run; table: its rows in it."""
    assert table.label is not None, "the label party's table"
    frame = pd.read_parquet(io.BytesIO((home / "results" / "scores.parquet").read_bytes()))
    days = None if table.as_of is None else table.as_of.astype(str)
    own = pd.Series(np.arange(table.rows), index=_keys(table.firms, days))
    keys = _keys(frame["id"], None if table.as_of is None else frame["as_of"])
    if not pd.Index(keys).isin(own.index).all():
        raise DataError("sources", "the file of scores has rows that the table has not", "The source was changed meanwhile: begin again.")
    place = own.reindex(keys).to_numpy(np.int64)
    return Scored(
        keys, frame["id"].to_numpy(object), frame["split"].to_numpy(object), frame["score"].to_numpy(np.float64), table.label[place],
        table.weights[place],
    )  # fmt: skip


def gained(full: Scored, without: NDArray[np.float64], seed: int) -> Gain:
    """Gain on the rows that the full run is judged by. without: (n,) scores of the same rows; seed: the manifest's."""
    rows = full.split == full.judged
    return gain(full.firm[rows].tolist(), full.label[rows], full.score[rows], without[rows], full.weight[rows], seed)


def same_rows(full: Scored, other: Scored) -> NDArray[np.float64]:
    """The other run's scores in the order of the full one's rows. Raises DataError where they are not the same rows."""
    if len(full.key) != len(other.key) or not (full.key == other.key).all() or not (full.split == other.split).all():
        raise DataError("sources", "two runs do not have the same rows", "A consent or a source was changed meanwhile: begin again.")
    return other.score


def _keys(firms: Any, days: Any) -> NDArray[np.object_]:
    named = [str(firm) for firm in firms]
    return np.array(named if days is None else [f"{firm}|{day}" for firm, day in zip(named, days, strict=True)], object)
