"""The rules at the vault's door, checked by pandera; what comes out of a failure is column, rule and count.

pandera's own error text and its failure cases quote the values that failed, so its exception never leaves this file, not even as the
context of ours.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import pandera.pandas as pandera
from numpy.typing import NDArray

from federation.kernel.errors import DataError

LABEL, WEIGHT = "label", "weight"
_ACTIONS = {
    "finite": "Map infinite values to missing (a blank cell) at the source.",
    "0 or 1": "Write 1 for bad, 0 for good; leave out rows whose outcome is not known.",
    "not missing": "Leave out these rows at the source, or fill them.",
    "not negative": "Correct the weights at the source.",
    "text": "Declare the column's type in [[party]] types.",
}


def schema(roles: Mapping[str, str], kinds: Mapping[str, str]) -> pandera.DataFrameSchema:
    """The schema of a party's typed frame. roles: "label" and "weight" to their columns; kinds: feature column to its kind."""
    finite = pandera.Check(_finite, name="finite")
    columns: dict[str, Any] = {}
    if LABEL in roles:
        columns[roles[LABEL]] = pandera.Column(float, pandera.Check(lambda s: s.isin([0.0, 1.0]), name="0 or 1"), nullable=False)
    if WEIGHT in roles:
        not_negative = pandera.Check(lambda s: s >= 0, name="not negative")
        columns[roles[WEIGHT]] = pandera.Column(float, [finite, not_negative], nullable=False)
    for name, kind in kinds.items():
        text = pandera.Check(lambda s: s.map(lambda value: isinstance(value, str)), name="text")
        columns[name] = pandera.Column(float, finite, nullable=True) if kind == "numeric" else pandera.Column(object, text, nullable=True)
    return pandera.DataFrameSchema(columns, strict=True)


def check(where: str, values: Mapping[str, NDArray[Any]], roles: Mapping[str, str], kinds: Mapping[str, str]) -> None:
    """Raises DataError for the first column, in the schema's order, that breaks a rule. values: (n,) for each column of the schema.

    Column by column: pandera copies what it looks at.
    """
    failures = []
    for name, column in schema(roles, kinds).columns.items():
        one = pd.Series(values[name], dtype=values[name].dtype, copy=False).to_frame(name)  # of object stays of object
        failures += _failures(one, pandera.DataFrameSchema({name: column}, strict=True))
    if failures:
        (column, rule), count = failures[0]
        more = f" and {len(failures) - 1} more columns or rules fail" if len(failures) > 1 else ""
        raise DataError(
            where,
            f"column {column!r} has {count:,} of {len(values[column]):,} values that break a rule (rule: {rule}){more}",
            f"Nothing was sent. {_ACTIONS.get(rule, 'Correct them at the source.')}",
        )


def _failures(frame: pd.DataFrame, wanted: pandera.DataFrameSchema) -> list[tuple[tuple[str, str], int]]:
    """(column, rule) and how many values break it; the exception, with its values, dies in this function."""
    try:
        wanted.validate(frame, lazy=True)
    except pandera.errors.SchemaErrors as error:
        cases = error.failure_cases[["column", "check"]].astype(str)
        counted = cases.value_counts(sort=False)
    else:
        return []
    found = [((str(column), _rule(str(rule))), int(count)) for (column, rule), count in counted.items()]
    return sorted(found, key=lambda failure: failure[0][1])


def _rule(check_name: str) -> str:
    return "not missing" if check_name == "not_nullable" else check_name if check_name in _ACTIONS else "type"


def _finite(values: pd.Series[Any]) -> pd.Series[Any]:
    return pd.Series(np.isfinite(values.to_numpy()), index=values.index)
