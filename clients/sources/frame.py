"""A source's columns in memory: Arrow's buffers, each column taken out once, so that a table is never held twice.

Arrow has a million numbers in 8 MB where Python's objects need up to 100; what is typed lets go of what it was made from.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any, Final

import pandas as pd
import pyarrow as pa

from federation.kernel.errors import DataError

_LARGE: Final = 1 << 20


class Frame:
    """rows: how many each column has; exact: the columns whose numbers are spelled, and not counted with.

    Of those, decimals and whole numbers beside missing ones are Python's own numbers: 50 bytes each and more. Elsewhere they are the nearest
    float64 (Arrow's own conversion of decimals is not: it is off by a bit in one of eight).
    """

    def __init__(self, columns: dict[str, Any], exact: Collection[str]) -> None:
        self._columns, self._exact = columns, exact
        self.rows = len(next(iter(columns.values()))) if columns else 0

    @classmethod
    def of(cls, where: str, batches: Iterable[Any], exact: Collection[str]) -> Frame:
        """From record batches of one schema. Raises DataError where they have no row."""
        found = list(batches)
        if not sum(batch.num_rows for batch in found):
            raise no_rows(where)
        table = pa.Table.from_batches(found)
        _give_back(table.nbytes)
        return cls(dict(zip(table.column_names, table.columns, strict=True)), exact)

    def take(self, name: str) -> pd.Series[Any]:
        """A column, which is let go of here, as pandas has it."""
        column, exact = self._columns.pop(name), name in self._exact
        size, values = (
            column.nbytes,
            _as_floats(column) if pa.types.is_decimal(column.type) and not exact else _as_pandas(column, exact=exact),
        )
        del column
        _give_back(size)
        return values


def no_rows(where: str) -> DataError:
    """What is said of a source without rows."""
    return DataError(where, "the source has no rows", "Nothing was sent. Name a table with data.")


def _as_floats(decimals: Any) -> pd.Series[Any]:
    """Chunk by chunk, for each value is an object on the way."""
    found: list[pd.Series[Any]] = [chunk.to_pandas().astype("float64") for chunk in decimals.chunks]
    return pd.concat(found, ignore_index=True)


def _as_pandas(column: Any, *, exact: bool) -> pd.Series[Any]:
    table = pa.table({"": column}).to_pandas(date_as_object=False, integer_object_nulls=exact)
    values: pd.Series[Any] = table[""]
    return values


def _give_back(size: int) -> None:
    """Arrow's allocator keeps what was freed for its next table; a large one goes back to the system."""
    if size > _LARGE:
        pa.default_memory_pool().release_unused()
