"""The month's invoices: between firms, by their relations, and with outsiders.

An invoice is drawn once and written twice, as the seller's sales invoice and the buyer's purchase invoice, each at its own bureau: both sides
have the same code, number, day, amount, tax and status. A relation has a Poisson number of invoices, whose amounts are log-normal around the
relation's share of the seller's sales. What a firm needs to buy and does not buy from firms of this world it buys from outsiders.

    void       log odds = logit(VOID_SHARE) - 0.5 honesty + the firm's own shift (VOID_SPREAD)
    red        RED_SHARE exp(-0.3 health) of invoices are followed, in the same month, by one that takes them back
    receipt    20 exp(-0.3 liquidity of the buyer) days after the day of issue in the mean, gamma of shape 2
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from simulations.economy import calibration as known
from simulations.economy.calendar import Month
from simulations.economy.firms import Firms, Reals
from simulations.economy.randomness import Streams, blocks
from simulations.economy.settings import Economy
from simulations.economy.trade import Trade
from simulations.economy.traits import Traits

SPREAD: Final = 1.2
"""Standard deviation of the log of an invoice's amount within its relation (choice)."""
RELATION_BLOCK: Final = 1 << 17
VALID, VOID = 0, 1
SMALL_RATE: Final = 0.03


@dataclass(frozen=True)
class Invoices:
    """seller, buyer: (k,) firms, and outsiders from the number of firms on; day: since 1970; amount, tax: fen; status: 1 void; delay: days."""

    seller: NDArray[np.int32]
    buyer: NDArray[np.int32]
    day: NDArray[np.int32]
    amount: NDArray[np.int64]
    tax: NDArray[np.int64]
    status: NDArray[np.int8]
    delay: NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.seller)

    def rows(self, firm: str, month: Month, block: int, first: int) -> dict[str, NDArray[Any]]:
        """As records of the firm that is "seller" or "buyer". first: number of the first one in its month."""
        number = np.arange(first, first + len(self), dtype=np.int64)
        other = self.buyer if firm == "seller" else self.seller
        return {
            "firm": getattr(self, firm), "code": np.full(len(self), month.code * 1_000_000 + block), "number": number, "date": self.day,
            "counterparty": other, "amount": self.amount, "tax": self.tax, "status": self.status,
        }  # fmt: skip


