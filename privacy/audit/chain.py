"""Hash chain and Merkle tree over the entries of a log.

The tree is that of RFC 6962, section 2.1 (and of RFC 9162): leaf = SHA-256(0x00 | data), node = SHA-256(0x01 | left | right), and of n leaves
the left subtree has the largest power of two below n. The chain is chain(i) = SHA-256(0x02 | chain(i-1) | leaf(i)), chain of nothing = 32 zero
bytes: it tells at which line a file was changed, where the tree tells in few hashes that one log goes on from another.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

EMPTY_ROOT = hashlib.sha256(b"").digest()
EMPTY_CHAIN = bytes(32)
HASH_BYTES = 32


def leaf_hash(data: bytes) -> bytes:
    """RFC 6962: the hash of one entry's bytes."""
    return hashlib.sha256(b"\x00" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """RFC 6962: the hash of two subtrees."""
    return hashlib.sha256(b"\x01" + left + right).digest()


def link(chain: bytes, leaf: bytes) -> bytes:
    """The chain after an entry. chain: before it; leaf: its leaf hash."""
    return hashlib.sha256(b"\x02" + chain + leaf).digest()


@dataclass(slots=True)
class Chain:
    """All that is needed to append: how many entries, the chain's hash, and the roots of the complete subtrees (peaks), the largest first."""

    size: int = 0
    chain: bytes = EMPTY_CHAIN
    peaks: tuple[bytes, ...] = ()

    def append(self, data: bytes) -> bytes:
        """Take in an entry's bytes; returns the chain after it."""
        leaf = leaf_hash(data)
        self.chain = link(self.chain, leaf)
        peaks, size = list(self.peaks), self.size
        while size & 1:
            leaf, size = node_hash(peaks.pop(), leaf), size >> 1
        self.peaks, self.size = (*peaks, leaf), self.size + 1
        return self.chain

    def root(self) -> bytes:
        """The tree's root."""
        return peaks_root(self.peaks)

    def copy(self) -> Chain:
        """Another that goes on by itself."""
        return Chain(self.size, self.chain, self.peaks)


def peaks_root(peaks: Sequence[bytes]) -> bytes:
    """The root over complete subtrees, the largest first."""
    if not peaks:
        return EMPTY_ROOT
    root = peaks[-1]
    for peak in reversed(peaks[:-1]):
        root = node_hash(peak, root)
    return root


def root_of(leaves: Sequence[bytes]) -> bytes:
    """The root over leaf hashes: MTH of RFC 6962, section 2.1."""
    return root_of_joined(b"".join(leaves))


def root_of_joined(leaves: bytes) -> bytes:
    """The same of leaf hashes one behind the other, 32 bytes each.

    Level by level: neighbours are joined, and the last of an odd number goes up as it is. That is the RFC's tree, whose left half is the largest
    power of two: a million leaves cost no recursion and no slices of lists.
    """
    level, pair = leaves or EMPTY_ROOT, 2 * HASH_BYTES
    while len(level) > HASH_BYTES:
        whole, above = len(level) // pair * pair, bytearray()
        for i in range(0, whole, pair):
            above += hashlib.sha256(b"\x01" + level[i : i + pair]).digest()
        level = bytes(above) + level[whole:]
    return level


def _split(count: int) -> int:
    """The largest power of two below a count of at least 2."""
    return 1 << ((count - 1).bit_length() - 1)


def inclusion(leaves: Sequence[bytes], index: int) -> tuple[bytes, ...]:
    """PATH(index, leaves) of RFC 6962, section 2.1.1: the hashes by which the root follows from a leaf. Raises IndexError where none is."""
    if not 0 <= index < len(leaves):
        raise IndexError(index)
    if len(leaves) == 1:
        return ()
    split = _split(len(leaves))
    if index < split:
        return (*inclusion(leaves[:split], index), root_of(leaves[split:]))
    return (*inclusion(leaves[split:], index - split), root_of(leaves[:split]))


def included(leaf: bytes, index: int, size: int, path: Sequence[bytes], root: bytes) -> bool:
    """Whether a proof shows that leaf `index` is in the tree of that size and root: RFC 9162, section 2.1.3.2."""
    if not 0 <= index < size:
        return False
    first, last, found = index, size - 1, leaf
    for step in path:
        if last == 0:
            return False
        if first & 1 or first == last:
            found = node_hash(step, found)
            while not first & 1 and first:
                first, last = first >> 1, last >> 1
        else:
            found = node_hash(found, step)
        first, last = first >> 1, last >> 1
    return last == 0 and found == root


def consistency(peaks: Sequence[bytes], earlier: int, later: Sequence[bytes]) -> tuple[bytes, ...]:
    """PROOF(earlier, leaves) of RFC 6962, section 2.1.2: that the tree over the first `earlier` leaves is the beginning of this one.

    peaks: of the tree over the first; later: the leaf hashes since. Raises IndexError where `earlier` is not above 0 or has other peaks.
    """
    if earlier < 1 or len(peaks) != earlier.bit_count():
        raise IndexError(earlier)
    return _subproof(peaks, earlier, later, known=True)


def _subproof(peaks: Sequence[bytes], earlier: int, later: Sequence[bytes], *, known: bool) -> tuple[bytes, ...]:
    if not later:
        return () if known else (peaks_root(peaks),)
    split = _split(earlier + len(later))
    if earlier <= split:
        cut = split - earlier
        return (*_subproof(peaks, earlier, later[:cut], known=known), root_of(later[cut:]))
    return (*_subproof(peaks[1:], earlier - split, later, known=False), peaks[0])


def consistent(earlier: int, earlier_root: bytes, later: int, later_root: bytes, path: Sequence[bytes]) -> bool:
    """Whether a proof shows that the tree of `later` leaves goes on from that of `earlier`: RFC 9162, section 2.1.4.2."""
    if not 0 < earlier <= later:
        return False
    if earlier == later:
        return not path and earlier_root == later_root
    steps = list(path) if earlier & (earlier - 1) else [earlier_root, *path]
    if not steps:
        return False
    first, last = earlier - 1, later - 1
    while first & 1:
        first, last = first >> 1, last >> 1
    old = new = steps[0]
    for step in steps[1:]:
        if last == 0:
            return False
        if first & 1 or first == last:
            old, new = node_hash(step, old), node_hash(step, new)
            while not first & 1 and first:
                first, last = first >> 1, last >> 1
        else:
            new = node_hash(new, step)
        first, last = first >> 1, last >> 1
    return last == 0 and old == earlier_root and new == later_root
