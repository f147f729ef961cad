"""The bank's own loans to a firm: what is open, how old arrears are, how often and how badly it was late.

A loan's state is that of its last row in the repayment table before the month; what became of it later is not known. Arrears count in whatever
part of a window the firm has rows: a loan that went bad after three months must not hide behind a short history.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import pandas as pd

from clients.roles.assembly import Found, Tables
from clients.roles.fields import ABSENT, coded, days, months, whole
from clients.roles.monthly import Block, Monthly
from clients.roles.series import Flags, Floats, Ints, ratio
from clients.roles.totals import Latest, Registry, Totals

WIDTHS: Final = (3, 6, 12)
LATE: Final = 30
"""Days past due from which a month counts as late."""
NEW: Final = 2
"""Months in which a loan that was paid out may lack a row in the repayment table."""
MEMORY: Final = 24
"""Months in which restructuring and writing off are remembered."""
STATUS: Final = ("current", "restructured", "written_off", "closed")
BUCKETS: Final = {"current": (0, 0), "1_30": (1, 30), "31_60": (31, 60), "61_90": (61, 90), "over_90": (91, np.iinfo(np.int64).max)}
"""Days past due, both ends within."""


class Granted:
    """Loans by number: firm, month of payment, amount. Of two rows of a loan the earlier one stands, so that a later one changes nothing."""

    def __init__(self, codes: Registry) -> None:
        self._firms, self._loans = codes["firm"], codes["loan"]
        self._granted = Latest(("loan",), ("earlier", "firm", "month", "amount"))

    def add(self, batch: pd.DataFrame) -> None:
        """One batch of dated records."""
        day, amount = days(batch, "opened"), whole(batch, "loans", "amount")
        rows = pd.DataFrame({"loan": self._loans(batch["loan"]), "firm": self._firms(batch["firm"]), "earlier": -day})
        self._granted.add(rows.assign(month=months(day), amount=amount))

    def tables(self) -> Tables:
        """See assembly."""
        return {"granted": self._granted.result()}


class Repayments:
    """The repayment table reduced: states, the last row of each loan and month; months by firm, with the worst of its loans."""

    def __init__(self, codes: Registry) -> None:
        self._firms, self._loans = codes["firm"], codes["loan"]
        self._states = Latest(("loan", "month"), ("day", "firm", "balance", "past_due", "status"))
        sums = ("number", "stated", "restructured", "written_off", "due", "paid")
        self._months = Totals(("firm", "month"), sums, ("past_due",))

    def add(self, batch: pd.DataFrame) -> None:
        """One batch of dated records."""
        day, status = days(batch, "date"), coded(batch, "status", STATUS)
        past_due, balance, due, paid = (whole(batch, "repayments", name) for name in ("days_past_due", "balance", "due", "paid"))
        both = (due != ABSENT) & (paid != ABSENT)
        rows = pd.DataFrame({"loan": self._loans(batch["loan"]), "firm": self._firms(batch["firm"]), "month": months(day), "day": day})
        rows["number"], rows["past_due"], rows["balance"], rows["status"] = 1, past_due, balance, status
        rows["due"], rows["paid"], rows["stated"] = np.where(both, due, 0), np.where(both, paid, 0), (status != ABSENT).astype(np.int64)
        for name in ("restructured", "written_off"):
            rows[name] = (status == STATUS.index(name)).astype(np.int64)
        self._states.add(rows)
        self._months.add(rows)

    def tables(self) -> Tables:
        """See assembly."""
        return {"states": self._states.result(), "months": self._months.result()}


class Granting:
    """A block's loans as they were granted."""

    def __init__(self, granted: pd.DataFrame, block: Block) -> None:
        rows = block.rows(granted)
        self._firms, self.firm = block.firms, rows["firm"].to_numpy() - block.low
        self.loan, self.month, self.amount = (rows[name].to_numpy() for name in ("loan", "month", "amount"))
        self.first = np.full(block.firms, np.inf)
        """(firms,) the month of the first loan."""
        np.minimum.at(self.first, self.firm, self.month)

    def features(self, month: int) -> Found:
        """Of the loans paid out before the month; 0 for a firm that the bank knows and has not lent to."""
        before = self.month < month
        last = np.full(self._firms, -np.inf)
        np.maximum.at(last, self.firm[before], self.month[before])
        found = {"loan_months_since_last": np.where(np.isfinite(last), month - last, np.nan)}
        for width in (12, 24):
            within = before & (self.month >= month - width)
            found[f"loans_granted_{width}m"] = np.bincount(self.firm[within], minlength=self._firms).astype(np.float64)
            found[f"loan_amount_granted_{width}m"] = np.bincount(self.firm[within], self.amount[within], self._firms) / 100
        return found


