"""The manifest: everything that a run is, in canonical bytes that every institution signs.

What is not in it is not done: the parties and their keys, the columns each contributes, the purpose, the model with all its settings, who
may learn what (by name of leakage contract), and the caps. Its hash binds every key, signature and random draw of the run. Every number
stands with its range: reading a manifest refuses what is outside, at each node, whatever the coordinator's run file let pass.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from federation.kernel import suite
from federation.kernel.role import COORDINATOR

AGENCY = "agency"
"""The role of an agency, and the name of its leakage contract."""
FEWEST_REVEALS = 3
FEWEST_BANKS, MOST_BANKS = 3, 2048
COMPARES = "common_counterparties"
"""The check that two institutions make together."""
CHECKS = ("multi_lender", "shared_identity", COMPARES)
"""Tasks that are checks across institutions: nothing is fitted, and one institution asks."""
FEWEST_IN_A_CHECK, MOST_IN_A_CHECK = 4, 33
"""Institutions of a check, the one that asks among them."""
MOST_WITH_LEVELS = 64
"""Above so many banks columns must be numbers: banks no longer tell each other levels."""

Natural = Annotated[int, Meta(ge=0, le=2**63 - 1)]
Count = Annotated[int, Meta(ge=1, le=2**31 - 1)]
Positive = Annotated[float, Meta(gt=0)]
Holdout = Annotated[float, Meta(ge=0, lt=1)]
Tolerance = Annotated[float, Meta(gt=0, le=0.01)]
Fraction = Annotated[float, Meta(gt=0, lt=1)]
Epsilon = Annotated[float, Meta(gt=0, le=100)]
Delta = Annotated[float, Meta(gt=0, lt=0.01)]
Level = Annotated[int, Meta(ge=1, le=5)]
Days = Annotated[int, Meta(ge=1, le=3650)]
SourceName = Annotated[str, Meta(pattern=r"^[a-z][a-z0-9_-]{0,63}$")]
"""It also names a folder."""


class _Part(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    pass


class ColumnDeclaration(_Part, frozen=True, kw_only=True):
    """A column that a party contributes. level: JR/T 0197-2020 level 1-5; classification: JR/T 0171-2020 C1-C3; unit: free text of the data
    dictionary; source: where the party has it from (court, bureau, ...), "" for the party itself.
    """

    name: str
    kind: Literal["numeric", "categorical"]
    level: Level = 3
    classification: Literal["C1", "C2", "C3"] = "C1"
    unit: str = ""
    source: Annotated[str, Meta(pattern=r"^([a-z][a-z0-9_-]{0,63})?$")] = ""


class PartyDeclaration(_Part, frozen=True, kw_only=True):
    """An institution. identity: its Ed25519 identity key, hexadecimal; dated: its rows carry their own as-of date; through: the agency that
    relays whatever it sends and receives, "" for none; consents_at_agency: that agency says whose rows may be used; repayments: its outcomes
    are made of a repayment table, as the sample's target says; months: the first and last month, YYYY-MM, of rows that are dated; taken: the day
    of the snapshot, where rows are not dated and the party says it.
    """

    name: str
    role: str
    identity: str
    label: bool = False
    dated: bool = False
    columns: tuple[ColumnDeclaration, ...] = ()
    through: str = ""
    consents_at_agency: bool = False
    repayments: bool = False
    months: tuple[Annotated[str, Meta(pattern=r"^[0-9]{4}-(0[1-9]|1[0-2])$")], ...] = ()
    taken: Annotated[str, Meta(pattern=r"^([0-9]{4}-(0[1-9]|1[0-2])-[0-3][0-9])?$")] = ""

    def source_of(self, column: ColumnDeclaration) -> str:
        """A column's source by name: the party's own where it has none."""
        return column.source or self.name

    def without(self, sources: tuple[str, ...]) -> PartyDeclaration:
        """The same party without the columns of these sources."""
        kept = tuple(column for column in self.columns if self.source_of(column) not in sources)
        return msgspec.structs.replace(self, columns=kept)


class AgencyDeclaration(_Part, frozen=True, kw_only=True):
    """A licensed credit agency: it stands between parties and all others, has no columns, rows or label, and no part in any sum. identity: its
    Ed25519 identity key, hexadecimal.
    """

    name: str
    identity: str
    role: Literal["agency"] = "agency"


class TargetSettings(_Part, frozen=True, kw_only=True):
    """What an outcome is. A row as of month M stands at the records of the month before M, and its outcome comes of the records of the
    `performance_months` months from M on.

    days_past_due: from so many on it is bad; rule: at any month's end of that time, or at the last; indeterminate_from: days from which a row
    that is not bad is indeterminate, None for 30 or, if that is less, days_past_due (then none is); restructured, written_off, fraud: what
    such loans count as; level: a firm's loans together, or each by itself; good_standing: most days past due at observation, None for all
    below days_past_due; months_on_book: least age at observation; observe_from, observe_to, observe_every: the months observed, YYYY-MM, every
    so many from the first (from January where there is none).
    """

    days_past_due: Days = 90
    performance_months: Annotated[int, Meta(ge=1, le=120)] = 12
    rule: Literal["ever", "at the end"] = "ever"
    indeterminate_from: Days | None = None
    restructured: Literal["bad", "indeterminate", "exclude"] = "indeterminate"
    written_off: Literal["bad", "indeterminate", "exclude"] = "bad"
    fraud: Literal["bad", "exclude", "ignore"] = "exclude"
    level: Literal["firm", "loan"] = "firm"
    good_standing: Annotated[int, Meta(ge=0, le=3650)] | None = None
    months_on_book: Annotated[int, Meta(ge=0, le=600)] = 0
    observe_from: str | None = None
    observe_to: str | None = None
    observe_every: Annotated[int, Meta(ge=1, le=12)] = 1

    @property
    def gray_from(self) -> int:
        """The days past due from which a row is indeterminate: days_past_due where none is."""
        return min(30, self.days_past_due) if self.indeterminate_from is None else self.indeterminate_from

    @property
    def standing(self) -> int:
        """The most days past due of a loan in good standing at observation."""
        return self.days_past_due - 1 if self.good_standing is None else self.good_standing


class SampleSettings(_Part, frozen=True, kw_only=True):
    """Which rows train. holdout: share of firms held out; key: "firm", or "firm and month" where a firm has several rows; target: what an
    outcome is, None where each label party brings a column of outcomes.
    """

    holdout: Holdout = 0.3
    split_seed: Natural = 0
    as_of: bool = False
    out_of_time_from: str | None = None
    weighted: bool = False
    key: Literal["firm", "firm and month"] = "firm"
    periods: tuple[str, ...] = ()
    target: TargetSettings | None = None


class AlignSettings(_Part, frozen=True, kw_only=True):
    """visibility: DESIGN 5.1; kind: of the identifiers; former: the alignment taken over from a former run, hexadecimal."""

    visibility: Literal["hidden", "book", "intersection"] = "hidden"
    kind: Literal["uscc", "any", "name"] = "any"
    former: str | None = None


class ModelSettings(_Part, frozen=True, kw_only=True):
    """C: scikit-learn's inverse ridge strength, inf for none (None here, since canonical bytes know no infinity)."""

    C: Positive | None = 1.0
    standardize: bool = True
    missing: Literal["mean", "zero", "indicator", "error", "bin"] = "mean"
    tolerance: Tolerance = 1e-7
    max_iterations: Count = 50
    signs: Literal["free", "woe"] = "free"


