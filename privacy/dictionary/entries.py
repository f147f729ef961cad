"""Entries of the dictionary, read from the files beside this module and checked as they are read."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from functools import cache
from importlib.resources import files
from typing import Annotated, Literal, TypeVar

import msgspec
from msgspec import Meta

from federation.kernel.errors import ConfigurationError
from federation.kernel.known import known
from privacy.levels import Classification, Level

RecordType = Literal["id", "text", "day", "moment", "money", "number", "count", "code", "flag"]
"""id: of a firm, owner or counterparty; text: as it stands; day, moment: a date, a date with time; money: CNY, held in whole fen (int64);
number: float64; count: a whole number >= 0; code: one of `values`; flag: yes or no.
"""
Text = Annotated[str, Meta(min_length=1)]
T = TypeVar("T")


class _Entry(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    pass


class RecordColumn(_Entry, frozen=True):
    """A column of a raw record. required: a table without it is refused; blank: whether a cell may be empty (where not given, it may unless the
    column is required: else its row is dropped); values: of a code; also: other usual names of it, tried where a mapping names none.
    """

    name: Text
    type: RecordType
    definition: Text
    required: bool = True
    blank: bool | None = None
    values: tuple[Text, ...] = ()
    unit: str = ""
    level: Level = 3
    classification: Classification = msgspec.field(name="class", default="C1")
    also: tuple[Text, ...] = ()

    @property
    def may_be_blank(self) -> bool:
        """Whether a cell may be empty."""
        return not self.required if self.blank is None else self.blank


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


class _File(_Entry, frozen=True):
    records: tuple[RecordKind, ...] = msgspec.field(name="record", default=())
    features: tuple[Feature, ...] = msgspec.field(name="feature", default=())


@cache
def _load() -> tuple[dict[str, RecordKind], dict[str, Feature]]:
    records: dict[str, RecordKind] = {}
    features: dict[str, Feature] = {}
    for path in sorted(files("privacy.dictionary").iterdir(), key=lambda path: path.name):
        if not path.name.endswith(".toml"):
            continue
        try:
            found = msgspec.toml.decode(path.read_bytes(), type=known(_File))
        except (msgspec.MsgspecError, ValueError) as error:
            raise ConfigurationError(path.name, str(error), "Correct the entry.") from None
        for record in found.records:
            _add(records, record.name, record, path.name)
        for feature in found.features:
            _add(features, feature.name, feature, path.name)
    for name, what in faults(records, features):
        raise ConfigurationError(f"privacy/dictionary: {name}", what, "Correct the entry.")
    return records, features


def _add(entries: dict[str, T], name: str, entry: T, file: str) -> None:
    if name in entries:
        raise ConfigurationError(file, f"{name!r} is defined twice", "Each name has one meaning.")
    entries[name] = entry


def faults(records: Mapping[str, RecordKind], features: Mapping[str, Feature], sources: Collection[str] = ()) -> Iterator[tuple[str, str]]:
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


def record_kinds() -> dict[str, RecordKind]:
    """Every kind of raw record by name. Raises ConfigurationError."""
    return _load()[0]


def features() -> dict[str, Feature]:
    """Every feature by name. Raises ConfigurationError."""
    return _load()[1]
