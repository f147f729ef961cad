"""The feature table of a source of dated records: a row for each subject and as-of month, a column for each feature of the dictionary."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import pandas as pd

from clients.roles.records.matters import gather
from clients.roles.records.measures import measure
from federation.kernel.errors import ConfigurationError
from privacy.dictionary.entries import GENERIC, RecordSource, record_sources
from privacy.dictionary.formula import read_formula


def build(records: Mapping[str, Iterable[pd.DataFrame]], months: Sequence[np.datetime64], source: str | None = None) -> pd.DataFrame:
    """The features of one source. records: batches of canonical records, under the source's name or as `records` with `source` named; months:
    as-of months (datetime64[M]).

    Returns `id`, `as_of` and the features, float64; a subject has a row from the month after its first record of any kind on: 0 of kinds that
    it has none of, NaN where the records do not say. Raises ConfigurationError for a source that is not known, DataError for bad records.
    """
    given = list(records)
    name = source or next((name for name in given if name != GENERIC), "")
    known = record_sources()
    if name not in known or len(given) != 1:
        what = "one source of dated records is asked for" if name in known else "the dictionary has no source of dated records of that name"
        raise ConfigurationError("records", what, f"Sources are {', '.join(known)}.")
    return table_of(known[name], records[given[0]], months)


def table_of(source: RecordSource, batches: Iterable[pd.DataFrame], months: Sequence[np.datetime64]) -> pd.DataFrame:
    """As `build`, of a source's own declaration. Rows are sorted by as-of month and subject."""
    wanted = sorted(set(np.array(months, "datetime64[M]").astype(np.int64).tolist()))
    matters = gather(source, batches, max(wanted, default=0))
    known_from = np.full(len(matters.subjects), np.iinfo(np.int64).max)
    np.minimum.at(known_from, matters.subject, matters.month)
    formulas = {entry.name: read_formula(entry.formula) for entry in source.entries}
    measures = {name: measure(source, formula, matters) for name, formula in formulas.items() if formula is not None}
    parts = []
    for month in wanted:
        known = known_from < month
        columns = {name: value(month)[known] for name, value in measures.items()}
        as_of = np.full(int(known.sum()), np.datetime64(month, "M")).astype("datetime64[s]")
        parts.append(pd.DataFrame({"id": matters.subjects[known], "as_of": as_of, **columns}))
    empty = {"id": np.zeros(0, object), "as_of": np.zeros(0, "datetime64[s]")} | {name: np.zeros(0) for name in measures}
    filled = [part for part in parts if len(part)]
    return pd.concat(filled, ignore_index=True) if filled else pd.DataFrame(empty)
