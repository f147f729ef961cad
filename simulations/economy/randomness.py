"""One random stream for each purpose, month and block, so that drawing one kind of record more changes no other.

A block is a fixed range of rows (firms, edges), not a matter of memory: what is drawn never depends on how much is held at once.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

PURPOSES = (
    "ids", "firms", "owners", "coverage", "rings", "traits", "life", "macro", "partners", "weights", "trade", "ring_trade", "outside",
    "declarations", "orders", "stock", "logins", "applications", "decisions", "loans", "arrears", "running", "receipts", "visits", "gaps",
    "pilot", "other_sources", "lines",
)  # fmt: skip
"""A purpose's place is its key: new ones are added at the end, so that old ones draw as before."""
BLOCK = 1 << 15
"""Rows that are drawn together."""


class Streams:
    """Generators by purpose. seed: of the whole economy."""

    def __init__(self, seed: int) -> None:
        self._seed = seed

    def of(self, purpose: str, *keys: int) -> np.random.Generator:
        """The stream of a purpose, and of a month and block where it has them; keys >= 0."""
        sequence = np.random.SeedSequence(self._seed, spawn_key=(PURPOSES.index(purpose), *keys))
        return np.random.Generator(np.random.SFC64(sequence))


def blocks(rows: int, size: int = BLOCK) -> Iterator[tuple[int, slice]]:
    """Number and range of each block of so many rows."""
    for number, start in enumerate(range(0, rows, size)):
        yield number, slice(start, min(start + size, rows))
