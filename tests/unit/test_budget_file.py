"""The ledger on disk: synced before a call returns, one truth for several processes, and what tampering looks like."""

from __future__ import annotations

import multiprocessing
import re
import shutil
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from federation.kernel.errors import AbortCode, DataError, LocalError, PolicyRefusal
from privacy.budget.ledger import Reservation, Settlement, Spend
from privacy.budget.limits import Cost, Counts, Limits
from privacy.store.budget_file import BudgetFile

ONE = Cost(counts=Counts(releases=1))


def opened(folder: Path, releases: int = 10, on_change=None) -> BudgetFile:
    file = BudgetFile(folder / "budget" / "ledger.db", on_change, clock=lambda: 5.0)
    file.set_limits("loans", "decide", Limits(1.0, 1e-6, releases=releases), "officer")
    return file


def times(count: int) -> Cost:
    return Cost(counts=Counts(releases=count))


def test_what_was_written_is_there_after_opening_again(tmp_path):
    file = opened(tmp_path)
    assert file.reserve("a", "loans", "decide", times(4)) == Reservation("a", "loans", "decide", times(4))
    file.spend("a", "r", ONE)
    file.settle("a")
    file.reserve("b", "loans", "decide", times(2))
    file.close()
    again = BudgetFile(tmp_path / "budget" / "ledger.db")
    assert again.left("loans", "decide").releases == 7
    assert [entry.record for entry in again.history()][2:4] == [Spend("a", "r", ONE), Settlement("a")]
    assert [entry.number for entry in again.history()] == [1, 2, 3, 4, 5] and {entry.at for entry in again.history()} == {5.0}
    assert (tmp_path / "budget" / "ledger.db").stat().st_mode & 0o777 == 0o600


def test_each_change_is_told_once_it_is_on_disk_and_again_when_asked_again(tmp_path):
    told = []

    def on_change(kind: str, **facts) -> None:
        seen = BudgetFile(tmp_path / "budget" / "ledger.db").history()
        assert seen[facts["number"] - 1] is not None
        told.append((kind, facts["number"], facts["repeated"], facts.get("run", "")))

    file = opened(tmp_path, on_change=on_change)
    for _ in range(2):
        file.reserve("a", "loans", "decide", ONE)
        file.spend("a", "r", ONE)
    file.give_back("a", "dead")
    file.settle("a")
    assert told == [
        ("limits set", 1, False, ""),
        ("reserved", 2, False, "a"),
        ("spent", 3, False, "a"),
        ("reserved", 2, True, "a"),
        ("spent", 3, True, "a"),
        ("given back", 4, False, "a"),
        ("given back", 4, True, "a"),
    ]


def test_when_the_audit_log_fails_the_release_does_not_leave_and_stays_counted(tmp_path):
    def broken(kind: str, **_facts) -> None:
        if kind == "spent":
            raise LocalError("audit log", "it cannot be written")

    file = opened(tmp_path, on_change=broken)
    file.reserve("a", "loans", "decide", ONE)
    with pytest.raises(LocalError, match="audit log"):
        file.spend("a", "r", ONE)
    assert file.current().spent("loans", "decide") == ONE


_SYNCED = """
import sys
from pathlib import Path
from privacy.budget.limits import Cost, Counts, Limits
from privacy.store.budget_file import BudgetFile
import os
path = Path(sys.argv[1])
weak = len(sys.argv) > 2
file = BudgetFile(path)
if weak:
    file._db.execute("PRAGMA synchronous = OFF")
one = Cost(counts=Counts(releases=1))
def left(name):
    os.write(2, b"left " + name)
file.set_limits("loans", "decide", Limits(releases=9), "officer"); left(b"0")
file.reserve("a", "loans", "decide", Cost(counts=Counts(releases=4))); left(b"1")
file.spend("a", "r", one); left(b"2")
file.spend("a", "s", one); left(b"3")
file.settle("a"); left(b"4")
"""


def synced_before_leaving(path: Path, *weak: str) -> list[bool]:
    """For each change whether, after the last write to the ledger's log, that log was synced before the change's call returned."""
    trace = path.parent / "trace"
    command = ["strace", "-f", "-y", "-qq", "-e", "trace=pwrite64,write,fsync,fdatasync", "-o", str(trace)]
    subprocess.run([*command, sys.executable, "-c", _SYNCED, str(path), *weak], check=True, capture_output=True)
    found, dirty, wrote = [], False, False
    for line in trace.read_text().splitlines():
        if "ledger.db-wal" in line and "pwrite64(" in line:
            dirty = wrote = True
        elif "ledger.db-wal" in line and re.search(r"f(data)?sync\(", line):
            dirty = False
        elif '"left ' in line:
            found.append(wrote and not dirty)
            wrote = False
    return found


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
def test_every_change_is_synced_before_the_call_returns_and_control_without_full_sync_it_is_not(tmp_path):
    assert synced_before_leaving(tmp_path / "ledger.db") == [True] * 5
    assert not any(synced_before_leaving(tmp_path / "weak" / "ledger.db", "weak") if (tmp_path / "weak").mkdir() is None else [])


