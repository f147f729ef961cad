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
    """rows: in its table; matched: training rows that it knows; undated: one snapshot served every period; taken: its day, where it is said;
    later: of `compared` label rows those for which this party's values are of a later month; perhaps_later: those for which they may be, where
    only the range of months is known.
    """

    name: str = ""
    role: str | None = None
    rows: int | None = None
    matched: int | None = None
    undated: bool | None = None
    taken: str | None = None
    later: int | None = None
    perhaps_later: int | None = None
    compared: int | None = None
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


class Step(Part, frozen=True, kw_only=True, omit_defaults=True):
    """A step of a sample's waterfall. kind: all, excluded, outcome, sample or left out; rows: None where too few firms are behind them."""

    name: str = ""
    kind: str = ""
    rows: int | None = None


class Rolls(Part, frozen=True, kw_only=True, omit_defaults=True):
    """Moves of loans, a list for each state that they began in; totals: of each; None where too few firms are behind a count."""

    counts: list[list[int | None]] | None = None
    totals: list[int | None] | None = None
    shares: list[list[float | None]] | None = None


class RollRates(Part, frozen=True, kw_only=True, omit_defaults=True):
    """start, end: names of states; monthly: from one month's end to the next; window: from the observation to the worst in the performance
    window.
    """

    start: list[str] | None = msgspec.field(name="from", default=None)
    end: list[str] | None = msgspec.field(name="to", default=None)
    monthly: Rolls | None = None
    window: Rolls | None = None


class Vintage(Part, frozen=True, kw_only=True, omit_defaults=True):
    """Loans opened in a quarter. shares: ever bad by 0, 1, ... months on book."""

    quarter: str = ""
    loans: int | None = None
    shares: list[float] | None = None


class Target(Part, frozen=True, kw_only=True, omit_defaults=True):
    """How a label party's outcomes were made. definition: of [target]; first_month, last_month: of its repayment table; last_matured: the last
    month with outcomes; least_firms: no count of fewer firms is here.
    """

    definition: dict[str, Any] | None = None
    first_month: str | None = None
    last_month: str | None = None
    last_matured: str | None = None
    least_firms: int | None = None
    waterfall: list[Step] | None = None
    roll_rates: RollRates | None = None
    vintages: list[Vintage] | None = None
    vintages_left_out: int | None = None


class SourceFacts(Part, frozen=True, kw_only=True, omit_defaults=True):
    """What a source adds to the model that has all others. coverage: share of the label's training rows, counted as coverage_of says;
    auc_interval, ks_interval: 95 % of the gain; cost: CNY for a firm and query; cost_per_point: CNY for 1,000 firms and a hundredth of AUC, None
    where no gain is shown; dropped: by [select] source_auc_min; manifest_hash: of the run without it, None where none was needed.
    """

    name: str = ""
    parties: list[str] | None = None
    columns: list[str] | None = None
    coverage: float | None = None
    coverage_of: str | None = None
    auc_with: float | None = None
    auc_without: float | None = None
    auc_gain: float | None = None
    auc_interval: tuple[float, float] | None = None
    ks_with: float | None = None
    ks_without: float | None = None
    ks_gain: float | None = None
    ks_interval: tuple[float, float] | None = None
    cost: float | None = None
    cost_per_point: float | None = None
    verdict: str | None = None
    dropped: bool | None = None
    manifest_hash: str | None = None


class Sources(Part, frozen=True, kw_only=True, omit_defaults=True):
    """`creditfed sources`. split, rows, firms: the sample that gains were measured on; dropped: sources that this result's model does without
    by source_auc_min; final_*: the model with all of them less this one, as a source's gain is.
    """

    split: str | None = None
    rows: int | None = None
    firms: int | None = None
    resamples: int | None = None
    seed: int | None = None
    source_auc_min: float | None = None
    dropped: list[str] | None = None
    final_auc_gain: float | None = None
    final_auc_interval: tuple[float, float] | None = None
    folder: str | None = None
    found: list[SourceFacts] | None = None


class Check(Part, frozen=True, kw_only=True, omit_defaults=True):
    """A check across institutions. asks: who asked; others: how many were asked; asked: about how many keys; flagged: of them, at the limit or
    above; none: that no other institution has; file: where in a simulation's folder the asker's own list lies; pairs: whether it compared pairs
    of firms, of which not_compared could not be.
    """

    asks: str = ""
    others: int | None = None
    asked: int | None = None
    flagged: int | None = None
    none: int | None = None
    limit: int | None = None
    file: str = ""
    pairs: bool = False
    not_compared: int | None = None


class Result(Part, frozen=True, kw_only=True, omit_defaults=True):
    """The whole document. target: by label party, where outcomes were made of repayments; converged: None where the model has no iterations;
    stop_reason: why it ended without converging.
    """

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
    target: dict[str, Target] | None = None
    privacy: Privacy | None = None
    cost: Cost | None = None
    pooled: Pooled | None = None
    banks: Banks | None = None
    sources: Sources | None = None
    statistics: dict[str, Any] | None = None
    check: Check | None = None
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
