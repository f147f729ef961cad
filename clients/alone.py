"""One process at a time works on a node's home: the resident node, or an exchange of files.

The lock is the operating system's (`flock` on node.lock) and ends with the process, however that ends; the number in the file is for people.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from federation.kernel.errors import ConfigurationError

LOCK = "node.lock"


@contextmanager
def alone(home: Path) -> Iterator[None]:
    """Be the one process that works on this home. Raises ConfigurationError where another does, and says which."""
    descriptor = os.open(home / LOCK, os.O_CREAT | os.O_RDWR, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ConfigurationError(str(home), f"process {_holder(descriptor)} works on this node already", _WAIT) from None
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, str(os.getpid()).encode(), 0)
        yield
    finally:
        os.close(descriptor)


def at_work(home: Path) -> str:
    """The number of the process that works on this home now, as it wrote it; "" where none does. It changes nothing."""
    try:
        descriptor = os.open(home / LOCK, os.O_RDONLY)
    except FileNotFoundError:
        return ""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return _holder(descriptor)
    finally:
        os.close(descriptor)
    return ""


_WAIT = "Wait until it has ended, or stop it; one process answers for a node at a time."


def _holder(descriptor: int) -> str:
    """The number of the process that has the lock, as it wrote it."""
    said = os.pread(descriptor, 16, 0)
    return said.decode() if said.isdigit() else "(unknown)"
