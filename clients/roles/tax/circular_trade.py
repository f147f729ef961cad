"""Circular trading within one bureau: features of each firm, and flags with reasons for the bureau's own officer.

From sales invoices and the register of taxpayers: lots (`trade_lots`), a window's graph (`trade_graph`) in which sums that were only passed on
are straightened (`trade_passes`), circles with balanced amounts (`trade_circles`) and round trips (`round_trips`). A feature as of a month is of
the window's whole months before it, and of the register as known before it. What may leave the bureau is the feature table: a firm's own
numbers, and nobody else's name. The officer's table stays there.

A flag says that sums of like size go round, not that anybody cheats: groups, subcontractors and barter do that, too.
docs/guides/circular-trade.md has bounds and figures.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from clients.roles.tax.circular_reasons import reason
from clients.roles.tax.round_trips import Trips, round_trips
from clients.roles.tax.trade_circles import Circle, Looked, circles_of
from clients.roles.tax.trade_graph import Settings, Window, window_of
from clients.roles.tax.trade_lots import Trade, reduce_trade
from federation.kernel.errors import ConfigurationError

FEATURES = (
    "circular_score_3m", "circular_share_3m", "circular_circles_3m", "circular_shortest_3m", "circular_largest_3m", "round_trip_share_3m",
)  # fmt: skip
_FEN = 100


@dataclass(frozen=True)
class Account:
    """What was looked at as of a month, for the officer: firms with sales, arrows and those left out, circles, and the search's bounds."""

    as_of: np.datetime64
    firms: int
    window: Window
    circles: int
    looked: Looked

    def __str__(self) -> str:
        window, looked = self.window, self.looked
        elsewhere, passed = f"{window.elsewhere:.0%} of sales are to buyers elsewhere", f"{len(window.passes):,} sums were only passed on"
        said = (
            f"as of {self.as_of}: {self.firms:,} firms with sales, {window.arrows:,} pairs that trade; left out {window.small:,} small and "
            f"{window.slight:,} slight ones ({elsewhere}); {passed}; {self.circles:,} balanced circles of "
            f"{looked.listed:,} in {looked.knots:,} knots, the largest of {looked.largest:,} firms"
        )
        if looked.whole:
            return said + "; nothing was cut"
        return said + (
            f"; NOT ALL WAS LOOKED AT: {looked.laid_aside:,} loose pairs of {looked.tightened:,} large knots were laid aside, and of "
            f"{looked.cut:,} knots ({len(looked.cut_firms):,} firms) only the first circles were listed"
        )


@dataclass(frozen=True)
class Checked:
    """features: id, as_of and FEATURES, sorted; flags: id, as_of, score, reason, circle (the largest, its firms in order) and passed_by (firms
    that passed sums on around it), the highest score first; accounts: one for each month.
    """

    features: pd.DataFrame
    flags: pd.DataFrame
    accounts: tuple[Account, ...]


def check(
    records: Mapping[str, Iterable[pd.DataFrame]], months: Sequence[np.datetime64], settings: Settings = Settings(),  # noqa: B008  # frozen
    told: Callable[[], None] | None = None,
) -> Checked:  # fmt: skip
    """Of canonical batches by kind of record: `sales_invoices`, and `taxpayers` where there is a register. told: called after each month.
    Raises DataError, ConfigurationError.
    """
    if "sales_invoices" not in records or not len(months):
        raise ConfigurationError("circular trade", "there are no sales_invoices, or no as-of month", "Map them, and name a month.")
    ends = np.unique(np.asarray(list(months), "datetime64[M]"))
    trade = reduce_trade(records["sales_invoices"], records.get("taxpayers"), _day(ends[0] - settings.window), _day(ends[-1]))
    tables, flags, accounts = [], [], []
    for end in ends:
        window = window_of(trade, _day(end - settings.window), _day(end), settings)
        circles, looked = circles_of(window.edges, settings)
        trips = round_trips(window.lots, len(trade.firms), settings)
        table = _features(trade, window, circles, trips, end)
        tables.append(table)
        flags.append(_flags(trade, table, circles, window.passes, trips, end, settings))
        accounts.append(Account(end, int((window.sales > 0).sum()), window, len(circles), looked))
        if told:
            told()
    features = pd.concat(tables, ignore_index=True).drop(columns="firm").sort_values(["id", "as_of"], ignore_index=True)
    flagged = pd.concat(flags, ignore_index=True).sort_values(["score", "id", "as_of"], ascending=[False, True, True], ignore_index=True)
    return Checked(features, flagged, tuple(accounts))


