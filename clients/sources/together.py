"""Rows of one id put together, for checks across institutions: a firm with three loans owes their sum, an owner with two firms has two.

A column of numbers is added up (missing ones count as nothing), exactly: in the column's own decimals of cents. A column of texts becomes the
number of different texts, each in one spelling.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from clients.sources.typed import Records
from federation.align import uscc
from federation.models.table import Column

CENTS = 100.0
"""Amounts are added in cents, so that no order of rows changes a sum."""


def together(records: Records, where: str) -> Records:
    """The same records with one row for each id, in the order in which ids first occur. where: the party, for the note."""
    places, found = pd.factorize(np.array(records.firms, object))
    columns = {name: _column(column, places, len(found)) for name, column in records.columns.items()}
    several = len(records.firms) - len(found)
    notes = (
        records.notes if not several else (*records.notes, f"{where}: {several:,} rows were put together with an earlier row of their id")
    )
    return replace(records, firms=found.tolist(), columns=columns, notes=notes)


def _column(column: Column, places: NDArray[np.intp], count: int) -> Column:
    if column.kind == "numeric":
        cents = np.rint(np.nan_to_num(column.values.astype(np.float64)) * CENTS)
        return Column(column.name, "numeric", np.bincount(places, cents, count) / CENTS)
    texts = uscc.in_any_kind(["" if value is None else str(value) for value in column.values])
    pairs = pd.DataFrame({"id": places, "text": texts}).query("text != ''").drop_duplicates()
    return Column(column.name, "numeric", np.bincount(pairs["id"].to_numpy(), minlength=count).astype(np.float64))
