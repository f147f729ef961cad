"""The vault: the only place where an institution's raw records are opened, checked and turned into the table that protocols work on.

What leaves here has one spelling of ids, typed columns without infinite values, and rows sorted by key: the same records in any file order
give the same table and the same commitment. What breaks a rule is a DataError with column, rule and count, and never a value.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clients.column_sources import column_sources
from clients.database import Database
from clients.own_tables import OwnTables
from clients.party_config import PartyConfig
from clients.row_tree import Rows, RowTree, manifests_salt
from clients.sources.opening import Stamp, estimated_size, stamp
from clients.sources.outcomes import make_outcomes
from clients.sources.plausibility import Plausibility
from clients.sources.plausibility import plausibility as weigh
from clients.sources.raw import Raw, open_raw
from clients.sources.records import load
from clients.sources.repayments import read_histories
from clients.sources.typed import Records
from federation.align import uscc
from federation.kernel import suite
from federation.kernel.errors import AbortCode, DataError, PolicyRefusal
from federation.kernel.manifest import ColumnDeclaration, Manifest
from federation.kernel.secret import Secret
from federation.models.table import Column, Table
from federation.models.target.findings import Findings
from privacy.dictionary.entries import features
from privacy.levels import DEFAULT_CLASSIFICATION, DEFAULT_LEVEL

Places = NDArray[np.intp]


@dataclass(frozen=True)
class Facts:
    """What a party says of its table before a run: no row.

    rows, firms: how many, for its own screen alone; periods: its months, YYYY-MM, where its rows are dated.
    """

    columns: tuple[ColumnDeclaration, ...]
    id_kind: uscc.Kind
    dated: bool
    several_rows_per_firm: bool
    rows: int
    periods: tuple[str, ...]
    notes: tuple[str, ...]
    firms: int = 0


def describe_table(config: PartyConfig) -> Facts:
    """The party's columns and the shape of its table. Raises DataError."""
    records = load(config)
    dated = records.as_of is not None
    firms = len(set(records.firms))
    several = records.keys is None and firms < len(records.firms)
    if several and not dated:
        uscc.refuse_duplicates(records.firms, f"{config.name}: column {config.id!r} (firms with several rows need [sample] as_of)")
    periods = tuple(sorted(set(records.months.tolist()))) if dated else ()
    columns = _declared(config, records.columns)
    return Facts(columns, records.id_kind, dated, several, len(records.firms), periods, records.notes, firms)


@dataclass(frozen=True)
class BookFacts:
    """What a party's repayment table is, for its own screen: loans and firms of the feature table's firms, first and last month, YYYY-MM."""

    loans: int
    firms: int
    first: str
    last: str
    notes: tuple[str, ...]


def describe_repayments(config: PartyConfig) -> BookFacts:
    """The party's repayment table, read and checked as a run would. Raises DataError."""
    records = load(config)
    loans, notes = read_histories(config, records.id_kind, set(records.firms))
    return BookFacts(len(loans.firm), len(loans.firms), str(loans.first), str(loans.last), notes)


Chooser = Callable[[Sequence[str], Sequence[str]], NDArray[np.bool_]]
"""Takes the firms of the source's rows, and their owners where the source names them; returns which of these rows may be used, (n,)."""


