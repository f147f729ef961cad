"""From a bureau's records to the feature table: reduce all batches, then a group of firms at a time, then month by month.

The table has a row for each firm and month before which the bureau has any record of the firm: `id`, `as_of`, and every feature that
privacy/dictionary/tax.toml defines, float64, NaN where there is not enough to say. A kind of record that is not there leaves its features
missing. Memory follows firms, partners and months, never the number of invoices.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from clients.roles.series import Floats, Ints
from clients.roles.tax.activity import activity, presence
from clients.roles.tax.balance import balance, input_tax, output_tax
from clients.roles.tax.declared import declared, reduce_declarations
from clients.roles.tax.invoices import Reduced, reduce_invoices
from clients.roles.tax.partners import partners
from clients.roles.tax.quality import quality
from clients.roles.tax.view import NEVER, AsOf, Ledger
from clients.roles.tax.volume import volume
from clients.roles.totals import Codes
from federation.kernel.errors import ConfigurationError
from privacy.dictionary.entries import features

KINDS = ("sales_invoices", "purchase_invoices", "declarations")
SIDES = {"sales_invoices": "sales", "purchase_invoices": "purchases"}
_LOOK_BACK = 24
_GROUP = 4096


def build(records: Mapping[str, Iterable[pd.DataFrame]], months: Sequence[np.datetime64]) -> pd.DataFrame:
    """The whole table, sorted by id and month. records: batches by kind of record; months: as-of months. Raises DataError,
    ConfigurationError.
    """
    return pd.concat(list(pieces(records, months)), ignore_index=True)


def pieces(records: Mapping[str, Iterable[pd.DataFrame]], months: Sequence[np.datetime64]) -> Iterator[pd.DataFrame]:
    """The table in pieces of some thousand firms, for tables that no memory holds; at least one piece, which may have no rows."""
    whole = reduce_records(records)
    wanted = sorted({int(month) for month in np.asarray(list(months), "datetime64[M]").astype(np.int64)})
    if not wanted:
        raise ConfigurationError("tax features", "no as-of month is given", "Name at least one.")
    order = np.argsort(np.array(whole.ids, object)) if whole.ids else np.zeros(0, np.int64)
    for begin in range(0, max(len(order), 1), _GROUP):
        yield _group(whole, order[begin : begin + _GROUP], wanted)


@dataclass(frozen=True)
class Records:
    """What all batches came to. ids: of firms, by their number; declarations: as of `reduce_declarations`."""

    ids: list[str]
    invoices: dict[str, Reduced]
    declarations: pd.DataFrame | None


def reduce_records(records: Mapping[str, Iterable[pd.DataFrame]]) -> Records:
    """All batches of all kinds. Raises ConfigurationError where there is no kind that this adapter reads."""
    if not set(KINDS) & set(records):
        raise ConfigurationError("tax features", "there are no records of a tax bureau", f"Map one of {', '.join(KINDS)}.")
    firms = Codes()
    invoices = {kind: reduce_invoices(kind, records[kind], firms) for kind in SIDES if kind in records}
    declarations = reduce_declarations(records["declarations"], firms) if "declarations" in records else None
    return Records(firms.texts, invoices, declarations)


def _group(whole: Records, members: Ints, months: list[int]) -> pd.DataFrame:
    """All months of some firms, given by their numbers in the order wanted."""
    start, end = months[0] - _LOOK_BACK, months[-1]
    place = np.full(len(whole.ids), -1, np.int64)
    place[members] = np.arange(len(members))
    ledgers = {
        SIDES[kind]: Ledger(_of(reduced.months, place), _of(reduced.partners, place), len(members), start, end)
        for kind, reduced in whole.invoices.items()
    }
    filed = _of(whole.declarations, place) if whole.declarations is not None else None
    known_from = _known_from(ledgers, filed, len(members))
    ids = np.array([whole.ids[member] for member in members], object)
    names = [feature.name for feature in features().values() if feature.role == "tax" and feature.source in KINDS]
    tables = []
    for month in months:
        found = _as_of(AsOf(month, ledgers.get("sales"), ledgers.get("purchases")), filed, len(members))
        rows = known_from < month
        table = {name: found.get(name, np.full(len(members), np.nan))[rows] for name in names}
        day = np.datetime64(month, "M").astype("datetime64[s]")
        tables.append(pd.DataFrame({"id": pd.Series(ids[rows], dtype=object), "as_of": np.full(int(rows.sum()), day), **table}))
    return pd.concat(tables, ignore_index=True).sort_values(["id", "as_of"], ignore_index=True)


def _of(table: pd.DataFrame, place: Ints) -> pd.DataFrame:
    """Rows of the firms that have a place, with the place as their firm, sorted by it and then as they were."""
    firm = place[table["firm"].to_numpy(np.int64)]
    found: pd.DataFrame = table.assign(firm=firm)[firm >= 0]
    return found.sort_values("firm", kind="stable", ignore_index=True)


def _known_from(ledgers: Mapping[str, Ledger], filed: pd.DataFrame | None, firms: int) -> Ints:
    """The month of each firm's first record, (firms,)."""
    first = np.full(firms, NEVER, np.int64)
    for ledger in ledgers.values():
        first = np.minimum(first, ledger.first_record)
    if filed is not None:
        days = filed["filed"].to_numpy(np.int64).astype("datetime64[D]").astype("datetime64[M]").astype(np.int64)
        np.minimum.at(first, filed["firm"].to_numpy(np.int64), days)
    return first


def _as_of(view: AsOf, filed: pd.DataFrame | None, firms: int) -> dict[str, Floats]:
    found: dict[str, Floats] = {}
    for side, ledger in (("sales", view.sales), ("purchases", view.purchases)):
        if ledger is not None:
            found |= volume(side, view, ledger) | quality(side, view, ledger) | activity(side, view, ledger) | partners(side, view, ledger)
    if view.sales is not None:
        found |= output_tax(view, view.sales)
    if view.purchases is not None:
        found |= input_tax(view, view.purchases)
    if view.sales is not None and view.purchases is not None:
        found |= balance(view, view.sales, view.purchases)
    if view.sales is not None or view.purchases is not None:
        found |= presence(view)
    if filed is not None:
        found |= declared(view, filed, firms)
    return found
