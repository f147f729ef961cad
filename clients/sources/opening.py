"""Which kind of source a party has, and whether it has changed: a file, a folder of Parquet parts, or a table or query of a database."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pa_parquet

from clients.database import Database
from clients.party_config import PartyConfig
from clients.sources.database import open_database
from clients.sources.folder import open_folder, parts
from clients.sources.table import Source, open_file
from federation.kernel.errors import DataError

Stamp = tuple[tuple[str | int, ...], ...]


def open_source(config: PartyConfig) -> Source:
    """Look at the party's source: its format and columns. Raises DataError, and ConfigurationError for a database that is not set up."""
    return open_at(config.source if config.database is None else config.database, config.name)


def open_at(place: Path | Database, name: str) -> Source:
    """Look at a file, folder or database. name: as errors call it. Raises as `open_source`."""
    found: Source
    if isinstance(place, Database):
        found = open_database(place, name)
    elif place.is_dir():
        found = open_folder(place, name)
    else:
        found = open_file(place, name)
    twice = {name for name in found.names if found.names.count(name) > 1}
    if twice:
        raise DataError(found.where, f"{len(twice)} column names occur more than once", "Nothing was sent. Give each column its own name.")
    return found


def stamp(config: PartyConfig) -> Stamp | None:
    """What changes when the files of a source do; None where nothing tells, of a database above all: it must be read again.

    The times of a file can be put back, all but that of its last change of state.
    """
    tables = [table for table in (config.source, config.repayments, config.loans) if table is not None]
    if config.database is not None or any(table.suffix == ".toml" for table in tables):  # what lies behind a mapping is not looked at
        return None
    try:
        files = [path for table in tables for path in (parts(table) if table.is_dir() else [table])]
        found = [(str(path), path.stat()) for path in files]
    except OSError:
        return None
    return tuple((path, at.st_dev, at.st_ino, at.st_size, at.st_mtime_ns, at.st_ctime_ns) for path, at in found)


def estimated_size(place: Path | Database) -> int | None:
    """Bytes of a source as Arrow has them, about: of Parquet the pages before compression, of text the file; None where nothing tells."""
    if isinstance(place, Database):
        return None
    try:
        files = parts(place) if place.is_dir() else [place]
        return sum(_of_file(path) for path in files)
    except (OSError, pa.ArrowException):
        return None


def _of_file(path: Path) -> int:
    with path.open("rb") as file:
        if file.read(4) != b"PAR1":
            return path.stat().st_size
    metadata = pa_parquet.read_metadata(path)
    return sum(metadata.row_group(number).total_byte_size for number in range(metadata.num_row_groups))