class BinningSettings(_Part, frozen=True, kw_only=True):
    """How columns are cut, DESIGN 6."""

    max_bins: Annotated[int, Meta(ge=2, le=100)] = 6
    min_share: Annotated[float, Meta(ge=0, lt=0.5)] = 0.05
    min_bads: Natural = 0
    monotone: Literal["none", "auto", "increasing", "decreasing"] = "none"
    special: tuple[float, ...] = ()
    woe_smoothing: Positive = 0.5


class ScorecardSettings(_Part, frozen=True, kw_only=True):
    """Points: base_points at base_odds (goods to one bad), pdo more points double the odds."""

    base_points: float = 600.0
    base_odds: Positive = 50.0
    pdo: Positive = 20.0


class SelectSettings(_Part, frozen=True, kw_only=True):
    """The limits of each step of selection, None: the step is not taken; drop_sources: whole sources that the run does without."""

    iv_min: Annotated[float, Meta(ge=0)] | None = None
    corr_max: Fraction | None = None
    vif_max: Annotated[float, Meta(gt=1)] | None = None
    p_max: Fraction | None = None
    drop_sources: tuple[SourceName, ...] = ()


class BankSettings(_Part, frozen=True, kw_only=True):
    """Of a run over many banks. threshold: how many must stay, above two thirds of them, None for the least; drop_outs: whether the run goes
    on without a bank that is lost, or ends there; intercept: common to all, or each bank's own; personal_C: each bank's own slopes, with
    ridge 1 / (2 personal_C) around the common ones.
    """

    threshold: Count | None = None
    drop_outs: Literal["continue", "stop"] = "continue"
    intercept: Literal["common", "per bank"] = "common"
    personal_C: Positive | None = None  # noqa: N815  # C as scikit-learn writes it


