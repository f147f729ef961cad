"""Whether a batch is what the door gives: the dictionary's columns, days as datetime64 without a time zone, money and counts as integers.

The door has seen to all of it; this catches a caller that goes past the door, whose yuan would be cut to whole fen without a word.
"""

from __future__ import annotations

from collections.abc import Collection

import pandas as pd
from pandas.api.types import is_datetime64_dtype, is_integer_dtype

from federation.kernel.errors import DataError
from privacy.dictionary.entries import record_kinds

_RULES = {"day": is_datetime64_dtype, "money": is_integer_dtype, "count": is_integer_dtype}


def check_canonical(kind: str, batch: pd.DataFrame, may_miss: Collection[str] = ()) -> None:
    """may_miss: required columns whose values may be missing. Raises DataError."""
    for column in record_kinds()[kind].columns:
        where = f"{kind} / {column.name}"
        if column.name not in batch.columns:
            if column.required:
                raise DataError(where, "the column is missing (rule: canonical columns)", "Map it.")
            continue
        if column.type in _RULES and not _RULES[column.type](batch[column.name].dtype):
            raise DataError(where, f"the column is not of type {column.type} (rule: canonical types)", "Read the records through the door.")
        if column.required and column.name not in may_miss and (gone := int(batch[column.name].isna().sum())):
            raise DataError(where, f"{gone} values are missing (rule: required)", "Leave these rows out, or fix the source.")
