"""One process at a time works on a node's home: the resident node, or an exchange of files."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from federation.kernel.errors import ConfigurationError


@contextmanager
def alone(root: Path) -> Iterator[None]:
    """Hold the node of a home folder; the lock goes with the process. Raises ConfigurationError, which says who holds it."""
    descriptor = os.open(root / "node.lock", os.O_CREAT | os.O_RDWR, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(descriptor, 32).decode("ascii", "replace").strip()
            what = f"another process works with this node ({holder or 'it has just begun'})"
            raise ConfigurationError(str(root), what, "One is enough: look at it with creditfed node status, or end it first.") from None
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"process {os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(descriptor)
