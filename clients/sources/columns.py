"""Rows of a database's driver as Arrow columns: each batch typed by its values, and the column by its batches, in whatever order rows come.

    bool, int, float, Decimal, str    as they are; a column of whole and other numbers is of the other
    date, time stamp                  a day: that of the clock on the wall where the value was written
    UUID                              text
    bytes, lists, JSON, intervals     "something": neither number nor text, and not kept
Two of these in one column (only SQLite and views of it have that) are refused.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import uuid
from collections.abc import Collection, Sequence
from decimal import Decimal
from typing import Any, Final

import pyarrow as pa

from clients.sources.frame import Frame, no_rows
from federation.kernel.errors import DataError

_LARGEST: Final = 76
"""Digits of Arrow's widest decimals."""


class Columns:
    """names: of the columns, in the order of the rows' values; where: how errors name the source; exact: see `Frame`."""

    def __init__(self, where: str, names: Sequence[str], exact: Collection[str]) -> None:
        self._where, self._names, self._exact = where, tuple(names), exact
        self._chunks: list[list[Any]] = [[] for _ in names]

    def add(self, rows: Sequence[Sequence[Any]]) -> None:
        """Some rows more. Raises DataError for a batch with two kinds of value in one column."""
        if rows:
            for name, chunks, values in zip(self._names, self._chunks, zip(*rows, strict=True), strict=True):
                chunks.append(self._typed(name, values))

    def frame(self) -> Frame:
        """All rows. Raises DataError where there is none, or a column's batches are of two kinds."""
        if not any(self._chunks):
            raise no_rows(self._where)
        found = {}
        for name in reversed(self._names):
            found[name] = self._joined(name, self._chunks.pop())
        return Frame({name: found[name] for name in self._names}, self._exact)

    def batch(self) -> Any:
        """All rows so far as one record batch, the columns in their order."""
        return pa.RecordBatch.from_arrays(
            [chunks[0] if len(chunks) == 1 else pa.concat_arrays(chunks) for chunks in self._chunks], list(self._names)
        )

    def _typed(self, name: str, values: Sequence[Any]) -> Any:
        kinds = {_kind(kind) for kind in set(map(type, values))} - {"missing"}
        if kinds <= {"number", "decimal"}:
            return _numbers(values, exact=name in self._exact)
        if len(kinds) > 1:
            raise self._mixed(name)
        return _MAKE[kinds.pop()](values)

    def _joined(self, name: str, chunks: list[Any]) -> Any:
        types = {chunk.type for chunk in chunks} - {pa.null()}
        if not types:
            return pa.chunked_array(chunks, pa.null())
        if len(types) == 1:
            wanted = types.pop()
        elif all(pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind) for kind in types):
            wanted = _common(types)
        else:
            raise self._mixed(name)
        return pa.chunked_array([_as(chunk, wanted) for chunk in chunks], wanted)

    def _mixed(self, name: str) -> DataError:
        what = f"column {name!r} has values of two kinds, such as text among numbers (rule: one type)"
        return DataError(self._where, what, "Nothing was sent. CAST it in the table, a view or query of [source].")


def _kind(python: type) -> str:
    if python is type(None):
        return "missing"
    for kinds, name in ((bool, "bool"), ((int, float), "number"), (Decimal, "decimal"), ((str, uuid.UUID), "text"), (dt.date, "day")):
        if issubclass(python, kinds):
            return name
    return "other"


def _numbers(values: Sequence[Any], *, exact: bool) -> Any:
    """Whole numbers of 64 bits, or float64; exact: decimals stay decimals, if none is infinite or has more digits than Arrow."""
    kinds = set(map(type, values)) - {type(None)}
    if not kinds:
        return pa.nulls(len(values))
    if all(issubclass(kind, int) for kind in kinds):
        with contextlib.suppress(pa.ArrowException, OverflowError):  # of more than 64 bits
            return pa.array(values, pa.int64())
    if exact and not any(issubclass(kind, float) for kind in kinds):
        with contextlib.suppress(pa.ArrowException):
            return _decimals(values)
    return _floats(values)


def _decimals(values: Sequence[Any]) -> Any:
    """Raises ArrowException for what is infinite or too long, which pyarrow would take for missing."""
    if any(isinstance(value, Decimal) and not value.is_finite() for value in values):
        raise pa.ArrowInvalid
    return pa.array([None if value is None else Decimal(value) for value in values])


def _floats(values: Sequence[Any]) -> Any:
    return pa.array([None if value is None else float(value) for value in values], pa.float64())


def _common(types: set[Any]) -> Any:
    """One type for numbers of several: decimals with room for all digits, or float64."""
    if any(pa.types.is_floating(kind) for kind in types):
        return pa.float64()
    decimals = [kind for kind in types if pa.types.is_decimal(kind)]
    scale = max(kind.scale for kind in decimals)
    digits = scale + max(19 if pa.types.is_integer(kind) else kind.precision - kind.scale for kind in types)
    return pa.float64() if digits > _LARGEST else pa.decimal128(digits, scale) if digits <= 38 else pa.decimal256(digits, scale)


def _as(chunk: Any, wanted: Any) -> Any:
    if chunk.type == wanted:
        return chunk
    return _floats(chunk.to_pylist()) if pa.types.is_floating(wanted) else chunk.cast(wanted)


def _day(value: Any) -> Any:
    return value.date() if isinstance(value, dt.datetime) else value


_MAKE: Final = {
    "bool": lambda values: pa.array(values, pa.bool_()),
    "text": lambda values: pa.array([None if value is None else str(value) for value in values], pa.string()),
    "day": lambda values: pa.array([_day(value) for value in values], pa.date32()),
    "other": lambda values: pa.array([None if value is None else b"" for value in values], pa.binary()),
}
