"""Attacks on alignment: nobody learns membership beyond the contract.

Every attack has its control: the same attack on a copy that lacks the one protection concerned succeeds.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from federation.align.curve import Points
from federation.align.universe import match
from federation.kernel import suite
from federation.kernel.role import COORDINATOR, Randomness
from federation.kernel.secret import Secret
from privacy.attacks import align as attack
from tests.align_scene import (
    DICTIONARY,
    IDS,
    MEMBERS,
    SEED,
    honest,
    keyed,
    members_of,
    played,
    received,
    sent_order,
    under_all_keys,
    weak,
)

# -- membership -------------------------------------------------------------------------------------------------------------------


def test_the_coordinator_alone_finds_no_id_of_a_dictionary() -> None:
    room = played(honest)
    theirs = attack.images(attack.dictionary_points(room.run(COORDINATOR), DICTIONARY), ())
    hits = attack.found(DICTIONARY, theirs, [keyed(room, m) for m in MEMBERS])
    assert len(hits) == 0, f"{len(hits)} of {len(DICTIONARY)}"


def test_control_hashed_ids_without_keys_are_all_found_by_the_dictionary() -> None:
    room = played(lambda room: weak(room, "keys"))
    theirs = attack.images(attack.dictionary_points(room.run(COORDINATOR), DICTIONARY), ())
    for name in MEMBERS:
        assert attack.found(DICTIONARY, theirs, [keyed(room, name)]) == members_of(name)


@pytest.mark.parametrize("coalition", [("bank",), ("tax",), ("court",), ("tax", "court"), ("bank", "court")])
def test_institutions_without_the_coordinator_find_no_id_of_a_dictionary(coalition: tuple[str, ...]) -> None:
    room = played(honest)
    known = [secret for name in coalition for secret in attack.exponents(room.run(name))]
    once = attack.images(attack.dictionary_points(room.run(coalition[0]), DICTIONARY), known)
    theirs = [image for points in once for image in attack.images(points, known)]
    hits = attack.found(DICTIONARY, theirs, attack.images(received(room, *coalition), known))
    assert len(hits) == 0, f"{len(hits)} of {len(DICTIONARY)}"


def test_control_an_institution_that_knew_another_s_mask_would_find_all_its_ids() -> None:
    room = played(honest)
    theirs = attack.images(attack.dictionary_points(room.run("tax"), DICTIONARY), attack.exponents(room.run("bank")))
    assert attack.found(DICTIONARY, theirs, (received(room, "tax"),)) == members_of("bank")


@pytest.mark.parametrize("me", MEMBERS)
def test_an_institution_finds_no_fully_keyed_list_of_another_in_what_it_receives(me: str) -> None:
    room = played(honest)
    own, known = sent_order(room, me), attack.exponents(room.run(me))
    hits = attack.found(own, attack.images(keyed(room, me), known), attack.images(received(room, me), known))
    assert len(hits) == 0, f"{len(hits)} of {len(own)}"


@pytest.mark.parametrize(("me", "other"), [("bank", "tax"), ("tax", "court"), ("court", "bank")])
def test_control_where_lists_are_complete_at_the_last_other_institution_it_recovers_membership(me: str, other: str) -> None:
    room = played(lambda room: weak(room, "blinding"))
    own, known = [k.encode() for k in IDS[me]], attack.exponents(room.run(me))[:1]
    hits = attack.found(own, (keyed(room, me),), attack.images(received(room, me), known))
    assert hits == members_of(me) & members_of(other)


@pytest.mark.parametrize("me", MEMBERS)
def test_coordinator_and_an_institution_find_what_that_institution_listed_and_nothing_else(me: str) -> None:
    room = played(honest)
    known = attack.exponents(room.run(me))
    once = attack.images(attack.dictionary_points(room.run(me), DICTIONARY), known)
    outside = [image for points in once for image in attack.images(points, known)]
    for other in MEMBERS:
        if other != me:
            target = keyed(room, other)
            assert attack.shared_with(sent_order(room, me), keyed(room, me), target) == members_of(me) & members_of(other)
            hits = attack.found(DICTIONARY, outside, (*attack.images(target, known), *attack.images(received(room, me), known)))
            assert len(hits) == 0, f"{len(hits)} of {len(DICTIONARY)}"


def test_control_all_institutions_and_the_coordinator_find_every_id() -> None:
    room = played(honest)
    theirs = (under_all_keys(attack.dictionary_points(room.run("tax"), DICTIONARY), room, *MEMBERS),)
    for name in MEMBERS:
        assert attack.found(DICTIONARY, theirs, (keyed(room, name),)) == members_of(name)


def test_the_order_of_a_list_is_not_the_order_of_the_rows_and_control_unshuffled_it_is() -> None:
    room = played(honest)
    weakened = played(lambda room: weak(room, "blinding"))
    for name in MEMBERS:
        ordered = under_all_keys(attack.dictionary_points(room.run(name), [k.encode() for k in IDS[name]]), room, *MEMBERS)
        in_place = (keyed(room, name) == ordered).all(axis=1).sum()
        assert in_place <= 5, f"{in_place} of {len(ordered)} rows"  # a random permutation leaves one in place on average
        assert (keyed(weakened, name) == ordered).all()


def test_two_sessions_have_no_point_in_common_and_control_the_same_session_has_all() -> None:
    first, again, second = played(honest), played(honest), played(honest, b"another".ljust(32, b"\0"))
    points = {row.tobytes() for name in MEMBERS for row in keyed(first, name)}
    assert len(points & {row.tobytes() for name in MEMBERS for row in keyed(second, name)}) == 0
    assert points == {row.tobytes() for name in MEMBERS for row in keyed(again, name)}


def test_in_hidden_a_party_s_positions_do_not_depend_on_which_rows_are_shared_and_control_sorted_they_do() -> None:
    points: Points = np.random.default_rng(SEED).integers(0, 256, (3, 32), dtype=np.uint8)

    class Unshuffled(Randomness):
        def permutation(self, count: int) -> np.ndarray[Any, Any]:
            return np.arange(count)

    def first_is_lower(shared: int, kind: type[Randomness]) -> int:
        """Of 1,000 alignments, in how many the first of two rows lies below the second."""
        lists = {"tax": points[[shared, 2]], "bank": points[:2]}
        return sum(int(np.diff(match(lists, "hidden", (), kind(Secret(suite.digest(SEED, i))))[1]["bank"])[0] > 0) for i in range(1000))

    for shared in (0, 1):
        assert 420 < first_is_lower(shared, Randomness) < 580  # half of 1,000, deviation 16
    assert first_is_lower(0, Unshuffled) in (0, 1000)
