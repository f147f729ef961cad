"""The months of an economy, one after another, written as they go by.

What is held: the state of all firms and the graph of trade (some 400 bytes a firm), unpaid invoices of the months ahead, and for each file the
rows that wait for a row group. Records are drawn by blocks of firms, or of relations, and leave at once. An invoice between firms of two
blocks, or of two bureaus, is drawn once, by its relation, and given to both sides.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from federation.kernel.errors import ConfigurationError
from simulations.economy import applications, coverage, declarations, firms, ring_trade, rings, trade, visits
from simulations.economy.accounts import MAIN, SECOND, Accounts, Bookings
from simulations.economy.calendar import Month, month
from simulations.economy.credit import Book, Loans, days_past_due
from simulations.economy.invoices import RELATION_BLOCK, VALID, Draw, Invoices
from simulations.economy.mapping import write_mapping
from simulations.economy.randomness import BLOCK, Streams, blocks
from simulations.economy.settings import Economy, require_possible
from simulations.economy.shops import Shops
from simulations.economy.sources import Sources
from simulations.economy.tables import Folder, Register, by_institution
from simulations.economy.traits import Life, Traits
from simulations.economy.truth import Truth

Rows = dict[str, NDArray[Any]]
Told = Callable[[int, int], None]
DISHONEST = np.array([0.0, -1.2, -2.5, -2.0])
"""Shift of honesty of the members of a ring, by its kind."""

VAT_BEGAN = int(np.datetime64("1994-01-01", "D").astype(np.int64))
"""The day of China's value-added tax as it is now (Provisional Regulations, State Council decree 134 of 1993)."""


@dataclass(frozen=True)
class Written:
    """rows: by institution and kind of record; seconds: it took."""

    rows: dict[str, dict[str, int]]
    seconds: float

    @property
    def records(self) -> int:
        """All rows of all institutions."""
        return sum(sum(kinds.values()) for kinds in self.rows.values())


def generate(asked: Economy, out: Path, told: Told | None = None) -> Written:
    """Draw an economy and write it under `out`. told: is called with months done and to do. Raises ConfigurationError."""
    require_possible("economy", asked)
    started = time.perf_counter()
    try:
        whole = _Whole(asked, out)
        for done, number in enumerate(range(-asked.history, asked.months)):
            whole.month(number)
            if told:
                told(done + 1, asked.history + asked.months)
        return Written(whole.close(), time.perf_counter() - started)
    except OSError as error:
        raise ConfigurationError(str(out), f"it cannot be written ({error.strerror})", "Choose a folder you may write to.") from None


