"""The bank's feature table, of whatever kinds of record it has."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from clients.roles import assembly
from clients.roles.assembly import Found, Tables
from clients.roles.bank import balances, flows, loans, visits
from clients.roles.monthly import Block, Monthly
from clients.roles.partners import Partners
from clients.roles.series import Floats

READERS: Final[Mapping[str, type[assembly.Reader]]] = {
    "flows": flows.Reader,
    "balances": balances.Reader,
    "loans": loans.Granted,
    "repayments": loans.Repayments,
    "visits": visits.Reader,
}


def build(records: Mapping[str, Iterable[pd.DataFrame]], months: Sequence[np.datetime64]) -> pd.DataFrame:
    """The whole table, sorted by id and month. records: batches of canonical columns by kind; months: those that features are as of.

    Duplicates by a record's key are the door's to drop: here a flow that comes twice counts twice. Raises ConfigurationError, DataError.
    """
    return pd.concat(list(pieces(records, months)), ignore_index=True)


def pieces(records: Mapping[str, Iterable[pd.DataFrame]], months: Sequence[np.datetime64]) -> Iterator[pd.DataFrame]:
    """The table in pieces of some thousand firms, for tables that no memory holds; at least one piece, which may have no rows."""
    names, tables = assembly.read("bank", READERS, records)
    yield from assembly.pieces("bank", names, tables, months, of_block)


def of_block(tables: Mapping[str, Tables], block: Block) -> Callable[[int], Found]:
    """The features of a block of firms, by month."""
    monthly = {kind: Monthly(found["months"], block) for kind, found in tables.items() if "months" in found}
    granting = loans.Granting(tables["loans"]["granted"], block) if "loans" in tables else None
    parts: list[Callable[[int], Found]] = [partial(_relation, [m.since for kind, m in monthly.items() if kind != "visits"], granting)]
    if "flows" in monthly:
        found = tables["flows"]
        payers, payees = Partners(found["payers"], block), Partners(found["payees"], block)
        parts += [
            partial(flows.features, monthly["flows"], Monthly(found["inflows"], block)),
            partial(flows.payments, monthly["flows"]),
            partial(flows.counterparties, monthly["flows"], payers, payees),
        ]
    if "balances" in monthly:
        parts.append(partial(balances.features, monthly["balances"]))
    if granting is not None:
        parts.append(granting.features)
    if "repayments" in monthly:
        states = loans.States(tables["repayments"]["states"], block)
        parts += [partial(states.features, granting), partial(loans.arrears, monthly["repayments"])]
    if "visits" in monthly:
        parts.append(partial(visits.features, monthly["visits"]))

    def features(month: int) -> Found:
        made: dict[str, NDArray[Any]] = {}
        for part in parts:
            made |= part(month)
        return made

    return features


def _relation(firsts: Sequence[NDArray[np.int64]], granting: loans.Granting | None, month: int) -> Found:
    """Months since the first booking, balance, loan or repayment."""
    known = [since.astype(np.float64) for since in firsts] + ([granting.first] if granting else [])
    if not known:
        return {}
    first: Floats = np.minimum.reduce(known)
    return {"relation_months": np.where(first < month, month - first, np.nan)}
