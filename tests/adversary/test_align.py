"""Attacks on alignment: nobody learns membership beyond the contract, and no malformed list or false placement is accepted.

Every attack has its control: the same attack on a copy that lacks the one protection concerned succeeds.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import suppress
from typing import Any

import msgspec
import numpy as np
import pytest

from federation.align import chain
from federation.align.chain import Announcement, KeyedList, TravellingList, align_coordinator, align_member
from federation.align.curve import P, Points, Progress, exponentiate, fresh_exponent, groups
from federation.align.universe import OwnPositions, UniverseSize, Visibility, match
from federation.kernel import suite
from federation.kernel.codec import Array, Message
from federation.kernel.errors import PeerError
from federation.kernel.role import COORDINATOR, Randomness, Received, Role, Run, Step
from federation.kernel.secret import Secret
from privacy.attacks import align as attack
from tests.rooms import Delivery, Room

SEED = 20_240_610
MEMBERS = ("bank", "tax", "court")
POOL = [f"firm-{i:03d}" for i in range(60)]
DICTIONARY = [key.encode() for key in POOL]
IDS = {"bank": POOL[0:30], "tax": POOL[15:45], "court": POOL[25:55]}
MANY = 1000

Post = Callable[[Delivery], "Message | None"]
Roles = dict[str, Any]


def room_of(post: Post | None = None, session: bytes = bytes(32)) -> Room:
    return Room(MEMBERS, session, post=post or (lambda d: d.message))


def honest(room: Room, visibility: Visibility = "hidden") -> Roles:
    roles: Roles = {m: align_member(room.run(m), IDS[m], visibility, ("bank",), 1, MANY) for m in MEMBERS}
    roles[COORDINATOR] = align_coordinator(room.run(COORDINATOR), visibility, ("bank",), MANY)
    return roles


def weak(room: Room, without: attack.Without) -> Roles:
    def collector(run: Run) -> Role[Received]:
        yield from run.within("announce").step("announce", expect=dict.fromkeys(MEMBERS, Announcement))
        return (yield from run.step("keyed", expect=dict.fromkeys(MEMBERS, KeyedList)))

    roles: Roles = {m: attack.weakened_member(room.run(m), [k.encode() for k in IDS[m]], MANY, without) for m in MEMBERS}
    roles[COORDINATOR] = collector(room.run(COORDINATOR))
    return roles


def played(roles: Callable[[Room], Roles], session: bytes = bytes(32)) -> Room:
    room = room_of(session=session)
    room.play(roles(room))
    return room


def keyed(room: Room, name: str) -> Points:
    """The list that an institution sent the coordinator."""
    return attack.points_of(d.message for d in room.deliveries if d.sender == name and isinstance(d.message, KeyedList))


def received(room: Room, *names: str) -> Points:
    """The lists of others that institutions received."""
    return attack.points_of(
        d.message for d in room.deliveries
        if d.recipient in names and isinstance(d.message, TravellingList) and d.message.origin not in names
    )  # fmt: skip


def sent_order(room: Room, name: str) -> list[bytes]:
    """An institution's ids in the order of its list: it knows its own shuffle."""
    order = room.run(name).random("order").permutation(len(IDS[name]))
    return [IDS[name][row].encode() for row in order]


def under_all_keys(points: Points, room: Room, *names: str) -> Points:
    for name in names:
        points = exponentiate(fresh_exponent(room.run(name).random("key")), points, name, workers=1, progress=Progress(lambda *_: None, 0))
    return points


def members_of(*names: str) -> set[bytes]:
    return {key.encode() for name in names for key in IDS[name]}


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


# -- malformed lists --------------------------------------------------------------------------------------------------------------

LOW = (
    0, 1, P - 1, P, P + 1,
    325606250916557431795983626356110631294008115727848805560023387167927233504,
    39382357235489614581723060781553021112529911719440698176882885853963445705823,
)  # fmt: skip


def put(value: int) -> Callable[[Points], Points]:
    """The first point replaced by this number."""

    def change(points: Points) -> Points:
        return np.concatenate([np.frombuffer(value.to_bytes(32, "little"), np.uint8)[None], points[1:]])

    return change


