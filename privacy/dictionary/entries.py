"""Entries of the dictionary, read from the files beside this module and checked as they are read."""

from __future__ import annotations

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
    """A column of a raw record. required: a table without it is refused; values: of a code; also: other usual names of it, for the nearest-name
    search alone.
    """

    name: Text
    type: RecordType
    definition: Text
    required: bool = True
    values: tuple[Text, ...] = ()
    unit: str = ""
    level: Level = 3
    classification: Classification = msgspec.field(name="class", default="C1")
    also: tuple[Text, ...] = ()


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
    return records, features


def _add(entries: dict[str, T], name: str, entry: T, file: str) -> None:
    if name in entries:
        raise ConfigurationError(file, f"{name!r} is defined twice", "Each name has one meaning.")
    entries[name] = entry


def record_kinds() -> dict[str, RecordKind]:
    """Every kind of raw record by name. Raises ConfigurationError."""
    return _load()[0]


def features() -> dict[str, Feature]:
    """Every feature by name. Raises ConfigurationError."""
    return _load()[1]
