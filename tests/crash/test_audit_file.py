"""The audit log on disk: nothing synced is lost to kill -9, a torn line is cut and said, several processes and threads write one log."""

from __future__ import annotations

import fcntl
import os
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from federation.kernel.errors import DataError, LocalError
from privacy.store import audit_file as module
from privacy.store.audit_file import AuditFile
from privacy.store.audit_folder import HEADS, LOCK, AuditFolder
from tests.audit_scene import KEY, audit_file, check, clock, fill, lines_of, names


def test_constructing_and_reading_touch_nothing(tmp_path: Path) -> None:
    log = audit_file(tmp_path / "bank" / "audit")
    assert not list(log.entries()) and not list(tmp_path.iterdir())
    log.sync()
    assert not list(tmp_path.iterdir())


def test_reading_and_constructing_do_not_wait_for_a_writer(tmp_path: Path) -> None:
    fill(audit_file(tmp_path / "audit"), 3)
    with (tmp_path / "audit" / LOCK).open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert len(list(audit_file(tmp_path / "audit").entries("run-1"))) == 3 and check(tmp_path / "audit").sound
        waiting = threading.Thread(target=lambda: audit_file(tmp_path / "audit").append("policy", "run-2"))
        waiting.start()
        waiting.join(0.2)
        assert waiting.is_alive(), "control: a second writer waits"
    waiting.join()
    assert len(list(audit_file(tmp_path / "audit").entries("run-2"))) == 1


def test_files_are_the_owners_alone(tmp_path: Path) -> None:
    fill(audit_file(tmp_path / "audit"), 3)
    assert {path.stat().st_mode & 0o077 for path in [tmp_path / "audit", *(tmp_path / "audit").iterdir()]} == {0}


def test_segments_follow_each_other_and_begin_with_the_head_of_the_one_before(tmp_path: Path) -> None:
    fill(audit_file(tmp_path / "audit", segment_bytes=2000), 60).head()
    segments = AuditFolder(tmp_path / "audit").segments()
    entries = list(audit_file(tmp_path / "audit").entries())
    assert len(segments) > 5 and [entry.number for entry in entries] == list(range(len(entries)))
    assert [entry.number for entry in entries if entry.kind == "rotation"] == segments[1:]
    assert all(entry.facts["size"] == entry.number for entry in entries if entry.kind == "rotation")
    assert check(tmp_path / "audit").sound


def test_two_files_on_one_log_take_turns(tmp_path: Path) -> None:
    first, second = (audit_file(tmp_path / "audit", segment_bytes=1500) for _ in range(2))
    for turn in range(40):
        fill(first if turn % 3 else second, 1 + turn % 2)
        if turn % 7 == 0:
            second.head()
    first.head()
    assert check(tmp_path / "audit").sound and len(list(first.entries("run-1"))) == 60


def test_control_a_writer_that_does_not_read_what_others_wrote_breaks_the_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = (fill(audit_file(tmp_path / "audit"), 1) for _ in range(2))
    monkeypatch.setattr(AuditFile, "_catch_up", lambda _self: None)
    fill(first, 1)
    fill(second, 1)
    assert not check(tmp_path / "audit").sound


