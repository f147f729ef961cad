"""The run store under two processes at once, and under kill -9 at every statement: no run is worked on twice, and what is left is a legal state.

Two workers are held until both have seen the same runs free. A writer is forked for each moment at which it can die: before each
statement and each commit, and after the last one before it could say that it was done.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
import sqlalchemy as sa

from server.store.run_store import RunStore
from server.store.states import OVER, RunState
from server.store.tables import runs
from tests.consent_scene import KINDS, new_database
from tests.store_scene import LAPSE, at, node

FORK = multiprocessing.get_context("fork")
RUNS = 50


class Careless(RunStore):
    """Claims what was free when it looked."""

    def _taking(self, name, free):
        return runs.update().where(runs.c.name == name)


def forked(work: Callable[[], None]) -> int:
    child = os.fork()
    if child == 0:
        code = 1
        try:
            work()
            code = 0
        finally:
            os._exit(code)
    return child


def claimed(kind, folder: Path, store_type=RunStore, *, stale: bool = False) -> tuple[Counter[str], int]:
    """How often each of 50 runs was claimed by two processes at once, and how often the two tried."""
    url = new_database(kind, folder)
    store = RunStore.open(url, lapse=LAPSE)
    for number in range(RUNS):
        store.submit(f"r{number:02}", b"", at(0))
        if stale:
            store.claim("dead", at(0))
    store.close()
    both = FORK.Barrier(2)

    def work(number: int) -> None:
        class Held(store_type):
            tries = 0

            def _taking(self, name, free):
                Held.tries += 1
                if Held.tries == 1:  # what is free was read by now, at both
                    both.wait(30)
                return super()._taking(name, free)

        mine = Held.open(url, lapse=LAPSE)
        with (folder / f"{number}").open("w") as out:
            while (run := mine.claim(f"w{number}", at(LAPSE + 1))) is not None:
                out.write(run.name + "\n")
            out.write(f"{Held.tries}\n")
        mine.close()

    children = [forked(lambda number=number: work(number)) for number in range(2)]
    assert [os.waitpid(child, 0)[1] for child in children] == [0, 0]
    lists = [(folder / f"{number}").read_text().split() for number in range(2)]
    return Counter(lists[0][:-1] + lists[1][:-1]), int(lists[0][-1]) + int(lists[1][-1])


@pytest.mark.parametrize("stale", [False, True], ids=["never worked on", "of a dead worker"])
@pytest.mark.parametrize("kind", KINDS)
def test_of_50_runs_that_two_processes_claim_at_once_none_is_worked_on_twice(kind, stale, tmp_path):
    times, tries = claimed(kind, tmp_path, stale=stale)
    assert len(times) == RUNS and set(times.values()) == {1}
    assert tries > RUNS, "the two were never after the same run"


@pytest.mark.parametrize("kind", KINDS)
def test_control_claimed_without_compare_and_set_runs_are_worked_on_twice(kind, tmp_path):
    times, _ = claimed(kind, tmp_path, Careless)
    assert max(times.values()) == 2


# -- kill -9 -------------------------------------------------------------------------------------------------------------------------------------

DEEDS: tuple[Callable[[RunStore], object], ...] = (
    lambda store: store.enrol(node()),
    lambda store: store.enrol(node("platform-a", 2, "platform")),
    lambda store: store.submit("r", b"[run]", at(0)),
    lambda store: store.claim("w", at(1)),
    lambda store: store.advance("r", "w", at(2), state=RunState.WAITING, manifest_hash="ab" * 32),
    lambda store: store.advance("r", "w", at(3), state=RunState.RUNNING, session="cd" * 32, stage="align", exchanges=1),
    lambda store: store.revoke("platform-a", at(4)),
    lambda store: store.request_stop("r"),
    lambda store: store.finish("r", "w", at(5), conduct=b"{}", model_hash="ef" * 32),
)


class TwoSteps(RunStore):
    """Finishes a run in one transaction, and says what came of it in the next."""

    def finish(self, name, worker, now, *, conduct, model_hash=None):
        with self._database.changing() as connection:
            connection.execute(runs.update().values(state="finished", state_at=now))
        with self._database.changing() as connection:
            connection.execute(runs.update().values(conduct=conduct, model_hash=model_hash, worker=None, beat_at=None))
        return self.run(name)


class Steps:
    """Dies at the given step; counts them when none is given."""

    def __init__(self, die_at: int | None = None) -> None:
        self.taken, self._die_at = 0, die_at

    def __call__(self, *_: object) -> None:
        self.taken += 1
        if self.taken == self._die_at:
            os.kill(os.getpid(), signal.SIGKILL)


def do(url: str, store_type: type[RunStore], step: Steps, done: Path) -> None:
    """All deeds, each written down once it is done."""
    store = store_type.open(url, lapse=LAPSE)
    for name in ("before_cursor_execute", "commit"):
        sa.event.listen(store._database._engine, name, step)
    with done.open("ab", buffering=0) as out:
        for deed in DEEDS:
            deed(store)
            step()
            out.write(b"x")
    store.close()


def state_of(store: RunStore) -> object:
    return store.runs(), store.nodes()


def goes_on(store: RunStore) -> bool:
    """Whether another worker can bring whatever was left to its end."""
    for run in store.runs():
        if run.over:
            continue
        taken = store.claim("v", at(1000))
        assert taken is not None and taken.name == run.name
        for state in (RunState.WAITING, RunState.RUNNING):
            if taken.state is not RunState.RUNNING:
                taken = store.advance("r", "v", at(1000), state=state)
        store.finish("r", "v", at(1000), conduct=b"{}")
    return all(run.state in OVER for run in store.runs())


def kills(kind: str, folder: Path, store_type: type[RunStore] = RunStore, last: int | None = None, stride: int = 1) -> tuple[int, int]:
    """Of a writer killed at each step in turn, or at the last, or at every other one: how often, and how many of the states it left are ones that no deed leaves."""
    plain = RunStore.open(new_database(kind, folder), lapse=LAPSE)
    legal = [state_of(plain)]
    for deed in DEEDS:
        deed(plain)
        legal.append(state_of(plain))
    plain.close()
    every = Steps()
    do(new_database(kind, folder), store_type, every, folder / "warm")
    illegal, steps = 0, range(1 if last is None else every.taken - last, every.taken + 1, stride)
    for number in steps:
        url, done = new_database(kind, folder), folder / f"done{number}"
        RunStore.open(url).close()
        child = forked(lambda url=url, done=done, number=number: do(url, store_type, Steps(number), done))
        assert os.WIFSIGNALED(os.waitpid(child, 0)[1])
        store, acknowledged = RunStore.open(url, lapse=LAPSE), done.stat().st_size
        if state_of(store) in legal[acknowledged : acknowledged + 2]:
            assert goes_on(store)
        else:
            illegal += 1
        store.close()
    return len(steps), illegal


@pytest.mark.parametrize("kind", ["postgresql", pytest.param("sqlite", marks=pytest.mark.slow)])
def test_a_writer_killed_at_a_statement_leaves_a_legal_state_from_which_another_goes_on(kind, tmp_path):
    killed, illegal = kills(kind, tmp_path, stride=2)
    print(f"{killed} kills, {illegal} illegal states")
    assert killed >= 20 and illegal == 0


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_a_writer_killed_at_every_statement(kind, tmp_path):
    killed, illegal = kills(kind, tmp_path)
    print(f"{killed} kills, {illegal} illegal states")
    assert killed >= 40 and illegal == 0


@pytest.mark.parametrize("kind", KINDS)
def test_control_a_finish_in_two_steps_leaves_half_of_it(kind, tmp_path):
    assert kills(kind, tmp_path, TwoSteps, last=8)[1] > 0
