"""One row can be shown to have been used; no other row, place or nonce passes for it."""

from __future__ import annotations

import dataclasses

import pytest

from clients.row_tree import RowTree, is_under, manifests_salt
from federation.kernel.secret import Secret

SALT = Secret(b"s" * 32)


def tree(count: int, salt: Secret = SALT) -> RowTree:
    return RowTree([f"firm{i}" for i in range(count)], [f"row {i}".encode() for i in range(count)], salt)


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 7, 8, 13, 33])
def test_every_row_shows_and_no_other_row_in_its_place(count: int) -> None:
    made = tree(count)
    for index in range(count):
        shown = made.show(index)
        assert is_under(made.root, shown)
        wrong = [
            dataclasses.replace(shown, row=b"another"), dataclasses.replace(shown, nonce=bytes(32)), dataclasses.replace(shown, count=count + 1),
            dataclasses.replace(shown, index=-1), dataclasses.replace(shown, index=count), dataclasses.replace(shown, path=(*shown.path, bytes(32))),
        ]  # fmt: skip
        wrong += [dataclasses.replace(shown, index=other) for other in range(count) if other != index]
        wrong += [dataclasses.replace(shown, path=shown.path[1:])] if shown.path else []
        accepted = [change for change in wrong if is_under(made.root, change)]
        assert [w for w in accepted if w.count == count and w.index in (index, -1, count)] == []
        assert all(w.count != count for w in accepted)  # a path may fit two sizes; the size itself is in the approval's row count


def test_a_root_tells_no_guess_apart_without_the_nodes_salt() -> None:
    assert tree(1).root != tree(1, Secret(b"t" * 32)).root
    guess = dataclasses.replace(tree(1, Secret(b"t" * 32)).show(0))
    assert not is_under(tree(1).root, guess)


def test_the_tree_is_rfc_6962s() -> None:
    import hashlib

    made = tree(3)
    leaves = [hashlib.sha256(b"\0" + made.show(i).nonce + made.show(i).row).digest() for i in range(3)]
    pair = hashlib.sha256(b"\1" + leaves[0] + leaves[1]).digest()
    assert made.root == hashlib.sha256(b"\1" + pair + leaves[2]).digest()


def test_two_manifests_have_roots_that_do_not_tell_whether_rows_are_the_same_and_an_auditor_makes_each_again() -> None:
    salts = [manifests_salt(SALT, manifest) for manifest in (b"a" * 32, b"b" * 32, b"a" * 32)]
    first, second, again = (tree(5, salt) for salt in salts)
    assert first.root == again.root != second.root
    assert all(first.show(i).nonce != second.show(i).nonce for i in range(5))
    assert first.root != tree(5).root
