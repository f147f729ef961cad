"""`DIR/result.json`: what a run found, as one versioned document.

Every part is optional, so that a run which ended early still leaves a readable file, and a reader of version 1 ignores keys it does not
know. A file is written whole or not at all: to a temporary neighbour, synced, then renamed over the old one. Infinities and NaN are not
JSON: a writer passes None and says why in a note or in `reasons`. No field holds a value of a single row.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec

from federation.kernel.errors import ConfigurationError
from privacy.store.durable import READABLE, put

SCHEMA_VERSION = 1
SPLITS = ("train", "test", "out_of_time")


class Part(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A part of the document, all of whose fields have defaults."""


class RunFacts(Part, frozen=True, kw_only=True, omit_defaults=True):
    """What was asked for. holdout: share of the rows kept for testing; seed: of the model's randomness."""

    id: str | None = None
    name: str | None = None
    task: str | None = None
    model: str | None = None
    purpose: str | None = None
    seed: int | None = None
    holdout: float | None = None
    backend: str | None = None
    finished: str | None = None
    version: str | None = None


class Bin(Part, frozen=True, kw_only=True, omit_defaults=True):
    """One bin of a column. rows: in training; share: of them; goods, bads: weighted; bad_rate: None without either; woe; iv: its part of the
    column's; points: of the scorecard.
    """

    label: str = ""
    rows: int | None = None
    share: float | None = None
    goods: float | None = None
    bads: float | None = None
    bad_rate: float | None = None
    woe: float | None = None
    iv: float | None = None
    points: float | None = None


class Points(Part, frozen=True, kw_only=True, omit_defaults=True):
    """How scores become points: base_points at odds of base_odds goods to one bad, pdo points double the odds; offset: everyone's start."""

    base_points: float | None = None
    base_odds: float | None = None
    pdo: float | None = None
    offset: float | None = None


class Model(Part, frozen=True, kw_only=True, omit_defaults=True):
    """The joined shares of a simulation. Maps are party -> column; coefficients in raw units unless standardized says otherwise."""

    type: str | None = None
    intercept: float | None = None
    coefficients: dict[str, dict[str, float | None]] | None = None
    standardized: dict[str, dict[str, float | None]] | None = None
    p_values: dict[str, dict[str, float | None]] | None = None
    bins: dict[str, dict[str, list[Bin]]] | None = None
    points: Points | None = None


class Split(Part, frozen=True, kw_only=True, omit_defaults=True):
    """Figures of one split, None where undefined (`reasons` then says why); intervals: name -> [low, high] at 95 %."""

    auc: float | None = None
    ks: float | None = None
    gini: float | None = None
    brier: float | None = None
    log_loss: float | None = None
    n: int | None = None
    goods: int | None = None
    bads: int | None = None
    intervals: dict[str, tuple[float, float]] | None = None
    reasons: dict[str, str] | None = None


class Metrics(Part, frozen=True, kw_only=True, omit_defaults=True):
    """Figures of each split."""

    train: Split | None = None
    test: Split | None = None
    out_of_time: Split | None = None


class ColumnFacts(Part, frozen=True, kw_only=True, omit_defaults=True):
    """A column that took part. coefficient: in the model's own units (per WOE for a scorecard)."""

    name: str = ""
    kind: str | None = None
    iv: float | None = None
    coefficient: float | None = None


class PartyFacts(Part, frozen=True, kw_only=True, omit_defaults=True):
    """rows: in its table; matched: training rows that it knows; undated: one snapshot served every period."""

    name: str = ""
    role: str | None = None
    rows: int | None = None
    matched: int | None = None
    undated: bool | None = None
    columns: list[ColumnFacts] | None = None


class AgencyFacts(Part, frozen=True, kw_only=True, omit_defaults=True):
    """A licensed credit agency. parties: those that it stood before; messages: how many it let pass, to them and from them."""

    name: str = ""
    parties: list[str] | None = None
    messages: int | None = None


class Alignment(Part, frozen=True, kw_only=True, omit_defaults=True):
    """visibility: hidden, book or intersection; universe: positions, counting padding."""

    visibility: str | None = None
    universe: int | None = None


class Withdrawn(Part, frozen=True, kw_only=True, omit_defaults=True):
    """At one party: the stages from which rows were left out, and how many in all, as "fewer than 10" or "at least 10"."""

    party: str = ""
    stages: list[str] | None = None
    rows: str = ""


