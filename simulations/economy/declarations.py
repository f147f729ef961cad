"""Monthly tax declarations: what the books say, filed late by the less honest, and never by some.

    declared sales = invoiced sales + uninvoiced sales * min(1, exp(0.15 honesty - 0.2));  purchases = purchase invoices
    tax due = max(output tax - 0.97 input tax, 0) of general taxpayers, 3 % of declared sales of others; tax paid = what is paid by filing
    filed: up to ten days before the 15th, or late: log odds of late = -2.2 - 0.8 honesty; log odds of never = -4.5 - honesty
Purchases are blank in three of a hundred. Dormant firms file zeros with probability a half. What is filed after the last month is not known yet
and is left out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from simulations.economy.calendar import Month
from simulations.economy.calibration import GENERAL_TAXPAYER
from simulations.economy.firms import Firms, Reals
from simulations.economy.invoices import SMALL_RATE
from simulations.economy.randomness import Streams
from simulations.economy.tables import NO_MONEY
from simulations.economy.traits import DORMANT, Traits

BLANK: Final = 0.03
"""Share of declarations without purchases."""


@dataclass
class Sums:
    """What each firm's invoices add up to in a month, fen, (n,): valid ones, red-letter ones with their sign."""

    sold: NDArray[np.int64]
    bought: NDArray[np.int64]
    output_tax: NDArray[np.int64]
    input_tax: NDArray[np.int64]

    @classmethod
    def empty(cls, count: int) -> Sums:
        """Of no invoice."""
        return cls(*(np.zeros(count, np.int64) for _ in range(4)))


def consumer_sales(firms: Firms, traits: Traits) -> Reals:
    """Sales of the month to consumers, without an invoice, CNY, (n,)."""
    return np.asarray(traits.sales * (1 - firms.of_industry("invoiced")))


def draw(streams: Streams, firms: Firms, traits: Traits, sums: Sums, month: Month, due: int) -> dict[str, NDArray[Any]]:
    """A month's declarations of all firms. due: the day by which it is to be filed."""
    rng, count = streams.of("declarations", month.number), len(firms)
    draws = rng.random((4, count))
    uninvoiced = consumer_sales(firms, traits) * np.minimum(1.0, np.exp(0.15 * traits.honesty - 0.2))
    sales = np.maximum(sums.sold + np.rint(uninvoiced * 100).astype(np.int64), 0)
    general = firms.size >= GENERAL_TAXPAYER
    extra = np.rint(np.maximum(sales - sums.sold, 0) * np.where(general, firms.of_industry("vat"), SMALL_RATE)).astype(np.int64)
    margin = sums.output_tax + extra - np.where(general, np.rint(0.97 * sums.input_tax), 0).astype(np.int64)
    tax = np.maximum(margin, 0)
    late = draws[0] < expit(-2.2 - 0.8 * traits.honesty)
    never = draws[1] < expit(-4.5 - traits.honesty)
    filed = due - (draws[2] * 10).astype(np.int64) + np.where(late, 10 + (draws[3] * 45).astype(np.int64), 0)
    paid = np.where(draws[3] < expit(3.0 + 0.8 * traits.liquidity), tax, np.rint(tax * draws[2]).astype(np.int64))
    asleep = traits.state == DORMANT
    kept = np.flatnonzero((traits.active | (asleep & (draws[0] < 0.5))) & ~never)
    whole = {
        "firm": np.arange(count, dtype=np.int32), "period": np.full(count, month.first), "due": np.full(count, due), "filed": filed,
        "sales": sales, "purchases": np.where(draws[2] < BLANK, NO_MONEY, np.maximum(sums.bought, 0)), "tax_due": tax, "tax_paid": paid,
    }  # fmt: skip
    return {name: values[kept] for name, values in whole.items()}
