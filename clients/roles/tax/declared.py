"""Tax declarations: what was declared and paid, what was late, and what is missing.

A declaration is known from the day on which it was filed. The one for a month is due in the month after, so as of a month M the last period
that must be there is M - 2: windows are the 12 periods from M - 13 to M - 2. Which periods were to be declared is not read from the table
(an unfiled row has no date by which it could be known) but follows from the calendar: every month since the firm's first declared one.
A period filed again counts with its last filing known as of the month; it was late if the first one was.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pandas as pd

from clients.roles.canonical import check_canonical
from clients.roles.series import Floats, Ints, ratio
from clients.roles.tax.invoices import month_number
from clients.roles.tax.view import NEVER, AsOf
from clients.roles.totals import Codes

PERIODS = 12
_DUE = 2
"""A period is due by the end of the month after it, so it must be there two months on."""


def reduce_declarations(batches: Iterable[pd.DataFrame], firms: Codes) -> pd.DataFrame:
    """Filed declarations by firm, period and day of filing, sorted so: an int64 frame of firm, period (months since 1970), filed and due
    (days since 1970), sales, tax_due, tax_paid (fen) and paid_known (0 or 1). Raises DataError where a batch is not canonical.
    """
    parts = [_numbers(_EMPTY, Codes())]
    for batch in batches:
        check_canonical("declarations", batch, may_miss=("filed",))
        parts.append(_numbers(batch[batch["filed"].notna()], firms))
    return pd.concat(parts, ignore_index=True).sort_values(["firm", "period", "filed"], ignore_index=True)


_EMPTY = pd.DataFrame(
    {"firm": pd.Series([], dtype=object)}
    | {name: pd.Series([], dtype="datetime64[s]") for name in ("period", "filed", "due")}
    | {name: pd.Series([], dtype=np.int64) for name in ("sales", "tax_due")}
)


def _numbers(batch: pd.DataFrame, firms: Codes) -> pd.DataFrame:
    paid = batch["tax_paid"] if "tax_paid" in batch.columns else pd.Series(pd.NA, index=batch.index, dtype="Int64")
    return pd.DataFrame(
        {
            "firm": firms(batch["firm"]),
            "period": month_number(batch["period"]),
            "filed": batch["filed"].to_numpy("datetime64[D]").astype(np.int64),
            "due": batch["due"].to_numpy("datetime64[D]").astype(np.int64),
            "sales": batch["sales"].to_numpy(np.int64),
            "tax_due": batch["tax_due"].to_numpy(np.int64),
            "tax_paid": paid.fillna(0).to_numpy(np.int64),
            "paid_known": paid.notna().to_numpy(np.int64),
        }
    )


def declared(view: AsOf, filed: pd.DataFrame, firms: int) -> dict[str, Floats]:
    """filed: as of `reduce_declarations`, with firms numbered 0 to firms - 1."""
    today = int(np.datetime64(view.month, "M").astype("datetime64[D]").astype(np.int64))
    known = filed[filed["filed"] < today]
    first, last = (known.drop_duplicates(["firm", "period"], keep=keep) for keep in ("first", "last"))
    newest = view.month - _DUE
    earliest, latest = np.full(firms, NEVER, np.int64), np.full(firms, -NEVER, np.int64)
    np.minimum.at(earliest, known["firm"].to_numpy(), known["period"].to_numpy())
    np.maximum.at(latest, known["firm"].to_numpy(), known["period"].to_numpy())
    enough = newest - earliest + 1 >= PERIODS

    def within(table: pd.DataFrame) -> pd.DataFrame:
        return table[(table["period"] <= newest) & (table["period"] > newest - PERIODS)]

    first, last = within(first), within(last)
    late = np.maximum(first["filed"].to_numpy() - first["due"].to_numpy(), 0)
    number, sales, tax = (
        _sum(first, np.ones(len(first), np.int64), firms),
        _sum(last, last["sales"], firms),
        _sum(last, last["tax_due"], firms),
    )
    paid, all_paid_known = _sum(last, last["tax_paid"], firms), _sum(last, 1 - last["paid_known"], firms) == 0
    found = {
        "declared_sales_12m": sales / 100,
        "declared_tax_burden_12m": ratio(tax, sales),
        "declared_tax_paid_share_12m": np.where(all_paid_known, ratio(paid, tax), np.nan),
        "declarations_missing_12m": (PERIODS - number).astype(np.float64),
        "declarations_late_12m": _sum(first, late > 0, firms).astype(np.float64),
        "declaration_days_late_12m": ratio(_sum(first, late, firms), number),
        "invoiced_to_declared_12m": _invoiced(view, last, sales, firms),
    }
    found = {name: np.where(enough, values, np.nan) for name, values in found.items()}
    found["declaration_periods_behind"] = np.where(latest > -NEVER, np.maximum(newest - latest, 0), np.nan)
    return found


def _sum(table: pd.DataFrame, values: pd.Series[int] | Ints, firms: int) -> Ints:
    added = np.zeros(firms, np.int64)
    np.add.at(added, table["firm"].to_numpy(), np.asarray(values, np.int64))
    return added


def _invoiced(view: AsOf, last: pd.DataFrame, declared_sales: Ints, firms: int) -> Floats:
    """Net invoiced sales of the periods that were declared, over the sales declared for them."""
    if view.sales is None:
        return np.full(firms, np.nan)
    months = view.months(view.sales, "amount", PERIODS, _DUE - 1)
    place = last["period"].to_numpy() - (view.month - _DUE - PERIODS + 1)
    return ratio(_sum(last, months[last["firm"].to_numpy(), place], firms), declared_sales)
