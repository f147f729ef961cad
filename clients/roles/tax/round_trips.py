"""Round trips: what one firm invoices another comes back, nearly to the sum and within weeks, by an invoice the other way.

The lots of a day are matched in the order of days, each once. Firms that trade both ways with many invoices match some by chance, so the same is
done with the sums that come back moved by three tolerances up and down, where only chance matches: what it finds, on average, is taken off.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from clients.roles.tax.trade_graph import Settings
from clients.roles.tax.trade_lots import Ints

Lots = list[tuple[int, int]]
"""Day and amount, in the order of days."""


@dataclass(frozen=True)
class Trips:
    """amount: (firms,) fen that each sold and had back, chance taken off; pairs: (firms,) of invoices; partners: (firms,) firms with which."""

    amount: Ints
    pairs: Ints
    partners: Ints


def round_trips(lots: pd.DataFrame, firms: int, settings: Settings) -> Trips:
    """Of a window's lots (seller, buyer, day, amount) within the bureau."""
    found = Trips(*(np.zeros(firms, np.int64) for _ in range(3)))
    for (one, other), (there, back) in _both_ways(lots[lots["amount"] > 0]).items():
        pairs, amount = _matched(there, back, 1.0, settings)
        if pairs < settings.trip_pairs:
            continue
        moved = 1 + 3 * settings.trip_tolerance
        chance = sum(_matched(there, back, factor, settings)[1] for factor in (moved, 1 / moved)) // 2
        if amount <= max(chance, settings.least_amount):
            continue
        for firm in (one, other):
            found.amount[firm] += amount - chance
            found.pairs[firm] += pairs
            found.partners[firm] += 1
    return found


def _both_ways(lots: pd.DataFrame) -> dict[tuple[int, int], tuple[Lots, Lots]]:
    """Pairs that sell to each other, the lower number first: its lots, and the other's."""
    pairs = lots[["seller", "buyer"]].drop_duplicates()
    back = pairs.rename(columns={"seller": "buyer", "buyer": "seller"})
    mutual = lots.merge(pairs.merge(back, on=["seller", "buyer"]), on=["seller", "buyer"]).sort_values(["day", "amount"], kind="stable")
    out: dict[tuple[int, int], tuple[Lots, Lots]] = {}
    columns = (mutual[name].to_numpy().tolist() for name in ("seller", "buyer", "day", "amount"))
    for seller, buyer, day, amount in zip(*columns, strict=True):
        sides = out.setdefault((min(seller, buyer), max(seller, buyer)), ([], []))
        sides[seller > buyer].append((day, amount))
    return out


def _matched(there: Lots, back: Lots, factor: float, settings: Settings) -> tuple[int, int]:
    """How many pairs, and the lesser amount of each, added up. factor: by which amounts that come back are multiplied before."""
    free, pairs, total = [(day, amount * factor) for day, amount in back], 0, 0
    for day, amount in there:
        best = None
        for place, (other_day, other) in enumerate(free):
            if other_day > day + settings.trip_days:
                break
            gap = abs(other - amount)
            if other_day >= day - settings.trip_days and gap <= settings.trip_tolerance * max(other, amount):
                best = place if best is None or gap < abs(free[best][1] - amount) else best
        if best is not None:
            _, other = free.pop(best)
            pairs, total = pairs + 1, total + int(min(amount, other))
    return pairs, total