class Vault:
    """One institution's, which remembers what it has opened. salt: the node's, from which each manifest's commitment has its own.

    A source that has changed is opened anew, and a database each time that it is asked for: nothing tells whether a table or a view is what it
    was. A run that is open holds the rows that it began with itself.
    """

    def __init__(self, config: PartyConfig, salt: Secret) -> None:
        self._config, self._salt = config, salt
        self._stamp: Stamp | None = None
        self._facts: Facts | None = None
        self._tables: dict[tuple[Any, ...], Table] = {}
        self._committed: dict[bytes, Table] = {}

    def facts(self) -> Facts:
        """What the party says of its table, read again when the source has changed. Raises DataError."""
        self._notice_changes()
        if self._facts is None:
            self._facts = describe_table(self._config)
        return self._facts

    def rows(self, manifest: Manifest, consented: Chooser | None = None) -> Table:
        """The party's rows for a manifest, as `open_table` has them; the same again while this object lives."""
        sample = manifest.sample
        shape = (sample.key, sample.periods, manifest.align.kind, manifest.privacy.max_rows, sample.target, manifest.select.drop_sources)
        key = (manifest.hash,) if consented else shape
        if manifest.hash not in self._committed:
            salt, before = manifests_salt(self._salt, manifest.hash), self._tables.get(key)
            if before is None:
                self._tables[key] = open_table(self._config, manifest, salt, consented)
            self._committed[manifest.hash] = self._tables[key] if before is None else committed(before, salt)
        return self._committed[manifest.hash]

    def rows_anew(self, manifest: Manifest, consented: Chooser | None = None) -> Table:
        """The rows of a run that is not open yet, by the source and the consents of today: who was erased at the source is in no further run."""
        if consented is None:
            self._notice_changes()
        else:
            self._tables.pop((manifest.hash,), None)
            self._committed.pop(manifest.hash, None)
        return self.rows(manifest, consented)

    def forget(self) -> None:
        """Let go of all that is in memory."""
        self._facts = None
        self._tables.clear()
        self._committed.clear()

    def _notice_changes(self) -> None:
        found = stamp(self._config)
        if found is None or found != self._stamp:
            self.forget()
            self._stamp = found


def open_records(tables: OwnTables, kind: str, today: dt.date) -> Raw:
    """An institution's own table of one kind of record, for its adapters: clean canonical frames and the account of what was done to them.

    today: no record is later, where the mapping names no day of extract. Raises DataError, ConfigurationError.
    """
    return open_raw(tables, kind, today)


def plausibility(place: Path | Database, where: str) -> Plausibility:
    """A finished feature table against the dictionary's ranges, in counts. Raises DataError, ConfigurationError."""
    return weigh(place, where)


def size_of(place: Path | Database) -> int | None:
    """Bytes that a source is in memory, about, for a progress bar; None where nothing tells."""
    return estimated_size(place)


def open_table(config: PartyConfig, manifest: Manifest, salt: Secret, consented: Chooser | None = None) -> Table:
    """The party's rows for a manifest: those and only those columns, keyed as its sample says. salt: of this manifest
    (`row_tree.manifests_salt`), hides what the commitment commits to; consented: which rows have consent, None where another legal basis holds
    for all. What it does not let through is nowhere in the table.

    Raises DataError, and PolicyRefusal where an undated table repeated for every period would exceed the manifest's max_rows.
    """
    records = load(config)
    declared, dropped = manifest.party(config.name).columns, manifest.select.drop_sources
    offered = _declared(config, records.columns)
    kept = tuple(column for column in offered if (column.source or config.name) not in dropped)
    if kept != declared or records.id_kind != manifest.align.kind:
        action = "Nothing was sent. Draft the manifest again from the node's current description."
        raise DataError(config.name, "the source's columns or ids are no longer those that the manifest declares", action)
    for name in {column.name for column in offered} - {column.name for column in kept}:
        del records.columns[name]
    allowed = np.arange(len(records.firms)) if consented is None else np.flatnonzero(consented(records.firms, records.owners))
    records, allowed, found = _with_outcomes(config, manifest, records, allowed)
    if manifest.sample.key == "firm":
        rows, keys, notes = allowed, _at(records.keys or records.firms, allowed), records.notes
        uscc.refuse_duplicates(keys, f"{config.name}: column {config.id!r}", allowed.tolist())
    else:
        rows, keys, notes = _by_period(config, records, allowed, manifest)
    order = np.fromiter(sorted(range(len(keys)), key=keys.__getitem__), np.intp, len(keys))
    return committed(replace(_pick(records, _at(keys, order), rows[order], notes), target=found), salt)


def _with_outcomes(config: PartyConfig, manifest: Manifest, records: Records, allowed: Places) -> tuple[Records, Places, Findings | None]:
    """The records with labels by the manifest's target, and which of those allowed have one; as they are where it brings a column of them."""
    target = manifest.sample.target
    if config.repayments is None:
        return records, allowed, None
    if target is None:
        what = "this node makes outcomes of its repayment table, and the manifest has no target"
        raise DataError(config.name, what, "Nothing was sent. The run file needs [target].")
    made = make_outcomes(config, target, records, allowed)
    return replace(records, label=made.label, notes=(*records.notes, *made.notes)), made.rows, made.findings


