"""Invoices, reduced batch by batch to what the features need: sums by firm and month, and by firm, counterparty and month.

A void invoice is cancelled in its month of issue: it counts as void, and for nothing else. A red-letter invoice (a return or a correction)
has a negative amount: it lowers the net amount of the month on which it is dated, and is counted as red. Money is whole fen. What comes twice
counts twice: the raw door lets each record through once, by the key of the mapping.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from clients.roles.canonical import check_canonical
from clients.roles.totals import Codes, Totals

MEASURES = ("amount", "tax", "number", "red_number", "red_amount", "void_number", "void_amount")
"""amount, tax: net, of valid invoices; number: of valid ones, red-letter ones too; red_amount, void_amount: without sign."""


@dataclass(frozen=True)
class Reduced:
    """One kind of invoice. months: firm, month and MEASURES; partners: firm, partner, month, amount, number of valid invoices; both int64
    and sorted. firm counts in the `Codes` that it was reduced with; month in months since 1970.
    """

    months: pd.DataFrame
    partners: pd.DataFrame


def reduce_invoices(kind: str, batches: Iterable[pd.DataFrame], firms: Codes) -> Reduced:
    """All batches of a kind of invoice. Raises DataError where a batch is not canonical."""
    partners = Codes()
    by_month, by_partner = Totals(("firm", "month"), MEASURES), Totals(("firm", "partner", "month"), ("amount", "number"))
    for batch in batches:
        check_canonical(kind, batch, may_miss=("counterparty",))
        if batch.empty:
            continue
        cells = _measured(batch, firms(batch["firm"]))
        by_month.add(cells)
        cells["partner"] = partners(batch["counterparty"])
        by_partner.add(cells[(cells["number"] > 0) & (cells["partner"] >= 0)])
    return Reduced(by_month.result(), by_partner.result())


def _measured(batch: pd.DataFrame, firm: NDArray[np.int64]) -> pd.DataFrame:
    """A row of MEASURES for each invoice."""
    amount, tax = (batch[name].to_numpy(np.int64) for name in ("amount", "tax"))
    void = (batch["status"] == "void").to_numpy(bool)
    red = (amount < 0) & ~void
    return pd.DataFrame(
        {
            "firm": firm,
            "month": month_number(batch["date"]),
            "amount": np.where(void, 0, amount),
            "tax": np.where(void, 0, tax),
            "number": (~void).astype(np.int64),
            "red_number": red.astype(np.int64),
            "red_amount": np.where(red, -amount, 0),
            "void_number": void.astype(np.int64),
            "void_amount": np.where(void, np.abs(amount), 0),
        }
    )


def month_number(days: pd.Series[Any]) -> NDArray[np.int64]:
    """Months since 1970-01 of days, (n,)."""
    return np.asarray(days.to_numpy("datetime64[M]").astype(np.int64))
