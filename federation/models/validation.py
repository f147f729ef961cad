"""What a validator asks of a finished model, from the label party's rows alone: how stable score and columns are, and what each column moves.

    stability     PSI (Siddiqi 2006, chapter 6) of each split against training: of the score over ten classes of training rows, of each own
                  column over its bins (of a plain number over ten classes of training rows)
    sensitivity   what a column, or all partners together, add to the log odds of bad: the 5 % to 95 % range over training rows, and AUC where
                  it is held at its training mean

A partner's single columns are its own: the label party knows their sum alone. Nothing here leaves the label party.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from federation.models import metrics
from federation.models.encoding import ColumnEncoding, Numeric, Woe
from federation.models.sample import SPLITS
from federation.models.table import Column
from federation.models.training import LabelParty, Progress
from federation.models.woe import stability

Reals = NDArray[np.float64]
Codes = NDArray[np.int64]
TOGETHER = "all partners together"
CLASSES = 10


def validation_document(program: LabelParty, state: Progress) -> dict[str, Any]:
    """As JSON values: stability {score, columns {name: {split: PSI}}}, sensitivity {name: {range, auc {split}}}. A PSI is None where a split
    has fewer rows than the minimum cohort.
    """
    table, positions = program.present(state)
    assert state.final is not None and state.fit is not None and state.encoded is not None and table.label is not None
    rows = np.flatnonzero(positions >= 0)
    splits = program.sample(state).split_names()[rows]
    few = program.manifest.privacy.minimum_cohort
    train, parts = splits == SPLITS[0], state.encoded.encoding.columns
    weight = table.weights[rows]
    score_classes = _classes(state.final, train)
    columns = {part.column: _codes(part, table.columns[part.column], rows, train) for part in parts}
    added = _added(program, state, parts)
    without = {name: state.final - change + change[train].mean() for name, change in added.items()}
    held = {name: metrics.by_split(splits, table.label[rows], score, weight)[0] for name, score in without.items()}
    return {
        "stability": {
            "score": _psi(score_classes, splits, few),
            "columns": {name: _psi(codes, splits, few) for name, codes in columns.items()},
        },
        "sensitivity": {
            name: {"range": _range(change[train]), "auc": {split: found["auc"] for split, found in held[name].items()}}
            for name, change in added.items()
        },
    }  # fmt: skip


def _added(program: LabelParty, state: Progress, parts: tuple[ColumnEncoding, ...]) -> dict[str, Reals]:
    """What each own column, and the partners together, add to the log odds of bad of each row in the universe, (m,) each."""
    assert state.fit is not None and state.final is not None
    exact, theta = program.prepared(state).exact, state.fit.theta
    out, start = {}, 1  # the intercept is first
    for part in parts:
        place = slice(start, start := start + len(part.names))
        out[part.column] = exact[:, place] @ theta[place]
    return out | {TOGETHER: state.final - exact @ theta}


def _range(added: Reals) -> list[float] | None:
    """The 5 % and the 95 % quantile: no single firm's."""
    return [float(value) for value in np.quantile(added, [0.05, 0.95])] if len(added) else None


def _codes(part: ColumnEncoding, column: Column, rows: Codes, train: NDArray[np.bool_]) -> Codes:
    """The class of each row in the universe, (m,)."""
    if isinstance(part, Woe):
        return part.bins.codes(column)[rows]
    values = column.values[rows]
    if isinstance(part, Numeric):
        return _classes(np.asarray(values, np.float64), train)
    return np.unique(np.array(["missing" if value is None else f"= {value}" for value in values]), return_inverse=True)[1].astype(np.int64)


def _classes(values: Reals, train: NDArray[np.bool_]) -> Codes:
    """Ten classes with about as many training rows each, missing last, (m,)."""
    there = values[train & ~np.isnan(values)]
    edges = np.unique(np.quantile(there, np.arange(1, CLASSES) / CLASSES)) if len(there) else np.zeros(0)
    return np.where(np.isnan(values), CLASSES, np.searchsorted(edges, values, side="right")).astype(np.int64)


def _psi(codes: Codes, splits: NDArray[Any], few: int) -> dict[str, float | None]:
    """PSI of each split but training, against training; of rows, not weights."""
    most = int(codes.max()) + 1 if len(codes) else 1
    counts = {split: np.bincount(codes[splits == split], minlength=most) for split in SPLITS}
    expected = counts[SPLITS[0]]
    return {
        split: stability(expected, actual) if min(expected.sum(), actual.sum()) >= max(1, few) else None
        for split, actual in counts.items()
        if split != SPLITS[0]
    }
