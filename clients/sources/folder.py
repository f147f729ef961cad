"""A folder of Parquet parts as one table: every *.parquet below it, in the order of their paths, with one schema.

Folders named KEY=VALUE (Hive's) give a column KEY, as text, so that a code keeps its leading zeros. What begins with "." or "_" is passed
over: writers keep there what is not finished.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.parquet as pa_parquet

from clients.sources.frame import Frame
from clients.sources.table import Skipped, broken, parquet_batches
from federation.kernel.errors import DataError

_NO_VALUE = "__HIVE_DEFAULT_PARTITION__"


@dataclass(frozen=True)
class FolderSource:
    """A folder's parts. keys: the columns that folders name."""

    where: str
    folder: Path
    files: tuple[Path, ...]
    names: tuple[str, ...]
    keys: tuple[str, ...]
    typed: bool = True

    def read(self, columns: Sequence[str], exact: Collection[str] = ()) -> Frame:
        """Those columns, part after part. Raises DataError."""
        return Frame.of(self.where, self.batches(columns, Skipped()), exact)

    def batches(self, columns: Sequence[str], skipped: Skipped) -> Iterator[Any]:  # noqa: ARG002  # Parquet has no rows to pass over
        """Those columns in batches, part after part. Raises DataError."""
        failed = False
        try:
            for path in self.files:
                yield from self._part(path, columns)
        except (pa.ArrowException, OSError):
            failed = True  # raised outside the handler: Arrow's text may quote cells
        if failed:
            raise broken(self.where, "Parquet")

    def _part(self, path: Path, columns: Sequence[str]) -> Iterator[Any]:
        own, said = [name for name in columns if name not in self.keys], keys_of(self.folder, path)
        for batch in parquet_batches(path, own):
            rows = batch.num_rows
            arrays = {name: pa.array([said[name]] * rows, pa.string()) if name in said else batch.column(name) for name in columns}
            yield pa.RecordBatch.from_arrays(list(arrays.values()), names=list(arrays))


def parts(folder: Path) -> list[Path]:
    """The folder's Parquet files, sorted. Raises OSError where it cannot be listed."""
    found = (path for path in folder.rglob("*.parquet") if path.is_file())
    return sorted(path for path in found if not any(name.startswith((".", "_")) for name in path.relative_to(folder).parts))


def keys_of(folder: Path, path: Path) -> dict[str, str | None]:
    """What the names of a part's folders say, by column."""
    names = [name.partition("=") for name in path.relative_to(folder).parts[:-1] if "=" in name]
    return {unquote(key): None if value == _NO_VALUE else unquote(value) for key, _, value in names}


def open_folder(folder: Path, where: str) -> FolderSource:
    """Look at a folder's parts. Raises DataError where there is none, one is broken, or their schemas differ."""
    try:
        files = tuple(parts(folder))
    except OSError:
        files = ()
    if not files:
        what = f"{folder} has no *.parquet file that can be read"
        raise DataError(where, what, "Write Parquet parts there, or name a file. CSV is read from one file alone.")
    first = keys_of(folder, files[0])
    others = sum(tuple(keys_of(folder, path)) != tuple(first) for path in files)
    if others:
        what = f"{others:,} of {len(files):,} parts lie in folders with other KEY=VALUE names than the first part"
        raise DataError(where, what, "Nothing was sent. Use the same keys, in the same order, for all parts.")
    names = _one_schema(where, files)
    return FolderSource(where, folder, files, (*names, *first), tuple(first))


def _one_schema(where: str, files: Sequence[Path]) -> tuple[str, ...]:
    """The columns of the first part, which all others must have, each in the same type; their order may differ."""
    wanted, *rest = (_schema(where, path) for path in files)
    for name in dict.fromkeys(name for schema in (wanted, *rest) for name in schema):
        other = sum(schema.get(name) != wanted.get(name) for schema in rest)
        if other:
            what = f"column {name!r} is of another type, or missing, in {other:,} of {len(files):,} parts (rule: one schema)"
            raise DataError(
                where, what, "Nothing was sent. Write the parts anew with one schema; a column without a value needs its type, too."
            )
    return tuple(wanted)


def _schema(where: str, path: Path) -> Mapping[str, Any]:
    try:
        schema = pa_parquet.read_schema(path)
    except (pa.ArrowException, OSError):
        schema = None
    if schema is None:
        raise broken(where, "Parquet")
    if len(set(schema.names)) < len(schema.names):
        raise DataError(where, "a part has a column name more than once", "Nothing was sent. Give each column its own name.")
    return {field.name: field.type for field in schema}
