"""What processes cost, from /proc (Linux): CPU of a process and all that it started, and memory with shared pages counted once."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Self

_TICKS = os.sysconf("SC_CLK_TCK")


def tree(root: int) -> set[int]:
    """A process and all that descend from it."""
    parents: dict[int, int] = {}
    for path in Path("/proc").iterdir():
        if path.name.isdigit():
            with suppress(OSError):
                parents[int(path.name)] = int(_stat(int(path.name))[1])
    found = {root}
    while more := {pid for pid, parent in parents.items() if parent in found} - found:
        found |= more
    return found


def cpu(pids: Iterable[int]) -> float:
    """CPU seconds of processes so far, and of their children that have ended."""
    total = 0
    for pid in pids:
        with suppress(OSError):
            total += sum(int(field) for field in _stat(pid)[11:15])
    return total / _TICKS


def megabytes(pids: Iterable[int], what: str = "Pss") -> float:
    """Memory of processes now. what: "Pss" (a shared page is divided among those who share it), "Rss"."""
    total = 0
    for pid in pids:
        with suppress(OSError):
            for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
                if line.startswith(f"{what}:"):
                    total += int(line.split()[1])
    return total / 1024


def _stat(pid: int) -> list[str]:
    """The fields of /proc/PID/stat from the third on: state, parent, ..."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


class Peak:
    """The most that a figure was, looked at every so many seconds while the context lasts."""

    def __init__(self, figure: Callable[[], float], every: float = 0.5) -> None:
        self._figure, self._every, self._over = figure, every, threading.Event()
        self.value = 0.0
        self._thread = threading.Thread(target=self._look, daemon=True)

    def _look(self) -> None:
        while not self._over.is_set():
            self.value = max(self.value, self._figure())
            self._over.wait(self._every)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
