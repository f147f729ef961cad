"""The platform's feature table, of whatever kinds of record it has."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from clients.roles import assembly
from clients.roles.assembly import Found, Tables
from clients.roles.monthly import Block, Monthly
from clients.roles.partners import Partners
from clients.roles.platform import buyers, fulfilment, logins, orders, stock

READERS: Final[Mapping[str, type[assembly.Reader]]] = {
    "orders": orders.Reader,
    "refunds": fulfilment.Refunds,
    "shipments": fulfilment.Shipments,
    "stock": stock.Reader,
    "logins": logins.Reader,
}


def build(records: Mapping[str, Iterable[pd.DataFrame]], months: Sequence[np.datetime64]) -> pd.DataFrame:
    """The whole table, sorted by id and month. records: batches of canonical columns by kind; months: those that features are as of.

    Duplicates by a record's key are the door's to drop: here a record that comes twice counts twice. Raises ConfigurationError, DataError.
    """
    return pd.concat(list(pieces(records, months)), ignore_index=True)


def pieces(records: Mapping[str, Iterable[pd.DataFrame]], months: Sequence[np.datetime64]) -> Iterator[pd.DataFrame]:
    """The table in pieces of some thousand firms, for tables that no memory holds; at least one piece, which may have no rows."""
    names, tables = assembly.read("platform", READERS, records)
    yield from assembly.pieces("platform", names, tables, months, of_block)


def of_block(tables: Mapping[str, Tables], block: Block) -> Callable[[int], Found]:
    """The features of a block of firms, by month."""
    monthly = {kind: Monthly(found["months"], block) for kind, found in tables.items()}
    parts: list[Callable[[int], Found]] = []
    if "orders" in monthly:
        ordered = monthly["orders"]
        parts += [
            partial(orders.features, ordered),
            partial(buyers.features, ordered, Partners(tables["orders"]["buyers"], block)),
            partial(fulfilment.Cancelled(tables["orders"]["cancelled"], block).features, ordered),
        ]
        if "refunds" in monthly:
            parts.append(partial(fulfilment.refunded, ordered, monthly["refunds"]))
        if "stock" in monthly:
            parts.append(partial(stock.turnover, monthly["stock"], ordered))
    for kind, part in (("shipments", fulfilment.delivered), ("stock", stock.features), ("logins", logins.features)):
        if kind in monthly:
            parts.append(partial(part, monthly[kind]))

    def features(month: int) -> Found:
        found: dict[str, NDArray[Any]] = {}
        for part in parts:
            found |= part(month)
        return found

    return features
