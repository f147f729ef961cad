"""Canonical columns to Parquet: one file for each institution and kind of record, written in row groups as months go by.

Inside, records are columns of numbers, which is what keeps a month of a million firms small:

    id       index into the register of ids, -1 for missing
    text     a whole number, written with the prefix and digits that the file says; -1 for missing
    day      days since 1970, `NO_DAY` for missing
    money    fen, `NO_MONEY` for missing; in the file CNY as float64, which is exact to the fen up to 9e13
    count    a whole number, -1 for missing
    code     index into the kind's `values`, -1 for missing
    number   float, NaN for missing
    flag     0 or 1, -1 for missing
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from privacy.dictionary.entries import RecordColumn, RecordKind, record_kinds

Rows = Mapping[str, NDArray[Any]]
GROUP_ROWS: Final = 1 << 16
NO_DAY: Final = np.iinfo(np.int32).min
NO_MONEY: Final = np.iinfo(np.int64).min
DIGITS: Final = 10
_ARROW: Final = {
    "id": pa.string(), "text": pa.string(), "day": pa.date32(), "money": pa.float64(), "count": pa.int64(), "code": pa.string(),
    "number": pa.float64(), "flag": pa.bool_(),
}  # fmt: skip


class Register:
    """Ids as text of one length. letters: (n, length) ASCII bytes."""

    def __init__(self, letters: NDArray[np.uint8]) -> None:
        self._letters = letters

    def __len__(self) -> int:
        return len(self._letters)

    def texts(self, index: NDArray[Any]) -> Any:
        """An Arrow column of the ids at an index; null where it is negative."""
        missing = index < 0
        return _strings(self._letters[np.where(missing, 0, index)], missing if missing.any() else None)

    def strings(self, index: NDArray[Any]) -> NDArray[np.str_]:
        """The same as numpy text."""
        width = self._letters.shape[1]
        return np.ascontiguousarray(self._letters[index]).view(f"S{width}").ravel().astype(f"U{width}")


class Table:
    """One institution's file of one kind of record. prefixes: of text columns, and of id columns whose ids are not in the register."""

    def __init__(self, path: Path, kind: RecordKind, register: Register, prefixes: Mapping[str, str]) -> None:
        self._path, self._register, self._prefixes = path, register, prefixes
        self._kind, self._columns = kind, tuple(column for column in kind.columns if column.required)
        self._waiting: list[Rows] = []
        self._count = 0
        self._writer: Any = None
        self.rows = 0

    def add(self, rows: Rows) -> None:
        """Some records more, each column of one length."""
        count = len(next(iter(rows.values())))
        if not count:
            return
        if not self.rows:  # what the economy has of the columns that a table may lack
            self._columns = tuple(column for column in self._kind.columns if column.required or column.name in rows)
        self._waiting.append(rows)
        self._count += count
        self.rows += count
        if self._count >= GROUP_ROWS:
            self._flush()

    def close(self) -> None:
        """Write what waits. A kind without records is a file without rows."""
        self._flush()
        if self._writer is None:
            self._writer = self._opened()
        self._writer.close()

    def _schema(self) -> Any:
        return pa.schema([(column.name, _ARROW[column.type]) for column in self._columns])

    def _opened(self) -> Any:
        texts = [column.name for column in self._columns if column.type in {"id", "code"}]
        self._path.parent.mkdir(parents=True, exist_ok=True)
        return pq.ParquetWriter(
            self._path, self._schema(), compression="snappy", use_dictionary=texts, store_schema=False, write_statistics=False
        )

    def _flush(self) -> None:
        if not self._count:
            return
        if self._writer is None:
            self._writer = self._opened()
        waiting, self._waiting, self._count = self._waiting, [], 0
        arrays = [self._column(column, np.concatenate([rows[column.name] for rows in waiting])) for column in self._columns]
        self._writer.write_table(pa.Table.from_arrays(arrays, schema=self._schema()), row_group_size=GROUP_ROWS)

    def _column(self, column: RecordColumn, values: NDArray[Any]) -> Any:
        if column.type == "text" or column.name in self._prefixes:
            return numbered(self._prefixes.get(column.name, ""), values)
        if column.type == "id":
            return self._register.texts(values)
        if column.type == "day":
            return _array(values.astype(np.int32), pa.int32(), values == NO_DAY).view(pa.date32())
        if column.type == "money":
            return _array(values / 100.0, pa.float64(), values == NO_MONEY)
        if column.type == "number":
            return pa.array(values.astype(np.float64), from_pandas=True)
        if column.type == "code":
            codes = _array(values.astype(np.int8), pa.int8(), values < 0)
            return pa.DictionaryArray.from_arrays(codes, pa.array(column.values)).cast(pa.string())
        if column.type == "flag":
            return _array(values.astype(bool), pa.bool_(), values < 0)
        return _array(values.astype(np.int64), pa.int64(), values < 0)


class Folder:
    """An institution's folder: its tables by kind of record. An owner's number is the same at all banks, a buyer's is the platform's own."""

    def __init__(self, out: Path, name: str, register: Register) -> None:
        role, _, number = name.rpartition("-")
        prefixes = {"order": f"P{number}-", "buyer": f"P{number}B", "loan": f"B{number}-L", "owner": "N"}
        kinds = [kind for kind in record_kinds().values() if kind.role == role]
        self._tables = {kind.name: Table(out / name / f"{kind.name}.parquet", kind, register, prefixes) for kind in kinds}

    def __getitem__(self, kind: str) -> Table:
        return self._tables[kind]

    def close(self) -> dict[str, int]:
        """Write the rest; the number of rows by kind."""
        for table in self._tables.values():
            table.close()
        return {kind: table.rows for kind, table in self._tables.items()}


def by_institution(rows: Rows, places: NDArray[Any], count: int) -> Iterator[tuple[int, dict[str, NDArray[Any]]]]:
    """Rows of each institution in turn, in their order. places: (n,) which institution, negative for none; count: of institutions."""
    order = np.argsort(places, kind="stable")
    bounds = np.searchsorted(places[order], np.arange(count + 1))
    for place in range(count):
        if bounds[place] < bounds[place + 1]:
            chosen = order[bounds[place] : bounds[place + 1]]
            yield place, {name: values[chosen] for name, values in rows.items()}


def numbered(prefix: str, values: NDArray[Any]) -> Any:
    """Whole numbers as text of a prefix and ten digits, as an Arrow column; null where negative."""
    missing = values < 0
    letters = np.empty((len(values), len(prefix) + DIGITS), np.uint8)
    letters[:, : len(prefix)] = np.frombuffer(prefix.encode(), np.uint8)
    rest = np.where(missing, 0, values).astype(np.int64)
    for half, start in ((rest // 100_000, 0), (rest % 100_000, 5)):
        part = half.astype(np.uint32)
        for place in range(4, -1, -1):
            part, digit = np.divmod(part, np.uint32(10))
            letters[:, len(prefix) + start + place] = digit + 48
    return _strings(letters, missing if missing.any() else None)


def _strings(letters: NDArray[np.uint8], missing: NDArray[np.bool_] | None) -> Any:
    count, width = letters.shape
    offsets = np.arange(count + 1, dtype=np.int32) * width
    valid = None if missing is None else pa.py_buffer(np.packbits(~missing, bitorder="little").tobytes())
    return pa.StringArray.from_buffers(count, pa.py_buffer(offsets), pa.py_buffer(np.ascontiguousarray(letters)), valid)


def _array(values: NDArray[Any], kind: Any, missing: NDArray[np.bool_]) -> Any:
    return pa.array(values, kind, mask=missing if missing.any() else None)
