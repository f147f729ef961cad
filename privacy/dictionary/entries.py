"""Entries of the dictionary, read from the files beside this module and checked as they are read."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Annotated, Final, Literal, TypeVar

import msgspec
from msgspec import Meta

from federation.kernel.errors import ConfigurationError
from federation.kernel.known import known
from privacy.dictionary.formula import read_formula
from privacy.levels import Classification, Level

RecordType = Literal["id", "text", "day", "moment", "money", "number", "count", "code", "flag"]
"""id: of a firm, owner or counterparty; text: as it stands; day, moment: a date, a date with time; money: CNY, held in whole fen (int64);
number: float64; count: a whole number >= 0; code: one of `values`; flag: yes or no.
"""
Text = Annotated[str, Meta(min_length=1)]
T = TypeVar("T")
GENERIC: Final = "records"
"""The role of the kind of record that every source of dated records shares."""
_FIRST: Final = ("bank", "platform", "tax")


class _Entry(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    pass


class RecordColumn(_Entry, frozen=True):
    """A column of a raw record. required: a table without it is refused; blank: whether a cell may be empty (where not given, it may unless the
    column is required: else its row is dropped); values: of a code; range: least and greatest number that can be true (CNY for money), a cell
    beyond it fails; also: other usual names of it, tried where a mapping names none.
    """

    name: Text
    type: RecordType
    definition: Text
    required: bool = True
    blank: bool | None = None
    values: tuple[Text, ...] = ()
    range: tuple[float, float] = (-float("inf"), float("inf"))
    unit: str = ""
    level: Level = 3
    classification: Classification = msgspec.field(name="class", default="C1")
    also: tuple[Text, ...] = ()

    @property
    def may_be_blank(self) -> bool:
        """Whether a cell may be empty."""
        return not self.required if self.blank is None else self.blank

    @property
    def bounds(self) -> str:
        """The range in words, "" where it is open."""
        low, high = self.range
        if high < float("inf"):
            return f"{low:g} to {high:g}"
        return f"{low:g} or more" if low > -float("inf") else ""


class RecordKind(_Entry, frozen=True):
    """A kind of raw record. key: the columns that name one record, so that the same record twice is counted once; date: the column by which a
    record is known (as-of rule: a feature as of a month uses records dated before its first day).
    """

    name: Text
    role: Text
    title: Text
    definition: Text
    key: tuple[Text, ...]
    date: Text
    columns: tuple[RecordColumn, ...] = msgspec.field(name="column")

    def column(self, name: str) -> RecordColumn:
        """One of its columns. Raises KeyError."""
        return {column.name: column for column in self.columns}[name]


class Feature(_Entry, frozen=True):
    """A canonical feature. name: as its column is called; source: the kind of record it is made of, by which whole sources are weighed and
    dropped; period: what it looks back on, "" for a state; range: the least and the greatest plausible value, -inf and inf where open;
    direction: which way risk rises; comparable: whether its value means the same in every industry.
    """

    name: Annotated[str, Meta(pattern=r"^[a-z][a-z0-9_]{1,62}$")]
    role: Text
    source: Text
    definition: Text
    formula: Text
    unit: Text
    period: str
    level: Level
    classification: Classification = msgspec.field(name="class")
    range: tuple[float, float]
    direction: Literal["higher is riskier", "lower is riskier", "either"]
    comparable: Literal["across industries", "within industry"]
    kind: Literal["numeric", "categorical"] = "numeric"


class SourceKind(_Entry, frozen=True):
    """A kind of dated record that a source has. also: what it is called elsewhere; statuses: that such a record may have, () where none counts;
    open: those of them that leave the matter open.
    """

    name: Annotated[str, Meta(pattern=r"^[a-z][a-z0-9_]{0,31}$")]
    definition: Text
    also: tuple[Text, ...] = ()
    statuses: tuple[Text, ...] = ()
    open: tuple[Text, ...] = ()


class SourceFeature(_Entry, frozen=True):
    """A feature of a source of dated records, by a formula that `privacy.dictionary.formula` reads; role, source and period follow from it."""

    name: Annotated[str, Meta(pattern=r"^[a-z][a-z0-9_]{1,62}$")]
    definition: Text
    formula: Text
    unit: Text
    level: Level
    direction: Literal["higher is riskier", "lower is riskier", "either"]
    classification: Classification = msgspec.field(name="class", default="C1")
    range: tuple[float, float] = (0.0, float("inf"))
    comparable: Literal["across industries", "within industry"] = "across industries"


class RecordSource(_Entry, frozen=True):
    """A source of dated records (kind of record `records`): what kinds it has, and the features made of them by the one adapter."""

    name: Annotated[str, Meta(pattern=r"^[a-z][a-z0-9_]{0,31}$")]
    role: Annotated[str, Meta(pattern=r"^[a-z][a-z0-9-]{0,31}$")]
    title: Text
    definition: Text
    kinds: tuple[SourceKind, ...] = msgspec.field(name="kind")
    entries: tuple[SourceFeature, ...] = msgspec.field(name="feature")

    @property
    def features(self) -> tuple[Feature, ...]:
        """Its features as the dictionary has them. Raises ConfigurationError for a formula that is none."""
        return tuple(self._feature(entry) for entry in self.entries)

    def _feature(self, entry: SourceFeature) -> Feature:
        formula, kinds = read_formula(entry.formula), {kind.name: kind for kind in self.kinds}
        where = f"{self.name}: feature {entry.name!r}"
        if formula is None:
            raise ConfigurationError(where, "its formula is none that is known", "privacy/dictionary/formula.py has them all.")
        for name in formula.kinds:
            if name not in kinds or not set(formula.statuses) <= set(kinds[name].statuses):
                raise ConfigurationError(where, f"its formula names a kind or status that {self.name!r} does not declare", "Declare it.")
        return Feature(
            name=entry.name, role=self.role, source=self.name, definition=entry.definition, formula=entry.formula, unit=entry.unit,
            period=formula.period, level=entry.level, classification=entry.classification, range=entry.range,
            direction=entry.direction, comparable=entry.comparable,
        )  # fmt: skip


class _File(_Entry, frozen=True):
    records: tuple[RecordKind, ...] = msgspec.field(name="record", default=())
    features: tuple[Feature, ...] = msgspec.field(name="feature", default=())
    sources: tuple[RecordSource, ...] = msgspec.field(name="source", default=())


@dataclass(frozen=True)
class Dictionary:
    """All entries by name."""

    records: Mapping[str, RecordKind]
    features: Mapping[str, Feature]
    sources: Mapping[str, RecordSource]

    @property
    def roles(self) -> tuple[str, ...]:
        """Roles of institutions that have entries: the first three, then the others by name. A kind of record that many roles share is none."""
        entries: list[RecordKind | Feature | RecordSource] = [*self.records.values(), *self.features.values(), *self.sources.values()]
        named = {entry.role for entry in entries} - {GENERIC}
        return (*(role for role in _FIRST if role in named), *sorted(named - set(_FIRST)))


def read(texts: Iterable[tuple[str, bytes]]) -> Dictionary:
    """The dictionary that these files (name, content) make together. Raises ConfigurationError."""
    records: dict[str, RecordKind] = {}
    features: dict[str, Feature] = {}
    sources: dict[str, RecordSource] = {}
    for name, content in texts:
        try:
            found = msgspec.toml.decode(content, type=known(_File))
        except (msgspec.MsgspecError, ValueError) as error:
            raise ConfigurationError(name, str(error), "Correct the entry.") from None
        for record in found.records:
            _add(records, record.name, record, name)
        for source in found.sources:
            _add(sources, source.name, source, name)
        for feature in (*found.features, *(feature for source in found.sources for feature in source.features)):
            _add(features, feature.name, feature, name)
    for name, what in faults(records, features, sources):
        raise ConfigurationError(f"privacy/dictionary: {name}", what, "Correct the entry.")
    return Dictionary(records, features, sources)


def shipped() -> Iterator[tuple[str, bytes]]:
    """Name and content of each file beside this module."""
    for path in sorted(files("privacy.dictionary").iterdir(), key=lambda path: path.name):
        if path.name.endswith(".toml"):
            yield path.name, path.read_bytes()


@cache
def dictionary() -> Dictionary:
    """The dictionary that this version ships. Raises ConfigurationError."""
    return read(shipped())


def _add(entries: dict[str, T], name: str, entry: T, file: str) -> None:
    if name in entries:
        raise ConfigurationError(file, f"{name!r} is defined twice", "Each name has one meaning.")
    entries[name] = entry


def faults(records: Mapping[str, RecordKind], features: Mapping[str, Feature], sources: Collection[str]) -> Iterator[tuple[str, str]]:
    """Entries that contradict themselves or each other: name, and what is wrong. sources: names of sources that share a kind of record."""
    for record in records.values():
        yield from ((record.name, what) for what in _of_a_record(record))
    for feature in features.values():
        low, high = feature.range
        if not low < high:
            yield feature.name, "its range is not ordered: the least plausible value comes first"
        if feature.source not in records and feature.source not in sources:
            yield feature.name, f"its source {feature.source!r} is neither a kind of record nor a named source"


def _of_a_record(record: RecordKind) -> Iterator[str]:
    columns = {column.name: column for column in record.columns}
    if len(columns) < len(record.columns):
        yield "a column is there twice"
    for name in (*record.key, record.date):
        if name not in columns:
            yield f"{name!r} is none of its columns"
    if record.date in columns and columns[record.date].type not in ("day", "moment"):
        yield "its date is no day"
    for column in record.columns:
        if (column.type == "code") != bool(column.values):
            yield f"{column.name!r} has values and is no code, or has none and is one"


def record_kinds() -> Mapping[str, RecordKind]:
    """Every kind of raw record by name. Raises ConfigurationError."""
    return dictionary().records


def features() -> Mapping[str, Feature]:
    """Every feature by name. Raises ConfigurationError."""
    return dictionary().features


def record_sources() -> Mapping[str, RecordSource]:
    """Every source of dated records by name. Raises ConfigurationError."""
    return dictionary().sources
