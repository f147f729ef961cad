"""An institution's own section: who it is, where its records lie, and which of their columns it offers."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import msgspec

from clients.database import Database
from federation.kernel.errors import ConfigurationError
from federation.kernel.known import known
from federation.kernel.manifest import AGENCY, Level, SourceName
from privacy.disclosure.rules import DisclosureRules
from privacy.levels import Classification
from privacy.retention import require

Day = Annotated[str, msgspec.Meta(pattern=r"^[12]\d{3}-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])$")]
_OF_AN_AGENCY = {"name", "role", "journal", "approvals_needed", "consent"}


class PartyConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """An institution's node.toml. source, bins, former: paths, relative to the node's home; source: a CSV or Parquet file, or a folder of
    Parquet parts. Where node.toml has a table `[source]`, `database` is what it says, and source the home.

    id, label, weight, as_of: columns of the source (label: the label party alone; as_of: a feature party may lack it); owner: the column that
    names the person behind each firm, whose consent counts too; owner_columns: columns that speak of that person, beside those of class C2 and
    C3 (`clients.linked`); repayments, loans: in place of label, the repayment table of which a run's [target] makes outcomes, and the table of
    loans (origin, fraud): paths, or a mapping that has both; include, exclude: feature columns; levels: JR/T 0197-2020 level of a column, 3
    where not given; classes: JR/T 0171-2020 class of a column, C1 where not given; types: of a column; bins: edited by hand;
    id_kind: of the identifiers, "auto" = Unified Social Credit Codes where they look like it; former: this party's home in the run whose
    alignment is used again; journal: where journals are kept, "shared" on a disk that several machines share; workers: threads;
    approvals_needed: how many owners approve a run that the policy leaves to people, 2 for four-eyes; legal_basis: why the rows may be used,
    with "consent" the ledger decides row by row, with "agency" the statements of the agency in `through`, which holds the consents; consent:
    URL of the ledger, where it is not the file consent/ledger.db; dataset: the name under which the budget keeps the source, its file's
    name where not given; retention: days that things are kept; disclosure: what may leave in clear; through: the agency that relays all that
    this institution sends and receives; sources: columns (or patterns such as court_*) by where the institution has them from, for those that
    the dictionary does not know; taken: the day of a snapshot without dates; serves: "counting" or "asking" for a source of
    checks across institutions, in which rows of one id are put together (numbers added, texts counted); who asks brings ids alone;
    "pairs": columns pair and firm beside the id, which is a counterparty's.

    An agency's own node has neither source nor any key that speaks of records.
    """

    name: str
    role: str
    source: Path
    database: Database | None = None
    id: str = "id"
    owner: str | None = None
    owner_columns: tuple[str, ...] = ()
    label: str | None = None
    repayments: Path | None = None
    loans: Path | None = None
    weight: str | None = None
    as_of: str | None = None
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    levels: dict[str, Level] = {}
    classes: dict[str, Classification] = {}
    types: dict[str, Literal["numeric", "categorical"]] = {}
    bins: Path | None = None
    id_kind: Literal["auto", "uscc", "any", "name"] = "auto"
    former: Path | None = None
    journal: Literal["memory", "disk", "shared"] = "disk"
    workers: Annotated[int, msgspec.Meta(ge=1)] = 1
    approvals_needed: Annotated[int, msgspec.Meta(ge=1, le=5)] = 1
    legal_basis: Literal["consent", "agency", "contract", "statute", "simulation"] = "consent"
    consent: str | None = None
    dataset: str | None = None
    retention: dict[str, int] = {}
    disclosure: DisclosureRules = DisclosureRules()
    through: str = ""
    sources: dict[SourceName, tuple[str, ...]] = {}
    taken: Day | None = None
    serves: Literal["models", "counting", "asking", "pairs"] = "models"

    @property
    def budget_dataset(self) -> str:
        """The name under which the budget keeps the source."""
        return self.dataset or (self.source.stem if self.database is None else self.database.short_name)

    @property
    def has_outcomes(self) -> bool:
        """Whether it is a label party: with a column of outcomes, or with repayments of which they are made."""
        return self.label is not None or self.repayments is not None

    def require_one_outcome(self) -> None:
        """Outcomes come of a column or of repayments, and repayments need dated rows. Raises ConfigurationError."""
        if self.label is not None and self.repayments is not None:
            what = "it has both label and repayments: outcomes come of a column, or of the repayment table by a run's [target]"
            raise ConfigurationError("node.toml", what, "Leave out one of the two.")
        if self.loans is not None and self.repayments is None:
            raise ConfigurationError("node.toml", "loans goes with repayments, and that is left out", "Add repayments, or leave loans out.")
        if self.repayments is not None and self.as_of is None:
            what = "outcomes of repayments need the month of each row"
            raise ConfigurationError("node.toml", what, 'Name the column of dates: as_of = "as_of".')

    @property
    def own_columns(self) -> tuple[str, ...]:
        """What it uses besides features, by name: outcomes, or the tables that they are made of, and weights."""
        tables = [name for name, path in (("repayments", self.repayments), ("loans", self.loans)) if path is not None]
        return tuple(name for name in (self.label, *tables, self.weight) if name is not None)

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any], root: Path) -> Self:
        """From node.toml; paths are taken from `root`. Raises ConfigurationError."""

        def path(kind: type, value: Any) -> Any:
            return root / value if kind is Path and isinstance(value, str) else value

        if "approval" in raw:
            what = "approval is no setting of a node: people approve its runs, and at once only a simulation's throw-away nodes do"
            raise ConfigurationError("node.toml", what, "Leave it out; owners vote with `creditfed node approve`.")
        if raw.get("role") == AGENCY:
            excess = sorted(raw.keys() - _OF_AN_AGENCY)
            if excess:
                raise ConfigurationError("node.toml", f"an agency brings no records, and {excess[0]!r} speaks of them", "Leave it out.")
            raw = {**raw, "source": ""}
        if "database" in raw:
            raise ConfigurationError("node.toml", "'database' is no key of it", "A database is written as a table [source].")
        source = raw.get("source")
        if isinstance(source, str) and "://" in source:
            what = "source is a path, and this is the URL of a database"
            raise ConfigurationError("node.toml", what, "Write a table [source] with url, and table or query: docs/guides/sources.md.")
        database = Database.from_dict(source, root) if isinstance(source, Mapping) else None
        try:
            config = msgspec.convert({**raw, "source": ""} if database else dict(raw), known(cls), strict=True, dec_hook=path)
        except msgspec.ValidationError as error:
            raise ConfigurationError("node.toml", str(error).replace("`", ""), "Correct the file.") from None
        if config.legal_basis == "agency" and (not config.through or config.has_outcomes or config.weight or config.consent):
            what = 'legal_basis = "agency" needs `through`, and goes with no label, weight or ledger of its own'
            raise ConfigurationError("node.toml", what, "Name the agency that holds the consents; leave the others out.")
        config.require_one_outcome()
        config._require_owners()  # noqa: SLF001  # of the class itself
        require(config.retention)
        return config if database is None else msgspec.structs.replace(config, database=database)

    def _require_owners(self) -> None:
        """Whom columns of owners are of, and who holds their consents. Raises ConfigurationError."""
        if self.owner_columns and self.owner is None:
            what = "owner_columns speak of an owner, and no column names the owner"
            raise ConfigurationError("node.toml", what, 'Name it: owner = "owner_id"; or leave owner_columns out.')
        if self.owner is not None and self.legal_basis == "agency":
            what = "owner is named, and an agency states the consents of firms alone"
            raise ConfigurationError("node.toml", what, 'Keep the consents in a ledger of your own (legal_basis = "consent").')
