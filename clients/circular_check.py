"""The check for circular trade on a bureau's own tables: two files, one for the bureau's officer and one that a run may use.

flags.parquet      id, as_of, score, reason, circle, passed_by: stays in the bureau, and only its owner may read the file
features.parquet   id, as_of and the circular features of the dictionary: a firm's own numbers, nobody else's name
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd
import pyarrow as pa

from clients.feature_table import Built, Watch, build, write, write_whole
from clients.own_tables import OwnTables
from clients.roles.tax.circular_trade import Checked, check
from federation.kernel.errors import ConfigurationError

ROLE: Final = "tax"
KINDS: Final = ("sales_invoices", "taxpayers")


@dataclass(frozen=True)
class CircularCheck:
    """checked: what was found; built: the feature table with its coverage, and what the raw door did to the records."""

    checked: Checked
    built: Built


def look(tables: OwnTables, as_of: Sequence[np.datetime64], today: dt.date, watch: Watch, told: Callable[[], None]) -> CircularCheck:
    """Read invoices and register through the raw door, and check. told: called after each month. Raises ConfigurationError, DataError."""
    require_bureau(tables)
    found: list[Checked] = []

    def circular(records: Mapping[str, Iterable[pd.DataFrame]], months: Sequence[np.datetime64]) -> pd.DataFrame:
        found.append(check(records, months, told=told))
        return found[0].features

    built = build(tables, as_of, today, watch, circular)
    return CircularCheck(found[0], built)


def features(records: Mapping[str, Iterable[pd.DataFrame]], months: Sequence[np.datetime64]) -> pd.DataFrame:
    """The features alone, for a feature table."""
    return check(records, months).features


def require_bureau(tables: OwnTables) -> None:
    """Raises ConfigurationError where a mapping has no invoices of a tax bureau."""
    if tables.role != ROLE or KINDS[0] not in tables.tables:
        what = f"circular trade is looked for in [{KINDS[0]}] of role {ROLE!r}, which this mapping does not have"
        raise ConfigurationError(tables.name, what, f"Map [{KINDS[0]}] and, where the bureau has a register, [{KINDS[1]}].")


def write_check(found: CircularCheck, folder: Path) -> tuple[Path, Path]:
    """Both files, whole or not at all: flags, features. Raises OSError."""
    folder.mkdir(parents=True, exist_ok=True)
    flags, table = folder / "flags.parquet", folder / "features.parquet"
    write_whole(pa.Table.from_pandas(found.checked.flags, preserve_index=False), flags, mode=0o600)
    write(found.built.table, ROLE, table)
    return flags, table
