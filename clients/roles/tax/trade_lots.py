"""Who sold to whom on which day, within one bureau: sales invoices reduced to net amounts by seller, buyer and day, and the register of buyers.

A void invoice counts for nothing; a red-letter one lowers its day. The buyer stands on an invoice by the bureau's own code: the register
(`taxpayers`) says which codes are taxpayers of the same bureau, from which day on; without a register a code is a taxpayer's where it is spelled
like a seller's id. All others are buyers elsewhere: they count in a firm's sales, and in no circle.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from clients.roles.canonical import check_canonical
from clients.roles.totals import Codes, Totals
from federation.kernel.errors import DataError

Ints = NDArray[np.int64]
NEVER = np.iinfo(np.int64).max


@dataclass(frozen=True)
class Trade:
    """firms: ids by number; codes: of buyers, by number; lots: seller, code, day (since 1970), amount (net, fen), int64; first: (firms,)
    day of each one's first record, NEVER where it only buys; register: code, firm and since, int64, or None.
    """

    firms: list[str]
    codes: list[str]
    lots: pd.DataFrame
    first: Ints
    register: pd.DataFrame | None

    def buyers(self, before: int) -> Ints:
        """Which firm each code is, as known before a day, (codes,); -1 for none of this bureau."""
        found = np.full(len(self.codes), -1, np.int64)
        if self.register is not None:
            known = self.register[self.register["since"] < before]
            found[known["code"].to_numpy()] = known["firm"].to_numpy()  # sorted by since: the last one stands
            return found
        number = {firm: place for place, firm in enumerate(self.firms)}
        return np.array([number.get(code, -1) for code in self.codes], np.int64)


def reduce_trade(invoices: Iterable[pd.DataFrame], taxpayers: Iterable[pd.DataFrame] | None, first_day: int, end_day: int) -> Trade:
    """All batches; lots of days in [first_day, end_day) alone. Raises DataError where a batch is not canonical."""
    firms, codes = Codes(), Codes()
    lots = Totals(("seller", "code", "day"), ("amount",))
    first = np.zeros(0, np.int64)
    for batch in invoices:
        check_canonical("sales_invoices", batch, may_miss=("counterparty",))
        seller, code = firms(batch["firm"]), codes(batch["counterparty"])
        day = batch["date"].to_numpy("datetime64[D]").astype(np.int64)
        first = np.append(first, np.full(len(firms.texts) - len(first), NEVER, np.int64))
        np.minimum.at(first, seller, day)
        wanted = (batch["status"] != "void").to_numpy(bool) & (first_day <= day) & (day < end_day)
        part = pd.DataFrame({"seller": seller, "code": code, "day": day, "amount": batch["amount"].to_numpy(np.int64)})
        lots.add(part[wanted])
    register = None if taxpayers is None else _register(taxpayers, firms, codes)
    first = np.append(first, np.full(len(firms.texts) - len(first), NEVER, np.int64))
    return _in_order_of_ids(Trade(firms.texts, codes.texts, lots.result(), first, register))


def _in_order_of_ids(trade: Trade) -> Trade:
    """Firms numbered by their ids, so that what is a tie falls alike in whatever order records come."""
    order = np.array(sorted(range(len(trade.firms)), key=trade.firms.__getitem__), np.int64)
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order))
    lots = trade.lots.assign(seller=rank[trade.lots["seller"].to_numpy()])
    register = None if trade.register is None else trade.register.assign(firm=rank[trade.register["firm"].to_numpy()])
    firms = [trade.firms[firm] for firm in order]
    return replace(trade, firms=firms, lots=lots, first=trade.first[order], register=register)


def _register(batches: Iterable[pd.DataFrame], firms: Codes, codes: Codes) -> pd.DataFrame:
    """Sorted by code and day. A code that is two firms' on one day is refused: nothing says whose an invoice is."""
    parts = [pd.DataFrame(np.zeros((0, 3), np.int64), columns=["code", "firm", "since"])]
    for batch in batches:
        check_canonical("taxpayers", batch)
        since = batch["since"].to_numpy("datetime64[D]").astype(np.int64)
        parts.append(pd.DataFrame({"code": codes(batch["code"]), "firm": firms(batch["firm"]), "since": since}))
    found = pd.concat(parts, ignore_index=True).drop_duplicates()
    twice = int(found.duplicated(["code", "since"]).sum())
    if twice:
        what = f"{twice:,} codes are those of two firms from the same day on (rule: one firm for a code and day)"
        raise DataError("taxpayers / code", what, "Correct the register.")
    return found.sort_values(["since", "code"], ignore_index=True)
