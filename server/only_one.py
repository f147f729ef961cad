"""One server for a coordinator's folder."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from federation.kernel.errors import ConfigurationError
from privacy.store.lock import Taken, held, holder

_LOCK = "server.lock"
_WAIT = "One is enough: stop it first, or wait until it has ended (creditfed coordinator status)."


@contextmanager
def the_only_one(folder: Path) -> Iterator[None]:
    """Be the one server of a folder. Raises ConfigurationError where there is one."""
    with ExitStack() as stack:
        try:
            stack.enter_context(held(folder / _LOCK))
        except Taken:
            raise ConfigurationError(str(folder), "a server runs here already", _WAIT) from None
        yield


def there_is_one(folder: Path) -> bool:
    """Whether a server runs in a folder now; a file that a killed one has left says nothing."""
    return bool(holder(folder / _LOCK))
