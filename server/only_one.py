"""One server for a coordinator's folder: by a lock of the operating system's, which ends with the process, however that ends."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from federation.kernel.errors import ConfigurationError

_LOCK = "server.lock"


@contextmanager
def the_only_one(folder: Path) -> Iterator[None]:
    """Be the one server of a folder. Raises ConfigurationError where there is one."""
    descriptor = os.open(folder / _LOCK, os.O_CREAT | os.O_RDWR, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            action = "One is enough: stop it first, or wait until it has ended (creditfed coordinator status)."
            raise ConfigurationError(str(folder), "a server runs here already", action) from None
        yield
    finally:
        os.close(descriptor)


def there_is_one(folder: Path) -> bool:
    """Whether a server runs in a folder now; a file that a killed one has left says nothing."""
    try:
        descriptor = os.open(folder / _LOCK, os.O_RDONLY)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False
