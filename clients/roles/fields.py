"""Columns of a batch of canonical records as int64: days and months since 1970, fen, counts, flags and codes.

Batches come from the door, which has checked them; what is refused here would otherwise change a sum silently.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import pandas as pd

from clients.roles.series import Ints
from federation.kernel.errors import DataError
from privacy.dictionary.entries import record_kinds

ABSENT: Final = np.iinfo(np.int64).min
"""In place of a missing number or day."""


def dated(batch: pd.DataFrame, kind: str, date: str) -> pd.DataFrame:
    """The records that have a day: by the as-of rule the others are known to nobody. Raises DataError where the column is no day."""
    if not pd.api.types.is_datetime64_dtype(batch[date]):
        raise DataError(kind, f"column {date!r} is not a day (rule: datetime64)", "Read it through the mapping, which makes days of it.")
    known = batch[date].notna()
    return batch if known.all() else batch[known]


def days(batch: pd.DataFrame, column: str) -> Ints:
    """(n,) days since 1970-01-01; ABSENT where it is missing, or there is no such column."""
    if column not in batch:
        return np.full(len(batch), ABSENT)
    return batch[column].to_numpy().astype("datetime64[D]").astype(np.int64)  # NaT is int64's least


def months(day: Ints) -> Ints:
    """(n,) days to (n,) months since 1970-01; ABSENT stays ABSENT."""
    return day.astype("datetime64[D]").astype("datetime64[M]").astype(np.int64)


def whole(batch: pd.DataFrame, kind: str, column: str) -> Ints:
    """(n,) money in fen, counts or flags; ABSENT where an optional one is missing, or there is no such column.

    Raises DataError for numbers that are not whole, and where a required one is missing.
    """
    if column not in batch:
        return np.full(len(batch), ABSENT)
    if batch[column].dtype == np.int64:
        return batch[column].to_numpy()
    if record_kinds()[kind].column(column).required and (gone := int(batch[column].isna().sum())):
        what = f"column {column!r} has {gone:,} of {len(batch):,} values missing (rule: not missing)"
        raise DataError(kind, what, "Leave these records out, or fix the source.")
    try:
        found: Any = batch[column].astype("Int64")
    except (TypeError, ValueError):
        raise DataError(kind, f"column {column!r} has values that are not whole (rule: whole)", "Money is in fen, counts whole.") from None
    return np.asarray(found.to_numpy(dtype=np.int64, na_value=ABSENT), dtype=np.int64)


def coded(batch: pd.DataFrame, column: str, values: Sequence[str]) -> Ints:
    """(n,) the place of each code in `values`; ABSENT where it is missing, or there is no such column."""
    if column not in batch:
        return np.full(len(batch), ABSENT)
    found = np.array([*range(len(values)), ABSENT])
    return found[pd.Index(values).get_indexer(pd.Index(batch[column]))]
