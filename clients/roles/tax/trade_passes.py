"""Sums that one firm only passes on: A invoices X, and X invoices B nearly the same sum within days. They are taken as sold by A to B.

A ring hides by sending sums by way of firms that are not in it, another each time. Then no arrow between two members has all that went from the
one to the other, and honest firms stand in the circle. Whoever buys and sells matches some sums by chance, but seldom between the same two
firms. So a pass counts where the first firm also sells to the last directly, or by way of at least `ways` firms. (A ring without camouflage has
one way from a member to the next but one, and two rings that share members two: they are left as they are.) Each lot, which is what one firm
invoices another on a day, is in one pass at most, the nearest sums first.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd


@dataclass(frozen=True)
class Straight:
    """lots: seller, buyer, day, amount, a pass as one sale from its first firm to its last; passes: seller, buyer, by (the firm between)."""

    lots: pd.DataFrame
    passes: pd.DataFrame


def straightened(lots: pd.DataFrame, days: int, tolerance: float, ways: int) -> Straight:
    """A window's lots (seller, buyer, day, amount) within the bureau. days: at most, from the one invoice to the other; tolerance: by which
    share the sums may differ. A day on which more came back than was sold is in no pass.
    """
    lots = pd.DataFrame(lots.groupby(["seller", "buyer", "day"], as_index=False, sort=True).agg({"amount": "sum"}))
    found = _nearest(_by_several_ways(_candidates(lots, days, tolerance), lots, ways))
    there, on = found["there"].to_numpy(np.int64), found["on"].to_numpy(np.int64)
    seller, buyer, amount = (lots[name].to_numpy() for name in ("seller", "buyer", "amount"))
    passes = pd.DataFrame({"seller": seller[there], "buyer": buyer[on], "by": buyer[there]})
    sold = passes[["seller", "buyer"]].assign(day=lots["day"].to_numpy()[on], amount=np.minimum(amount[there], amount[on]))
    rest = np.ones(len(lots), bool)
    rest[there] = rest[on] = False
    return Straight(pd.concat([lots[rest], sold], ignore_index=True), passes)


def _candidates(lots: pd.DataFrame, days: int, tolerance: float) -> pd.DataFrame:
    """Pairs of lots: there, on (rows), first, by, last (firms), gap (of the logs), wait (days). Only sums whose bands touch are compared."""
    width = np.log1p(tolerance)
    rows = pd.DataFrame(lots.assign(row=np.arange(len(lots)))[lots["amount"] > 0])
    between = np.intersect1d(rows["buyer"], rows["seller"])
    size = np.log(rows["amount"].to_numpy(np.float64))
    rows = rows.assign(size=size).assign(band=np.floor(size / width).astype(np.int64))[["seller", "buyer", "day", "row", "size", "band"]]
    into = rows[rows["buyer"].isin(between)].set_axis(["first", "by", "came", "there", "size_there", "band"], axis=1)
    out = rows[rows["seller"].isin(between)].set_axis(["by", "last", "left", "on", "size_on", "band"], axis=1)
    bands = pd.concat([into.assign(band=into["band"] + shift) for shift in (-1, 0, 1)], ignore_index=True)
    pairs = bands.merge(out, on=["by", "band"])
    wait, gap = pairs["left"] - pairs["came"], (pairs["size_there"] - pairs["size_on"]).abs()
    near = (wait >= 0) & (wait <= days) & (gap <= width) & (pairs["first"] != pairs["last"])
    return pd.DataFrame(pairs.assign(wait=wait, gap=gap).loc[near, ["there", "on", "first", "by", "last", "gap", "wait"]])


def _by_several_ways(found: pd.DataFrame, lots: pd.DataFrame, ways: int) -> pd.DataFrame:
    """Of the pairs, those between two firms with direct sales, or with so many firms between them."""
    counted = pd.DataFrame(found.groupby(["first", "last"], as_index=False).agg({"by": "nunique"}))
    direct = lots.loc[lots["amount"] > 0, ["seller", "buyer"]].drop_duplicates().set_axis(["first", "last"], axis=1)
    counted = counted.merge(direct.assign(direct=1), on=["first", "last"], how="left")
    enough = counted.loc[counted["direct"].notna() | (counted["by"] >= ways), ["first", "last"]]
    return pd.DataFrame(found.merge(enough, on=["first", "last"]))


def _nearest(found: pd.DataFrame) -> pd.DataFrame:
    """Each lot in one pair at most: that of the nearest sums, then what is left of the others."""
    left = found.sort_values(["gap", "wait", "there", "on"], kind="stable", ignore_index=True)
    taken = [left.head(0)]
    while len(left):
        there, on, place = left["there"].to_numpy(), left["on"].to_numpy(), np.arange(len(left))
        first = np.full(max(there.max(), on.max()) + 1, len(left))
        for rows in (there, on):  # a lot may come in by one pair and go on by another
            np.minimum.at(first, rows, place)
        best = (first[there] == place) & (first[on] == place)
        taken.append(left[best])
        used = np.zeros(len(first), bool)
        used[there[best]] = used[on[best]] = True
        left = left[~(used[there] | used[on])].reset_index(drop=True)
    return pd.concat(taken, ignore_index=True)
