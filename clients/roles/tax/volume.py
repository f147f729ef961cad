"""How much a firm sells or buys, how that grows, runs and varies over the year. Amounts are net and without tax, in CNY."""

from __future__ import annotations

from clients.roles.tax.series import Floats, growth, likeness, ratio, trend, variation
from clients.roles.tax.view import AsOf, Ledger


def volume(side: str, view: AsOf, ledger: Ledger) -> dict[str, Floats]:
    """side: "sales" or "purchases", with which the names begin."""
    found: dict[str, Floats] = {}
    for length in (3, 6, 12):
        net = view.sum(ledger, "amount", length)
        active = (view.months(ledger, "number", length) > 0).sum(axis=1)
        found[f"{side}_{length}m"] = view.known(length, net / 100)
        found[f"{side}_active_mean_{length}m"] = view.known(length, ratio(net, active * 100))
    year, before = (view.sum(ledger, "amount", 12, ago) for ago in (0, 12))
    quarter, previous, last_years = (view.sum(ledger, "amount", 3, ago) for ago in (0, 3, 12))
    found[f"{side}_growth_12m"] = view.known(24, growth(year, before))
    found[f"{side}_growth_3m"] = view.known(6, growth(quarter, previous))
    found[f"{side}_growth_3m_on_year"] = view.known(15, growth(quarter, last_years))
    for length in (6, 12):
        months = view.months(ledger, "amount", length)
        found[f"{side}_trend_{length}m"] = view.known(length, trend(months))
        found[f"{side}_cv_{length}m"] = view.known(length, variation(months))
    months, earlier = (view.months(ledger, "amount", 12, ago) for ago in (0, 12))
    found[f"{side}_seasonality_24m"] = view.known(24, likeness(months, earlier))
    quarters = months[:, :-2] + months[:, 1:-1] + months[:, 2:]
    found[f"{side}_peak_quarter_share_12m"] = view.known(12, ratio(quarters.max(axis=1), year))
    return found
