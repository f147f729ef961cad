"""Any interleaving of runs, ends, replays, other limits, restarts and crashes: what was released is always counted, and left is never negative.

A crash strikes where it hurts: after the ledger decided and before it wrote, or after it wrote and before the caller heard of it. The control
is the same machine with releases that leave before they are recorded: it must find that out.
"""

from __future__ import annotations

import math
import tempfile
from collections import Counter
from pathlib import Path
from typing import ClassVar

import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from federation.kernel.errors import LocalError, PolicyRefusal
from federation.kernel.loss import DiscreteGaussian, DiscreteLaplace, Stated
from privacy.budget.account import epsilon
from privacy.budget.limits import ANY, COUNTED, Cost, Counts, Limits, members, scopes, total
from privacy.store.budget_file import BudgetFile

ANY_RUN = st.integers(0, 4)
RUNS = st.sampled_from(["r0", "r1", "r2", "r3", "r4"])
PURPOSES = st.sampled_from(["decide", "collect", "research"])
RELEASES = {
    "table": Cost(counts=Counts(releases=1, rows=30)),
    "bins": Cost(counts=Counts(releases=1, rows=5)),
    "round 1": Cost((DiscreteGaussian(30.0, 1.0, 5),)),
    "round 2": Cost((DiscreteGaussian(30.0, 1.0, 5),)),
    "count": Cost((DiscreteLaplace(20.0, 1, 5),), Counts(rows=5)),
    "labels": Cost((Stated(0.25, 1e-8),)),
}
WHOLES = st.sampled_from([(), (Stated(0.25, 1e-8),), (Stated(0.5, 1e-7),), (DiscreteGaussian(30.0, 1.0, 5, count=2),)])
WHOLE_COUNTS = st.builds(Counts, releases=st.integers(1, 4), rows=st.sampled_from([5, 50]))
LIMITS = st.builds(
    Limits,
    st.sampled_from([None, 0.0, 0.3, 1.0]),
    st.just(1e-5),
    releases=st.sampled_from([None, 0, 3, 8]),
    rows=st.sampled_from([None, 60]),
)
CRASHES = st.sampled_from(["none", "none", "none", "before", "after"])


class Died(BaseException):
    """The process is gone: nothing below may catch it."""


