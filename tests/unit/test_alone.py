"""One process at a time on a node's home, and no longer than it lives."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from clients.alone import LOCK, alone, at_work
from federation.kernel.errors import ConfigurationError

HOLDER = """
import sys, time
from pathlib import Path
from clients.alone import alone
with alone(Path(sys.argv[1])):
    print("in", flush=True)
    time.sleep(60)
"""


def test_a_second_process_is_refused_and_told_which_is_there_until_that_is_killed(tmp_path: Path) -> None:
    root = Path(__file__).parents[2]
    holder = subprocess.Popen([sys.executable, "-c", HOLDER, str(tmp_path)], stdout=subprocess.PIPE, text=True, cwd=root)
    try:
        assert holder.stdout is not None and holder.stdout.readline() == "in\n"
        with pytest.raises(ConfigurationError, match=f"process {holder.pid} works on this node already"), alone(tmp_path):
            pass
    finally:
        holder.kill()
        holder.communicate()
    with alone(tmp_path):
        assert (tmp_path / LOCK).read_text() == str(os.getpid())


def test_one_process_does_not_come_in_twice_and_may_come_again(tmp_path: Path) -> None:
    with alone(tmp_path), pytest.raises(ConfigurationError), alone(tmp_path):
        pass
    with alone(tmp_path):
        pass


def test_homes_have_locks_of_their_own_and_an_error_lets_go(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    with pytest.raises(ZeroDivisionError), alone(tmp_path), alone(tmp_path / "other"):
        raise ZeroDivisionError
    with alone(tmp_path):
        assert (tmp_path / LOCK).stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("said", [b"", b"not a number", b"\xff" * 20])
def test_a_lock_file_that_says_nothing_is_no_matter(said: bytes, tmp_path: Path) -> None:
    (tmp_path / LOCK).write_bytes(said)
    with alone(tmp_path), pytest.raises(ConfigurationError, match=str(os.getpid())), alone(tmp_path):
        pass


def test_whoever_only_looks_keeps_nobody_out(tmp_path: Path) -> None:
    """`node status` takes the lock for a moment, and a node that starts in that moment must start."""
    descriptor = os.open(tmp_path / LOCK, os.O_CREAT | os.O_RDWR)
    fcntl.flock(descriptor, fcntl.LOCK_SH)
    looking = threading.Timer(0.1, os.close, [descriptor])
    looking.start()
    with alone(tmp_path):
        assert at_work(tmp_path) == str(os.getpid())
    looking.join()
    assert at_work(tmp_path) == ""
