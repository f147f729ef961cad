"""Bookings and balances at banks, such that a balance changes by exactly the bookings between two dates.

A firm's main account has its business: receipts follow sales invoices and payments follow purchase invoices after their delay (three in
ten of the counterparties pay to the second account where there is one); consumers' money on one day a month; salaries 12 % of sales, rent 3 %
(six firms in ten), utilities 1 %, the tax of the month before, and loans and instalments. A loan at a bank without an account goes to the
main account as a transfer. At the month's end the second account is cleared to the main one, and the owner puts money in or takes it out, so
that the balance goes half of the way to its target,

    target = monthly sales of the good months * (0.55 exp(0.5 liquidity) - 0.2)

and covers an overdraft with log odds 1.5 + 1.2 liquidity, so that a firm of low liquidity is overdrawn often. A credit line (one firm in
five) is a tenth of yearly sales, used the more the lower liquidity.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from privacy.dictionary.entries import record_kinds
from simulations.economy.calendar import Month
from simulations.economy.coverage import Coverage
from simulations.economy.declarations import consumer_sales
from simulations.economy.firms import Firms
from simulations.economy.randomness import Streams
from simulations.economy.traits import CLOSED, WAITING, Traits

KINDS: Final = {name: number for number, name in enumerate(record_kinds()["flows"].column("kind").values)}
MAIN, SECOND = 0, 1
LEAST_MOVED: Final = 10_000
"""Fen."""
Rows = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class Bookings:
    """firm: (k,); slot: MAIN or SECOND account, 2 for none of its own at `bank`; amount: fen; other: counterparty, -1 for none."""

    firm: NDArray[np.int64]
    slot: NDArray[np.int64]
    bank: NDArray[np.int64]
    day: NDArray[np.int64]
    amount: NDArray[np.int64]
    kind: NDArray[np.int8]
    other: NDArray[np.int64]

    def rows(self) -> Rows:
        """As records, but for the number of the booking."""
        return {"firm": self.firm, "date": self.day, "amount": self.amount, "kind": self.kind, "counterparty": self.other}


class Accounts:
    """All accounts of the world. balance: (n, 2) fen."""

    def __init__(self, streams: Streams, firms: Firms, coverage: Coverage) -> None:
        self._streams, self._firms = streams, firms
        self._bank = np.column_stack([coverage.main, coverage.second]).astype(np.int64)
        rng = streams.of("lines", 1 << 20)
        self._limit = np.where(rng.random(len(firms)) < 0.2, np.rint(firms.size * 0.1) * 100, 0).astype(np.int64)
        self._rents = rng.random(len(firms)) < 0.6
        self.balance = np.zeros((len(firms), 2), np.int64)

    def open(self, traits: Traits) -> None:
        """Balances before the first month, of firms that are there already: at their target."""
        start = np.where(traits.active & (self._bank[:, MAIN] >= 0), self._target(traits), 0)
        self.balance[:, MAIN] = start - start // 10
        self.balance[:, SECOND] = np.where(self._bank[:, SECOND] >= 0, start // 10, 0)

    def _target(self, traits: Traits) -> NDArray[np.int64]:
        usual = self._firms.size / 12 * np.exp(0.25 * traits.health + traits.drift)
        return np.rint(usual * (0.55 * np.exp(0.5 * traits.liquidity) - 0.2) * 100).astype(np.int64)

    def _booked(
        self, firm: NDArray[Any], day: NDArray[Any], amount: NDArray[Any], kind: str, other: NDArray[Any] | None = None, slot: int = MAIN
    ) -> Bookings:
        """Bookings on a firm's own accounts, those of firms without one left out; the balance follows. slot: where no counterparty is named."""
        firm = firm.astype(np.int64)
        named = np.full(len(firm), -1) if other is None else other.astype(np.int64)
        slots = np.where((self._bank[firm, SECOND] >= 0) & ((named * 7 + firm) % 10 < 3) & (named >= 0), SECOND, slot)
        kept = np.flatnonzero((self._bank[firm, MAIN] >= 0) & (amount != 0))
        firm, slots, amount = firm[kept], slots[kept], amount[kept].astype(np.int64)
        np.add.at(self.balance, (firm, slots), amount)
        kinds = np.full(len(kept), KINDS[kind], np.int8)
        return Bookings(firm, slots, self._bank[firm, slots], day[kept].astype(np.int64), amount, kinds, named[kept])

    def settled(self, seller: NDArray[Any], buyer: NDArray[Any], day: NDArray[Any], total: NDArray[Any]) -> list[Bookings]:
        """Invoices paid: a receipt of the seller and a payment of the buyer, for those of this world."""
        count = len(self._firms)
        sold, bought = np.flatnonzero(seller < count), np.flatnonzero(buyer < count)
        return [
            self._booked(seller[sold], day[sold], total[sold], "sale", buyer[sold]),
            self._booked(buyer[bought], day[bought], -total[bought], "purchase", seller[bought]),
        ]

    def running(self, traits: Traits, month: Month, tax: NDArray[np.int64], block: int, part: slice) -> list[Bookings]:
        """A block's consumers' money, salaries, rent, utilities and tax. tax: (n,) of the month before, fen."""
        rng, count = self._streams.of("running", month.number, block), part.stop - part.start
        firm = np.arange(part.start, part.stop)
        sales = traits.sales[part] * 100
        trading = sales > 0
        usual = self._firms.size[part] / 12 * 100 * trading
        noise, days = np.exp(0.15 * rng.standard_normal((3, count))), rng.random((5, count))
        short = rng.random(count) < expit(-3.0 - traits.liquidity[part])  # salaries are paid in part when cash is short
        consumers = consumer_sales(self._firms, traits)[part] * 100
        at = [
            (month.first + low + (days[row] * width)).astype(np.int64)
            for row, (low, width) in enumerate(((0, month.days), (4, 11), (0, 5), (19, 8), (9, 6)))
        ]
        return [
            self._booked(firm, at[0], np.rint(consumers * noise[0]).astype(np.int64), "sale"),
            self._booked(firm, at[1], -np.rint(0.12 * usual * noise[1] * np.where(short, 0.5, 1.0)).astype(np.int64), "salary"),
            self._booked(firm, at[2], -np.rint(0.03 * usual * self._rents[part]).astype(np.int64), "rent"),
            self._booked(firm, at[3], -np.rint(0.01 * sales * noise[2]).astype(np.int64), "utility"),
            self._booked(firm, at[4], -tax[part], "tax"),
        ]

    def lent(self, firm: NDArray[Any], bank: NDArray[Any], day: NDArray[Any], amount: NDArray[Any]) -> list[Bookings]:
        """Loans paid out (amount > 0) and instalments paid (amount < 0) at a bank, through the main account where the bank has no own."""
        firm, bank = firm.astype(np.int64), bank.astype(np.int64)
        own = self._bank[firm]
        slot = np.where(bank == own[:, MAIN], MAIN, np.where(bank == own[:, SECOND], SECOND, 2))
        here, away = np.flatnonzero(slot < 2), np.flatnonzero(slot == 2)
        kind = np.where(amount > 0, KINDS["loan"], KINDS["repayment"]).astype(np.int8)
        np.add.at(self.balance, (firm[here], slot[here]), amount[here])
        none = np.full(len(firm), -1)
        through = np.full(len(firm), KINDS["transfer"], np.int8)
        whole = Bookings(firm, slot, bank, day, amount, kind, none)
        on = Bookings(firm[away], slot[away], bank[away], day[away], -amount[away], through[away], none[away])
        return [whole, on, self._booked(firm[away], day[away], amount[away], "transfer")]

    def owners(self, traits: Traits, month: Month) -> list[Bookings]:
        """At the month's end, of each firm: from the second account to the main one, and what the owner puts in or takes out."""
        rng, every = self._streams.of("receipts", month.number), np.arange(len(self._firms))
        draws = rng.random((4, len(every)))
        day = month.last - (draws[3] * 3).astype(np.int64)
        closed = traits.state == CLOSED
        swept = np.where((self._bank[:, SECOND] >= 0) & ((draws[0] < 0.8) | closed), self.balance[:, SECOND], 0)
        between = [self._booked(every, day, swept, "transfer"), self._booked(every, day, -swept, "transfer", slot=SECOND)]
        have, target = self.balance[:, MAIN], self._target(traits)
        moved = np.where(draws[1] < 0.7, np.rint((target - have) * (0.3 + 0.4 * draws[2])), 0).astype(np.int64)
        covers = (have + moved < 0) & (draws[3] < expit(1.5 + 1.2 * traits.liquidity))
        moved = np.where(covers, np.maximum(target // 4, 0) - have, moved)
        moved = np.where(traits.active & (abs(moved) > LEAST_MOVED), moved, 0)
        return [*between, self._booked(every, day, np.where(closed, -have, moved), "transfer")]

    def balances(self, traits: Traits, month: Month, before: NDArray[np.int64], slot: int) -> tuple[NDArray[np.int64], Rows]:
        """Bank and record of each account at the month's end. before: (n, 2) balances at the end of the month before."""
        there = np.flatnonzero((self._bank[:, slot] >= 0) & (traits.state != WAITING) & ((traits.state != CLOSED) | (before[:, slot] != 0)))
        old, new = before[there, slot], self.balance[there, slot]
        crossing = np.abs(new) / np.maximum(np.abs(new) + np.abs(old), 1)
        share = np.where((old < 0) & (new < 0), 1.0, np.where(new < 0, crossing, np.where(old < 0, 1 - crossing, 0.0)))
        limit = self._limit[there] * (slot == MAIN)
        used = np.rint(limit * expit(-0.9 * traits.liquidity[there] - 0.3)).astype(np.int64)
        return self._bank[there, slot], {
            "firm": there, "date": np.full(len(there), month.last), "balance": new, "limit": limit, "used": used,
            "overdraft_days": np.rint(share * month.days).astype(np.int64),
        }  # fmt: skip
