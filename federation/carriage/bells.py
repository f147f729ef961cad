"""Telling those who wait that something has come, so that nobody sleeps between two questions."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Doorbell:
    """Tells those who wait that something has come; who looked before it rang is not kept waiting."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self.rung = 0

    def ring(self) -> None:
        """Something has come."""
        with self._condition:
            self.rung += 1
            self._condition.notify_all()

    def wait(self, seen: int, seconds: float) -> None:
        """Until it has rung more often than `seen`, or so many seconds have passed."""
        with self._condition:
            self._condition.wait_for(lambda: self.rung != seen, seconds)


class Bells:
    """A bell for each node: whoever listens for a node is told when there is something for it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._listeners: dict[int, list[Callable[[], object]]] = {}

    def ring(self, node: int) -> None:
        """There is something for a node."""
        with self._lock:
            for told in self._listeners.get(node, ()):
                told()

    @contextmanager
    def listening(self, node: int, told: Callable[[], object]) -> Iterator[None]:
        """Be told, as long as the context lasts."""
        with self._lock:
            self._listeners.setdefault(node, []).append(told)
        try:
            yield
        finally:
            with self._lock:
                self._listeners[node].remove(told)
                if not self._listeners[node]:
                    del self._listeners[node]
