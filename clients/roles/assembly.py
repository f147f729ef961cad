"""A role's feature table: every feature that the dictionary has for the role, by firm and month, in blocks of firms.

Firms' numbers are dense in months, so they are made for some thousand firms at a time. What no kind of record at hand gives is missing.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from clients.roles.fields import dated
from clients.roles.monthly import NEVER, Block
from clients.roles.series import Ints
from clients.roles.totals import Codes, Registry
from federation.kernel.errors import ConfigurationError, DataError
from privacy.dictionary.entries import Feature, features, record_kinds

Records = Mapping[str, Iterable[pd.DataFrame]]
Tables = Mapping[str, pd.DataFrame]
Found = Mapping[str, NDArray[Any]]

FIRMS: Final = 1 << 14
"""Firms of a block."""


class Reader(Protocol):
    """Reduces one kind of record. Made with codes that all kinds of a role share."""

    def __init__(self, codes: Registry) -> None: ...

    def add(self, batch: pd.DataFrame) -> None:
        """One batch of dated records."""

    def tables(self) -> Tables:
        """By name: each with a firm, by its code, and a month, that of the record's date."""


def read(role: str, readers: Mapping[str, type[Reader]], records: Records) -> tuple[list[str], dict[str, Tables]]:
    """The firms' ids in ascending order, and each kind's tables by the kind's name.

    Raises ConfigurationError for a kind that the role does not have, DataError where none is given or a column is missing.
    """
    for kind in records:
        if kind not in readers:
            near = difflib.get_close_matches(kind, readers, 1, 0.4)
            action = f"Did you mean {near[0]!r}?" if near else f"Known: {', '.join(readers)}."
            raise ConfigurationError(f"records of role {role!r}", f"kind {kind!r} is not known", action)
    if not records:
        raise DataError(f"records of role {role!r}", "there are none", f"Give at least one of: {', '.join(readers)}.")
    codes: Registry = Registry(Codes)
    made: dict[str, Reader] = {}
    for kind, batches in records.items():
        reader = made[kind] = readers[kind](codes)
        for batch in batches:
            _check(kind, batch)
            reader.add(dated(batch, kind, record_kinds()[kind].date))
    names = sorted(codes["firm"].texts)
    rank = np.zeros(len(names), np.int64)
    rank[codes["firm"](pd.Series(names, dtype=object))] = np.arange(len(names))
    return names, {kind: {name: _ranked(table, rank) for name, table in r.tables().items()} for kind, r in made.items()}


def pieces(
    role: str,
    names: Sequence[str],
    tables: Mapping[str, Tables],
    months: Sequence[np.datetime64],
    of_block: Callable[[Mapping[str, Tables], Block], Callable[[int], Found]],
) -> Iterator[pd.DataFrame]:
    """The table in pieces of some thousand firms: `id`, `as_of` (first of month), then the role's features in the dictionary's order.

    Ascending by id and month; at least one piece, which may have no rows. A firm has a row where any of its records is dated before the month.
    of_block: a block's features of one month, by name, (firms,) each. Raises ConfigurationError where there is no month.
    """
    if not len(months):
        raise ConfigurationError("as-of months", "there are none", "Name at least one month.")
    wanted = [feature for feature in features().values() if feature.role == role]
    numbers = [int(month) for month in np.unique(np.array(months, dtype="datetime64[M]").astype(np.int64))]
    since, ids = _since(len(names), tables), np.array(names, dtype=object)
    for low in range(0, max(len(names), 1), FIRMS):
        block = Block(low, min(low + FIRMS, len(names)), numbers[0], numbers[-1])
        members, found_of = slice(block.low, block.high), of_block(tables, block)
        rows = [_rows(ids[members], month, found_of(month), wanted, since[members] < month) for month in numbers]
        yield pd.concat(rows).sort_values(["id", "as_of"], ignore_index=True)


def _ranked(table: pd.DataFrame, rank: Ints) -> pd.DataFrame:
    """By the firm's place among all ids, instead of its code."""
    return table.assign(firm=rank[table["firm"].to_numpy()]).sort_values("firm", kind="stable", ignore_index=True)


def _rows(ids: NDArray[Any], month: int, found: Found, wanted: Sequence[Feature], known: NDArray[np.bool_]) -> pd.DataFrame:
    """The rows of one month."""
    assert set(found) <= {feature.name for feature in wanted}, "an adapter gives what the dictionary does not have"
    day = np.datetime64(month, "M").astype("datetime64[s]")
    columns: dict[str, Any] = {"id": pd.Series(ids[known], dtype=object), "as_of": np.full(int(known.sum()), day)}
    for feature in wanted:
        if feature.kind == "categorical":
            values = found.get(feature.name, np.full(len(ids), None, dtype=object))
            columns[feature.name] = pd.Series(values[known], dtype=object)
            continue
        values = np.asarray(found.get(feature.name, np.full(len(ids), np.nan)), dtype=np.float64)[known]
        columns[feature.name] = np.round(values, 2) if feature.unit.startswith("CNY") else values
    return pd.DataFrame(columns)


def _since(firms: int, tables: Mapping[str, Tables]) -> Ints:
    """(firms,) the month of the first record of any kind."""
    since = np.full(firms, NEVER)
    for of_kind in tables.values():
        for table in of_kind.values():
            np.minimum.at(since, table["firm"].to_numpy(), table["month"].to_numpy())
    return since


def _check(kind: str, batch: pd.DataFrame) -> None:
    for column in record_kinds()[kind].columns:
        if column.required and column.name not in batch:
            raise DataError(kind, f"column {column.name!r} is missing", "Map it in the mapping file.")
    if batch["firm"].isna().any():
        count = int(batch["firm"].isna().sum())
        raise DataError(
            kind, f"column 'firm' has {count:,} of {len(batch):,} values missing (rule: not missing)", "Leave these records out."
        )
