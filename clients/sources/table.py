"""CSV and Parquet files as frames, in batches, in the file's row order; nothing is interpreted here beyond the file's own types.

A CSV file has no types: every column comes as text, so that an id keeps its leading zeros and no row's value decides a type (or reaches an
error text) by accident. Encodings: UTF-8, with or without byte order mark, UTF-16 with one, else
GB 18030 (Chinese exports). Blank cells and NA, N/A, NaN,
null, None, #N/A are missing, in CSV and in Parquet text alike.
"""

from __future__ import annotations

import codecs
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pa_parquet

from clients.sources.frame import Frame
from federation.kernel.errors import DataError

MISSING = ("", "NA", "N/A", "NaN", "nan", "null", "NULL", "None", "#N/A")
_CHUNK = 1 << 20
_ROWS = 1 << 16
_SHOWN = 5
_PARQUET_MAGIC = b"PAR1"


class Source(Protocol):
    """Where records come from. where: how errors name it; names: its columns in order; typed: whether it declares types (CSV does not)."""

    @property
    def where(self) -> str: ...  # noqa: D102  # see the class
    @property
    def names(self) -> tuple[str, ...]: ...  # noqa: D102
    @property
    def typed(self) -> bool: ...  # noqa: D102

    def read(self, columns: Sequence[str], exact: Collection[str] = ()) -> Frame:
        """Those columns, rows in one order for all. exact: whose numbers are spelled (`Frame`). Raises DataError: counts, never content."""
        ...

    def batches(self, columns: Sequence[str], skipped: Skipped) -> Iterator[Any]:
        """Those columns in record batches, as they stand: text keeps its blanks and its words for missing. Raises DataError."""
        ...


@dataclass(frozen=True)
class FileSource:
    """A CSV or Parquet file."""

    where: str
    path: Path
    names: tuple[str, ...]
    typed: bool
    encoding: str = "utf-8"

    def read(self, columns: Sequence[str], exact: Collection[str] = ()) -> Frame:
        """Those columns, rows in file order: Parquet columns as the file types them, CSV columns as text with None for missing.

        Raises DataError for a file that breaks its format: counts and row numbers (from 1, after the header), never content.
        """
        return Frame.of(self.where, self._parquet(columns) if self.typed else self._csv_whole(columns), exact)

    def batches(self, columns: Sequence[str], skipped: Skipped) -> Iterator[Any]:
        """Those columns in batches, in file order; rows with too few or too many cells are passed over and told to `skipped`."""
        if self.typed:
            return self._parquet(columns)
        words = pa_csv.ConvertOptions(
            column_types=dict.fromkeys(self.names, pa.string()), include_columns=list(columns), strings_can_be_null=False
        )
        return self._csv(words, skipped)

    def _parquet(self, columns: Sequence[str]) -> Iterator[Any]:
        failed = False
        try:
            yield from parquet_batches(self.path, columns)
        except (pa.ArrowException, OSError):
            failed = True  # raised outside the handler, so that the text of Arrow's error, which quotes cells, does not hang on to ours
        if failed:
            raise broken(self.where, "Parquet")

    def _csv(self, convert: Any, skipped: Skipped) -> Iterator[Any]:
        failed = False
        try:
            reader = pa_csv.open_csv(
                self.path,
                read_options=pa_csv.ReadOptions(use_threads=False, encoding=self.encoding, block_size=_CHUNK),
                parse_options=pa_csv.ParseOptions(newlines_in_values=True, invalid_row_handler=skipped),
                convert_options=convert,
            )
            yield from reader
        except (pa.ArrowException, UnicodeDecodeError, OSError):
            failed = True
        if failed:
            raise broken(self.where, "CSV")

    def _csv_whole(self, columns: Sequence[str]) -> Iterator[Any]:
        wrong = Skipped()
        yield from self._csv(_as_text(self.names, columns), wrong)
        if wrong.rows:
            rows = ", ".join(map(str, wrong.rows[:_SHOWN])) + (", ..." if len(wrong.rows) > _SHOWN else "")
            raise DataError(
                self.where,
                f"{len(wrong.rows):,} rows do not have {len(self.names)} cells (rule: as many cells as the header); rows {rows}",
                "Nothing was sent. Quote cells that hold a comma, or use Parquet.",
            )


