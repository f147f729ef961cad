"""What a platform sees of its merchants: orders, refunds, shipments, stock, logins.

orders     Poisson; the mean is `orders` of the economy times (monthly sales / CNY 60,000)^0.5, at most 8 times that
amount     log-normal around the platform's share of the month's sales by the mean number of orders
buyer      number floor(pool u^1.7) of the shop's own pool, which is larger the larger the shop: few buy often
cancelled  4 %; open when not yet delivered at the extract
refund     log odds -3.1 - 0.5 health, all or part of the amount, 1 to 20 days later
delivery   shipped after 1 day and more when liquidity is low, delivered 2 to 8 days later, late with log odds -1.8 - 0.5 health
stock      on the 10th and the last day: monthly purchases exp(0.2 - 0.35 health + 0.25 noise); one count in twenty is missing
logins     on each day with probability 0.12 (0.04 when sales have stopped), times exp(0.15 health); 1 + Poisson(2)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from simulations.economy.calendar import Month
from simulations.economy.firms import Firms, Reals
from simulations.economy.randomness import Streams
from simulations.economy.settings import Economy
from simulations.economy.tables import NO_DAY
from simulations.economy.traits import Traits

Rows = dict[str, NDArray[Any]]
COMPLETED, CANCELLED, OPEN = 0, 1, 2
MOST: Final = 8.0
BUYERS: Final = 10_000
"""Places for the buyers of one firm in the numbering of a platform's buyers."""


@dataclass(frozen=True)
class Shops:
    """Draws the records of one platform's merchants. number: of the platform; end: the day after the last month, when extracts are made."""

    streams: Streams
    firms: Firms
    asked: Economy
    number: int
    end: int

    def records(self, traits: Traits, month: Month, members: NDArray[np.int32], block: int) -> dict[str, Rows]:
        """A month of a block of merchants, by kind of record; `orders` has numbers within month and block, `first` of `generate` shifts them."""
        orders, refunds, shipments = self._orders(traits, month, members, block)
        return {
            "orders": orders, "refunds": refunds, "shipments": shipments, "stock": self._stock(traits, month, members, block),
            "logins": self._logins(traits, month, members, block),
        }  # fmt: skip

    def _orders(self, traits: Traits, month: Month, members: NDArray[np.int32], block: int) -> tuple[Rows, Rows, Rows]:
        rng = self.streams.of("orders", month.number, block, self.number)
        sales = traits.sales[members]
        mean = self.asked.orders * np.minimum((sales / 60_000) ** 0.5, MOST)
        count = rng.poisson(mean)
        place = np.repeat(np.arange(len(members)), count)
        firm, total = members[place], len(place)
        share = 0.2 + 0.5 * (1 - self.firms.of_industry("invoiced")[firm])
        amount = np.maximum(sales[place] * share / mean[place] * np.exp(0.9 * rng.standard_normal(total) - 0.405) * 100, 100).astype(
            np.int64
        )
        day = month.first + (rng.random(total) * month.days).astype(np.int64)
        pool = np.minimum(5 + 4 * mean[place] * 12**0.5, BUYERS - 1)
        buyer = firm.astype(np.int64) * BUYERS + (pool * rng.random(total) ** 1.7).astype(np.int64)
        health, liquidity = traits.health[firm], traits.liquidity[firm]
        cancelled = rng.random(total) < 0.04
        shipped = day + 1 + rng.poisson(0.8 * np.exp(-0.25 * liquidity))
        promised = day + 6
        late = rng.random(total) < expit(-1.8 - 0.5 * health)
        delivered = np.maximum(day + 2 + rng.integers(0, 4, total), shipped + 1) + np.where(late, rng.poisson(5.0, total) + 2, 0)
        status = np.where(cancelled, CANCELLED, np.where(delivered >= self.end, OPEN, COMPLETED))
        number = np.arange(total, dtype=np.int64)
        quantity = np.where(rng.random(total) < 0.03, -1, 1 + rng.poisson(2.0, total))
        orders: Rows = {
            "firm": firm,
            "order": number,
            "date": day,
            "buyer": buyer,
            "amount": amount,
            "quantity": quantity,
            "status": status,
        }
        sent = np.flatnonzero(~cancelled & (shipped < self.end))
        shipments: Rows = {
            "firm": firm[sent], "order": number[sent], "shipped": shipped[sent],
            "promised": np.where(rng.random(len(sent)) < 0.05, NO_DAY, promised[sent]),
            "delivered": np.where(delivered[sent] < self.end, delivered[sent], NO_DAY),
        }  # fmt: skip
        back = np.flatnonzero((rng.random(total) < expit(-3.1 - 0.5 * health)) & (status == COMPLETED))
        when = day[back] + rng.integers(1, 21, len(back))
        part = np.where(rng.random(len(back)) < 0.7, 1.0, 0.4)
        refunds: Rows = {"firm": firm[back], "order": number[back], "date": when, "amount": np.rint(amount[back] * part).astype(np.int64)}
        return orders, {name: values[when < self.end] for name, values in refunds.items()}, shipments

    def _stock(self, traits: Traits, month: Month, members: NDArray[np.int32], block: int) -> Rows:
        rng = self.streams.of("stock", month.number, block, self.number)
        bought = self.firms.of_industry("bought")[members]
        level: Reals = traits.sales[members] * bought * np.exp(0.2 - 0.35 * traits.health[members])
        days = np.array([month.first + 9, month.last])
        value = np.rint(level[:, None] * np.exp(0.25 * rng.standard_normal((len(members), 2))) * 100).astype(np.int64)
        kept = (rng.random(value.shape) >= 0.05) & (level > 0)[:, None]
        firm, when = np.repeat(members, 2).reshape(-1, 2), np.tile(days, (len(members), 1))
        return {"firm": firm[kept], "date": when[kept], "value": value[kept]}

    def _logins(self, traits: Traits, month: Month, members: NDArray[np.int32], block: int) -> Rows:
        rng = self.streams.of("logins", month.number, block, self.number)
        chance = np.where(traits.sales[members] > 0, 0.12, 0.04) * np.exp(0.15 * traits.health[members])
        chance = np.where(traits.state[members] < 3, chance, 0.0) * (traits.state[members] > 0)
        which, day = np.nonzero(rng.random((len(members), month.days), np.float32) < chance[:, None].astype(np.float32))
        return {"firm": members[which], "date": month.first + day, "count": 1 + rng.poisson(2.0, len(which))}
