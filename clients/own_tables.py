"""mapping.toml: which of an institution's own tables holds which kind of record, and what its columns, words and units are called there.

role = "tax"
dictionary = "1.0"               # the version that it was written for
time_zone = "Asia/Shanghai"      # of time stamps that name no zone
id_kind = "uscc"                 # of firms; "any" where they are no Unified Social Credit Codes
extracted = 2025-01-31           # no record is dated later; today where not given
tolerated = 0.01                 # share of rows that may fail before a table is refused

[sales_invoices]                 # a kind of record of the dictionary
source = "sales.csv"             # CSV, Parquet, a folder of Parquet parts or *.toml forms; or [sales_invoices.source] url, and table or query
key = ["firm", "number", "date"] # what names one record, where it is not the dictionary's key
day_order = "day first"          # of dates such as 03/04/2024, which are refused without it

[sales_invoices.columns]         # the dictionary's name = your own; where none is given the name itself and other usual ones are tried
firm = "TAXPAYER_ID"
[sales_invoices.values.status]   # the dictionary's word = your spellings
valid = ["normal"]
[sales_invoices.units]           # of money
amount = "10k yuan"
"""

from __future__ import annotations

import datetime as dt
import zoneinfo
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import msgspec

from clients.database import Database
from federation.kernel.errors import ConfigurationError
from privacy.dictionary import VERSION
from privacy.dictionary.conventions import MONEY_UNITS, conventions
from privacy.dictionary.entries import GENERIC, RecordKind, dictionary, record_kinds
from privacy.store import strict_toml

CHINA: Final = zoneinfo.ZoneInfo(conventions().calendar.time_zone)
TOLERATED: Final = 0.01


class _Head(msgspec.Struct, frozen=True, kw_only=True):
    role: str
    dictionary: str
    name: str = ""
    time_zone: str = CHINA.key
    id_kind: Literal["uscc", "any"] = "uscc"
    extracted: dt.date | None = None
    tolerated: Annotated[float, msgspec.Meta(ge=0, lt=1)] = TOLERATED


class _Kind(msgspec.Struct, frozen=True, kw_only=True):
    source: str | dict[str, Any]
    key: tuple[str, ...] = ()
    day_order: Literal["", "day first", "month first"] = ""
    columns: dict[str, str] = {}
    values: dict[str, dict[str, tuple[str, ...]]] = {}
    units: dict[str, str] = {}


@dataclass(frozen=True)
class OwnTable:
    """One table that holds one kind of record. source: a path, or a database; columns: canonical to own name; units: of money, by column."""

    kind: RecordKind
    source: Path | Database
    key: tuple[str, ...]
    day_order: str = ""
    columns: Mapping[str, str] = field(default_factory=dict)
    values: Mapping[str, Mapping[str, tuple[str, ...]]] = field(default_factory=dict)
    units: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class OwnTables:
    """An institution's own tables by kind of record. name: as errors call the institution; zone: of time stamps that name none."""

    name: str
    role: str
    tables: Mapping[str, OwnTable]
    zone: zoneinfo.ZoneInfo = CHINA
    id_kind: Literal["uscc", "any"] = "uscc"
    extracted: dt.date | None = None
    tolerated: float = TOLERATED


def load(path: Path) -> OwnTables:
    """Read mapping.toml; paths are taken from its folder. Raises ConfigurationError, which names the nearest known name."""
    raw, file = strict_toml.read(path), path.name
    keys, kinds = _Head.__struct_fields__, record_kinds()
    head = {key: value for key, value in raw.items() if key in keys}
    strict_toml.require_known(file, (key for key in raw if key not in keys), [*kinds, *keys], "key or kind of record")
    said = strict_toml.table(file, head, _Head)
    if said.dictionary.split(".")[0] != VERSION.split(".")[0]:
        what = f"it is written for version {said.dictionary} of the dictionary, and this is {VERSION}"
        raise ConfigurationError(file, what, "Read docs/dictionary/README.md, and write the version that you have checked it against.")
    strict_toml.require_known(f"{file}: role", [said.role], dictionary().roles, "role")
    tables = {name: _table(f"{file}: [{name}]", raw[name], kinds[name], path.parent) for name in raw if name in kinds}
    if not tables:
        raise ConfigurationError(file, "it names no table", f"Add one of [{'], ['.join(_of(said.role))}].")
    for name, table in tables.items():
        if name not in _of(said.role):
            what = f"[{name}] is a kind of record of role {table.kind.role!r}, and this mapping is of role {said.role!r}"
            raise ConfigurationError(file, what, f"Kinds of this role: {', '.join(_of(said.role))}. Each role has a mapping of its own.")
    return OwnTables(
        said.name or path.stem, said.role, tables, _zone(file, said.time_zone), said.id_kind, said.extracted, said.tolerated
    )  # fmt: skip


def _of(role: str) -> list[str]:
    """The kinds of record of a role: its own, or the one that all sources of dated records share."""
    own = [name for name, kind in record_kinds().items() if kind.role == role]
    return own or [name for name, kind in record_kinds().items() if kind.role == GENERIC]


def _zone(file: str, name: str) -> zoneinfo.ZoneInfo:
    try:
        return zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError):
        pass
    near = strict_toml.nearest(name, sorted(zoneinfo.available_timezones())) if "/" in name else 'Write it as "Asia/Shanghai".'
    raise ConfigurationError(f"{file} time_zone", f"{name!r} is no time zone", near)


def _table(where: str, raw: Any, kind: RecordKind, home: Path) -> OwnTable:
    said = strict_toml.table(where, raw, _Kind)
    names = [column.name for column in kind.columns]
    for part, given in (("columns", said.columns), ("values", said.values), ("units", said.units), ("key", said.key)):
        strict_toml.require_known(f"{where} {part}", given, names, "column")
    if said.key and kind.date not in said.key:
        what = f"the key has no {kind.date!r}, so that a later record could take the place of an earlier one"
        raise ConfigurationError(f"{where} key", what, f"Add {kind.date!r}: no feature may know what came after its month.")
    for name, words in said.values.items():
        column = kind.column(name)
        if column.type not in ("code", "flag"):
            raise ConfigurationError(f"{where} values", f"column {name!r} has no fixed words", "Leave it out.")
        strict_toml.require_known(f"{where} values.{name}", words, column.values or ("yes", "no"), "word")
        _once(f"{where} values.{name}", words)
    for name, unit in said.units.items():
        if kind.column(name).type != "money":
            raise ConfigurationError(f"{where} units", f"column {name!r} is no money", "Leave it out.")
        strict_toml.require_known(f"{where} units {name}", [unit], MONEY_UNITS, "unit")
    if len(set(said.columns.values())) < len(said.columns):
        raise ConfigurationError(f"{where} columns", "one column of yours stands for two", "Name a column of its own for each.")
    source = home / said.source if isinstance(said.source, str) else Database.from_dict(said.source, home)
    return OwnTable(kind, source, said.key or kind.key, said.day_order, said.columns, said.values, said.units)


def _once(where: str, words: Mapping[str, tuple[str, ...]]) -> None:
    spelled = [spelling.strip().casefold() for spellings in words.values() for spelling in spellings]
    if len(set(spelled)) < len(spelled):
        raise ConfigurationError(where, "one spelling stands for two words", "Give each spelling one meaning.")