_OPENED = """
import os, sys
from pathlib import Path
from privacy.store.budget_file import BudgetFile
file = BudgetFile(Path(sys.argv[1]))
os.write(2, b"left " + str(len(file.history())).encode())
"""


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
def test_what_a_killed_process_wrote_and_did_not_sync_is_synced_when_the_ledger_is_opened(tmp_path):
    file = opened(tmp_path)
    file.reserve("a", "loans", "decide", ONE)
    (tmp_path / "after").mkdir()
    for name in ("ledger.db", "ledger.db-wal"):  # as the page cache has them, with no process that holds them
        shutil.copy(tmp_path / "budget" / name, tmp_path / "after" / name)
    trace = tmp_path / "trace"
    command = ["strace", "-f", "-y", "-qq", "-e", "trace=write,fsync,fdatasync", "-o", str(trace)]
    subprocess.run([*command, sys.executable, "-c", _OPENED, str(tmp_path / "after" / "ledger.db")], check=True, capture_output=True)
    before, _, after = trace.read_text().partition('"left ')
    assert after.startswith("2") and re.search(r"f(data)?sync\([^)]*after/ledger.db-wal", before)


def _reserve(path: str, name: str, count: int, answer) -> None:
    file, made = BudgetFile(Path(path)), 0
    for number in range(count):
        try:
            file.reserve(f"{name} {number}", "loans", "decide", ONE)
            file.spend(f"{name} {number}", "r", ONE)
            made += 1
        except PolicyRefusal:
            pass
    answer.put(made)


def test_several_processes_reserve_no_more_than_there_is(tmp_path):
    opened(tmp_path, releases=25).close()
    context = multiprocessing.get_context("spawn")
    answer = context.Queue()
    path = str(tmp_path / "budget" / "ledger.db")
    workers = [context.Process(target=_reserve, args=(path, name, 10, answer)) for name in "abcd"]
    for worker in workers:
        worker.start()
    made = [answer.get(timeout=60) for _ in workers]
    for worker in workers:
        worker.join()
    assert sum(made) == 25
    assert BudgetFile(Path(path)).left("loans", "decide").releases == 0


def test_several_threads_of_one_file_reserve_no_more_than_there_is(tmp_path):
    file, made = opened(tmp_path, releases=25), []

    def work(name: str) -> None:
        for number in range(10):
            try:
                file.reserve(f"{name} {number}", "loans", "decide", ONE)
                made.append(name)
            except PolicyRefusal:
                pass

    threads = [threading.Thread(target=work, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 25 and file.left("loans", "decide").releases == 0


@pytest.mark.parametrize(
    "change",
    [
        "DELETE FROM record WHERE number = 2",
        "UPDATE record SET body = 'x' WHERE number = 3",
        "UPDATE record SET body = replace(body, '\"a\"', '\"c\"') WHERE number = 3",
        "UPDATE record SET body = (SELECT body FROM record WHERE number = 2) WHERE number = 3",
        "UPDATE record SET body = replace(body, '1e-6', '7') WHERE number = 1",
    ],
)
def test_a_ledger_changed_by_other_hands_is_not_used(tmp_path, change):
    file = opened(tmp_path)
    file.reserve("a", "loans", "decide", times(2))
    file.spend("a", "r", ONE)
    file.close()
    with sqlite3.connect(tmp_path / "budget" / "ledger.db") as db:
        db.execute(change)
    db.close()
    with pytest.raises(DataError, match="budget ledger"):
        BudgetFile(tmp_path / "budget" / "ledger.db").left("loans", "decide")


def test_a_file_that_is_no_ledger_and_a_full_disk_are_typed_errors_and_nothing_is_promised(tmp_path):
    broken = tmp_path / "ledger.db"
    broken.write_bytes(b"not a database, and long enough that SQLite looks at it" * 40)
    with pytest.raises(LocalError, match="SQLITE_NOTADB") as caught:
        BudgetFile(broken)
    assert caught.value.code == AbortCode.BUDGET
    file = opened(tmp_path, releases=10_000)
    pages = file._db.execute("PRAGMA page_count").fetchone()[0]
    file._db.execute(f"PRAGMA max_page_count = {pages}")
    promised = []

    def fill() -> None:
        for number in range(1000):
            file.reserve(f"run {number}", "loans", "decide", ONE)
            promised.append(f"run {number}")

    with pytest.raises(LocalError, match="SQLITE_FULL"):
        fill()
    file._db.execute("PRAGMA max_page_count = 100000")
    assert [reservation.run for reservation in file.current().open_runs] == promised
    file.reserve("after", "loans", "decide", ONE)


def test_what_is_repeated_after_opening_again_is_told_with_its_own_number(tmp_path):
    file = opened(tmp_path)
    file.reserve("a", "loans", "decide", ONE)
    file.spend("a", "r", ONE)
    file.close()
    told = []
    again = BudgetFile(tmp_path / "budget" / "ledger.db", lambda kind, **facts: told.append((kind, facts["number"], facts["repeated"])))
    again.spend("a", "r", ONE)
    assert told == [("spent", 3, True)]
