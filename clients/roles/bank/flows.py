"""Account flows: what comes in, how steadily, from how many; the payments by which a firm is seen to be at work; what is left.

Inflow and outflow are of the business: loans, repayments and transfers between the firm's own accounts are left out of both. A payment (salary,
utility, tax, rent) is what is booked out under that kind; what is booked back is inflow.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import pandas as pd

from clients.roles.assembly import Found, Tables
from clients.roles.course import course
from clients.roles.fields import coded, days, months, whole
from clients.roles.monthly import Monthly
from clients.roles.partners import Partners
from clients.roles.series import Floats, longest, ratio, trend, variation
from clients.roles.totals import Registry, Totals

WIDTHS: Final = (3, 6, 12)
KINDS: Final = ("sale", "purchase", "salary", "utility", "tax", "rent", "loan", "repayment", "transfer", "other")
FINANCE: Final = ("loan", "repayment", "transfer")
PAYMENTS: Final = ("salary", "utility", "tax", "rent")
QUIET, USUAL, OFTEN = 2, 6, 4
"""A payment has stopped where it was made in at least OFTEN of USUAL months and not in the QUIET months after them."""


class Reader:
    """Flows reduced: months by firm; inflows: months with inflow; payers and payees by firm, counterparty and month."""

    def __init__(self, codes: Registry) -> None:
        self._firms, self._others = codes["firm"], codes["counterparty"]
        self._months = Totals(("firm", "month"), ("inflow", "outflow", "loan", "repayment", *PAYMENTS))
        self._inflows = Totals(("firm", "month"), ("number",), ("day",))
        self._payers = Totals(("firm", "partner", "month"), ("number", "amount"))
        self._payees = Totals(("firm", "partner", "month"), ("number", "amount"))

    def add(self, batch: pd.DataFrame) -> None:
        """One batch of dated records."""
        day, amount, kind = days(batch, "date"), whole(batch, "flows", "amount"), coded(batch, "kind", KINDS)
        business = ~np.isin(kind, [KINDS.index(name) for name in FINANCE])
        rows = pd.DataFrame({"firm": self._firms(batch["firm"]), "month": months(day), "day": day, "number": 1})
        rows["partner"] = self._others(batch["counterparty"]) if "counterparty" in batch else -1
        coming, going = np.maximum(amount, 0), np.maximum(-amount, 0)
        rows["inflow"], rows["outflow"] = np.where(business, coming, 0), np.where(business, going, 0)
        rows["loan"] = np.where(kind == KINDS.index("loan"), coming, 0)
        for name in ("repayment", *PAYMENTS):
            rows[name] = np.where(kind == KINDS.index(name), going, 0)
        self._months.add(rows)
        self._inflows.add(rows[rows["inflow"] > 0])
        self._payers.add(rows.assign(amount=rows["inflow"])[rows["inflow"] > 0])
        bought = (kind == KINDS.index("purchase")) & (going > 0)
        self._payees.add(rows.assign(amount=rows["outflow"])[bought])

    def tables(self) -> Tables:
        """See assembly."""
        reduced = {"months": self._months, "inflows": self._inflows, "payers": self._payers, "payees": self._payees}
        return {name: found.result() for name, found in reduced.items()}


def features(flows: Monthly, inflows: Monthly, month: int) -> Found:
    """Of what was booked before the month."""
    active = flows.months("inflow", month, 12) > 0
    found = course("inflow", flows, "inflow", month) | {
        "inflow_longest_gap_12m": flows.known(month, 12, longest(~active)),
        "inflow_days_since_last": inflows.days_since(month),
        "flow_history_months": flows.history(month),
    }
    for width in WIDTHS:
        coming, going, loan, repaid = (flows.sum(name, month, width) for name in ("inflow", "outflow", "loan", "repayment"))
        negative = flows.months("inflow", month, width) < flows.months("outflow", month, width)
        found |= {
            f"inflow_{width}m": flows.known(month, width, coming / 100),
            f"outflow_{width}m": flows.known(month, width, going / 100),
            f"net_flow_{width}m": flows.known(month, width, (coming - going) / 100),
            f"net_flow_share_{width}m": flows.known(month, width, ratio(coming - going, coming)),
            f"net_flow_negative_months_{width}m": flows.known(month, width, negative.sum(axis=1)),
            f"inflow_active_months_{width}m": flows.known(month, width, active[:, -width:].sum(axis=1)),
            f"loan_inflow_{width}m": flows.known(month, width, loan / 100),
            f"debt_service_share_{width}m": flows.known(month, width, ratio(repaid, coming)),
        }
    return found


def payments(flows: Monthly, month: int) -> Found:
    """Salary, utility, tax and rent: sums, in how many months, how even, how they run, and whether they have stopped."""
    found: dict[str, Floats] = {}
    for name in PAYMENTS:
        for width in WIDTHS:
            paid = flows.months(name, month, width)
            found[f"{name}_paid_{width}m"] = flows.known(month, width, paid.sum(axis=1) / 100)
            found[f"{name}_paid_months_{width}m"] = flows.known(month, width, (paid > 0).sum(axis=1))
        year = flows.months(name, month, 12)
        found[f"{name}_paid_cv_12m"] = flows.known(month, 12, variation(year))
        found[f"{name}_paid_trend_12m"] = flows.known(month, 12, trend(year))
        usual = (flows.months(name, month, USUAL, QUIET) > 0).sum(axis=1) >= OFTEN
        quiet = flows.sum(name, month, QUIET) == 0
        stopped = np.where(usual, quiet.astype(np.float64), np.nan)
        found[f"{name}_paid_stopped"] = flows.known(month, QUIET + USUAL, stopped)
    return found


def counterparties(flows: Monthly, payers: Partners, payees: Partners, month: int) -> Found:
    """Who pays the firm, and whom it pays for what it buys."""
    found: dict[str, Floats] = {}
    for who, partners in (("payer", payers), ("payee", payees)):
        for width in WIDTHS:
            spread = partners.spread(month, width)
            found |= {
                f"{who}s_{width}m": flows.known(month, width, spread.number),
                f"{who}s_new_{width}m": flows.known(month, 2 * width, spread.new),
                f"{who}_hhi_{width}m": flows.known(month, width, spread.hhi),
                f"{who}_top_share_{width}m": flows.known(month, width, spread.top),
            }
    return found
