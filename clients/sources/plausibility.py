"""A finished feature table against the dictionary: how many values of each known numeric column lie beyond what is plausible. In batches."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from clients.database import Database
from clients.sources.amounts import amounts
from clients.sources.opening import open_at
from clients.sources.table import Skipped
from privacy.dictionary.entries import features
from privacy.dictionary.plausible import outside


@dataclass(frozen=True)
class Seen:
    """present: values that are there; outside: of them beyond the range."""

    present: int
    outside: int


@dataclass(frozen=True)
class Plausibility:
    """names: all columns; seen: of the known ones, None for one that holds other things than numbers (a category, or broken)."""

    rows: int
    names: tuple[str, ...]
    seen: dict[str, Seen | None]


def plausibility(place: Path | Database, where: str) -> Plausibility:
    """Read the known numeric columns once. Raises DataError, ConfigurationError."""
    source, known = open_at(place, where), features()
    wanted = [name for name in source.names if name in known and known[name].kind == "numeric"]
    seen: dict[str, Seen | None] = dict.fromkeys(source.names) | dict.fromkeys(wanted, Seen(0, 0))
    rows = 0
    for batch in source.batches(wanted or source.names[:1], Skipped()):
        rows += batch.num_rows
        for name, column in zip(wanted, batch.columns, strict=False):
            before, found = seen[name], amounts(column, "number")
            if before is None or found is None or found.bad.any():
                seen[name] = None
                continue
            values = np.where(found.blank, np.nan, found.values)
            seen[name] = Seen(before.present + int((~found.blank).sum()), before.outside + outside(known[name], values))
    return Plausibility(rows, source.names, seen)