def test_threads_write_one_log(tmp_path: Path) -> None:
    log = audit_file(tmp_path / "audit", segment_bytes=4000)
    threads = [threading.Thread(target=fill, args=(log, 25, f"run-{number}")) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    log.head()
    assert check(tmp_path / "audit").sound and len([entry for entry in log.entries() if entry.kind == "policy"]) == 100


def test_forked_processes_write_one_log(tmp_path: Path) -> None:
    log = fill(audit_file(tmp_path / "audit", segment_bytes=4000), 3)
    children = []
    for number in range(4):
        child = os.fork()
        if child == 0:
            try:
                fill(log, 25, f"run-{number}")
            finally:
                os._exit(0)
        children.append(child)
    fill(log, 25)
    for child in children:
        os.waitpid(child, 0)
    log.head()
    assert check(tmp_path / "audit").sound and len([entry for entry in log.entries() if entry.kind == "policy"]) == 128


@pytest.mark.parametrize("left", [1, 20, 120])
def test_a_torn_last_line_is_cut_at_the_next_opening_and_said(tmp_path: Path, left: int) -> None:
    log = fill(audit_file(tmp_path / "audit"), 5)
    log.head()
    fill(log, 3)
    path = AuditFolder(tmp_path / "audit").segment(0)
    whole = lines_of(tmp_path / "audit")
    os.truncate(path, path.stat().st_size - len(whole[-1]) + left)
    report = check(tmp_path / "audit")
    assert report.sound and report.notes and report.size == 8, "what is not synced nor signed may be lost"
    assert not list(audit_file(tmp_path / "audit").entries())[8:], "reading passes over it"
    reopened = fill(audit_file(tmp_path / "audit"), 1)
    reopened.head()
    assert lines_of(tmp_path / "audit")[:8] == whole[:8] and check(tmp_path / "audit").sound
    assert [(entry.kind, entry.facts.get("cut_bytes")) for entry in reopened.entries()][8:] == [("recovery", left), ("policy", None)]


@pytest.mark.parametrize("left", [0, 1, 300])
def test_a_segment_whose_first_line_is_torn_begins_again(tmp_path: Path, left: int) -> None:
    fill(audit_file(tmp_path / "audit", segment_bytes=2000), 60)
    folder = AuditFolder(tmp_path / "audit")
    last = folder.segment(folder.segments()[-1])
    os.truncate(last, left)
    fill(audit_file(tmp_path / "audit", segment_bytes=2000), 10).head()
    assert check(tmp_path / "audit").sound


def test_a_founding_line_that_is_torn_is_written_again(tmp_path: Path) -> None:
    (tmp_path / "audit").mkdir()
    AuditFolder(tmp_path / "audit").segment(0).write_bytes(b'{"chain":"00')
    fill(audit_file(tmp_path / "audit"), 1).head()
    assert [entry.kind for entry in audit_file(tmp_path / "audit").entries()] == ["founding", "recovery", "policy"]
    assert check(tmp_path / "audit").sound


def test_a_torn_head_is_cut_and_signed_again(tmp_path: Path) -> None:
    log = fill(audit_file(tmp_path / "audit"), 5)
    log.head()
    path = tmp_path / "audit" / HEADS
    os.truncate(path, path.stat().st_size - 9)
    assert names(check(tmp_path / "audit"))
    audit_file(tmp_path / "audit").head()
    assert check(tmp_path / "audit").sound


def truncated(folder: Path) -> None:
    path = AuditFolder(folder).segment(0)
    path.write_bytes(b"".join(lines_of(folder)[:3]))


def flipped(folder: Path) -> None:
    path = AuditFolder(folder).segment(0)
    path.write_bytes(path.read_bytes().replace(b'"rows":2', b'"rows":9'))


def emptied(folder: Path) -> None:
    AuditFolder(folder).segment(0).unlink()


@pytest.mark.parametrize("harm", [truncated, flipped, emptied])
def test_a_broken_log_is_not_written_to(tmp_path: Path, harm: object) -> None:
    log = fill(audit_file(tmp_path / "audit"), 5)
    log.head()
    fill(log, 3)
    assert callable(harm)
    harm(tmp_path / "audit")
    before = {path.name: path.read_bytes() for path in (tmp_path / "audit").iterdir()}
    for _ in range(2):
        with pytest.raises(DataError, match="audit verify"):
            audit_file(tmp_path / "audit").append("policy", "run-2")
    assert {path.name: path.read_bytes() for path in (tmp_path / "audit").iterdir()} == before


def test_an_entry_that_is_refused_or_finds_no_room_leaves_the_log_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = fill(audit_file(tmp_path / "audit"), 2)
    before = lines_of(tmp_path / "audit")
    with pytest.raises(LocalError):
        log.append("policy", "run-1", note="x" * 300)
    write = os.write

    def half(descriptor: int, data: bytes) -> int:
        return write(descriptor, data[: len(data) // 2])

    monkeypatch.setattr(module.os, "write", half)
    with pytest.raises(DataError, match="room"):
        log.append("policy", "run-1")
    monkeypatch.undo()
    assert lines_of(tmp_path / "audit") == before
    fill(log, 1).head()
    assert check(tmp_path / "audit").sound


def test_syncing_is_batched_and_comes_before_a_head(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = fill(audit_file(tmp_path / "audit"), 1)
    log.sync()
    calls: list[str] = []
    monkeypatch.setattr(module, "sync", lambda path: calls.append(path.name))
    fill(log, 3 * module.EVERY)
    assert len(calls) == 3
    log.sync()
    assert len(calls) == 3, "nothing to sync"
    fill(log, 1).sync()
    fill(log, 1).head()
    assert calls[3:] == [AuditFolder(tmp_path / "audit").segment(0).name] * 2


WRITER = """
import sys
from pathlib import Path
from tests.audit_scene import audit_file
log = audit_file(Path(sys.argv[1]), segment_bytes=6000)
number = int(sys.argv[2])
while True:
    log.append("policy", "run-1", rule="default-3", rows=number)
    number += 1
    if number % 5 == 0:
        log.sync()
        print(number, flush=True)
    if number % 23 == 0:
        log.head()
"""


def killed_writes(tmp_path: Path, kills: int, seed: int) -> int:
    """Kill a writing process again and again; returns how many of the entries that it reported as synced were lost in all."""
    draw, lost, number = random.Random(seed), 0, 0
    for _ in range(kills):
        writer = subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path / "audit"), str(number)], stdout=subprocess.PIPE, text=True)
        assert writer.stdout is not None
        synced = [writer.stdout.readline()]
        time.sleep(draw.random() * 0.1)
        writer.send_signal(signal.SIGKILL)
        synced += writer.stdout.readlines()
        writer.wait()
        writer.stdout.close()
        number = int([line for line in synced if line.endswith("\n")][-1])
        there = [entry.facts["rows"] for entry in audit_file(tmp_path / "audit").entries("run-1")]
        lost += len(set(range(number)) - set(there))
        number = int(there[-1]) + 1
        report = check(tmp_path / "audit")
        assert report.sound, names(report)
        assert there == list(range(number))
    return lost


def test_nothing_synced_is_lost_to_kill_9(tmp_path: Path) -> None:
    lost = killed_writes(tmp_path, 4, 1)
    print(f"{lost} synced entries lost in 4 kills")
    assert lost == 0


def forked_kills(tmp_path: Path, kills: int, seed: int, every: int = 1, reports: int = 0) -> tuple[int, int]:
    """The same from a warm process: many more kills. Returns synced entries lost, and logs that did not verify after the next opening.

    every: after so many kills the log is opened, signed and verified; reports: of synced entries, to wait for before the kill.
    """
    draw, lost, unsound = random.Random(seed), 0, 0
    for attempt in range(kills):
        readable, writable = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                log = AuditFile(tmp_path / "audit", KEY, clock(), party="bank", segment_bytes=6000)
                while True:
                    written = log.append("policy", f"run-{attempt}", rows=attempt)
                    if written.number % 3 == 0:
                        log.sync()
                        os.write(writable, f"{written.number}\n".encode())
                    if written.number % 7 == 0:
                        log.head()
            finally:
                os._exit(1)
        os.close(writable)
        taken = b""
        while taken.count(b"\n") < reports and (piece := os.read(readable, 1 << 12)):
            taken += piece
        time.sleep(draw.random() * (0.001 if reports else 0.02))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        with os.fdopen(readable) as rest:
            synced = [int(line) for line in (taken.decode() + rest.read()).splitlines(keepends=True) if line.endswith("\n")]
        numbers = [entry.number for entry in audit_file(tmp_path / "audit").entries()]
        lost += sum(number >= len(numbers) for number in synced)
        if attempt % every == every - 1:
            fill(audit_file(tmp_path / "audit", segment_bytes=6000), 1).head()
            unsound += not check(tmp_path / "audit").sound
    return lost, unsound


def test_kills_from_a_warm_process_lose_nothing_synced(tmp_path: Path) -> None:
    assert forked_kills(tmp_path, 30, 2) == (0, 0)


@pytest.mark.slow
def test_a_thousand_kills_lose_nothing_synced(tmp_path: Path) -> None:
    lost, unsound = (
        sum(counts) for counts in zip(*(forked_kills(tmp_path / str(part), 50, part, every=10) for part in range(20)), strict=True)
    )
    print(f"{lost} synced entries lost, {unsound} logs unsound, in 1,000 kills")
    assert (lost, unsound) == (0, 0)


def test_control_a_log_that_writes_ten_lines_at_once_loses_some(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for part in range(8):
        fill(audit_file(tmp_path / str(part) / "audit"), 2).head()
    write, held = module._write_whole, list[bytes]()

    def later(path: Path, offset: int, line: bytes) -> None:
        held.append(line)
        if len(held) == 10:
            write(path, offset, b"".join(held))
            held.clear()

    monkeypatch.setattr(module, "_write_whole", later)
    assert sum(forked_kills(tmp_path / str(part), 1, part, every=100, reports=2)[0] for part in range(8)) > 0
