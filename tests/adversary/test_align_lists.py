"""Lists that are malformed, other than announced or sent twice are refused; what nobody can notice costs matches and gains none."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import suppress
from typing import Any

import msgspec
import numpy as np
import pytest

from federation.align import chain
from federation.align.chain import Announcement, KeyedList, TravellingList
from federation.align.curve import P, Points, Progress, exponentiate, fresh_exponent
from federation.align.universe import OwnPositions, UniverseSize
from federation.kernel.codec import Array, Message
from federation.kernel.errors import PeerError
from federation.kernel.role import COORDINATOR, Received, Role, Run, Step
from tests.align_scene import (
    MANY,
    Post,
    honest,
    room_of,
    tampered,
)
from tests.rooms import Delivery

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
