"""Where a bank's repayments and loans are read from: a table of its own, or the raw door by a mapping.

A CSV or Parquet file, or a folder of Parquet parts, has columns by the names of the data dictionary's record kinds `repayments` and `loans`, or
by another usual name that stands there (`also`). A mapping (*.toml) leads through the raw door to a table under the bank's own names, in its own
words, in a database too; what the door cleaned is told in a note. One mapping may have both tables.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection
from pathlib import Path
from typing import Any, TypeAlias

import pandas as pd

from clients.own_tables import OwnTables, load
from clients.party_config import PartyConfig
from clients.sources.folder import open_folder
from clients.sources.raw import open_raw
from clients.sources.table import Source, open_file
from federation.kernel.errors import DataError
from privacy.dictionary.entries import RecordKind, record_kinds

Columns: TypeAlias = dict[str, "pd.Series[Any]"]
MAPPING = ".toml"
_REPAYMENTS = ("loan", "firm", "date", "days_past_due", "status")
_LOANS = ("loan", "opened", "fraud")


def repayment_columns(config: PartyConfig) -> tuple[Columns, tuple[str, ...]]:
    """The columns of the repayments that are there, by their names in the dictionary, and notes. Raises DataError, ConfigurationError."""
    assert config.repayments is not None, "asked only of a party with repayments"
    return _read(config, "repayments", config.repayments, _REPAYMENTS)


def loan_columns(config: PartyConfig) -> tuple[Columns, tuple[str, ...]] | None:
    """Those of the loans, which a mapping of the repayments may have as well; None where there are none. Raises as above."""
    if config.loans is not None:
        return _read(config, "loans", config.loans, _LOANS)
    mapping = config.repayments
    if mapping is None or mapping.suffix != MAPPING:
        return None
    tables = load(mapping)
    return _mapped(config, "loans", tables, _LOANS) if "loans" in tables.tables else None


def in_words(count: int, least: int) -> str:
    """A count for a note that may leave: none below the institution's minimum cell."""
    return f"{count:,}" if count >= least else f"fewer than {least}"


def _read(config: PartyConfig, kind: str, path: Path, wanted: tuple[str, ...]) -> tuple[Columns, tuple[str, ...]]:
    return _mapped(config, kind, load(path), wanted) if path.suffix == MAPPING else (_named(config, kind, path, wanted), ())


def _mapped(config: PartyConfig, kind: str, tables: OwnTables, wanted: tuple[str, ...]) -> tuple[Columns, tuple[str, ...]]:
    """By a mapping, through the raw door."""
    if kind not in tables.tables:
        what = f"the mapping has no table [{kind}]"
        raise DataError(f"{config.name}: {kind}", what, f"Nothing was sent. Map it there, or name a file of {kind}.")
    raw = open_raw(tables, kind, dt.date.max)
    frames = list(raw.batches())
    if not frames:
        raise DataError(raw.cleaned.where, "it has no row", "Nothing was sent. Look whether the mapping names the right table.")
    frame = pd.concat(frames, ignore_index=True)
    found = [finding for finding in raw.cleaned.findings() if finding.outcome != "mended"]
    least = config.disclosure.minimum_cell
    notes = [f"{config.name}: {in_words(one.times, least)} rows of the {kind} were {one.outcome} ({one.rule})" for one in found]
    return {name: frame[name] for name in wanted if name in frame}, tuple(notes)


def _named(config: PartyConfig, kind: str, path: Path, wanted: tuple[str, ...]) -> Columns:
    """By the dictionary's names. Raises DataError for a column that must be there and is not."""
    where = f"{config.name}: {kind}"
    source: Source = open_folder(path, where) if path.is_dir() else open_file(path, where)
    entry, found = record_kinds()[kind], {}
    for name in wanted:
        own = _called(entry, name, source.names)
        if own is not None:
            found[name] = own
        elif entry.column(name).required:
            raise _no_column(where, name, entry, source)
    frame = source.read(list(dict.fromkeys(found.values())), {found[name] for name in ("loan", "firm") if name in found})
    return {name: frame.take(own) for name, own in found.items()}


def _called(entry: RecordKind, name: str, names: Collection[str]) -> str | None:
    """What a column of the dictionary is called here."""
    return next((one for one in (name, *entry.column(name).also) if one in names), None)


def _no_column(where: str, name: str, entry: RecordKind, source: Source) -> DataError:
    known = ", ".join(repr(one) for one in (name, *entry.column(name).also))
    what = f"there is no column {name!r} among {len(source.names)} (known by {known})"
    return DataError(where, what, "Nothing was sent. Name it so at the source, or name a mapping.")
