"""Feature tables of a scenario: an institution's records through the raw door and its role's adapter, as `creditfed features build` does."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq

from clients import feature_table
from clients.clock import today
from clients.own_tables import OwnTable, load
from clients.roles.tax.circular_trade import check
from simulations.economy.settings import Economy
from simulations.scenarios.runs import FeatureTables, role_of

TABLE = "features.parquet"
"""In the institution's folder."""


def build(out: Path, party: str, economy: Economy, asked: FeatureTables) -> int:
    """Write a party's feature table; rows of it.

    An institution that has left has no row as of a later month: its records would look like those of firms that stopped. Raises DataError.
    """
    months = [at for at in asked.months() if _is_there(party, at, economy)]
    tables = load(out / party / "mapping.toml")
    if asked.records and role_of(party) == "bank":
        tables = replace(tables, tables={kind: one for kind, one in tables.tables.items() if kind in asked.records})
    if not months:
        months, empty = asked.months()[:1], True
    else:
        empty = False
    built = feature_table.build(tables, months, today(), _unwatched).table
    if asked.circular and role_of(party) == "tax":
        tables = replace(tables, tables={kind: one for kind, one in tables.tables.items() if _has_rows(one)})  # taxpayers may be none
        circular = feature_table.build(tables, months, today(), _unwatched, _circular).table
        built = built.merge(circular, on=list(feature_table.KEYS), how="left")
    if empty:
        built = built.iloc[:0]
    feature_table.write(built, tables.role, out / party / TABLE)
    return len(built)


def _has_rows(table: OwnTable) -> bool:
    return not isinstance(table.source, Path) or pq.read_metadata(table.source).num_rows > 0


def _is_there(party: str, at: np.datetime64, economy: Economy) -> bool:
    """Whether an institution writes records in the month before `at`."""
    number = int((at - np.datetime64(economy.start, "M")).astype(int)) - 1
    return 0 <= number < economy.months and economy.writes(party, number)


def _circular(records: Mapping[str, Iterable[pd.DataFrame]], months: Sequence[np.datetime64]) -> pd.DataFrame:
    return check(records, months).features


def _unwatched(kind: str, size: int) -> None:
    """Nobody looks at a bar for each table."""
