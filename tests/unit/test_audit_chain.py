"""The tree is RFC 6962's: known roots, proofs that hold for every size and index, and none that holds for anything else."""

from __future__ import annotations

import hashlib
import random

import pytest

from privacy.audit import chain
from privacy.audit.chain import Chain, consistency, consistent, included, inclusion, leaf_hash, root_of

LEAVES = ["", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"]
"""The inputs of certificate-transparency's own tests (`merkle_tree_test.cc`), in hexadecimal."""
ROOTS = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]


def test_roots_are_those_of_certificate_transparency() -> None:
    tree = Chain()
    assert tree.root() == hashlib.sha256(b"").digest()
    for leaf, root in zip(LEAVES, ROOTS, strict=True):
        tree.append(bytes.fromhex(leaf))
        assert tree.root().hex() == root


def leaves(count: int) -> list[bytes]:
    return [leaf_hash(str(number).encode()) for number in range(count)]


def test_appended_and_recursive_roots_agree() -> None:
    tree = Chain()
    for count in range(1, 70):
        tree.append(str(count - 1).encode())
        assert tree.root() == root_of(leaves(count)) and tree.size == count and len(tree.peaks) == count.bit_count()


def test_a_copy_goes_on_by_itself() -> None:
    tree = Chain()
    tree.append(b"a")
    other = tree.copy()
    other.append(b"b")
    assert (tree.size, tree.root()) == (1, leaf_hash(b"a")) and other.size == 2


@pytest.mark.parametrize("size", [1, 2, 3, 5, 7, 8, 21, 33])
def test_inclusion_is_proven_for_every_leaf_and_for_no_other_place(size: int) -> None:
    all_leaves = leaves(size)
    root = root_of(all_leaves)
    for index in range(size):
        path = inclusion(all_leaves, index)
        for other in range(-1, size + 2):
            assert included(all_leaves[index], other, size, path, root) == (other == index)
        assert not included(leaf_hash(b"another"), index, size, path, root)
        assert not included(all_leaves[index], index, size, (*path, bytes(32)), root)
        assert not path or not included(all_leaves[index], index, size, path[:-1], root)
    with pytest.raises(IndexError):
        inclusion(all_leaves, size)


def proof(all_leaves: list[bytes], earlier: int) -> tuple[bytes, ...]:
    """From the peaks of the beginning and the leaves after it."""
    sizes = [1 << height for height in reversed(range(earlier.bit_length())) if earlier >> height & 1]
    begins = [sum(sizes[:place]) for place in range(len(sizes))]
    peaks = [root_of(all_leaves[begin : begin + size]) for begin, size in zip(begins, sizes, strict=True)]
    return consistency(peaks, earlier, all_leaves[earlier:])


def test_a_proof_is_the_one_of_rfc_6962_section_2_1_3() -> None:
    d = leaves(7)
    k, g, h = root_of(d[:4]), root_of(d[:2]), root_of(d[2:4])
    i, j, whole = root_of(d[4:6]), d[6], root_of(d[4:7])
    assert proof(d, 3) == (d[2], d[3], g, whole) and proof(d, 4) == (whole,) and proof(d, 6) == (i, j, k) and proof(d, 7) == ()
    assert chain.node_hash(g, h) == k


@pytest.mark.parametrize("size", [1, 2, 3, 6, 7, 8, 13, 32, 33])
def test_consistency_is_proven_for_every_beginning_and_no_other(size: int) -> None:
    all_leaves = leaves(size)
    root = root_of(all_leaves)
    for earlier in range(1, size + 1):
        path, old = proof(all_leaves, earlier), root_of(all_leaves[:earlier])
        assert consistent(earlier, old, size, root, path)
        other = root_of([*all_leaves[: earlier - 1], leaf_hash(b"another")])
        assert not consistent(earlier, other, size, root, path), "another beginning"
        assert not consistent(earlier, old, size, leaf_hash(b"another"), path)
        assert not consistent(earlier, old, size, root, (*path, bytes(32)))
        assert not path or not consistent(earlier, old, size, root, path[:-1])
        assert not consistent(size + 1, old, size, root, path) and not consistent(0, old, size, root, path)
    with pytest.raises(IndexError):
        proof(all_leaves, 0)
    with pytest.raises(IndexError):
        consistency((), 1, all_leaves)


def test_no_altered_proof_holds_and_control_an_unaltered_one_does() -> None:
    draw = random.Random(11)
    tried = 0
    for _ in range(300):
        size = draw.randrange(2, 200)
        earlier, index = draw.randrange(1, size), draw.randrange(size)
        all_leaves = leaves(size)
        root, old = root_of(all_leaves), root_of(all_leaves[:earlier])
        for path, holds in (
            (inclusion(all_leaves, index), lambda path, a=all_leaves, i=index, n=size, r=root: included(a[i], i, n, path, r)),
            (proof(all_leaves, earlier), lambda path, m=earlier, o=old, n=size, r=root: consistent(m, o, n, r, path)),
        ):
            assert holds(path)
            place, byte = draw.randrange(len(path)), draw.randrange(32)
            altered = bytearray(path[place])
            altered[byte] ^= 1 << draw.randrange(8)
            tried += 1
            assert not holds((*path[:place], bytes(altered), *path[place + 1 :]))
    print(f"0 of {tried} altered proofs held")
    assert tried == 600


def test_a_leaf_is_never_taken_for_a_node() -> None:
    """The second-preimage attack that RFC 6962's prefixes are for: a node's two halves given as one entry."""
    left, right = leaf_hash(b"a"), leaf_hash(b"b")
    assert leaf_hash(left + right) != chain.node_hash(left, right)
    assert hashlib.sha256(left + right).digest() == hashlib.sha256(left + right).digest(), "control: without prefixes they are one"
