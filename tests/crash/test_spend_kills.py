"""kill -9 a bank at any statement of its journal and its ledger while it takes the noisy sums of a real run: what left is always counted.

Bank 0 answers each batch in a process of its own, forked for it, over its journal and its ledger on disk. It is killed at one statement of SQLite
after another, until one process comes to the batch's end; what it sends is seen only when it has come out of the process. The other parties live
here.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from federation.carriage.journal_file import JournalFile
from federation.kernel.batch import Batch
from federation.kernel.codec import decode
from federation.kernel.envelope import Envelope
from federation.kernel.journal import Journal, MemoryJournal
from federation.kernel.loss import Loss
from federation.kernel.manifest import PrivacySettings
from federation.kernel.secret import Secret
from federation.models.horizontal.private_losses import reserved, sums
from privacy.budget import account
from privacy.budget.ledger import Spend
from privacy.budget.limits import Cost, Limits
from privacy.store.budget_file import BudgetFile
from tests.bank_case import BankCase, bank_table
from tests.post import Post

ME, EPSILON, DELTA = "bank0", 1.0, 1e-6
WHOLE = b"whole"
"""Ends what came out of a process that was not killed while it sent."""
KEY = Secret(bytes(range(32)))


def case() -> BankCase:
    tables = {f"bank{place}": bank_table(place, 400, categorical=False) for place in range(3)}
    return BankCase(tables, {"task": "statistics", "privacy": PrivacySettings(epsilon=EPSILON, delta=DELTA)})


@dataclass
class Mortal:
    """Bank 0 on disk. stride: it dies at every so manieth statement of each batch; late: the weakened order, which books a sum once it has left."""

    folder: Path
    stride: int
    late: bool = False
    died: int = 0
    under: int = 0
    left: set[str] = field(default_factory=set)
    journals: dict[str, Journal] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.case = case()
        with closing(self.ledger()) as ledger:
            ledger.set_limits("loans", "decide", Limits(3.0, 1e-5), "officer")
            ledger.reserve("run", "loans", "decide", Cost(reserved(self.case.manifest)))
        self.post = self.case.post(opened=self.opened, delivers=self.delivers)

    def ledger(self) -> BudgetFile:
        return BudgetFile(self.folder / "ledger.db")

    def opened(self, name: str) -> Journal:
        if name == ME:
            return JournalFile(self.folder / "journal", KEY)
        return self.journals.setdefault(name, MemoryJournal())

    def delivers(self, post: Post, name: str, number: int, batch: tuple[Envelope, ...]) -> bytes:
        if name != ME:
            return post.parties[name].deliver(number, batch)
        if number == 0:  # no connection of this process is carried into another
            post.parties[ME]._journal.close()  # type: ignore[attr-defined]
        reply, places = b"", count(1 + number % self.stride, self.stride)
        while not reply:
            reply = self.forked(number, batch, next(places))
        self.left |= {
            envelope.step.split(":")[0] for envelope in decode(reply, Batch, ME, len(reply)).envelopes if envelope.kind == "bonawitz/input"
        }
        self.look()
        return reply

    def look(self) -> None:
        """Is as much booked as has left, and does it count?"""
        with closing(self.ledger()) as ledger:
            booked = [entry.record for entry in ledger.history() if isinstance(entry.record, Spend)]
            counted = account.epsilon(ledger.current().counted("loans", "decide").losses, DELTA)
        spent = account.epsilon([loss for record in booked for loss in record.cost.losses], DELTA)
        self.under += len(booked) < len(self.left) or counted < spent

    def forked(self, number: int, batch: tuple[Envelope, ...], die_at: int) -> bytes:
        """The reply of a process that was not killed; empty of one that was and had sent nothing."""
        reads, writes = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                self.answer(number, batch, die_at, lambda reply: _all(writes, reply))
            finally:
                os._exit(0)
        os.close(writes)
        with os.fdopen(reads, "rb") as pipe:
            reply = pipe.read()
        killed = os.WIFSIGNALED(os.waitpid(child, 0)[1])
        self.died += killed
        return reply.removesuffix(WHOLE) if reply.endswith(WHOLE) else b""

    def answer(self, number: int, batch: tuple[Envelope, ...], die_at: int, send: Callable[[bytes], None]) -> None:
        """What the process does: begin from the disk, answer, send."""
        taken, waiting = 0, list[tuple[str, Loss]]()

        def step(*_: object) -> None:
            nonlocal taken
            taken += 1
            if taken == die_at:
                os.kill(os.getpid(), signal.SIGKILL)

        ledger, journal = self.ledger(), JournalFile(self.folder / "journal", KEY)
        ledger._db.set_trace_callback(step)
        journal._db.set_trace_callback(step)

        def spent(release: str, loss: Loss) -> None:
            if self.late:
                waiting.append((release, loss))
            else:
                ledger.spend("run", release, Cost((loss,)))

        self.post.opened, self.post.more = lambda _: journal, {ME: {"spent": spent}}
        send(self.post.build(ME).deliver(number, batch))
        step()
        for release, loss in waiting:
            ledger.spend("run", release, Cost((loss,)))
        ledger.close()
        journal.close()

    def play(self) -> None:
        self.post.play()


def _all(writes: int, reply: bytes) -> None:
    with os.fdopen(writes, "wb") as pipe:
        pipe.write(reply + WHOLE)


def played(folder: Path, stride: int, **weakened: Any) -> Mortal:
    folder.mkdir()
    mortal = Mortal(folder, stride, **weakened)
    mortal.play()
    print(f"{mortal.died} kills, {len(mortal.left)} sums left, under-counted at {mortal.under} batches")
    return mortal


def require_whole(mortal: Mortal) -> None:
    """It went on to its end, each sum is booked once, and what was not spent is free."""
    named = [name for name, _ in sums(mortal.case.manifest)]
    with closing(mortal.ledger()) as ledger:
        booked = [entry.record for entry in ledger.history() if isinstance(entry.record, Spend)]
        assert [record.release for record in booked] == named and len(mortal.left) == len(named)
        ledger.settle("run")
        assert not ledger.current().open_runs
        counted = account.epsilon(ledger.current().counted("loans", "decide").losses, DELTA)
    assert counted == account.epsilon([loss for record in booked for loss in record.cost.losses], DELTA) <= EPSILON
    assert all(party.finished for name, party in mortal.post.parties.items() if name != ME)


def test_killed_at_any_statement_no_sum_leaves_uncounted_none_counts_twice_and_the_run_ends(tmp_path: Path) -> None:
    mortal = played(tmp_path / "node", 6)
    assert mortal.under == 0 and mortal.died > 40
    require_whole(mortal)


def test_control_a_bank_that_books_what_has_left_is_under_counted_by_the_same_kills(tmp_path: Path) -> None:
    assert played(tmp_path / "node", 3, late=True).under > 0


@pytest.mark.slow
def test_killed_at_every_statement_of_every_batch(tmp_path: Path) -> None:
    mortal = played(tmp_path / "node", 1)
    assert mortal.under == 0 and mortal.died > 400
    require_whole(mortal)
