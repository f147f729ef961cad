"""Entries of the dictionary for a screen."""

from __future__ import annotations

import math
from collections.abc import Iterator

from rich.markup import escape
from rich.table import Column, Table

from federation.kernel.errors import ConfigurationError
from privacy.dictionary import VERSION
from privacy.dictionary.entries import Feature, RecordKind, RecordSource, dictionary
from privacy.store.strict_toml import nearest

Part = Table | str


def overview() -> Iterator[Part]:
    """All names, by kind of record and source."""
    found = dictionary()
    yield f"The dictionary, version {VERSION}. creditfed dictionary show NAME shows one entry."
    records = Table("kind of record", "role", "holds")
    for record in found.records.values():
        records.add_row(record.name, record.role, record.title)
    yield records
    features = Table("role", "made of", "features")
    for role in found.roles:
        own = [feature for feature in found.features.values() if feature.role == role]
        for source in dict.fromkeys(feature.source for feature in own):
            features.add_row(role, source, ", ".join(feature.name for feature in own if feature.source == source))
    yield features


def entry(name: str) -> Iterator[Part]:
    """One kind of record, source, role or feature. Raises ConfigurationError, with the nearest name."""
    found = dictionary()
    if name in found.features:
        yield from _feature(found.features[name])
    elif name in found.records:
        yield from _record(found.records[name])
    elif name in found.sources:
        yield from _source(found.sources[name], [one for one in found.features.values() if one.source == name])
    elif name in found.roles:
        yield from _list(f"Features of role {name}", [one for one in found.features.values() if one.role == name])
    else:
        known = [*found.features, *found.records, *found.sources, *found.roles]
        near = nearest(name, known)
        raise ConfigurationError("dictionary", f"it has no entry {name!r}", near if near.startswith("Did") else "creditfed dictionary show")


def _feature(feature: Feature) -> Iterator[Part]:
    low, high = (f"{bound:g}" if math.isfinite(bound) else "open" for bound in feature.range)
    rows = {
        "meaning": feature.definition, "formula": feature.formula, "role, made of": f"{feature.role}, {feature.source}", "unit": feature.unit,
        "period": feature.period or "a state", "level, class": f"{feature.level}, {feature.classification}", "range": f"{low} to {high}",
        "direction": feature.direction, "comparable": feature.comparable, "kind": feature.kind,
    }  # fmt: skip
    table = Table(feature.name, "")
    for what, text in rows.items():
        table.add_row(what, escape(text))
    yield table


def _record(record: RecordKind) -> Iterator[Part]:
    yield f"{record.title} (role {record.role}). {record.definition} Named by {', '.join(record.key)}; dated by {record.date}."
    table = Table(record.name, "type", "meaning", "required", "level", "also")
    for column in record.columns:
        words = f" One of: {', '.join(column.values)}." if column.values else f" Range: {column.bounds}." if column.bounds else ""
        required = "yes" if column.required else ""
        table.add_row(column.name, column.type, escape(column.definition + words), required, str(column.level), ", ".join(column.also))
    yield table


def _source(source: RecordSource, features: list[Feature]) -> Iterator[Part]:
    yield f"{source.title} (role {source.role}). {source.definition}"
    table = Table(source.name, "meaning", "statuses", "also")
    for kind in source.kinds:
        table.add_row(kind.name, escape(kind.definition), ", ".join(kind.statuses), ", ".join(kind.also))
    yield table
    yield from _list("Features", features)


def _list(title: str, features: list[Feature]) -> Iterator[Part]:
    table = Table(Column("feature", no_wrap=True), "meaning", "unit", "period", title=title)
    for feature in features:
        table.add_row(feature.name, escape(feature.definition), feature.unit, feature.period)
    yield table
