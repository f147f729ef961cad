"""A feature table: an institution's own tables through its role's adapter, checked against the dictionary, and written as Parquet.

One row for each firm and as-of month: `id`, `as_of` (the month's first day), then features by their canonical names.
"""

from __future__ import annotations

import datetime as dt
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pa_parquet

from clients.cleaned import Cleaned
from clients.own_tables import OwnTables
from clients.vault import open_records
from federation.kernel.errors import ConfigurationError, DataError, LocalError
from privacy.dictionary import VERSION
from privacy.dictionary.entries import Feature, features, record_sources
from privacy.dictionary.plausible import outside
from privacy.store.durable import sync

KEYS: Final = ("id", "as_of")
LONGEST: Final = 240
"""Months at once: twenty years."""

Watch = Callable[[str, int], None]
"""Told after each batch: kind of record, bytes of it so far."""


class Build(Protocol):
    """`build` of an adapter: records by kind, and the as-of months, to the feature table."""

    def __call__(self, records: Mapping[str, Iterable[pd.DataFrame]], months: Sequence[np.datetime64]) -> pd.DataFrame:
        """See `clients.roles`."""
        ...


@dataclass(frozen=True)
class Coverage:
    """Of a feature: present: rows that have it; outside: values beyond the plausible range."""

    feature: Feature
    present: int
    outside: int


@dataclass(frozen=True)
class Built:
    """table: as written; coverage: of each feature; cleaned: by kind of record; unread: kinds that no feature of the role is made of."""

    table: pd.DataFrame
    coverage: tuple[Coverage, ...]
    cleaned: Mapping[str, Cleaned]
    unread: tuple[str, ...] = ()


def months(text: str) -> list[np.datetime64]:
    """The months of "2023-01..2024-12", or of one month. Raises ConfigurationError."""
    first, dots, last = text.partition("..")
    start, end = _month(first), _month(last if dots else first)
    if start is None or end is None:
        raise ConfigurationError("--as-of", f"{text!r} is no month and no range of months", 'Write "2024-06", or "2023-01..2024-12".')
    if end < start:
        raise ConfigurationError("--as-of", f"{text!r} ends before it begins", f'Write "{last}..{first}".')
    found = np.arange(start, end + 1)
    if len(found) > LONGEST:
        raise ConfigurationError("--as-of", f"{len(found)} months are more than {LONGEST}", "Build a shorter range.")
    return list(found)


def _month(text: str) -> np.datetime64 | None:
    try:
        return np.datetime64(dt.datetime.strptime(text.strip(), "%Y-%m"), "M")  # noqa: DTZ007  # a month
    except ValueError:
        return None


def require_known_by(as_of: Sequence[np.datetime64], extracted: dt.date) -> None:
    """A month's features need all records before its first day: of a month after the extract they would say that every firm has stopped.

    Raises ConfigurationError.
    """
    late = [month for month in as_of if month.astype("datetime64[D]") > np.datetime64(extracted, "D")]
    if late:
        what = f"{len(late)} of {len(as_of)} months begin after the day of the extract, {extracted}"
        action = (
            f"Build to {np.datetime64(extracted, 'M')} at the latest, or correct `extracted` in the mapping (today where it is not given)."
        )
        raise ConfigurationError("--as-of", what, action)


def require_writable(path: Path) -> None:
    """The table can go there, as far as one can tell before hours of reading. Raises ConfigurationError."""
    folder = path.absolute().parent
    if path.suffix.lower() in (".csv", ".toml", ".xlsx"):
        raise ConfigurationError("--out", f"features are Parquet, and {path.name} says otherwise", f"Name it {path.stem}.parquet.")
    if not folder.is_dir():
        raise ConfigurationError("--out", f"there is no folder {path.parent}", "Name a folder that is there.")
    if path.is_dir():
        raise ConfigurationError("--out", f"{path} is a folder", "Name a file in it.")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise ConfigurationError("--out", f"nothing can be written into {folder}", "Name a folder that you may write to.")