class States:
    """A block's loans by their states, month by month."""

    def __init__(self, states: pd.DataFrame, block: Block) -> None:
        rows = block.rows(states).sort_values(["loan", "month"])
        self._firms, self._firm = block.firms, rows["firm"].to_numpy() - block.low
        self._loan, self._month, self._balance, self._past_due, self._status = (
            rows[name].to_numpy() for name in ("loan", "month", "balance", "past_due", "status")
        )

    def features(self, granting: Granting | None, month: int) -> Found:
        """What is open before the month, and how old its arrears are."""
        before = np.flatnonzero(self._month < month)
        last = before[np.diff(self._loan[before], append=-1) != 0]
        gone = np.isin(self._status[last], [STATUS.index("written_off"), STATUS.index("closed")])
        is_open = last[~gone & (self._balance[last] > 0)]
        firm, balance, past_due = self._firm[is_open], self._balance[is_open], self._past_due[is_open]
        if granting is not None:  # paid out, and not at a month's end yet
            new = (granting.month < month) & (granting.month >= month - NEW) & ~np.isin(granting.loan, self._loan[last])
            firm, balance = np.r_[firm, granting.firm[new]], np.r_[balance, granting.amount[new]]
            past_due = np.r_[past_due, np.zeros(int(new.sum()), np.int64)]
        outstanding = np.bincount(firm, balance, self._firms)
        worst = np.full(self._firms, np.nan)
        np.fmax.at(worst, firm, past_due.astype(np.float64))
        found = {
            "loans_open": np.bincount(firm, minlength=self._firms).astype(np.float64),
            "loan_outstanding": outstanding / 100,
            "past_due_days_now": worst,
        }
        for name, (low, high) in BUCKETS.items():
            within = (past_due >= low) & (past_due <= high)
            found[f"ageing_{name}_share"] = ratio(np.bincount(firm[within], balance[within], self._firms), outstanding)
        return found


def arrears(repayments: Monthly, month: int) -> Found:
    """How often and how badly the firm was late, in the months of the window that have rows."""
    found: dict[str, Floats] = {"repayment_history_months": repayments.history(month)}
    for width in WIDTHS:
        past_due, there = repayments.months("past_due", month, width), repayments.present(month, width)
        found |= {
            f"past_due_worst_{width}m": _said(there, past_due.max(axis=1)),
            f"past_due_30_months_{width}m": _said(there, (past_due >= LATE).sum(axis=1)),
            f"past_due_months_{width}m": _said(there, (past_due > 0).sum(axis=1)),
            f"paid_to_due_{width}m": ratio(repayments.sum("paid", month, width), repayments.sum("due", month, width)),
        }
    for name in ("restructured", "written_off"):
        stated = repayments.months("stated", month, MEMORY) > 0
        found[f"loan_{name}_{MEMORY}m"] = _said(stated, repayments.sum(name, month, MEMORY) > 0)
    late = repayments.months("past_due", month, MEMORY) > 0
    since = np.argmax(late[:, ::-1], axis=1).astype(np.float64)
    found[f"past_due_months_since_last_{MEMORY}m"] = np.where(late.any(axis=1), since, np.nan)
    return found


def _said(there: Flags, values: Ints | Flags) -> Floats:
    """The values, missing where no month of the window is there."""
    return np.where(there.any(axis=1), values.astype(np.float64), np.nan)
