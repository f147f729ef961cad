"""What a fit works on, built from a party's table and its finished encoding: rebuilt after a restart, never sent."""

from __future__ import annotations

from dataclasses import dataclass, replace

import msgspec
import numpy as np
from numpy.typing import NDArray

from federation.encrypted_linear.packing import Columns
from federation.encrypted_linear.products import Transforms
from federation.kernel.manifest import Manifest
from federation.kernel.state import State
from federation.models.course import Labels, Limits
from federation.models.design import Block, Held, require_full_rank, residual_bits
from federation.models.encoding import Encoding, rows_of
from federation.models.sample import Sample
from federation.models.table import Table
from federation.models.woe import WoeTable

Reals = NDArray[np.float64]
Positions = NDArray[np.int64]


class Encoded(State, frozen=True):
    """A party's encoding and what it learned with it.

    total, base: the training weight W and the share of bads; exponent: of the training weights' grid; answers: (label party) how many sums
    each holder asks for in the fit; matched: own rows that train; tables: weights of evidence; released: label-dependent counts it received;
    notes: for the report.
    """

    encoding: Encoding
    total: float
    base: float
    exponent: int
    answers: dict[str, int] = msgspec.field(default_factory=dict)
    matched: int = 0
    tables: tuple[WoeTable, ...] = ()
    released: int = 0
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Prepared:
    """block: for the fit; exact: (n, d) the design that final scores are computed from; limits; labels or held: by kind of party."""

    block: Block
    exact: Reals
    limits: Limits
    labels: Labels | None = None
    held: Held | None = None


def design_columns(x: Reals, absent: Reals, positions: Positions, universe: int) -> Columns:
    """A holder's design over the universe as integers for sums with residuals."""
    whole = np.repeat(absent[None, :], universe, axis=0)
    whole[positions] = x
    return Columns.quantised(whole, residual_bits(universe))


def _rules(manifest: Manifest, encoded: Encoded) -> tuple[Reals, NDArray[np.int8]]:
    """Ridge and sign of each design column, (d,) each."""
    settings, encoding = manifest.settings, encoded.encoding
    return encoding.ridge(settings.C, encoded.total, standardize=settings.standardize), encoding.signs(settings.signs)


def _limits(manifest: Manifest) -> Limits:
    settings = manifest.settings
    published = 1 if manifest.model == "scorecard" else 0  # a scorecard's points travel as one more vector of scores
    return Limits(
        settings.tolerance,
        settings.max_iterations,
        manifest.privacy.max_score_reveals - published,
        settings.C is None,
        settings.signs == "woe",
    )


def prepare_label(
    manifest: Manifest, table: Table, universe: int, positions: Positions, encoded: Encoded, sample: Sample, routed: Positions | None = None
) -> Prepared:
    """The label party's block: the intercept first, then its own columns. routed: as in `Block`."""
    rows = np.flatnonzero(positions >= 0)
    x = np.column_stack([np.ones(len(rows)), rows_of(encoded.encoding.design(table.columns), rows)])
    labels = replace(training_labels(table, sample, rows), total=encoded.total)
    if manifest.settings.C is None:
        require_full_rank(manifest.label_party, x[labels.w > 0][:, 1:], encoded.encoding.names)
    w0 = encoded.base * (1 - encoded.base)
    curvature = w0 * (x * labels.w[:, None]).T @ x / labels.total
    ridge, signs = _rules(manifest, encoded)  # the intercept has neither
    penalty, held = np.concatenate([[0.0], ridge]), np.concatenate([np.zeros(1, np.int8), signs])
    block = Block(x, np.zeros(x.shape[1]), penalty, held, curvature, positions[rows], universe, routed)
    return Prepared(block, x, _limits(manifest), labels=labels)


def training_labels(table: Table, sample: Sample, rows: Positions) -> Labels:
    """Y and w of the rows in the universe; weights are zero outside training."""
    assert table.label is not None, "only a label party has labels"
    w = np.where(sample.train, table.weights, 0.0)[rows]
    return Labels(table.label[rows].astype(np.float64), w, float(w.sum()))


def prepare_holder(manifest: Manifest, me: str, table: Table, universe: int, positions: Positions, encoded: Encoded) -> Prepared:
    """A feature party's block and its integer columns."""
    rows = np.flatnonzero(positions >= 0)
    exact = rows_of(encoded.encoding.design(table.columns), rows)
    absent = encoded.encoding.absent_row
    if manifest.settings.C is None:
        whole = np.vstack([exact, np.repeat(absent[None, :], universe - len(rows), axis=0)])
        require_full_rank(me, whole - whole.mean(axis=0), encoded.encoding.names)
    columns = design_columns(exact, absent, positions[rows], universe)
    rounded = columns.rounded()
    x = np.ascontiguousarray(rounded[positions[rows]])
    missing = universe - len(rows)
    elsewhere = np.delete(np.arange(universe), positions[rows])[:1]
    absent = rounded[elsewhere[0]] if len(elsewhere) else absent
    curvature = encoded.base * (1 - encoded.base) * (x.T @ x + missing * np.outer(absent, absent)) / universe
    block = Block(x, absent, *_rules(manifest, encoded), curvature, positions[rows], universe)
    held = Held(Transforms(columns), positions[rows], universe, encoded.total)
    return Prepared(block, exact, _limits(manifest), held=held)