MALFORMED: dict[str, Callable[[Points], Points]] = {
    "one row too few": lambda points: points[1:],
    "one row too many": lambda points: np.concatenate([points, points[:1] ^ 1]),
    "no rows": lambda points: points[:0],
    "a point twice": lambda points: np.concatenate([points[1:2], points[1:]]),
    "high bit set": lambda points: np.concatenate([points[:1] | np.uint8(0x80), points[1:]]),
    "2^255 - 1": put(2**255 - 1),
    "p + 2": put(P + 2),
} | {f"low order {i}": put(u) for i, u in enumerate(LOW)}  # fmt: skip


def tampered(place: str, change: Callable[[Points], Points]) -> Post:
    """What tax sends at a place is changed."""

    def post(d: Delivery) -> Message:
        if d.sender == "tax" and isinstance(d.message, TravellingList | KeyedList) and (d.step == place or d.address.endswith(place)):
            points = np.frombuffer(d.message.points.data, np.uint8).reshape(-1, 32)
            return msgspec.structs.replace(d.message, points=Array.of(change(points)))
        return d.message

    return post


@pytest.mark.parametrize("place", ["hop 1", "hop 2", "hop 3", "keyed"])
@pytest.mark.parametrize("name", MALFORMED)
def test_a_malformed_list_is_refused_by_whoever_receives_it(place: str, name: str) -> None:
    room = room_of(tampered(place, MALFORMED[name]))
    with pytest.raises(PeerError) as caught:
        room.play(honest(room))
    assert caught.value.where == "tax"
    assert not any(isinstance(d.message, UniverseSize) for d in room.deliveries)


@pytest.mark.parametrize("name", MALFORMED)
def test_control_without_the_checks_the_coordinator_matches_a_malformed_list(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chain, "received_points", lambda array, sender, rows: np.frombuffer(array.data, np.uint8).reshape(-1, 32))
    room = room_of(tampered("keyed", MALFORMED[name]))
    with suppress(PeerError):  # the honest sender notices afterwards that its positions cannot be
        room.play(honest(room))
    assert any(isinstance(d.message, UniverseSize) for d in room.deliveries)


@pytest.mark.parametrize("shape", [(30, 16), (960,), (15, 64)])
def test_a_list_of_another_shape_or_type_is_refused(shape: tuple[int, ...]) -> None:
    def post(d: Delivery) -> Message:
        if d.sender == "tax" and isinstance(d.message, KeyedList):
            return msgspec.structs.replace(d.message, points=Array.of(np.ones(shape, "<u2")))
        return d.message

    room = room_of(post)
    with pytest.raises(PeerError):
        room.play(honest(room))


@pytest.mark.parametrize("u", LOW)
def test_the_library_refuses_a_zero_result_even_where_no_check_came_before(u: int) -> None:
    point = np.frombuffer(u.to_bytes(32, "little"), np.uint8).reshape(1, 32)
    with pytest.raises(PeerError, match="zero"):
        exponentiate(fresh_exponent(room_of().run("tax").random("key")), point, "peer", workers=1, progress=Progress(lambda *_: None, 0))


def test_control_a_point_of_large_order_is_not_refused() -> None:
    point = np.frombuffer((9).to_bytes(32, "little"), np.uint8).reshape(1, 32)
    exponentiate(fresh_exponent(room_of().run("tax").random("key")), point, "peer", workers=1, progress=Progress(lambda *_: None, 0))


# -- sizes, commitments, second lists ---------------------------------------------------------------------------------------------


def announcing(recipients: Sequence[str], **changes: Any) -> Post:
    """Tax announces something else to some."""

    def post(d: Delivery) -> Message:
        if d.sender == "tax" and d.recipient in recipients and isinstance(d.message, Announcement):
            return msgspec.structs.replace(d.message, **changes)
        return d.message

    return post


