"""The commitment to the rows that a run may use: a Merkle tree over them (RFC 6962 section 2.1), so that one row can be shown and no other.

A leaf is the row's bytes under a nonce of its own, derived from a secret salt and the row's key: whoever has the root alone can test no guess of
a row, and who is shown a row learns nothing that helps with another. Each manifest has a salt of its own, derived from the node's, so that the
roots of two runs do not tell whether the rows are the same; whoever is given the node's salt can make every root again.

Rows are made from their columns when they are asked for, and of the leaves only the hashes are kept: 32 bytes a row.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from federation.kernel import suite
from federation.kernel.secret import Secret
from privacy.audit.chain import HASH_BYTES, included, inclusion, leaf_hash, root_of_joined

_BLOCK = 1 << 13
"""Rows that are made at a time."""


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


@dataclass(frozen=True)
class Rows:
    """A table's rows as bytes: head | key and texts, framed | numbers.

    keys: one a row, distinct; texts: columns of str, None for missing; fixed: columns of numbers or days, each with its dtype.
    """

    head: bytes
    keys: Sequence[str]
    texts: Sequence[NDArray[Any]] = ()
    fixed: Sequence[tuple[NDArray[Any], str]] = ()

    def __len__(self) -> int:
        return len(self.keys)

    def __iter__(self) -> Iterator[bytes]:
        for start in range(0, len(self), _BLOCK):
            yield from self._block(start, min(start + _BLOCK, len(self)))

    def __getitem__(self, index: int) -> bytes:
        return next(self._block(index, index + 1))

    def _block(self, start: int, stop: int) -> Iterator[bytes]:
        packed = np.empty(stop - start, [(f"f{i}", form) for i, (_, form) in enumerate(self.fixed)])
        for i, (values, form) in enumerate(self.fixed):
            packed[f"f{i}"] = _plain(values[start:stop].astype(form))
        width, raw = packed.dtype.itemsize, packed.tobytes()
        texts = ((("" if text is None else f"={text}") for text in row) for row in zip(*(c[start:stop] for c in self.texts), strict=True))
        for place, key in enumerate(self.keys[start:stop]):
            said = next(texts) if self.texts else ()
            yield self.head + suite.frame(key, *said) + raw[place * width : (place + 1) * width]


def _plain(values: NDArray[Any]) -> NDArray[Any]:
    """One NaN, whatever its payload was."""
    if values.dtype.kind == "f":
        values[np.isnan(values)] = np.nan
    return values


class RowTree:
    """The tree over a table's rows. keys: one a row, distinct; rows: their bytes; salt: the manifest's, which makes the nonces."""

    def __init__(self, keys: Sequence[str], rows: Rows | Sequence[bytes], salt: Secret) -> None:
        self._keys, self._rows = keys, rows
        self._keyed = hashlib.blake2b(key=suite.derive(salt, "row nonce").reveal(), digest_size=32)

    def _nonce(self, key: str) -> bytes:
        made = self._keyed.copy()
        made.update(key.encode())
        return made.digest()

    @cached_property
    def _leaves(self) -> bytes:
        leaves = bytearray()
        for key, row in zip(self._keys, self._rows, strict=True):
            leaves += leaf_hash(self._nonce(key) + row)
        return bytes(leaves)

    @property
    def root(self) -> bytes:
        """32 bytes; of no rows the hash of nothing."""
        return root_of_joined(self._leaves)

    def show(self, index: int) -> Shown:
        """What shows one row to an auditor. Raises IndexError where there is no such row."""
        leaves = [self._leaves[i : i + HASH_BYTES] for i in range(0, len(self._leaves), HASH_BYTES)]
        path = inclusion(leaves, index)
        return Shown(index, len(self._rows), self._nonce(self._keys[index]), self._rows[index], path)


def is_under(root: bytes, shown: Shown) -> bool:
    """Whether a row was in the table that a root commits to."""
    return included(leaf_hash(shown.nonce + shown.row), shown.index, shown.count, shown.path, root)
