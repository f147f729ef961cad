"""What a raw column is (a number, a category, a date, a name) and its values in the one form the models know.

Inference, unless `types` declares the kind: Parquet says it (numbers; text and booleans are categories; dates are no features). A CSV
column whose cells all parse as numbers is a number, unless one of them has a leading zero, which makes it a code. Text that is different in
nearly every row names rows and is left out. Codes written as numbers are numbers until declared categorical.
"""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from clients.sources.table import MISSING
from federation.kernel.errors import DataError

Kind: TypeAlias = Literal["numeric", "categorical", "date", "name", "empty", "nested"]

_DATE = r"\d{4}[-/.]\d{1,2}[-/.]\d{1,2}(?:[T ].*)?"
_DATE_PARTS = r"^(\d{4})[-/.]?(\d{1,2})(?:[-/.]?(\d{1,2}))?(?:[T ].*)?$"
_CODE = r"[+-]?0\d+"
_WHOLE_AS_FLOAT = r"-?\d+\.0"
_NAME_SHARE, _NAME_ROWS = 0.9, 50
_STRAY_SHARE, _STRAY_DISTINCT = 0.95, 20


def kind_of(where: str, name: str, values: pd.Series[Any], *, typed: bool) -> Kind:
    """What the column is. Raises DataError for CSV numbers with stray text among them: a silent guess either way would be wrong."""
    found = pd.api.types.infer_dtype(values, skipna=True)
    if values.isna().all() or found == "empty":
        return "empty"
    if found in ("floating", "integer", "mixed-integer-float", "decimal") or (pd.api.types.is_numeric_dtype(values) and found != "boolean"):
        return "numeric"
    if found == "boolean":
        return "categorical"
    if found in ("datetime64", "datetime", "date"):
        return "date"
    if found not in ("string", "categorical"):
        return "nested"
    return _kind_of_text(where, name, _text(values).dropna(), typed=typed)


def _kind_of_text(where: str, name: str, present: pd.Series[Any], *, typed: bool) -> Kind:
    if present.empty:
        return "empty"
    if not typed and not present.str.fullmatch(_CODE).any():
        numbers = pd.to_numeric(present, errors="coerce").notna()
        if numbers.all():
            return "numeric"
        if numbers.mean() >= _STRAY_SHARE and present[numbers].nunique() > _STRAY_DISTINCT:
            raise DataError(
                where,
                f"column {name!r} has {int((~numbers).sum()):,} of {len(present):,} values that are not numbers (rule: one type)",
                f'Nothing was sent. Leave those cells blank, or declare the column: types = {{ {name} = "categorical" }}.',
            )
    if present.str.fullmatch(_DATE).all():
        return "date"
    if len(present) > _NAME_ROWS and present.nunique() > _NAME_SHARE * len(present):
        return "name"
    return "categorical"


def numbers(where: str, name: str, values: pd.Series[Any]) -> NDArray[np.float64]:
    """The column as numbers, (n,) float64 with NaN for missing; dates as days since 1970. Raises DataError: how many values are none."""
    found = pd.api.types.infer_dtype(values, skipna=True)
    if found in ("datetime64", "datetime", "date"):
        return _as_days(dates(values))
    plain = _text(values) if found in ("string", "categorical") else values
    parsed = pd.to_numeric(plain, errors="coerce") if found != "decimal" else plain.astype("float64")
    strays = int((parsed.isna() & plain.notna()).sum())
    if strays and _text(values).dropna().str.fullmatch(_DATE).all():
        return _as_days(dates(values))
    if strays:
        raise DataError(
            where,
            f"column {name!r} has {strays:,} of {len(values):,} values that are not numbers (rule: numeric)",
            f'Nothing was sent. Leave those cells blank, or declare the column: types = {{ {name} = "categorical" }}.',
        )
    out = np.array(parsed.astype("float64").to_numpy(na_value=np.nan), np.float64)
    out[out == 0] = 0.0  # -0.0 and 0.0 are one value, and one commitment
    return out


def levels(values: pd.Series[Any]) -> NDArray[np.object_]:
    """The column as categories, (n,) object of str, None for missing; whole numbers without a decimal point, however written."""
    found = pd.api.types.infer_dtype(values, skipna=True)
    if found in ("datetime64", "datetime", "date"):
        text = pd.Series(np.datetime_as_string(dates(values)), dtype=object).where(values.notna().to_numpy())
    elif found in ("string", "categorical"):
        text = _text(values)
        if text.dropna().str.fullmatch(_WHOLE_AS_FLOAT).all():
            text = text.str.removesuffix(".0")
    else:
        text = pd.Series([None if pd.isna(value) else _spelled(value) for value in values.tolist()], dtype=object)
    out = text.astype(object).to_numpy(copy=True)
    out[text.isna().to_numpy()] = None
    return out


def ids(values: pd.Series[Any]) -> list[str | None]:
    """Identifiers as text, None for missing."""
    return list(levels(values))


def dates(values: pd.Series[Any]) -> NDArray[np.datetime64]:
    """Days, (n,) datetime64[D]; NaT for missing and for what is no date (year-month-day, year-month, with -, /, . or nothing between)."""
    if pd.api.types.infer_dtype(values, skipna=True) in ("datetime64", "datetime", "date"):
        stamps = pd.to_datetime(values, errors="coerce")
        return stamps.dt.tz_localize(None).to_numpy().astype("datetime64[D]")
    parts = pd.Series(levels(values), dtype="str").str.extract(_DATE_PARTS)
    parts.columns = pd.Index(["year", "month", "day"])
    parts["day"] = parts["day"].where(parts["day"].notna() | parts["year"].isna(), "1")
    return pd.to_datetime(parts, errors="coerce").to_numpy().astype("datetime64[D]")


def _as_days(days: NDArray[np.datetime64]) -> NDArray[np.float64]:
    out = days.astype("datetime64[D]").astype(np.int64).astype(np.float64)
    out[np.isnat(days)] = np.nan
    return out


def _text(values: pd.Series[Any]) -> pd.Series[Any]:
    """Text without spaces at its ends; the words for missing are missing."""
    text = values.astype("str" if values.dtype != "category" else object).astype("str").str.strip()
    return text.where(values.notna() & ~text.isin(MISSING))


def _spelled(value: Any) -> str:
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)
