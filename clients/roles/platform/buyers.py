"""Buyers: how many, how many new, how many come again, and how much hangs on the largest. Orders without a buyer are left out."""

from __future__ import annotations

from clients.roles.assembly import Found
from clients.roles.monthly import Monthly
from clients.roles.partners import Partners
from clients.roles.platform.orders import WIDTHS
from clients.roles.series import Floats, ratio


def features(orders: Monthly, buyers: Partners, month: int) -> Found:
    """Of those who ordered before the month."""
    found: dict[str, Floats] = {}
    for width in WIDTHS:
        spread = buyers.spread(month, width)
        found |= {
            f"buyers_{width}m": orders.known(month, width, spread.number),
            f"buyers_new_{width}m": orders.known(month, 2 * width, spread.new),
            f"buyer_repeat_share_{width}m": orders.known(month, width, ratio(spread.again, spread.number)),
            f"buyer_hhi_{width}m": orders.known(month, width, spread.hhi),
            f"buyer_top_share_{width}m": orders.known(month, width, spread.top),
        }
    return found
