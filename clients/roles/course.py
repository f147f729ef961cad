"""The course of a monthly sum: growth, trend, volatility, season; the same of turnover on a platform and of money that comes in."""

from __future__ import annotations

import numpy as np

from clients.roles.monthly import Monthly
from clients.roles.series import Floats, growth, likeness, ratio, trend, variation


def course(name: str, records: Monthly, column: str, month: int) -> dict[str, Floats]:
    """name: with which the features' names begin; column: of sums that are not negative."""
    year, before = (records.sum(column, month, 12, ago) for ago in (0, 12))
    quarter, previous, last_years = (records.sum(column, month, 3, ago) for ago in (0, 3, 12))
    months, earlier = (records.months(column, month, 12, ago) for ago in (0, 12))
    quarters = months[:, :-2] + months[:, 1:-1] + months[:, 2:]
    found = {
        f"{name}_growth_3m": records.known(month, 6, growth(quarter, previous)),
        f"{name}_growth_3m_on_year": records.known(month, 15, growth(quarter, last_years)),
        f"{name}_growth_12m": records.known(month, 24, growth(year, before)),
        f"{name}_seasonality_24m": records.known(month, 24, likeness(months, earlier)),
        f"{name}_peak_quarter_share_12m": records.known(month, 12, ratio(np.asarray(quarters.max(axis=1)), year)),
    }
    for width in (6, 12):
        window = records.months(column, month, width)
        found[f"{name}_trend_{width}m"] = records.known(month, width, trend(window))
        found[f"{name}_cv_{width}m"] = records.known(month, width, variation(window))
    return found