class CheckSettings(_Part, frozen=True, kw_only=True):
    """Of a check across institutions. asks: the institution that asks, and alone is answered; bands: edges between bands of what a firm owes
    one bank, CNY, ascending; pad: lists are filled up to multiples of it; max_asked: the most keys that are asked about; max_listed: the most
    that another institution lists; max_repeats: how often, as its own node counts, the asking institution may ask about one key;
    flag_lenders, flag_firms: from so many on a finding is flagged; pairs: names of the pairs of firms whose counterparties two institutions
    compare; fewest: counterparties that a firm must have to be compared; flag_common: from so many in common on a pair is flagged. There
    max_asked bounds one firm's counterparties, and max_repeats how often a firm may be compared, as the node of either institution counts.
    """

    asks: str = ""
    bands: Annotated[tuple[Positive, ...], Meta(max_length=7)] = ()
    pad: Annotated[int, Meta(ge=1, le=65_536)] = 1_024
    max_asked: Annotated[int, Meta(ge=1, le=1_000_000)] = 10_000
    max_listed: Annotated[int, Meta(ge=1, le=10_000_000)] = 100_000
    max_repeats: Annotated[int, Meta(ge=1, le=1_000)] = 4
    flag_lenders: Annotated[int, Meta(ge=1, le=64)] = 3
    flag_firms: Annotated[int, Meta(ge=1, le=1_000_000)] = 5
    pairs: Annotated[tuple[Annotated[str, Meta(min_length=1, max_length=64)], ...], Meta(max_length=100)] = ()
    fewest: Annotated[int, Meta(ge=5, le=1_000_000)] = 10
    flag_common: Annotated[int, Meta(ge=1, le=1_000_000)] = 5


class PrivacySettings(_Part, frozen=True, kw_only=True):
    """What may be disclosed, and the caps; the defaults are the strict ones.

    partner_disclosure: what of a partner's bins a validator sees; withdrawal: whether a run goes on without a row whose consent was withdrawn
    meanwhile, or ends; epsilon, delta: the loss that the whole run may cost a bank's rows, None for a run without noise; label_noise: epsilon
    at which the label party turns labels over before partners are told counts of them, None for none; the fit is of the true ones.
    """

    single_partner_disclosure: bool = False
    two_member_disclosure: bool = False
    label_disclosure: bool = False
    max_score_reveals: Count = 40
    max_released_counts: Count | None = None
    max_answers: Count = 20_000
    minimum_cohort: Count = 10
    max_rows: Count = 20_000_000
    partner_disclosure: Literal["direction", "edges", "full"] = "direction"
    withdrawal: Literal["abort", "continue"] = "abort"
    epsilon: Epsilon | None = None
    delta: Delta | None = None
    label_noise: Epsilon | None = None


