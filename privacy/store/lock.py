"""A file that one process holds at a time: the operating system's lock (`flock`), which ends with the process, however that ends.

The number in the file is for people.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_TRIES, _PAUSE = 5, 0.05
"""`holder` takes the lock for a moment, too: who finds it taken looks again before believing it."""


class Taken(Exception):
    """Another process holds the file. number: its own, as it wrote it."""

    def __init__(self, number: str) -> None:
        super().__init__(number)
        self.number = number


@contextmanager
def held(path: Path) -> Iterator[None]:
    """Hold a file, made where it is missing, as long as the context lasts. Raises Taken, OSError."""
    descriptor = os.open(path, os.O_CREAT | os.O_RDWR, 0o600)
    try:
        _lock(descriptor)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, str(os.getpid()).encode(), 0)
        yield
    finally:
        os.close(descriptor)


def _lock(descriptor: int) -> None:
    for _ in range(_TRIES):
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(_PAUSE)
        else:
            return
    raise Taken(_number(descriptor))


def holder(path: Path) -> str:
    """The number of the process that holds a file now, as it wrote it; "" where none does. It changes nothing."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return ""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return _number(descriptor)
    finally:
        os.close(descriptor)
    return ""


def _number(descriptor: int) -> str:
    said = os.pread(descriptor, 16, 0)
    return said.decode() if said.isdigit() else "(unknown)"
