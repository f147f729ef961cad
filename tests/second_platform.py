"""The platform's features of one firm, computed a second time in plain Python from what the dictionary says."""

from __future__ import annotations

import math
import statistics

import pandas as pd

from tests.second_sums import (
    NAN,
    before,
    by_month,
    course,
    first_day,
    grown,
    history_of,
    level,
    level_slope,
    longest_zero,
    mean_level,
    over,
    spread,
    tilt,
    window,
)


def features(records: dict[str, pd.DataFrame], firm: str, month: int) -> dict[str, float]:
    orders = before(records["orders"], firm, "date", month)
    history = history_of(orders["date"], month)
    found = _orders(orders, month, history) | _prices(orders, month, history) | _cancelled(orders, month, history)
    for width in (3, 6, 12):
        found |= spread("buyer", orders, "buyer", month, width, history)
    found |= _refunds(before(records["refunds"], firm, "date", month), orders, month, history)
    found |= _shipments(before(records["shipments"], firm, "delivered", month), month)
    found |= _stock(before(records["stock"], firm, "date", month), orders, month, history)
    return found | _logins(before(records["logins"], firm, "date", month), month)


def _inside(rows: pd.DataFrame, column: str, month: int, width: int) -> pd.DataFrame:
    return rows[rows[column] >= first_day(month - width)]


def _orders(orders: pd.DataFrame, month: int, history: float) -> dict[str, float]:
    amounts, counts = by_month(orders["date"], orders["amount"]), by_month(orders["date"], [1] * len(orders))
    found = course("gmv", amounts, month, history)
    now, then = (sum(window(counts, month, 3, ago)) for ago in (0, 3))
    found["orders_growth_3m"] = grown(now, then) if history >= 6 else NAN
    found["order_longest_gap_12m"] = longest_zero(window(counts, month, 12)) if history >= 12 else NAN
    found["order_days_since_last"] = (first_day(month) - orders["date"].max()).days if len(orders) else NAN
    found["order_history_months"] = history
    for width in (3, 6, 12):
        inside = _inside(orders, "date", month, width)
        whole = {
            f"gmv_{width}m": inside["amount"].sum() / 100,
            f"orders_{width}m": len(inside),
            f"order_value_{width}m": inside["amount"].mean() / 100 if len(inside) else NAN,
            f"order_active_months_{width}m": inside["date"].dt.to_period("M").nunique(),
        }
        if width > 3:
            whole[f"orders_trend_{width}m"] = tilt(window(counts, month, width))
        found |= {key: value if history >= width else NAN for key, value in whole.items()}
    return found


def _prices(orders: pd.DataFrame, month: int, history: float) -> dict[str, float]:
    found = {}
    for width in (3, 6, 12):
        inside = _inside(orders, "date", month, width)
        logs = [
            round(math.log(a / int(q)), 4) for a, q in zip(inside["amount"], inside["quantity"], strict=True) if not pd.isna(q) and q > 0
        ]
        found[f"price_dispersion_{width}m"] = statistics.pstdev(logs) if len(logs) >= 2 and history >= width else NAN
    return found


def _cancelled(orders: pd.DataFrame, month: int, history: float) -> dict[str, float]:
    found = {}
    for width in (3, 6, 12):
        inside = _inside(orders, "date", month, width)
        stated = inside[inside["status"].notna()]
        known = (stated["status"] == "cancelled") & (stated["settled"].isna() | (stated["settled"] < first_day(month)))
        found[f"cancelled_share_{width}m"] = known.mean() if len(stated) and history >= width else NAN
    return found


def _refunds(refunds: pd.DataFrame, orders: pd.DataFrame, month: int, history: float) -> dict[str, float]:
    found = {}
    for width in (3, 6, 12):
        given, ordered = _inside(refunds, "date", month, width), _inside(orders, "date", month, width)
        found[f"refund_amount_share_{width}m"] = over(given["amount"].sum(), ordered["amount"].sum()) if history >= width else NAN
        found[f"refund_order_share_{width}m"] = over(len(given), len(ordered)) if history >= width else NAN
    return found


def _shipments(shipments: pd.DataFrame, month: int) -> dict[str, float]:
    history, found = history_of(shipments["delivered"], month), {}
    for width in (3, 6, 12):
        inside = _inside(shipments, "delivered", month, width)
        way = [(d - s).days for d, s in zip(inside["delivered"], inside["shipped"], strict=True) if s <= d]
        late = [d > p for d, p in zip(inside["delivered"], inside["promised"], strict=True) if not pd.isna(p)]
        found[f"delivery_days_mean_{width}m"] = statistics.fmean(way) if way and history >= width else NAN
        found[f"delivery_late_share_{width}m"] = statistics.fmean(late) if late and history >= width else NAN
    return found


def _stock(stock: pd.DataFrame, orders: pd.DataFrame, month: int, ordering: float) -> dict[str, float]:
    history, found = history_of(stock["date"], month), {}
    for width in (3, 6, 12):
        levels = level(stock, "value", month, width)
        held = mean_level(levels) if history >= width else NAN
        sold = _inside(orders, "date", month, width)["amount"].sum() * 12 / width if ordering >= width else NAN
        found[f"stock_{width}m"] = held / 100
        if width > 3:
            found[f"stock_trend_{width}m"] = over(level_slope(levels), held)
        found[f"stock_turnover_{width}m"] = over(sold, held)
        found[f"stock_days_{width}m"] = over(365 * held, sold)
    return found


def _logins(logins: pd.DataFrame, month: int) -> dict[str, float]:
    logins = logins[logins["count"] > 0]
    history, counts = history_of(logins["date"], month), by_month(logins["date"], logins["count"])
    now, then = (sum(window(counts, month, 3, ago)) for ago in (0, 3))
    found = {
        "logins_growth_3m": grown(now, then) if history >= 6 else NAN,
        "login_days_since_last": (first_day(month) - logins["date"].max()).days if len(logins) else NAN,
    }
    for width in (3, 6, 12):
        inside = _inside(logins, "date", month, width)
        whole = {
            f"logins_{width}m": inside["count"].sum(),
            f"login_days_{width}m": inside["date"].nunique(),
            f"login_active_months_{width}m": inside["date"].dt.to_period("M").nunique(),
        }
        if width > 3:
            whole[f"logins_trend_{width}m"] = tilt(window(counts, month, width))
        found |= {key: value if history >= width else NAN for key, value in whole.items()}
    return found