@dataclass
class Skipped:
    """Rows with too few or too many cells, by number from 1 after the header; their text is never kept."""

    rows: list[int] = field(default_factory=list)

    def __call__(self, row: Any) -> Literal["skip"]:
        """Arrow asks what to do with such a row."""
        self.rows.append(row.number - 1)
        return "skip"


def parquet_batches(path: Path, columns: Sequence[str]) -> Iterator[Any]:
    """A file's columns in batches, without the whole file's pages in memory beside them. Raises ArrowException, OSError."""
    yield from pa_parquet.ParquetFile(path, pre_buffer=False, buffer_size=_CHUNK).iter_batches(_ROWS, columns=list(columns))


def open_file(path: Path, where: str) -> FileSource:
    """Look at a file: its format, encoding and columns. Raises DataError."""
    try:
        with path.open("rb") as file:
            head = file.read(len(_PARQUET_MAGIC))
    except OSError as error:
        reason = error.strerror
    else:
        return _open_parquet(path, where) if head == _PARQUET_MAGIC else _open_csv(path, where, empty=not head)
    raise DataError(
        where,
        f"{path} cannot be read ({reason})",
        "Check source (in node.toml, in [[party]] of a run file, or in mapping.toml), and the file's permissions.",
    )


def _open_parquet(path: Path, where: str) -> FileSource:
    try:
        return FileSource(where, path, tuple(pa_parquet.ParquetFile(path).schema_arrow.names), typed=True)
    except (pa.ArrowException, OSError):
        pass
    raise broken(where, "Parquet")


def _open_csv(path: Path, where: str, *, empty: bool) -> FileSource:
    if empty:
        raise DataError(where, "the file is empty", "Nothing was sent. Name a file with data.")
    encoding = _encoding(path, where)
    try:
        with path.open(encoding=encoding, newline="") as file:
            header = file.readline(_CHUNK)
        options = pa_csv.ReadOptions(use_threads=False)
        table = pa_csv.read_csv(pa.BufferReader(header.encode() or b"\n"), read_options=options)
        return FileSource(where, path, tuple(table.column_names), typed=False, encoding=encoding.removesuffix("-sig"))
    except (pa.ArrowException, ValueError):
        pass
    raise broken(where, "CSV")


def _encoding(path: Path, where: str) -> str:
    """The encoding that the whole file obeys: UTF-16 by its byte order mark, else UTF-8 or GB 18030."""
    with path.open("rb") as file:
        marked = file.read(2) in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
    for encoding in ("utf-16",) if marked else ("utf-8-sig", "gb18030"):
        decoder, lines = codecs.getincrementaldecoder(encoding)(), not marked
        with path.open("rb") as file:
            try:
                while chunk := file.read(_CHUNK):
                    lines |= "\n" in decoder.decode(chunk)
                decoder.decode(b"", final=True)
            except UnicodeDecodeError:
                continue
        if lines:  # nearly any bytes are UTF-16
            return encoding
    what = "the file is neither Parquet nor text in UTF-8, UTF-16 or GB 18030"
    raise DataError(where, what, "Nothing was sent. Save it as Parquet or as UTF-8 CSV.")


def _as_text(names: Sequence[str], columns: Sequence[str]) -> Any:
    return pa_csv.ConvertOptions(
        column_types=dict.fromkeys(names, pa.string()), include_columns=list(columns), null_values=list(MISSING),
        strings_can_be_null=True, quoted_strings_can_be_null=True,
    )  # fmt: skip


def broken(where: str, form: str) -> DataError:
    """What is said of a file that cannot be read as what it is."""
    return DataError(where, f"the file is not well-formed {form}", "Nothing was sent. Write it again at the source.")
