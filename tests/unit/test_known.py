"""Two threads that meet a kind of message for the first time: the control dies, what decodes by way of `known` does not."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

ROOT = Path(__file__).parents[2]
PROGRAM = r'''
from __future__ import annotations
import threading
import time
import msgspec
from federation.kernel.known import known

inside = threading.Event()

def int_at_leisure():
    """Evaluated as an annotation, while msgspec reads the fields of Inner and has marked Outer as known."""
    inside.set()
    time.sleep(0.3)
    return int

class Outer(msgspec.Struct, frozen=True):
    inner: Inner = None

class Inner(msgspec.Struct, frozen=True):
    number: int_at_leisure() = 0

def decode():
    found = msgspec.msgpack.decode(msgspec.msgpack.encode({"inner": {"number": 7}}), type=KIND)
    print(f"{found.inner.number}\n", end="")

threads = [threading.Thread(target=decode) for _ in range(3)]
threads[0].start()
inside.wait(30)
for thread in threads[1:]:
    thread.start()
for thread in threads:
    thread.join(30)
'''


def run(kind: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [sys.executable, "-c", PROGRAM.replace("KIND", kind)], env=environment, capture_output=True, check=False, text=True, timeout=120
    )


def test_a_kind_that_two_threads_meet_at_once_is_decoded_by_both() -> None:
    answer = run("known(Outer)")
    assert (answer.returncode, answer.stdout.split()) == (0, ["7"] * 3), answer.stderr


MENDED = tuple(map(int, msgspec.__version__.split(".")[:2])) >= (0, 23)


@pytest.mark.skipif(sys.platform != "linux", reason="how a process dies is said as on Linux")
def test_control_without_it_the_process_dies_of_msgspec_before_0_23() -> None:
    """`known` can go when pyproject asks for 0.23 or later."""
    assert run("Outer").returncode == (0 if MENDED else -11)


def test_nothing_that_runs_in_a_partys_thread_decodes_otherwise() -> None:
    """Every decoding into a type, in the folders whose code runs in threads."""
    found = []
    for folder in ("federation", "clients"):
        for path in (ROOT / folder).rglob("*.py"):
            text = path.read_text()
            found += [(path.name, call) for call in re.findall(r"msgspec\.(?:\w+\.decode|convert)\(.*", text) if "known(" not in call]
    assert found == []
