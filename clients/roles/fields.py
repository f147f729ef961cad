"""Columns of a batch of canonical records as int64: days and months since 1970, fen, counts, flags and codes.

Batches are canonical (`canonical`): what is missing here may be.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import pandas as pd

from clients.roles.series import Ints

ABSENT: Final = np.iinfo(np.int64).min
"""In place of a missing number or day."""


def dated(batch: pd.DataFrame, date: str) -> pd.DataFrame:
    """The records that have a day: by the as-of rule the others are known to nobody."""
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


def whole(batch: pd.DataFrame, column: str) -> Ints:
    """(n,) money in fen, counts or flags; ABSENT where it is missing, or there is no such column."""
    if column not in batch:
        return np.full(len(batch), ABSENT)
    if batch[column].dtype == np.int64:
        return batch[column].to_numpy()
    found: Any = batch[column].astype("Int64")
    return np.asarray(found.to_numpy(dtype=np.int64, na_value=ABSENT), dtype=np.int64)


def coded(batch: pd.DataFrame, column: str, values: Sequence[str]) -> Ints:
    """(n,) the place of each code in `values`; ABSENT where it is missing, or there is no such column."""
    if column not in batch:
        return np.full(len(batch), ABSENT)
    found = np.array([*range(len(values)), ABSENT])
    return found[pd.Index(values).get_indexer(pd.Index(batch[column]))]
