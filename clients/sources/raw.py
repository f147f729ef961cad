"""The raw door: an institution's own table of one kind of record, as clean canonical frames, batch by batch, with an account of what was done.

A batch: int64 fen for money, datetime64[s] at midnight for days, int64 or Int64 for counts, float64 for numbers, text (str) for ids, words and
documents' numbers, boolean for flags. A column that the table does not have is not there. A column that may be empty is nullable (Int64,
boolean, NaT, None); one that may not has lost the rows where it was empty. Rows come in the source's order, each record once.

Read cells, amounts, days, names (a cell), heading (which column), repeats, plausible, cleaned (the account).
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from clients.cleaned import Cleaned
from clients.own_tables import OwnTable, OwnTables
from clients.sources import amounts, days, names
from clients.sources.cells import MISSING, Bools, Parsed, spelled
from clients.sources.folder import parts
from clients.sources.forms import filled_in, open_forms
from clients.sources.heading import Heading, heading
from clients.sources.opening import open_at
from clients.sources.plausible import SWAPPED, Pairs, failing
from clients.sources.repeats import Seen
from clients.sources.table import Skipped, Source
from federation.kernel.errors import DataError, LocalError
from privacy.dictionary.conventions import MONEY_UNITS
from privacy.dictionary.entries import RecordColumn

AGAIN: Final = "the same record again"
OTHER: Final = "the same key with another content"
CELLS: Final = "wrong number of cells"
HEADER: Final = "header in the middle"
TOTAL: Final = "total row"
EMPTY: Final = "empty row"
BEYOND: Final = "outside {}"
OTHERWISE: Final = "header spelled otherwise"
_TOTALS: Final = frozenset({"合计", "总计", "小计", "共计", "累计", "total", "sum", "subtotal", "grand total", "totals"})
_FIT: Final = 0.05
_HINTS: Final = {
    names.UNKNOWN_WORD: 'Say which of your spellings is which word: [{kind}.values.{column}] WORD = ["YOURS"].',
    names.CHECK: 'Where firms have other numbers, say id_kind = "any".',
    names.SCIENTIFIC_ID: "Excel has cut numbers of {column!r}: export that column as text.",
    days.AFTER: "Look whether `extracted` is the day on which the tables were made.",
    days.ORDER: 'Say [{kind}] day_order = "day first" or "month first".',
}
"""What to do first about a rule that cost a table too many rows."""


@dataclass
class Raw:
    """One table, opened. cleaned: complete when `batches` is exhausted; bytes_read: of Arrow buffers so far, for a progress bar."""

    table: OwnTable
    tables: OwnTables
    source: Source
    heading: Heading
    extracted: dt.date
    cleaned: Cleaned
    bytes_read: int = 0
    _skipped: Skipped = field(default_factory=Skipped)
    _finished: bool = False

    def batches(self) -> Iterator[pd.DataFrame]:
        """Clean frames, once. Raises DataError where the table breaks more rules than is tolerated: after the last batch, so what was made of
        the batches must not be used unless this ended.
        """
        own = self.heading.columns
        kind = self.table.kind.name
        seen, pairs, row = Seen(), Pairs(kind), 0
        for batch in self.source.batches([*own.values()], self._skipped):
            columns = dict(zip(own, batch.columns, strict=True))
            numbers = self._numbers(row, batch.num_rows)
            row += batch.num_rows
            self.bytes_read += batch.nbytes
            frame = self._frame(columns, numbers, first=row == batch.num_rows)
            pairs.add(frame)
            kept = self._once(frame, seen)
            self.cleaned.kept += len(kept)
            if len(kept):
                yield kept
        self.cleaned.rows = row + len(self._skipped.rows)
        self._tell_skipped()
        self.cleaned.notes += pairs.notes()
        self.cleaned.require(self.tables.tolerated, {rule: hint.format(kind=kind, column="{column}") for rule, hint in _HINTS.items()})
        if swapped := pairs.swapped():
            units = f"or one is in another unit ([{kind}.units])"
            raise DataError(
                self.cleaned.where, swapped[0], f"Nothing was kept. Look whether two columns of the mapping stand for each other, {units}."
            )
        self._finished = True

    def require_finished(self) -> None:
        """The table was read to its end, and so found to be good enough. Raises LocalError."""
        if not self._finished:
            raise LocalError(self.cleaned.where, "the adapter did not read this table to its end", "Report it.")

    def _numbers(self, start: int, count: int) -> NDArray[np.int64]:
        """The rows' numbers in the file, from 1 after the header: those with a wrong number of cells are counted, too."""
        skipped = np.array(self._skipped.rows, np.int64) - np.arange(1, len(self._skipped.rows) + 1)
        places = np.arange(start, start + count)
        return places + 1 + np.searchsorted(skipped, places, side="right")

    def _tell_skipped(self) -> None:
        rows = np.array(self._skipped.rows, np.int64)
        self.cleaned.count("dropped", "", CELLS, rows)
        self.cleaned.failing += len(rows)

    def _frame(self, columns: dict[str, Any], numbers: NDArray[np.int64], *, first: bool) -> pd.DataFrame:
        """A batch without what is no record or breaks a rule; its index is the rows' numbers."""
        whole = self._set_aside(columns, numbers)
        if not whole.all():
            columns, numbers = {name: column.filter(pa.array(whole)) for name, column in columns.items()}, numbers[whole]
        kind = self.table.kind
        found = {name: self._parse(kind.column(name), column) for name, column in columns.items()}
        self._check_day(found)
        self._check_ranges(found)
        if first:
            self._refuse_swapped(columns, found)
        kept = np.ones(len(numbers), bool)
        for name, column in found.items():
            kept &= self._judge(kind.column(name), column, numbers)
        self.cleaned.failing += int((~kept).sum())
        return pd.DataFrame({name: _series(kind.column(name), one, kept) for name, one in found.items()}).set_index(numbers[kept])

    def _judge(self, column: RecordColumn, found: Parsed, numbers: NDArray[np.int64]) -> Bools:
        """Count what was done to a column, and say which of its rows may stay."""
        if not column.may_be_blank and found.blank.any():
            found.failed[MISSING] = found.blank
        for rule, rows in found.mended.items():
            self.cleaned.count("mended", column.name, rule, numbers[rows])
        for rule, rows in found.failed.items():
            self.cleaned.count("blanked" if column.may_be_blank else "dropped", column.name, rule, numbers[rows])
        return np.ones(len(numbers), bool) if column.may_be_blank else ~found.bad

    def _set_aside(self, columns: dict[str, Any], numbers: NDArray[np.int64]) -> Bools:
        """Which rows of a text file are records: no header in the middle, no total, no empty line."""
        rows = np.ones(len(numbers), bool)
        if self.source.typed:
            return rows
        header = np.ones(len(numbers), bool)
        empty = np.ones(len(numbers), bool)
        total = np.zeros(len(numbers), bool)
        for name, column in columns.items():
            trimmed = pc.utf8_trim_whitespace(column)
            header &= pc.equal(pc.utf8_lower(trimmed), spelled(self.heading.columns[name])[0].lower()).to_numpy(zero_copy_only=False)
            empty &= pc.equal(trimmed, "").to_numpy(zero_copy_only=False)
            if self.table.kind.column(name).type in ("id", "text", "day"):
                total |= pc.is_in(pc.utf8_lower(pc.utf8_rtrim(trimmed, ":：")), pa.array(sorted(_TOTALS))).to_numpy(zero_copy_only=False)
        for rule, which in ((HEADER, header), (EMPTY, empty), (TOTAL, total)):
            self.cleaned.count("set aside", "", rule, numbers[which & rows])
            rows &= ~which
        return rows

    def _parse(self, column: RecordColumn, array: Any) -> Parsed:
        found = self._parsed(column, array)
        if found is None:
            what = f"column {column.name!r} is of type {_called(array.type)} (rule: {column.type})"
            raise DataError(self.cleaned.where, what, "Nothing was kept. Write it as text or in its type, or map another column.")
        return found

    def _parsed(self, column: RecordColumn, array: Any) -> Parsed | None:
        own = self.table.values.get(column.name, {})
        match column.type:
            case "id":
                return names.ids(array, self.tables.id_kind if column.name == "firm" else "any")
            case "text":
                return names.texts(array)
            case "day" | "moment":
                return days.days(array, days.Calendar(self.tables.zone, self.table.day_order))
            case "money":
                return amounts.amounts(array, "money", MONEY_UNITS[self.table.units.get(column.name, "yuan")])
            case "number" | "count":
                return amounts.amounts(array, column.type)
            case "code":
                return names.codes(array, column.values, own)
            case "flag":
                return names.flags(array, own)

    def _check_day(self, found: dict[str, Parsed]) -> None:
        """A record cannot be dated after the table was made."""
        dated = found.get(self.table.kind.date)
        if dated is not None:
            late = ~dated.blank & ~dated.bad & (dated.values > np.datetime64(self.extracted, "s"))
            if late.any():
                dated.failed[days.AFTER] = late

    def _check_ranges(self, found: dict[str, Parsed]) -> None:
        """A grade of 1 to 5 is no 9."""
        for name, one in found.items():
            column = self.table.kind.column(name)
            if column.bounds:
                low, high = (100 * bound if column.type == "money" else bound for bound in column.range)  # money is in fen
                beyond = ~one.blank & ~one.bad & ((one.values < low) | (one.values > high))
                if beyond.any():
                    one.failed[BEYOND.format(column.bounds)] = beyond

    def _refuse_swapped(self, columns: dict[str, Any], found: dict[str, Parsed]) -> None:
        """Raises DataError where most of a column fails and would fit another column's values."""
        for name in failing(found):
            for other, array in columns.items():
                fits = self._parsed(self.table.kind.column(name), array) if other != name else None
                present = 0 if fits is None else int((~fits.blank).sum())
                if fits is not None and present > len(fits.blank) / 2 and fits.bad.sum() <= _FIT * present:
                    what = f"most values of {name!r} fail as {self.table.kind.column(name).type}, and those of {other!r} would not"
                    raise DataError(
                        self.cleaned.where, f"{what} (rule: {SWAPPED})", f"Nothing was kept. Check [{self.table.kind.name}.columns]."
                    )

    def _once(self, frame: pd.DataFrame, seen: Seen) -> pd.DataFrame:
        """Each record once."""
        kind, numbers = self.table.kind, frame.index.to_numpy()
        key = [name for name in self.table.key if name in frame]
        optional = [name for name in key if kind.column(name).may_be_blank]
        plain = frame.reset_index(drop=True)
        if len(key) < len(self.table.key):  # what names a record is not all there: only the same row over again is a repeat
            key, optional = [], []
        repeats = seen.add(plain, key, optional)
        self.cleaned.count("set aside", "", AGAIN, numbers[repeats.again])
        self.cleaned.count("dropped", "", OTHER, numbers[repeats.other])
        self.cleaned.failing += int(repeats.other.sum())
        gone = repeats.again | repeats.other
        return plain[~gone].reset_index(drop=True) if gone.any() else plain


