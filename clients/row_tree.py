"""The commitment to the rows that a run may use: a Merkle tree over them (RFC 6962 section 2.1), so that one row can be shown and no other.

A leaf is the row's bytes under a nonce of its own, derived from the node's secret salt and the row's key: whoever has the root alone can test
no guess of a row, and who is shown a row learns nothing that helps with another.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from federation.kernel import suite
from federation.kernel.secret import Secret


@dataclass(frozen=True)
class Shown:
    """What shows that a row is under a root: its place, nonce (32 bytes), bytes, and the path of neighbours from the leaf up."""

    index: int
    count: int
    nonce: bytes
    row: bytes
    path: tuple[bytes, ...]


class RowTree:
    """The tree over a table's rows. keys: one a row, distinct; rows: their bytes; salt: the node's, which makes the nonces."""

    def __init__(self, keys: Sequence[str], rows: Sequence[bytes], salt: Secret) -> None:
        self._keys, self._rows = keys, rows
        self._nonce_key = suite.derive(salt, "row nonce").reveal()
        self._levels = [[_leaf(self._nonce(key), row) for key, row in zip(keys, rows, strict=True)]]
        while len(self._levels[-1]) > 1:
            self._levels.append(_above(self._levels[-1]))

    def _nonce(self, key: str) -> bytes:
        return hashlib.blake2b(key.encode(), key=self._nonce_key, digest_size=32).digest()

    @property
    def root(self) -> bytes:
        """32 bytes; of no rows the hash of nothing."""
        return self._levels[-1][0] if self._rows else hashlib.sha256(b"").digest()

    def show(self, index: int) -> Shown:
        """What shows one row to an auditor."""
        path, place = [], index
        for level in self._levels[:-1]:
            neighbour = place ^ 1
            if neighbour < len(level):
                path.append(level[neighbour])
            place //= 2
        return Shown(index, len(self._rows), self._nonce(self._keys[index]), self._rows[index], tuple(path))


def is_under(root: bytes, shown: Shown) -> bool:
    """Whether a row was in the table that a root commits to."""
    if not 0 <= shown.index < shown.count:
        return False
    value, place, width, path = _leaf(shown.nonce, shown.row), shown.index, shown.count, list(shown.path)
    while width > 1:
        if place ^ 1 < width:
            if not path:
                return False
            neighbour = path.pop(0)
            value = _node(neighbour, value) if place % 2 else _node(value, neighbour)
        place, width = place // 2, (width + 1) // 2
    return not path and value == root


def _leaf(nonce: bytes, row: bytes) -> bytes:
    return hashlib.sha256(b"\0" + nonce + row).digest()


def _node(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\1" + left + right).digest()


def _above(level: list[bytes]) -> list[bytes]:
    """The next level; a last node without a neighbour goes up as it is, which is RFC 6962's split at the largest power of two."""
    pairs = [_node(level[i], level[i + 1]) for i in range(0, len(level) - 1, 2)]
    return pairs + level[-1:] if len(level) % 2 else pairs