class _Whole:
    """The state between months."""

    def __init__(self, asked: Economy, out: Path) -> None:
        self.asked, self.out, self.streams = asked, out, Streams(asked.seed)
        drawn = firms.draw(self.streams, asked.firms, asked.months)
        self.firms, self.fraud = rings.draw(self.streams, drawn, asked)
        self.outsiders = max(asked.firms // 2, 200)
        places = np.concatenate([self.firms.region, np.resize(np.arange(8, dtype=np.int8), self.outsiders)])
        register = Register(firms.codes(self.streams, places))
        self.coverage = coverage.draw(self.streams, self.firms, asked)
        self.trade = trade.draw(self.streams, self.firms, asked)
        rule = applications.calibrate(self.streams, self.firms, asked)
        self.life = Life(self.streams, self.firms, asked, DISHONEST[self.fraud.kind])
        self.asking = applications.Asking(self.streams, self.firms, self.coverage, self.fraud, asked, rule)
        self.book, self.rule = Book(self.streams, self.firms, rule, asked.banks, asked.history), rule
        self.invoices = Draw(self.streams, self.firms, self.trade, asked, self.outsiders)
        self.accounts = Accounts(self.streams, self.firms, self.coverage)
        self.folders = {name: Folder(out, name, register) for name in asked.institutions()}
        self.register = register
        self.sources = Sources(self.streams, self.firms, asked) if asked.other_sources else None
        self.truth = Truth(out, register, self.firms, asked)
        self.end = month(asked.start, asked.months).first
        self.starts = np.array([month(asked.start, number).first for number in range(asked.months + 1)])
        self.unpaid: dict[int, list[tuple[NDArray[Any], ...]]] = defaultdict(list)
        self.tax = np.zeros(asked.firms, np.int64)

    def month(self, number: int) -> None:
        """One month of everything; before month 0 of lending alone."""
        when, traits = month(self.asked.start, number), self.life.step(number)
        index = self.life.index(number)
        loans, paid = self.book.month(when, traits, index)
        self._repayments(loans, paid, when)
        traits.defaulted[loans.firm[loans.granted & (loans.default == number)]] = True
        asked = self.asking.month(number, traits, self.book.lenders(), self.book.borrows())
        new = self.book.lend(when, asked, traits, index)
        self._loans(new, when, traits)
        if number < 0:
            return
        if number == 0:
            self.accounts.open(traits)
        before = self.accounts.balance.copy()
        sums = self._trade(traits, when)
        declared = declarations.draw(self.streams, self.firms, traits, sums, when, month(self.asked.start, number + 1).first + 14)
        self._declarations(declared, when)
        self._shops(traits, when)
        self._accounts(traits, when, loans, paid, new)
        self.tax[:] = 0
        self.tax[declared["firm"]] = declared["tax_paid"]
        for slot in (MAIN, SECOND):
            self._give("bank", "balances", *self.accounts.balances(traits, when, before, slot), when)
        if self.sources:
            self.sources.month(number, traits)
        self.truth.month(number, traits, index, self.rule.intercept)

    def close(self) -> dict[str, dict[str, int]]:
        """Write what is left; rows by institution and kind."""
        ended = self.book.open
        for one in self.book.ended:
            ended = ended.with_(one)
        self.truth.close(
            self.life.now, self.coverage, self.fraud, self.life.macro, ended.take(np.lexsort((ended.bank, ended.firm, ended.opened)))
        )
        self._taxpayers()
        for name in self.folders:
            write_mapping(self.out / name, name, self.end)
        rows = {name: folder.close() for name, folder in self.folders.items()}
        return rows | (self.sources.write(self.out, self.register, self.life.now, self.end) if self.sources else {})

    def _give(self, role: str, kind: str, places: NDArray[Any], rows: Rows, when: Month, numbered: str = "") -> None:
        """Records to the institutions of a role. places: (k,) whose each is; numbered: a column that numbers an institution's records."""
        count = {"bank": self.asked.banks, "platform": self.asked.platforms, "tax": self.asked.taxes}[role]
        for place, own in by_institution(rows, places, count):
            name = f"{role}-{place + 1}"
            if self.asked.writes(name, max(when.number, 0)):
                table = self.folders[name][kind]
                if numbered:
                    own[numbered] = np.arange(table.rows, table.rows + len(own["firm"]))
                table.add(own)

    # -- tax --------------------------------------------------------------------------------------------------------------------------

    def _trade(self, traits: Traits, when: Month) -> declarations.Sums:
        count, sums, first = len(self.firms), declarations.Sums.empty(len(self.firms)), 0
        for block, part in blocks(len(self.trade), RELATION_BLOCK):
            first = self._invoiced(self.invoices.relations(traits, when, block, part), sums, when, block, first)
        ringed, ring = ring_trade.draw(self.streams, self.firms, self.fraud, traits, when)
        if len(ringed):
            self.truth.ring_invoices(ringed, ring, ringed.rows("seller", when, 999_999, first))
            first = self._invoiced(ringed, sums, when, 999_999, first)
        had = sums.bought / 100
        for block, part in blocks(count):
            first = self._invoiced(self.invoices.outside_sales(traits, when, block, part), sums, when, 400_000 + block, first)
            first = self._invoiced(self.invoices.outside_purchases(traits, when, block, part, had), sums, when, 800_000 + block, first)
        return sums

    def _invoiced(self, drawn: Invoices, sums: declarations.Sums, when: Month, block: int, first: int) -> int:
        """Write a block of invoices at both sides, add them up, and put down when they are paid; the number of the next invoice."""
        count, bureau, valid = len(self.firms), self.coverage.bureau, drawn.status == VALID
        for side, kind, net, tax in (
            ("seller", "sales_invoices", sums.sold, sums.output_tax),
            ("buyer", "purchase_invoices", sums.bought, sums.input_tax),
        ):
            firm = getattr(drawn, side)
            here = firm < count
            self._give("tax", kind, np.where(here, bureau[np.where(here, firm, 0)], -1), drawn.rows(side, when, block, first), when)
            np.add.at(net, firm[here & valid], drawn.amount[here & valid])
            np.add.at(tax, firm[here & valid], drawn.tax[here & valid])
        paid = drawn.day + drawn.delay
        due = np.searchsorted(self.starts, paid, side="right") - 1
        for ahead in np.unique(due[valid & (paid < self.end)]):
            chosen = np.flatnonzero(valid & (due == ahead))
            total = drawn.amount[chosen] + drawn.tax[chosen]
            self.unpaid[int(ahead)].append((drawn.seller[chosen], drawn.buyer[chosen], paid[chosen], total))
        return first + len(drawn)

    def _declarations(self, declared: Rows, when: Month) -> None:
        seen = np.where(declared["filed"] < self.end, self.coverage.bureau[declared["firm"]], -1)
        self._give("tax", "declarations", seen, declared, when)

    def _taxpayers(self) -> None:
        """Each bureau's register: who is a taxpayer here, and since when. Invoices name a buyer by its Unified Social Credit Code, as real ones
        do, so that is the code; a firm of another bureau, or of none, is an outsider here. No register of VAT is older than the tax.
        """
        founded = self.firms.founded.astype(np.int64)
        first_days = {int(number): month(self.asked.start, int(number)).first for number in np.unique(founded)}
        since = np.maximum(np.array([first_days[number] for number in founded.tolist()], np.int32), VAT_BEGAN)
        for bureau in range(self.asked.taxes):
            name = f"tax-{bureau + 1}"
            until = self.asked.withdrawal.get(name, self.asked.months)
            members = np.flatnonzero((self.coverage.bureau == bureau) & (founded < until))
            self.folders[name]["taxpayers"].add({"code": members, "firm": members, "since": since[members]})

    # -- platforms --------------------------------------------------------------------------------------------------------------------

    def _shops(self, traits: Traits, when: Month) -> None:
        for number in range(self.asked.platforms):
            name = f"platform-{number + 1}"
            if not self.asked.writes(name, when.number):
                continue
            shops, folder = Shops(self.streams, self.firms, self.asked, number, self.end), self.folders[name]
            lacks = self.streams.of("gaps", when.number, number).random(len(self.firms)) < self.asked.gaps
            members = np.flatnonzero(self.coverage.platform[:, number] & ~lacks).astype(np.int32)
            for block, part in blocks(len(members), BLOCK // 4):
                first = folder["orders"].rows
                for kind, rows in shops.records(traits, when, members[part], block).items():
                    if "order" in rows:
                        rows["order"] = rows["order"] + first
                    folder[kind].add(rows)

    # -- banks ------------------------------------------------------------------------------------------------------------------------

    def _accounts(self, traits: Traits, when: Month, loans: Loans, paid: NDArray[np.int64], new: Loans) -> None:
        for settled in self.unpaid.pop(when.number, []):
            self._book(self.accounts.settled(*settled), when)
        for block, part in blocks(len(self.firms)):
            self._book(self.accounts.running(traits, when, self.tax, block, part), when)
        own, lent = np.flatnonzero(loans.granted & (paid > 0)), np.flatnonzero(new.granted)
        due = np.full(len(own), when.first + 19)
        self._book(self.accounts.lent(loans.firm[own], loans.bank[own], due, -paid[own]), when)
        self._book(self.accounts.lent(new.firm[lent], new.bank[lent], new.opened[lent], new.amount[lent]), when)
        self._book(self.accounts.owners(traits, when), when)

    def _book(self, bookings: list[Bookings], when: Month) -> None:
        for one in bookings:
            self._give("bank", "flows", one.bank, one.rows(), when, "booking")

    def _loans(self, new: Loans, when: Month, traits: Traits) -> None:
        granted = new.take(new.granted)
        rows: Rows = {
            "loan": granted.number, "firm": granted.firm, "owner": self.firms.owner[granted.firm], "opened": granted.opened,
            "amount": granted.amount, "months": granted.term, "rate": granted.rate, "collateral": granted.collateral,
        }  # fmt: skip
        self._give("bank", "loans", granted.bank, rows, when)
        seen = visits.draw(self.streams, self.firms, traits, when.number + self.asked.history, new.firm, new.opened - 1)
        self._give("bank", "visits", new.bank, seen, when)

    def _repayments(self, loans: Loans, paid: NDArray[np.int64], when: Month) -> None:
        late = days_past_due(loans, when, self.asked.start)
        interest = np.rint(loans.left * loans.rate / 12).astype(np.int64)
        rows: Rows = {
            "loan": loans.number, "firm": loans.firm, "date": np.full(len(loans), when.last), "days_past_due": late, "balance": loans.left,
            "due": loans.instalment + interest, "paid": paid, "status": loans.status,
        }  # fmt: skip
        self._give("bank", "repayments", np.where(loans.granted, loans.bank, -1), rows, when)
