"""The tables of RUN.toml, one struct each: every key with its type, its range and its default. What goes together is checked in `run_file`.

[binning], [select], [scorecard] and [check] are the manifest's own (`federation/kernel/manifest.py`), and so are the ranges of what it holds.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from federation.kernel.manifest import Count, Delta, Epsilon, Holdout, Level, Natural, Positive, SelectSettings, SourceName, Tolerance
from privacy.disclosure.rules import DisclosureRules
from privacy.levels import Classification, PersonRole

Text = Annotated[str, Meta(min_length=1)]


class _Table(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    pass


class RunSettings(_Table, frozen=True):
    """[run]. purpose: of `privacy.purposes`; seed: all model randomness; holdout: share of firms held out for the test sample, in [0, 1);
    patience: seconds until a bank that does not answer is given up; requested_by: the role of the person who asks; study: an approved study
    that the run is part of; valid_days: until the manifest expires.
    """

    task: Literal["train", "binning", "statistics", "multi_lender", "shared_identity", "common_counterparties"] = "train"
    model: Literal["logistic", "scorecard"] = "logistic"
    purpose: Literal["acquire", "decide", "monitor", "collect", "research"] = "decide"
    seed: Natural = 0
    holdout: Holdout = 0.3
    patience: Positive = 3600.0
    requested_by: PersonRole = "modeller"
    study: str = ""
    valid_days: Annotated[int, Meta(ge=1, le=366)] = 30


class ModelTable(_Table, frozen=True):
    """[model]. C: scikit-learn's inverse ridge strength, may be inf; missing: the rule for missing values, "bin" for binned columns;
    intercept, personal_C: over many banks, an intercept or slopes of each bank's own.
    """

    C: Positive
    missing: Literal["mean", "zero", "indicator", "error", "bin"]
    standardize: bool = True
    tolerance: Tolerance = 1e-7
    max_iterations: Count = 50
    signs: Literal["free", "woe"] = "free"
    intercept: Literal["common", "per bank"] = "common"
    personal_C: Positive | None = None  # noqa: N815  # C as scikit-learn writes it


class SampleTable(_Table, frozen=True):
    """[sample]. as_of, weight: names of columns; out_of_time_from: a day, YYYY-MM-DD; split_seed: [run] seed where None."""

    as_of: Text | None = None
    out_of_time_from: str | None = None
    weight: Text | None = None
    split_seed: Natural | None = None


class SelectTable(SelectSettings, frozen=True):
    """[select] as written. source_auc_min: acts in `creditfed sources` alone."""

    source_auc_min: Annotated[float, Meta(gt=0, lt=1)] | None = None


class AlignTable(_Table, frozen=True):
    """[align] as written. folder (`from` in the file): a former run whose positions are used again."""

    visibility: Literal["hidden", "book", "intersection"] = "hidden"
    folder: Text | None = msgspec.field(name="from", default=None)


class AlignSettings(msgspec.Struct, frozen=True):
    """[align], checked. folder: the former run's, absolute; former: that run's manifest hash, hexadecimal."""

    visibility: Literal["hidden", "book", "intersection"]
    folder: Path | None = None
    former: str | None = None


class PrivacyTable(_Table, frozen=True):
    """[privacy]: what may be disclosed, and the caps; the defaults are the strict ones. threshold, drop_outs: over many banks, how many must
    stay, and whether the run goes on without a bank that is lost.
    """

    single_partner_disclosure: bool = False
    two_member_disclosure: bool = False
    label_disclosure: bool = False
    max_score_reveals: Count = 40
    minimum_cohort: Count = 10
    max_released_counts: Count | None = None
    partner_disclosure: Literal["direction", "edges", "full"] = "direction"
    threshold: Count | None = None
    drop_outs: Literal["continue", "stop"] = "continue"
    withdrawal: Literal["abort", "continue"] = "abort"
    epsilon: Epsilon | None = None
    delta: Delta | None = None
    label_noise: Epsilon | None = None


class Party(_Table, frozen=True):
    """[[party]]. role: of the dictionary's (`privacy.institutions`), and no agency; source, bins, repayments, loans: absolute paths; id,
    label: columns; owner: the column of the person behind each firm, whose consent counts too; owner_columns: columns that speak of that
    person, beside those of class C2 and C3; repayments, loans: what [target] makes outcomes of, in place of a label; levels:
    JR/T 0197-2020 level of a column; classes: JR/T 0171-2020 class of a column; types: of a column; approval, approvals_needed, owners: how the
    simulated institution approves; consents: a CSV file of consents, None where the rows need none; consents_at: who holds them, the party
    itself or the agency in `through`; disclosure: the institution's own rules, None for the defaults; through: the [[agency]] that relays all
    that it sends and receives; sources: columns or patterns by where the party has them from; costs: CNY per firm and query of each of its
    sources; taken: the day of a snapshot without dates.
    """

    name: str
    role: str
    source: Text
    id: Text = "id"
    owner: Text | None = None
    owner_columns: tuple[Text, ...] = ()
    label: Text | None = None
    repayments: Text | None = None
    loans: Text | None = None
    include: tuple[Text, ...] = ()
    exclude: tuple[Text, ...] = ()
    levels: dict[str, Level] = {}
    classes: dict[str, Classification] = {}
    types: dict[str, Literal["numeric", "categorical"]] = {}
    bins: Text | None = None
    id_kind: Literal["auto", "uscc", "any", "name"] = "auto"
    approval: Literal["at once", "people"] = "at once"
    approvals_needed: Annotated[int, Meta(ge=1, le=5)] = 1
    owners: tuple[Text, ...] = ("owner-1", "owner-2")
    consents: Text | None = None
    disclosure: DisclosureRules | None = None
    consents_at: Literal["own", "agency"] = "own"
    through: str = ""
    sources: dict[SourceName, tuple[Text, ...]] = {}
    costs: dict[SourceName, Annotated[float, Meta(ge=0)]] = {}
    taken: Annotated[str, Meta(pattern=r"^[12]\d{3}-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])$")] | None = None

    @property
    def has_outcomes(self) -> bool:
        """Whether it is a label party."""
        return self.label is not None or self.repayments is not None


class Agency(_Table, frozen=True):
    """[[agency]]: a licensed credit agency that a [[party]] goes through. approval, approvals_needed, owners: as of a [[party]]."""

    name: str
    approval: Literal["at once", "people"] = "at once"
    approvals_needed: Annotated[int, Meta(ge=1, le=5)] = 1
    owners: tuple[Text, ...] = ("owner-1", "owner-2")
