"""What became of orders: cancelled, refunded, delivered, delivered late.

A refund counts on its own day, whenever the order was; a shipment on the day of delivery, so that what is under way is not known yet. A
cancelled order counts from the day on which it was cancelled (`settled`) where the platform gives that day, else as the extract says.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from clients.roles.assembly import Found, Tables
from clients.roles.fields import ABSENT, days, months, whole
from clients.roles.monthly import Block, Monthly
from clients.roles.platform.orders import WIDTHS
from clients.roles.series import Floats, ratio
from clients.roles.totals import Registry, Totals


class Refunds:
    """Refunds reduced to months by firm."""

    def __init__(self, codes: Registry) -> None:
        self._firms, self._months = codes["firm"], Totals(("firm", "month"), ("number", "amount"))

    def add(self, batch: pd.DataFrame) -> None:
        """One batch of dated records."""
        month, amount = months(days(batch, "date")), whole(batch, "refunds", "amount")
        self._months.add(pd.DataFrame({"firm": self._firms(batch["firm"]), "month": month, "number": 1, "amount": amount}))

    def tables(self) -> Tables:
        """See assembly."""
        return {"months": self._months.result()}


class Shipments:
    """Shipments reduced to months of delivery by firm. Of one that arrived before it left, only whether it was late counts."""

    def __init__(self, codes: Registry) -> None:
        self._firms, self._months = codes["firm"], Totals(("firm", "month"), ("timed", "days", "promised", "late"))

    def add(self, batch: pd.DataFrame) -> None:
        """One batch of dated records: those that were delivered."""
        shipped, promised, delivered = (days(batch, name) for name in ("shipped", "promised", "delivered"))
        timed, given = (shipped != ABSENT) & (shipped <= delivered), promised != ABSENT
        rows = pd.DataFrame({"firm": self._firms(batch["firm"]), "month": months(delivered)})
        rows["timed"], rows["days"] = timed.astype(np.int64), np.where(timed, delivered - np.where(timed, shipped, 0), 0)
        rows["promised"], rows["late"] = given.astype(np.int64), (given & (delivered > promised)).astype(np.int64)
        self._months.add(rows)

    def tables(self) -> Tables:
        """See assembly."""
        return {"months": self._months.result()}


class Cancelled:
    """A block's cancelled orders by the month of the order and the month in which that was known."""

    def __init__(self, table: pd.DataFrame, block: Block) -> None:
        rows = block.rows(table)
        self._firms, self._firm = block.firms, rows["firm"].to_numpy() - block.low
        self._month, self._known, self._number = (rows[name].to_numpy() for name in ("month", "known", "number"))

    def features(self, orders: Monthly, month: int) -> Found:
        """The share of orders that were cancelled by then, of those with a status."""
        found: dict[str, Floats] = {}
        for width in WIDTHS:
            within = (self._month >= month - width) & (self._month < month) & (self._known < month)
            number = np.bincount(self._firm[within], self._number[within], self._firms)
            found[f"cancelled_share_{width}m"] = orders.known(month, width, ratio(number, orders.sum("stated", month, width)))
        return found


def refunded(orders: Monthly, refunds: Monthly, month: int) -> Found:
    """Refunds against orders. A firm with orders and without refunds has none of them."""
    found: dict[str, Floats] = {}
    for width in WIDTHS:
        for share, column in (("refund_amount_share", "amount"), ("refund_order_share", "number")):
            given = ratio(refunds.sum(column, month, width), orders.sum(column, month, width))
            found[f"{share}_{width}m"] = orders.known(month, width, given)
    return found


def delivered(shipments: Monthly, month: int) -> Found:
    """Days on the way, and the share that came after the promised day."""
    found: dict[str, Floats] = {}
    for width in WIDTHS:
        timed, way, promised, late = (shipments.sum(name, month, width) for name in ("timed", "days", "promised", "late"))
        found[f"delivery_days_mean_{width}m"] = shipments.known(month, width, ratio(way, timed))
        found[f"delivery_late_share_{width}m"] = shipments.known(month, width, ratio(late, promised))
    return found