def _day(month: np.datetime64) -> int:
    """The first day of a month, since 1970."""
    return int(month.astype("datetime64[D]").astype(np.int64))


def _features(trade: Trade, window: Window, circles: Sequence[Circle], trips: Trips, end: np.datetime64) -> pd.DataFrame:
    """Of the firms that have an invoice from before the month; shares are missing where the window has no net sales."""
    count = len(trade.firms)
    through, number, largest = np.zeros(count, np.int64), np.zeros(count, np.int64), np.zeros(count, np.int64)
    shortest = np.full(count, np.nan)
    flow: dict[tuple[int, int], int] = defaultdict(int)
    for circle in circles:
        members = list(circle.firms)
        number[members] += 1
        largest[members] = np.maximum(largest[members], circle.least)
        shortest[members] = np.fmin(shortest[members], len(members))
        for sale in circle.sales:
            flow[sale] = max(flow[sale], circle.least)  # a sum that is in two circles goes round once
    for (seller, _), amount in flow.items():
        through[seller] += amount
    sales = np.where(window.sales > 0, window.sales, np.nan)
    share, back = np.minimum(through / sales, 1.0), np.minimum(trips.amount / sales, 1.0)
    told = trade.first < _day(end)
    table = pd.DataFrame(
        {
            "firm": np.arange(count), "id": np.array(trade.firms, object), "as_of": np.full(count, end.astype("datetime64[s]")),
            "circular_score_3m": np.maximum(share, back), "circular_share_3m": share,
            "circular_circles_3m": _where_sold(number, sales), "circular_shortest_3m": shortest,
            "circular_largest_3m": _where_sold(largest / _FEN, sales), "round_trip_share_3m": back,
        }
    )  # fmt: skip
    return table[told]


def _where_sold(values: NDArray[np.float64] | NDArray[np.int64], sales: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.where(np.isnan(sales), np.nan, values)


def _flags(
    trade: Trade, table: pd.DataFrame, circles: Sequence[Circle], passes: pd.DataFrame, trips: Trips, end: np.datetime64, settings: Settings
) -> pd.DataFrame:
    largest = _largest(circles)
    between: dict[tuple[int, int], list[int]] = {}
    for seller, buyer, by in zip(*(passes[name].tolist() for name in ("seller", "buyer", "by")), strict=True):
        between.setdefault((seller, buyer), []).append(by)
    flagged = table[table["circular_score_3m"] >= settings.flag_from]
    numbers: list[dict[str, float]] = flagged[list(FEATURES)].to_dict("records")  # type: ignore[assignment]
    told = []
    for firm, own in zip(flagged["firm"].to_numpy().tolist(), numbers, strict=True):
        around = largest.get(firm)
        by = [one for sale in around.sales for one in between.get(sale, ())] if around else []
        why = reason(own, around, len(by), int(trips.pairs[firm]), int(trips.partners[firm]), end, settings)
        told.append((why, _named(trade, around.firms if around else (), " > "), _named(trade, sorted(set(by)), ", ")))
    shown = pd.DataFrame(told, flagged.index, ["reason", "circle", "passed_by"], dtype=object)
    return pd.concat([flagged[["id", "as_of"]], flagged["circular_score_3m"].rename("score"), shown], axis=1)


def _largest(circles: Sequence[Circle]) -> dict[int, Circle]:
    """Of each firm the circle in which most goes round."""
    found: dict[int, Circle] = {}
    for circle in circles:
        for firm in circle.firms:
            if firm not in found or (circle.least, circle.balance) > (found[firm].least, found[firm].balance):
                found[firm] = circle
    return found


def _named(trade: Trade, firms: Sequence[int], between: str) -> str:
    return between.join(trade.firms[firm] for firm in firms)