def committed(table: Table, salt: Secret) -> Table:
    """The same rows, committed to for another manifest. salt: that manifest's."""
    return replace(table, commitment=row_tree(table, salt).root)


def _by_period(config: PartyConfig, records: Records, allowed: Places, manifest: Manifest) -> tuple[Places, list[str], tuple[str, ...]]:
    """Row numbers and keys "id|YYYY-MM": a dated table's rows of the manifest's periods, an undated one's rows once for each period."""
    periods, firms = manifest.sample.periods, [records.firms[row] for row in allowed]
    if records.as_of is not None:
        months = records.months[allowed]
        keys = [f"{firm}|{month}" for firm, month in zip(firms, months, strict=True)]
        uscc.refuse_duplicates(keys, f"{config.name}: columns {config.id!r} and {config.as_of!r} (a firm's month)", allowed.tolist())
        chosen = np.flatnonzero(np.isin(months, periods))
        if not len(chosen):
            raise DataError(config.name, "no row lies in the manifest's periods", "Nothing was sent. Check the dates in [sample] as_of.")
        return allowed[chosen], [keys[place] for place in chosen], records.notes
    if len(firms) * len(periods) > manifest.privacy.max_rows:
        what = f"{len(firms):,} undated rows for {len(periods)} periods are more than max_rows = {manifest.privacy.max_rows:,}"
        raise PolicyRefusal(config.name, what, "Give the rows a date column, or a shorter window.", AbortCode.CAP)
    uscc.refuse_duplicates(firms, f"{config.name}: column {config.id!r}", allowed.tolist())
    note = f"{config.name} has one undated snapshot for all {len(periods)} periods: it may know what came later than the row's date"
    return np.repeat(allowed, len(periods)), [f"{firm}|{period}" for firm in firms for period in periods], (*records.notes, note)


def _at(texts: Sequence[str], places: Places) -> list[str]:
    """The same objects in another order."""
    found: list[str] = np.array(texts, object)[places].tolist()
    return found


def _pick(records: Records, keys: list[str], rows: Places, notes: tuple[str, ...]) -> Table:
    """The table of these rows; each column leaves the records as it is picked."""
    columns = {}
    for name in list(records.columns):
        column = records.columns.pop(name)
        columns[name] = Column(name, column.kind, column.values[rows])
    return Table(
        keys=tuple(keys), firms=tuple(_at(records.firms, rows)), columns=columns, commitment=b"",
        as_of=None if records.as_of is None else records.as_of[rows],
        label=None if records.label is None else records.label[rows],
        weight=None if records.weight is None else records.weight[rows], notes=notes,
        owners=tuple(_at(records.owners, rows)) if records.owners else (),
    )  # fmt: skip


def row_tree(table: Table, salt: Secret) -> RowTree:
    """The tree over a table's rows: key, owner, date, label, weight and every column, in the table's order."""
    own = {"as_of": (table.as_of, "<M8[D]"), "label": (table.label, "<i1"), "weight": (table.weight, "<f8")}
    fixed = {name: (values, form) for name, (values, form) in own.items() if values is not None}
    fixed |= {f"column {name}": (column.values, "<f8") for name, column in table.columns.items() if column.kind == "numeric"}
    texts = {name: column.values for name, column in table.columns.items() if column.kind == "categorical"}
    if table.owners:
        texts = {"owner": np.array(table.owners, object)} | {f"column {name}": values for name, values in texts.items()}
    head = suite.digest("row", *fixed, "texts", *texts)
    return RowTree(table.keys, Rows(head, table.keys, list(texts.values()), list(fixed.values())), salt)


def _declared(config: PartyConfig, columns: Mapping[str, Column]) -> tuple[ColumnDeclaration, ...]:
    """Level, class and unit: the institution's own word, else the dictionary's for a feature of that name."""
    sources, known = column_sources(config.name, columns, config.sources), features()

    def declared(column: Column) -> ColumnDeclaration:
        feature = known.get(column.name)
        return ColumnDeclaration(
            name=column.name,
            kind=column.kind,
            level=config.levels.get(column.name, feature.level if feature else DEFAULT_LEVEL),
            classification=config.classes.get(column.name, feature.classification if feature else DEFAULT_CLASSIFICATION),
            unit=feature.unit if feature else "",
            source=sources.get(column.name, ""),
        )

    return tuple(map(declared, columns.values()))