class Privacy(Part, frozen=True, kw_only=True, omit_defaults=True):
    """epsilon, delta: of all sums together, for each row; label_noise: epsilon of each label that partners' counts are taken of, for this run
    alone; leakage: names of contracts that applied; score_reveals: score vectors the label party saw; partner_columns: all partners';
    withdrawals: rows that were withdrawn during the run; the last four: what the manifest allowed beyond its defaults, and the run used.
    """

    releases: int | None = None
    epsilon: float | None = None
    delta: float | None = None
    label_noise: float | None = None
    leakage: list[str] | None = None
    score_reveals: int | None = None
    withdrawals: list[Withdrawn] | None = None
    max_score_reveals: int | None = None
    partner_columns: int | None = None
    single_partner_disclosure: bool | None = None
    label_disclosure: bool | None = None
    max_released_counts: int | None = None
    minimum_cohort: int | None = None


class Iteration(Part, frozen=True, kw_only=True, omit_defaults=True):
    """One iteration of a fit. loss: per unit of weight; step: length of the change in standardised units."""

    iteration: int | None = None
    loss: float | None = None
    step: float | None = None


class Cost(Part, frozen=True, kw_only=True, omit_defaults=True):
    """Wall seconds, bytes and messages."""

    seconds_total: float | None = None
    seconds: dict[str, float] | None = None
    bytes_sent: dict[str, int] | None = None
    messages: dict[str, int] | None = None
    iterations: int | None = None
    history: list[Iteration] | None = None


class Pooled(Part, frozen=True, kw_only=True, omit_defaults=True):
    """The same rules fitted on the joined table, which only a simulation can do.

    max_difference: largest of a standardised coefficient; score_difference: largest over all rows; label_party_alone: figures of the label
    party's own columns fitted without any partner, which is what the partners' columns have to beat.
    """

    metrics: Metrics | None = None
    label_party_alone: Metrics | None = None
    intercept: float | None = None
    coefficients: dict[str, dict[str, float | None]] | None = None
    standardized: dict[str, dict[str, float | None]] | None = None
    max_difference: float | None = None
    score_difference: float | None = None
    seconds: float | None = None


class Banks(Part, frozen=True, kw_only=True, omit_defaults=True):
    """A run over many banks. variant: the run's model among `fits`; overall: model -> split -> figures over all banks, from totals in score
    cells; alone: bank -> model -> split -> figures on that bank's own rows; selection: each step with its reason; stability: column -> split
    -> PSI against training, over all banks.
    """

    variant: str | None = None
    overall: dict[str, dict[str, Any]] | None = None
    alone: dict[str, dict[str, Metrics]] | None = None
    selection: list[dict[str, Any]] | None = None
    fits: dict[str, dict[str, Any]] | None = None
    stability: dict[str, dict[str, Any]] | None = None


class Result(Part, frozen=True, kw_only=True, omit_defaults=True):
    """The whole document. converged: None where the model has no iterations; stop_reason: why it ended without converging."""

    schema_version: int = SCHEMA_VERSION
    run: RunFacts | str | None = None
    manifest_hash: str | None = None
    model_hash: str | None = None
    converged: bool | None = None
    stop_reason: str | None = None
    model: Model | None = None
    metrics: Metrics | None = None
    parties: list[PartyFacts] | None = None
    agencies: list[AgencyFacts] | None = None
    alignment: Alignment | None = None
    privacy: Privacy | None = None
    cost: Cost | None = None
    pooled: Pooled | None = None
    banks: Banks | None = None
    statistics: dict[str, Any] | None = None
    notes: list[str] | None = None


def parse(document: dict[str, Any], where: str = "result.json") -> Result:
    """The typed result of plain data. ConfigurationError on another schema version or a field of the wrong type."""
    version = document.get("schema_version", SCHEMA_VERSION)
    if version != SCHEMA_VERSION:
        raise ConfigurationError(
            where,
            f"schema_version is not {SCHEMA_VERSION}",
            "Read it with the release of creditfed that wrote it, or run the simulation again.",
        )
    try:
        return msgspec.convert(document, Result)
    except msgspec.ValidationError as error:
        raise ConfigurationError(where, f"does not follow the schema: {error}", "Run the simulation again.") from None


def write(path: Path, document: dict[str, Any]) -> Result:
    """Put the document in place as JSON, nulls included, and return it typed. ConfigurationError where no reader would take it."""
    result = parse(document, str(path))
    put(path, json.dumps(document, indent=1).encode(), READABLE)
    return result