class Draw:
    """Draws a month's invoices, block by block."""

    def __init__(self, streams: Streams, firms: Firms, trade: Trade, asked: Economy, outsiders: int) -> None:
        self._streams, self._firms, self._trade, self._asked, self._outsiders = streams, firms, trade, asked, outsiders
        self._invoiced, self._bought = firms.of_industry("invoiced"), firms.of_industry("bought")
        self._vat = np.where(firms.size >= known.GENERAL_TAXPAYER, firms.of_industry("vat"), SMALL_RATE)
        self._larger = np.clip((firms.size / 7e5) ** 0.45, 0.4, 12.0)
        spread = [streams.of("lines", number).standard_normal(part.stop - part.start) for number, part in blocks(len(firms))]
        self._void = np.log(known.VOID_SHARE / (1 - known.VOID_SHARE)) + known.VOID_SPREAD * np.concatenate(spread)

    def relations(self, traits: Traits, month: Month, block: int, part: slice) -> Invoices:
        """Of a block of relations."""
        rng, trade = self._streams.of("trade", month.number, block), self._trade
        seller, buyer = trade.seller[part], trade.buyer[part]
        alive = (trade.first[part] <= month.number) & (month.number < trade.last[part])
        alive &= (traits.sales[seller] > 0) & (traits.sales[buyer] > 0)
        rate = 0.32 * self._asked.invoices
        count = rng.poisson(rate, len(seller)) * alive
        which = np.repeat(np.arange(len(seller)), count)
        mean = (traits.sales * self._invoiced)[seller[which]] * trade.share[part][which] / rate
        return self._written(rng, traits, month, seller[which], buyer[which], mean, self._vat[seller[which]])

    def outside_sales(self, traits: Traits, month: Month, block: int, part: slice) -> Invoices:
        """Of a block of firms to outsiders."""
        rng, rate = self._streams.of("outside", month.number, block, 0), 0.3 * self._asked.invoices * self._larger
        count = rng.poisson(rate[part]) * (traits.sales[part] > 0)
        firm = np.repeat(np.arange(part.start, part.stop, dtype=np.int32), count)
        mean = traits.sales[firm] * self._invoiced[firm] * self._trade.outside_share[firm] / rate[firm]
        return self._written(rng, traits, month, firm, self._outsider(rng, firm, 0), mean, self._vat[firm])

    def outside_purchases(self, traits: Traits, month: Month, block: int, part: slice, had: Reals) -> Invoices:
        """Of a block of firms from outsiders. had: (n,) what each firm bought this month from firms of this world, CNY."""
        rng, rate = self._streams.of("outside", month.number, block, 1), 0.3 * self._asked.invoices * self._larger[part]
        wanted = (
            traits.sales[part]
            * self._bought[part]
            * np.exp(-0.05 * traits.health[part] + 0.15 * rng.standard_normal(part.stop - part.start))
        )
        missing = np.maximum(wanted - had[part], 0.0)
        count = (1 + rng.poisson(np.maximum(rate - 1, 0.05))) * (missing > 0.02 * wanted) * (wanted > 0)
        firm = np.repeat(np.arange(part.start, part.stop, dtype=np.int32), count)
        mean = np.repeat(missing / np.maximum(count, 1), count)
        vat = rng.choice([0.13, 0.09, 0.06, 0.03], len(firm), p=[0.5, 0.15, 0.15, 0.2])
        return self._written(rng, traits, month, self._outsider(rng, firm, 1), firm, mean, vat)

    def _outsider(self, rng: np.random.Generator, firm: NDArray[np.int32], side: int) -> NDArray[np.int32]:
        """One of the firm's own partners outside, the first the most often; larger firms have more of them."""
        rank = np.minimum(rng.geometric(np.minimum(0.25 / self._larger[firm], 1.0)), 200)
        mixed = (firm.astype(np.int64) * 7919 + rank * 104_729 + side * 1_299_709) % self._outsiders
        return np.asarray((len(self._firms) + mixed).astype(np.int32))

    def _written(
        self,
        rng: np.random.Generator,
        traits: Traits,
        month: Month,
        seller: NDArray[np.int32],
        buyer: NDArray[np.int32],
        mean: Reals,
        vat: Reals,
    ) -> Invoices:
        count, firms = len(seller), len(self._firms)
        amount = np.maximum(mean * np.exp(SPREAD * rng.standard_normal(count) - SPREAD**2 / 2) * 100, 100.0).astype(np.int64)
        day = month.first + (rng.random(count) * month.days).astype(np.int32)
        inside, known_buyer = np.where(seller < firms, seller, 0), np.where(buyer < firms, buyer, 0)
        odds = np.where(seller < firms, self._void[inside] - 0.5 * traits.honesty[inside], np.log(0.04 / 0.96))
        status = (rng.random(count) < 1 / (1 + np.exp(-odds))).astype(np.int8)
        mood = np.where(buyer < firms, traits.liquidity[known_buyer], 0.0)
        delay = (rng.gamma(2.0, 10.0, count) * np.exp(-0.3 * mood)).astype(np.int32)
        red = rng.random(count) < known.RED_SHARE * np.exp(-0.3 * np.where(seller < firms, traits.health[inside], 0.0))
        taken_back = np.flatnonzero(red & (status == VALID))
        whole = Invoices(seller, buyer, day, amount, np.rint(amount * vat).astype(np.int64), status, delay)
        return _with_red(rng, whole, taken_back, month)


def _with_red(rng: np.random.Generator, whole: Invoices, which: NDArray[np.int64], month: Month) -> Invoices:
    """The invoices, and red-letter ones that take back all or half of some of them, on a later day of the month."""
    part = np.where(rng.random(len(which)) < 0.5, 1.0, 0.5)
    amount, tax = (np.rint(-part * column[which]).astype(np.int64) for column in (whole.amount, whole.tax))
    room = month.first + month.days - whole.day[which]
    day = whole.day[which] + (rng.random(len(which)) * room).astype(np.int32)
    added = (whole.seller[which], whole.buyer[which], day, amount, tax, whole.status[which], whole.delay[which])
    names = ("seller", "buyer", "day", "amount", "tax", "status", "delay")
    return Invoices(*(np.concatenate([getattr(whole, name), new]) for name, new in zip(names, added, strict=True)))