def adapter(role: str) -> Build:
    """The role's own adapter, or that of all sources of dated records. Raises ConfigurationError where there is none."""
    source = next((name for name, source in record_sources().items() if source.role == role), None)
    if source is not None:
        from clients.roles.records.features import build as of_records

        return partial(of_records, source=source)
    if role == "tax":
        from clients.roles.tax.features import build as of_tax

        return of_tax
    if role == "platform":
        from clients.roles.platform.features import build as of_platform

        return of_platform
    if role == "bank":
        from clients.roles.bank.features import build as of_bank

        return of_bank
    raise ConfigurationError(f"role {role!r}", "this version has no adapter for it", "Name another role in the mapping.")


def build(tables: OwnTables, as_of: Sequence[np.datetime64], today: dt.date, watch: Watch, make: Build | None = None) -> Built:
    """Open every table of a mapping, and have its role's adapter make features of the records. make: another adapter, in its place.

    Raises DataError for a table that the raw door refuses, and where no row comes of all; LocalError where adapter and dictionary differ.
    """
    chosen = make or adapter(tables.role)
    opened = {kind: open_records(tables, kind, today) for kind in tables.tables}
    begun: list[str] = []

    def watched(kind: str) -> Iterator[pd.DataFrame]:
        begun.append(kind)
        for batch in opened[kind].batches():
            watch(kind, opened[kind].bytes_read)
            yield batch

    table = chosen({kind: watched(kind) for kind in opened}, as_of)
    for kind in begun:
        opened[kind].require_finished()
    if table.empty:
        what = f"no firm has a record before {as_of[-1]} (rule: one record dated before the month)"
        raise DataError(tables.name, what, "Nothing was written. Choose later months in --as-of, or bring earlier records.")
    unread = tuple(kind for kind in opened if kind not in begun)
    return Built(table, check(table, tables.role), {kind: raw.cleaned for kind, raw in opened.items() if kind in begun}, unread)


def joined(one: Built, other: Built) -> Built:
    """The rows of one, with the features of another beside its own where they are of the same firm and month."""
    table = one.table.merge(other.table, on=list(KEYS), how="left", validate="one_to_one")
    added = check(table[list(other.table.columns)], "of both")
    unread = tuple(kind for kind in one.unread if kind in other.unread)
    return Built(table, (*one.coverage, *added), {**one.cleaned, **other.cleaned}, unread)


def check(table: pd.DataFrame, role: str) -> tuple[Coverage, ...]:
    """What an adapter made is what the dictionary says. Raises LocalError."""
    known, where = features(), f"adapter of role {role!r}"
    strange = [name for name in table.columns if name not in (*KEYS, *known)]
    if strange or not set(KEYS) <= set(table.columns):
        what = f"made column {strange[0]!r}, which the dictionary does not have" if strange else "made no id or as_of"
        raise LocalError(where, what, "Report it: adapter and dictionary differ.")
    if table.duplicated(list(KEYS)).any():
        raise LocalError(where, "made several rows for one firm and month", "Report it.")
    found = []
    for name in table.columns:
        if name not in KEYS:
            values, feature = table[name], known[name]
            numbers = values.to_numpy(np.float64, na_value=np.nan) if feature.kind == "numeric" else np.empty(0)
            found.append(Coverage(feature, int(values.notna().sum()), outside(feature, numbers)))
    return tuple(found)


def write(table: pd.DataFrame, role: str, path: Path) -> None:
    """As Parquet, whole or not at all; the file names the dictionary's version. Raises OSError."""
    arrow = pa.Table.from_pandas(table, preserve_index=False)
    said = {b"creditfed.dictionary": VERSION.encode(), b"creditfed.role": role.encode()}
    write_whole(arrow.replace_schema_metadata((arrow.schema.metadata or {}) | said), path)


def write_whole(arrow: Any, path: Path, mode: int | None = None) -> None:
    """A table as Parquet, whole or not at all. mode: of the file, where it is not as usual. Raises OSError."""
    partial = path.with_name(path.name + ".partial")
    try:
        with partial.open("wb") as file:  # Arrow's own errors of opening name no file
            if mode is not None:
                partial.chmod(mode)
            pa_parquet.write_table(arrow, file)
        sync(partial)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