def _series(column: RecordColumn, found: Parsed, kept: Bools) -> pd.Series[Any]:
    """The values that stay, in the type of the column."""
    values, blank = found.values[kept], (found.blank | found.bad)[kept]
    match column.type:
        case "money" | "count" if column.may_be_blank:
            return pd.Series(pd.arrays.IntegerArray(values, blank.copy()))
        case "money" | "count":
            return pd.Series(values)
        case "number":
            return pd.Series(np.where(blank, np.nan, values))
        case "day" | "moment":
            return pd.Series(np.where(blank, np.datetime64("NaT", "s"), values))
        case "flag":
            flags = np.array([bool(value) for value in np.where(blank, False, values)], bool)  # noqa: FBT003  # a value
            return pd.Series(pd.arrays.BooleanArray(flags, blank.copy()) if column.may_be_blank else flags)
        case _:
            return pd.Series(_without(values, blank), dtype="str")


def _without(values: NDArray[Any], blank: Bools) -> NDArray[np.object_]:
    found = values.astype(object)
    found[blank] = None
    return found


def _called(arrow: Any) -> str:
    """A type without the names that it may hold (of a struct's fields, of categories)."""
    return str(arrow).partition("<")[0].partition("[")[0]


def open_raw(tables: OwnTables, kind: str, today: dt.date) -> Raw:
    """Look at the table of one kind of record. today: no record is later, where the mapping names no day of extract.

    Raises DataError, ConfigurationError.
    """
    table = tables.tables[kind]
    where = f"{tables.name}: {kind}"
    cleaned = Cleaned(where)
    folder = table.source if isinstance(table.source, Path) and table.source.is_dir() else None
    source: Source = open_at(table.source, where) if folder is None or parts(folder) else open_forms(table, folder, where)
    if folder is not None and source.typed and (beside := filled_in(folder)):  # a mapping may lie beside the parts that it leads to
        cleaned.notes.append(f"{len(beside)} files *.toml lie beside the Parquet parts and are not read")
    found = heading(table, source.names, where)
    if found.otherwise:
        columns = "1 column was" if found.otherwise == 1 else f"{found.otherwise} columns were"
        cleaned.notes.append(f"{columns} found by case and blanks alone (rule: {OTHERWISE})")
    return Raw(table, tables, source, found, tables.extracted or today, cleaned)