@pytest.mark.parametrize("changes", [{"rows": MANY + 1}, {"rows": 0}, {"rows": -1}, {"rows": 2**62}, {"commitment": b"short"}])
@pytest.mark.parametrize("recipient", ["bank", COORDINATOR])
def test_an_announcement_beyond_the_cap_or_malformed_is_refused_before_any_list_is_taken(recipient: str, changes: dict[str, Any]) -> None:
    room = room_of(announcing([recipient], **changes))
    with pytest.raises(PeerError):
        room.play(honest(room))
    assert not any(isinstance(d.message, UniverseSize) for d in room.deliveries)


@pytest.mark.parametrize("recipient", ["bank", "court", COORDINATOR])
@pytest.mark.parametrize("changes", [{"rows": 31}, {"commitment": bytes(32)}])
def test_two_parties_told_different_announcements_notice(recipient: str, changes: dict[str, Any]) -> None:
    room = room_of(announcing([recipient], **changes))
    with pytest.raises(PeerError):
        room.play(honest(room))


def test_control_without_the_comparison_a_commitment_told_differently_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chain.Announced, "digest", bytes(32))
    room = room_of(announcing(["bank"], commitment=bytes(32)))
    assert room.play(honest(room))["bank"].size == 55


def copying() -> Post:
    """Tax sends, as its own, the blinded list that it has just received from the bank."""
    seen: list[Array] = []

    def post(d: Delivery) -> Message:
        if isinstance(d.message, TravellingList) and d.address.endswith("hop 1"):
            if d.sender == "bank":
                seen.append(d.message.points)
            if d.sender == "tax":
                return msgspec.structs.replace(d.message, points=seen[0])
        return d.message

    return post


def test_a_list_other_than_the_announced_one_is_refused() -> None:
    room = room_of(copying())
    with pytest.raises(PeerError, match="had not announced"):
        room.play(honest(room))


def test_control_without_the_commitment_another_s_list_passes_as_one_s_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chain, "commitment", lambda run, origin, points: bytes(32))
    room = room_of(copying())
    room.play(honest(room))
    assert any(isinstance(d.message, OwnPositions) for d in room.deliveries)


def twice(role: Generator[tuple[Run, Step], Received, Any], label: str) -> Role[Any]:
    """A member that in hop 2 sends its own list again, under this label, instead of the list then due."""
    received: Received | None = None
    first: Mapping[str, Message] = {}
    while True:
        try:
            run, step = role.send(received)  # type: ignore[arg-type]  # a new generator takes None
        except StopIteration as end:
            return end.value
        if run.path.endswith("hop 1"):
            first = step.send
        if run.path.endswith("hop 2"):
            again = {to: msgspec.structs.replace(message, origin=label) for to, message in first.items()}
            step = Step(step.name, again, step.expect, step.limit)
        received = yield run, step


def test_a_second_list_of_one_origin_is_refused() -> None:
    room = room_of()
    roles = honest(room)
    with pytest.raises(PeerError, match="second one") as caught:
        room.play(roles | {"tax": twice(roles["tax"], "tax")})
    assert caught.value.where == "tax"


def test_a_second_list_under_another_s_name_costs_matches_and_gains_none() -> None:
    """What nobody detects (said in the contract): the bank's rows then match nothing."""
    room = room_of()
    roles = honest(room)
    out = room.play(roles | {"tax": twice(roles["tax"], "bank")})
    bank, others = set(out["bank"].positions.tolist()), {*out["tax"].positions.tolist(), *out["court"].positions.tolist()}
    assert len(bank & others) == 0
    assert out["bank"].size == 30 + 40


def test_rows_that_an_institution_exchanges_land_at_each_other_s_positions_and_nobody_notices() -> None:
    """The other thing that nobody detects (said in the contract)."""
    plain = room_of()
    honestly = plain.play(honest(plain))
    room = room_of(tampered("hop 2", lambda points: np.concatenate([points[1::-1], points[2:]])))  # tax passes the bank's list on
    out = room.play(honest(room))
    assert (out["bank"].positions != honestly["bank"].positions).sum() == 2
    assert sorted(out["bank"].positions) == sorted(honestly["bank"].positions)


# -- a false placement ------------------------------------------------------------------------------------------------------------


