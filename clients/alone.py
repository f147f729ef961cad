"""One process at a time works on a node's home: the resident node, or an exchange of files."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from federation.kernel.errors import ConfigurationError
from privacy.store.lock import Taken, held, holder

LOCK = "node.lock"
_WAIT = "Wait until it has ended, or stop it; one process answers for a node at a time."


@contextmanager
def alone(home: Path) -> Iterator[None]:
    """Be the one process that works on this home. Raises ConfigurationError where another does, and says which."""
    with ExitStack() as stack:
        try:
            stack.enter_context(held(home / LOCK))
        except Taken as taken:
            raise ConfigurationError(str(home), f"process {taken.number} works on this node already", _WAIT) from None
        yield


def at_work(home: Path) -> str:
    """The number of the process that works on this home now, as it wrote it; "" where none does. It changes nothing."""
    return holder(home / LOCK)