class Ledgers(RuleBasedStateMachine):
    """Two processes on one ledger; `left` is what an outsider has received."""

    weak = False
    met: ClassVar[Counter[str]] = Counter()

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.path = Path(self.folder.name) / "ledger.db"
        self.files = [self.start(), self.start()]
        self.left: dict[tuple[str, str], tuple[str, Cost]] = {}
        self.purposes: dict[str, str] = {}
        self.crash = "none"
        self.files[0].set_limits("loans", ANY, Limits(1.5, 1e-5, releases=12), "officer")
        for run, purpose in (("r0", "decide"), ("r1", "collect")):
            self.files[0].reserve(run, "loans", purpose, Cost((Stated(0.5, 1e-7),), Counts(releases=4, rows=50)))
            self.purposes[run] = purpose

    def start(self) -> BudgetFile:
        def on_change(_kind: str, **_facts: object) -> None:
            if self.crash == "after":
                raise Died

        def clock() -> float:
            if self.crash == "before":
                raise Died
            return 0.0

        return BudgetFile(self.path, on_change, clock=clock)

    def asked(self, which: int, crash: str, call) -> bool:
        """Whether the caller heard that it was done."""
        self.crash = crash
        try:
            call(self.files[which])
        except LocalError as error:
            self.met["refused" if isinstance(error, PolicyRefusal) else "wrong"] += 1
            return False
        except Died:
            self.met[f"died {crash}"] += 1
            self.crash = "none"
            self.restart(which)
            return False
        finally:
            self.crash = "none"
        return True

    @rule(which=st.integers(0, 1))
    def restart(self, which: int) -> None:
        self.files[which].close()
        self.files[which] = self.start()

    @rule(which=st.integers(0, 1), purpose=st.sampled_from(["decide", "credit", "research", ANY]), limits=LIMITS, crash=CRASHES)
    def limit(self, which: int, purpose: str, limits: Limits, crash: str) -> None:
        self.asked(which, crash, lambda file: file.set_limits("loans", purpose, limits, "officer"))

    @rule(which=st.integers(0, 1), run=RUNS, purpose=PURPOSES, losses=WHOLES, counts=WHOLE_COUNTS, crash=CRASHES)
    def reserve(self, which: int, run: str, purpose: str, losses: tuple, counts: Counts, crash: str) -> None:
        before = self.files[which].current()
        limits = {scope: before.limits.get(("loans", scope)) for scope in scopes(purpose)}
        new = all(entry.record.run != run for entry in self.files[which].history() if hasattr(entry.record, "run"))
        cost = Cost(losses, counts)
        if self.asked(which, crash, lambda file: file.reserve(run, "loans", purpose, cost)):
            self.purposes[run] = purpose
            self.met["reserved"] += 1
            for scope, each in limits.items():
                if new and each is not None and each.epsilon is not None and losses:
                    assert epsilon(self.files[which].current().counted("loans", scope).losses, each.delta) <= each.epsilon

    @rule(which=st.integers(0, 1), any_run=ANY_RUN, release=st.sampled_from(sorted(RELEASES)), crash=CRASHES)
    def release(self, which: int, any_run: int, release: str, crash: str) -> None:
        run, cost = list(self.purposes)[any_run % len(self.purposes)], RELEASES[release]
        too_early = self.weak and crash == "before" and (run, release) not in self.left
        if self.asked(which, crash, lambda file: file.spend(run, release, cost)) or too_early:
            self.left[run, release] = (self.files[which].current().reservation(run).purpose, cost)
            self.met["left with noise" if cost.losses else "left"] += 1

    @rule(which=st.integers(0, 1), any_run=ANY_RUN, settles=st.booleans(), crash=CRASHES)
    def end(self, which: int, any_run: int, settles: bool, crash: str) -> None:
        run = list(self.purposes)[any_run % len(self.purposes)]
        self.asked(which, crash, lambda file: file.settle(run) if settles else file.give_back(run, "dead"))

    @invariant()
    def what_left_is_counted(self) -> None:
        for file in self.files:
            ledger = file.current()
            for scope in ("decide", "collect", "research", "credit", ANY):
                gone = total(cost for purpose, cost in self.left.values() if purpose in members(scope))
                counted, spent = ledger.counted("loans", scope), ledger.spent("loans", scope)
                assert gone.counts.within(spent.counts) and spent.counts.within(counted.counts)
                assert epsilon(gone.losses, 1e-5) <= epsilon(counted.losses, 1e-5) * (1 + 1e-3)

    @invariant()
    def left_is_never_negative(self) -> None:
        ledgers = [file.current() for file in self.files]
        for purpose in ("decide", "collect", "research", "credit", ANY):
            found = [ledger.left("loans", purpose) for ledger in ledgers]
            assert found[0] == found[1]
            if found[0] is not None:
                assert all((getattr(found[0], name) or 0) >= 0 for name in ("epsilon", *COUNTED))
                assert found[0].epsilon is None or math.isfinite(found[0].epsilon)

    def teardown(self) -> None:
        for file in self.files:
            file.close()
        again = BudgetFile(self.path)
        recorded = {(entry.record.run, entry.record.release) for entry in again.history() if type(entry.record).__name__ == "Spend"}
        again.close()
        self.folder.cleanup()
        assert set(self.left) <= recorded


class Hasty(Ledgers):
    """A release leaves before it is recorded."""

    weak = True


def test_what_was_released_is_counted_and_left_is_never_negative_in_any_interleaving():
    Ledgers.met.clear()
    run_state_machine_as_test(Ledgers, settings=settings(max_examples=25, stateful_step_count=30, deadline=None))
    print(dict(Ledgers.met))
    assert min(Ledgers.met[what] for what in ("left", "left with noise", "refused", "died before", "died after")) >= 10


def test_control_a_release_that_leaves_before_it_is_recorded_is_found_out():
    with pytest.raises(AssertionError):
        run_state_machine_as_test(
            Hasty, settings=settings(max_examples=200, stateful_step_count=30, deadline=None, phases=[Phase.generate], print_blob=False)
        )


@pytest.mark.slow
def test_many_more_interleavings():
    Ledgers.met.clear()
    run_state_machine_as_test(Ledgers, settings=settings(max_examples=400, stateful_step_count=60, deadline=None))
    print(dict(Ledgers.met))
