"""kill -9 at every step of reserve, spend and settle: what left is always counted, and the ledger always goes on.

A warm process forks a node for each kill. The node works through runs; it is killed at the n-th statement that SQLite is given, at the n-th
moment between two lines, or after some microseconds, wherever it then is. The releases that left are written to a file that outlives it.
A thousand kills with figures: pytest -m slow -s tests/crash/test_budget_kills.py
"""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from federation.kernel.loss import DiscreteGaussian, Stated
from privacy.budget.limits import Cost, Counts, Limits
from privacy.store.budget_file import BudgetFile

RUNS, ROUNDS = ("a", "b"), 3
NOISE = DiscreteGaussian(40.0, 1.0, 20)
ROUND = Cost((NOISE,), Counts(releases=1, rows=10))
WHOLE = Cost((Stated(1.0, 1e-6),), Counts(releases=ROUNDS + 1, rows=100))
LIMITS = Limits(3.0, 1e-5, releases=20, rows=1000)


class Steps:
    """Dies at the given step; counts them when none is given."""

    def __init__(self, die_at: int | None) -> None:
        self.taken, self._die_at = 0, die_at

    def __call__(self, *_: object) -> None:
        self.taken += 1
        if self.taken == self._die_at:
            os.kill(os.getpid(), signal.SIGKILL)


def work(path: Path, step: Callable[..., None], *, release_first: bool = False) -> None:
    """A node: each run reserves, releases round by round, and settles. Begun again it goes through the same, as a replay does."""
    file = BudgetFile(path / "ledger.db", lambda *_args, **_facts: step())
    file._db.set_trace_callback(step)
    for run in RUNS:
        file.reserve(run, "loans", "decide", WHOLE)
        step()
        for number in range(ROUNDS):
            release = f"round {number}"
            if release_first:  # the weakened order
                leave(path, run, release)
            step()
            file.spend(run, release, ROUND)
            step()
            if not release_first:
                leave(path, run, release)
            step()
        file.settle(run)
        step()
    file.close()


def leave(path: Path, run: str, release: str) -> None:
    with (path / "released").open("ab", buffering=0) as out:
        out.write(f"{run} {release}\n".encode())


def released(path: Path) -> set[tuple[str, str]]:
    try:
        lines = (path / "released").read_text().splitlines()
    except FileNotFoundError:
        return set()
    return {(line.split(" ", 1)[0], line.split(" ", 1)[1]) for line in lines}


def new(path: Path) -> Path:
    path.mkdir()
    file = BudgetFile(path / "ledger.db")
    file.set_limits("loans", "decide", LIMITS, "officer")
    file.close()
    return path


def killed(path: Path, die_at: int | None, after: float | None, *, release_first: bool) -> bool:
    """Fork a node and let it die. Returns whether it did, or had ended before."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            work(path, Steps(die_at), release_first=release_first)
            code = 0
        finally:
            os._exit(code)
    if after is not None:
        time.sleep(after)
        os.kill(child, signal.SIGKILL)
    status = os.waitpid(child, 0)[1]
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0
    return os.WIFSIGNALED(status)


def under_counted(path: Path) -> bool:
    """Whether something left that is not in the ledger, or less is counted than left."""
    file = BudgetFile(path / "ledger.db")
    left = released(path)
    recorded = {(entry.record.run, entry.record.release) for entry in file.history() if type(entry.record).__name__ == "Spend"}
    counted = file.current().counted("loans", "decide").counts.releases
    file.close()
    return not left <= recorded or counted < len(left)


def goes_on(path: Path) -> bool:
    """Whether the same runs, begun again, end with just what they released, and everything not spent is free."""
    started = time.monotonic()
    work(path, lambda *_: None)
    file = BudgetFile(path / "ledger.db")
    total = len(RUNS) * ROUNDS
    whole = file.left("loans", "decide").releases == LIMITS.releases - total and not file.current().open_runs
    once = file.current().spent("loans", "decide").counts == Counts(releases=total, rows=10 * total)
    file.close()
    return whole and once and len(released(path)) == total and time.monotonic() - started < 30


def kills(folder: Path, count: int, *, release_first: bool = False) -> tuple[int, int]:
    """Of so many nodes killed, how many ledgers were under-counted and how many stuck. Half die at a step, each in turn; half at any moment."""
    draw = random.Random(5)
    work(new(folder / "warm"), Steps(None), release_first=release_first)
    every, timed = Steps(None), new(folder / "timed")
    started = time.monotonic()
    work(timed, every, release_first=release_first)
    whole = time.monotonic() - started
    number = died = under = stuck = 0
    while died < count:
        path = new(folder / str(number))
        step = number // 2 % every.taken + 1 if count > every.taken else draw.randint(1, every.taken)
        at, after = (step, None) if number % 2 == 0 else (None, draw.uniform(0, whole))
        if killed(path, at, after, release_first=release_first):
            died += 1
        else:  # it had ended before: the machine is faster than when it was timed
            whole *= 0.9
        under += under_counted(path)
        stuck += not goes_on(path)
        for file in path.iterdir():
            file.unlink()
        number += 1
    print(f"{died} of {number} nodes killed over {every.taken} steps: {under} under-counted, {stuck} stuck")
    return under, stuck


def test_killed_at_any_step_nothing_is_under_counted_and_nothing_is_stuck(tmp_path):
    assert kills(tmp_path, 30) == (0, 0)


def test_control_a_node_that_releases_before_it_records_is_under_counted_by_the_same_kills(tmp_path):
    under, _ = kills(tmp_path, 20, release_first=True)
    assert under > 0


@pytest.mark.slow
def test_killed_a_thousand_times_nothing_is_under_counted_and_nothing_is_stuck(tmp_path):
    assert kills(tmp_path, 1000) == (0, 0)


@pytest.mark.slow
def test_control_a_thousand_kills_of_the_weakened_order(tmp_path):
    under, _ = kills(tmp_path, 1000, release_first=True)
    assert under > 50
