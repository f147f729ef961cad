"""The commitment to the rows that a run may use: a Merkle tree over them (RFC 6962 section 2.1), so that one row can be shown and no other.

A leaf is the row's bytes under a nonce of its own, derived from a secret salt and the row's key: whoever has the root alone can test no guess of
a row, and who is shown a row learns nothing that helps with another. Each manifest has a salt of its own, derived from the node's, so that the
roots of two runs do not tell whether the rows are the same; whoever is given the node's salt can make every root again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from federation.kernel import suite
from federation.kernel.secret import Secret
from privacy.audit.chain import included, inclusion, leaf_hash, root_of


@dataclass(frozen=True)
class Shown:
    """What shows that a row is under a root: its place, nonce (32 bytes), bytes, and the path of neighbours from the leaf up."""

    index: int
    count: int
    nonce: bytes
    row: bytes
    path: tuple[bytes, ...]


def manifests_salt(salt: Secret, manifest_hash: bytes) -> Secret:
    """The salt of one manifest's commitment. salt: the node's."""
    return suite.derive(salt, "snapshot", manifest_hash)


class RowTree:
    """The tree over a table's rows. keys: one a row, distinct; rows: their bytes; salt: the manifest's, which makes the nonces."""

    def __init__(self, keys: Sequence[str], rows: Sequence[bytes], salt: Secret) -> None:
        self._keys, self._rows = keys, rows
        self._nonce_key = suite.derive(salt, "row nonce").reveal()
        self._leaves = [leaf_hash(self._nonce(key) + row) for key, row in zip(keys, rows, strict=True)]

    def _nonce(self, key: str) -> bytes:
        return hashlib.blake2b(key.encode(), key=self._nonce_key, digest_size=32).digest()

    @property
    def root(self) -> bytes:
        """32 bytes; of no rows the hash of nothing."""
        return root_of(self._leaves)

    def show(self, index: int) -> Shown:
        """What shows one row to an auditor. Raises IndexError where there is no such row."""
        path = inclusion(self._leaves, index)
        return Shown(index, len(self._rows), self._nonce(self._keys[index]), self._rows[index], path)


def is_under(root: bytes, shown: Shown) -> bool:
    """Whether a row was in the table that a root commits to."""
    return included(leaf_hash(shown.nonce + shown.row), shown.index, shown.count, shown.path, root)
