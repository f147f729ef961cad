"""The graph of a window's trade: an arrow from seller to buyer, weighted by the net amount, and only those that matter to both.

In a ring of firms of like size each sale is a fair share of the seller's sales and of the buyer's purchases. In honest supply one of the two is
small nearly always: a shop's wholesaler is a large part of what the shop buys, and the shop a small part of what the wholesaler sells. So an
arrow stays where it is at least `least_share` of both, and at least `least_amount`. What was left out is counted. Sums that a firm only passed
on are straightened first (`trade_passes`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from clients.roles.tax.trade_lots import Ints, Trade
from clients.roles.tax.trade_passes import straightened


@dataclass(frozen=True)
class Settings:
    """How circles are looked for.

    window: months before the as-of month; least_amount: of an arrow, in fen; least_share: of an arrow, of the seller's sales and of the
    buyer's purchases within the bureau; balance: the least amount around a circle over the greatest; longest: firms in a circle;
    widest_knot, largest_knot: firms of a knot, before and after what is in no short cycle has gone; most_cycles: circles listed of one
    knot; trip_days, trip_tolerance: between an invoice and the one that brings the sum back, and by which share these may differ;
    trip_pairs: with one partner, from which on they count; pass_days, pass_tolerance: between an invoice to a firm and the one by which it
    passes the sum on; pass_ways: firms by way of which two trade that
    do not sell to each other directly, for passes between them to count;
    flag_from: the score from which a firm is flagged.
    """

    window: int = 3
    least_amount: int = 1_000_000
    least_share: float = 0.04
    balance: float = 0.3
    longest: int = 7
    widest_knot: int = 5_000
    largest_knot: int = 400
    most_cycles: int = 20_000
    trip_days: int = 45
    trip_tolerance: float = 0.05
    trip_pairs: int = 3
    pass_days: int = 10
    pass_tolerance: float = 0.05
    pass_ways: int = 3
    flag_from: float = 0.1


@dataclass(frozen=True)
class Window:
    """A window's trade. lots: seller, buyer, day, amount, of sales within the bureau; sales: (firms,) fen, to everybody; edges: seller,
    buyer, amount, share (the lesser of the two), those that stay; passes: seller, buyer, by, of the sums that were straightened;
    arrows, small, slight: how many there were, and were left out by amount and by share; elsewhere: (0 to 1) of all sales, those to
    buyers that are no taxpayers here.
    """

    lots: pd.DataFrame
    sales: Ints
    edges: pd.DataFrame
    passes: pd.DataFrame
    arrows: int
    small: int
    slight: int
    elsewhere: float


def window_of(trade: Trade, first_day: int, end_day: int, settings: Settings) -> Window:
    """The trade of days in [first_day, end_day), with the register as known before end_day."""
    count = len(trade.firms)
    days = trade.lots["day"].to_numpy()
    lots = trade.lots[(first_day <= days) & (days < end_day)]
    sales = _sums(lots["seller"].to_numpy(), lots["amount"].to_numpy(), count)
    code = lots["code"].to_numpy()
    buyer = np.where(code >= 0, np.append(trade.buyers(end_day), -1)[code], -1)
    lots = lots.assign(buyer=buyer)
    inside = lots[(buyer >= 0) & (buyer != lots["seller"].to_numpy())][["seller", "buyer", "day", "amount"]]
    total = int(lots["amount"].clip(lower=0).sum())
    elsewhere = float(lots["amount"][buyer < 0].clip(lower=0).sum()) / total if total else 0.0
    straight = straightened(inside, settings.pass_days, settings.pass_tolerance, settings.pass_ways)
    edges = straight.lots.groupby(["seller", "buyer"], as_index=False, sort=True)["amount"].sum()
    edges = edges[edges["amount"] > 0]
    bought = _sums(edges["buyer"].to_numpy(), edges["amount"].to_numpy(), count)
    amount = edges["amount"].to_numpy(np.float64)
    of_seller = amount / np.maximum(sales[edges["seller"].to_numpy()], 1)
    share = np.minimum(of_seller, amount / np.maximum(bought[edges["buyer"].to_numpy()], 1))
    large = edges["amount"].to_numpy() >= settings.least_amount
    fair = share >= settings.least_share
    kept = edges.assign(share=share)[large & fair].reset_index(drop=True)
    return Window(inside, sales, kept, straight.passes, len(edges), int((~large).sum()), int((large & ~fair).sum()), elsewhere)


def _sums(places: Ints, amounts: Ints, count: int) -> Ints:
    """Exact sums by place, (count,)."""
    found = np.zeros(count, np.int64)
    np.add.at(found, places, amounts)
    return found