class Manifest(_Part, frozen=True, kw_only=True):
    """A run, whole. attempt: counts restarts that had to open a new session; coordinator: its identity key, hexadecimal; requested_by: the role
    of the person who asks for it; study: the approved study that it is part of, if any; expires: no node takes part from then on, UTC.
    """

    run: str
    task: Literal["binning", "train", "statistics", "multi_lender", "shared_identity", "common_counterparties"]
    model: Literal["logistic", "scorecard"]
    purpose: str
    seed: Natural
    coordinator: str
    parties: tuple[PartyDeclaration, ...]
    contracts: tuple[str, ...]
    sample: SampleSettings = SampleSettings()
    align: AlignSettings = AlignSettings()
    settings: ModelSettings = ModelSettings()
    binning: BinningSettings = BinningSettings()
    scorecard: ScorecardSettings = ScorecardSettings()
    privacy: PrivacySettings = PrivacySettings()
    select: SelectSettings = SelectSettings()
    banks: BankSettings = BankSettings()
    check: CheckSettings = CheckSettings()
    suite: str = suite.NAME
    code_version: str = ""
    attempt: Natural = 0
    requested_by: str = "modeller"
    study: str = ""
    expires: str = "9999-12-31T23:59:59Z"
    agencies: tuple[AgencyDeclaration, ...] = ()

    def canonical(self) -> bytes:
        """The bytes that are hashed and signed: JSON with sorted keys."""
        return msgspec.json.encode(self, order="sorted")

    @property
    def hash(self) -> bytes:
        """SHA-256 of the canonical bytes, 32 bytes."""
        return suite.digest("manifest", self.canonical())

    @property
    def members(self) -> tuple[str, ...]:
        """The institutions' names, in order."""
        return tuple(party.name for party in self.parties)

    @property
    def signers(self) -> tuple[str, ...]:
        """All who sign the manifest: the parties and the agencies."""
        return tuple(one.name for one in self.institutions)

    @property
    def institutions(self) -> tuple[PartyDeclaration | AgencyDeclaration, ...]:
        """The parties, then the agencies."""
        found: list[PartyDeclaration | AgencyDeclaration] = [*self.parties, *self.agencies]
        return tuple(found)

    @property
    def horizontal(self) -> bool:
        """Whether the run is over many banks: every party has labels of its own firms."""
        return len(self.parties) > 1 and all(party.label for party in self.parties)

    @property
    def is_check(self) -> bool:
        """Whether the run is a check across institutions."""
        return self.task in CHECKS

    @property
    def label_party(self) -> str:
        """The one party that has the label, of a run across parties."""
        return next(party.name for party in self.parties if party.label)

    @property
    def feature_parties(self) -> tuple[str, ...]:
        """The parties without a label, in order."""
        return tuple(party.name for party in self.parties if not party.label)

    def party(self, name: str) -> PartyDeclaration:
        """One party's declaration."""
        return next(party for party in self.parties if party.name == name)

    def declared(self, name: str) -> PartyDeclaration | AgencyDeclaration:
        """A party's declaration, or an agency's."""
        return next(one for one in self.institutions if one.name == name)

    def columns_of(self, name: str) -> tuple[ColumnDeclaration, ...]:
        """The columns that an institution brings; an agency brings none."""
        return self.party(name).columns if name in self.members else ()

    def through(self, name: str) -> str:
        """The agency that stands between one party and the others; "" where none does."""
        return next((party.through for party in self.parties if party.name == name), "")

    def identities(self) -> dict[str, bytes]:
        """Identity keys of all parties, agencies and the coordinator."""
        return {COORDINATOR: bytes.fromhex(self.coordinator)} | {one.name: bytes.fromhex(one.identity) for one in self.institutions}


class Description(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a node says about itself before a run: its declaration, the kind of its ids, and (label party) the months of its rows."""

    party: PartyDeclaration
    id_kind: Literal["uscc", "any", "name"]
    rows_per_firm: bool = False
    periods: tuple[str, ...] = ()
