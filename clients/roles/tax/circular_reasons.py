"""Why a firm is flagged for circular trade, in words for the bureau's officer: numbers of the firm's own trade, no other firm's name."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from clients.roles.tax.trade_circles import Circle
from clients.roles.tax.trade_graph import Settings


def reason(
    features: Mapping[str, float], largest: Circle | None, passed: int, pairs: int, partners: int, end: np.datetime64, settings: Settings
) -> str:
    """features: of the firm; largest: the circle with the greatest sum that it is in; passed: sums around it that others passed
    on; pairs, partners: of its round trips.
    """
    return " ".join([*_of_circles(features, largest, passed, end, settings), *_of_trips(features, pairs, partners, settings)])


def _of_circles(
    features: Mapping[str, float], largest: Circle | None, passed: int, end: np.datetime64, settings: Settings
) -> Iterator[str]:
    if largest is None:
        return
    circles, share = int(features["circular_circles_3m"]), features["circular_share_3m"]
    several = f"{circles:,} circles of firms that sell to each other (the shortest has {int(features['circular_shortest_3m'])})"
    yield (
        f"{share:.0%} of its sales from {end - settings.window} to {end - 1} went round in "
        f"{several if circles > 1 else 'a circle of firms that sell to each other'}."
    )
    yield (
        f"In the largest, of {len(largest.firms)} firms, {features['circular_largest_3m']:,.0f} CNY went round; its least sale is "
        f"{largest.balance:.0%} of its greatest."
    )
    if passed:
        sums = "One sum" if passed == 1 else f"{passed:,} sums"
        yield f"{sums} around it went by way of a firm that passed it on within {settings.pass_days} days; that firm need know nothing of it."


def _of_trips(features: Mapping[str, float], pairs: int, partners: int, settings: Settings) -> Iterator[str]:
    if partners:
        buyers = "one buyer" if partners == 1 else f"{partners:,} buyers"
        yield (
            f"{features['round_trip_share_3m']:.0%} of its sales came back from {buyers} within {settings.trip_days} days, to "
            f"{settings.trip_tolerance:.0%} of the sum, in {pairs:,} pairs of invoices."
        )