def placing(change: Callable[[np.ndarray[Any, Any]], np.ndarray[Any, Any]]) -> Post:
    """The coordinator tells the bank other positions."""

    def post(d: Delivery) -> Message:
        if d.recipient == "bank" and isinstance(d.message, OwnPositions):
            return OwnPositions(Array.of(change(np.frombuffer(d.message.positions.data, "<i8").copy())))
        return d.message

    return post


def with_first(value: int) -> Callable[[np.ndarray[Any, Any]], np.ndarray[Any, Any]]:
    return lambda positions: np.concatenate([[value], positions[1:]]).astype(np.int64)


FALSE: Mapping[str, tuple[Visibility, Post]] = {
    "a position for two rows": ("hidden", placing(lambda p: np.concatenate([p[1:2], p[1:]]))),
    "a position beyond the universe": ("hidden", placing(with_first(55))),
    "a position far beyond": ("book", placing(with_first(2**62))),
    "a negative position": ("intersection", placing(with_first(-2))),
    "a row outside the union": ("hidden", placing(with_first(-1))),
    "a label party's row outside the book": ("book", placing(with_first(-1))),
    "an intersection that is not filled": ("intersection", placing(lambda p: np.full_like(p, -1))),
    "a row too few": ("hidden", placing(lambda p: p[1:])),
    "positions of another type": ("hidden", placing(lambda p: p.astype(np.float64))),
}


@pytest.mark.parametrize("name", FALSE)
def test_a_false_placement_is_refused(name: str) -> None:
    visibility, post = FALSE[name]
    room = room_of(post)
    with pytest.raises(PeerError) as caught:
        room.play(honest(room, visibility))
    assert caught.value.where == COORDINATOR


@pytest.mark.parametrize("name", [name for name in FALSE if name not in ("a row too few", "positions of another type")])
def test_control_without_the_checks_a_false_placement_is_accepted(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def unchecked(size: int, array: Array, *_: Any) -> tuple[int, np.ndarray[Any, Any]]:
        return size, np.frombuffer(array.data, "<i8")

    monkeypatch.setattr(chain, "read_universe", unchecked)
    visibility, post = FALSE[name]
    room = room_of(post)
    assert len(room.play(honest(room, visibility))["bank"].positions) == 30


SIZES: Mapping[Visibility, tuple[int, ...]] = {"hidden": (-1, 0, 29, 91, 2**62), "book": (0, 29, 31), "intersection": (0, -5, 31, 2**62)}


@pytest.mark.parametrize(("visibility", "size"), [(v, size) for v, sizes in SIZES.items() for size in sizes])
def test_a_universe_of_an_impossible_size_is_refused(visibility: Visibility, size: int) -> None:
    room = room_of(lambda d: UniverseSize(size) if isinstance(d.message, UniverseSize) else d.message)
    with pytest.raises(PeerError):
        room.play(honest(room, visibility))


def group_keys(room: Room) -> dict[str, Secret]:
    """What each institution derives as a group key after an alignment."""

    def member(run: Run, ids: Sequence[str]) -> Role[Secret]:
        yield from align_member(run, ids, "hidden", ("bank",), 1, MANY)
        return run.group_key("after")

    return room.play(honest(room) | {m: member(room.run(m), IDS[m]) for m in MEMBERS})


def test_members_told_different_universe_sizes_share_no_key_afterwards_and_control_told_alike_they_do() -> None:
    def post(d: Delivery) -> Message:
        return UniverseSize(56) if d.recipient == "tax" and isinstance(d.message, UniverseSize) else d.message

    split = group_keys(room_of(post))
    assert split["bank"] == split["court"] != split["tax"]
    alike = group_keys(room_of())
    assert alike["bank"] == alike["court"] == alike["tax"]


def test_points_are_compared_whole_by_the_coordinator() -> None:
    """Points crafted to agree in their first eight bytes are not taken for one firm."""
    rng = np.random.default_rng(SEED)
    points = rng.integers(0, 256, (8, 32), dtype=np.uint8)
    points[:, :8] = 7
    size, positions = match({"bank": points[:5], "tax": points[3:]}, "hidden", (), Randomness(Secret(bytes(32))))
    assert size == 8
    assert positions["bank"][3:].tolist() == positions["tax"][:2].tolist()
    assert len(set(groups(points).tolist())) == 8
