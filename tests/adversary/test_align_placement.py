"""A false placement or an impossible universe is refused, and members who were told different ones share no key."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pytest

from federation.align import chain
from federation.align.chain import align_member
from federation.align.curve import groups
from federation.align.universe import OwnPositions, UniverseSize, Visibility, match
from federation.kernel.codec import Array, Message
from federation.kernel.errors import PeerError
from federation.kernel.role import COORDINATOR, Randomness, Role, Run
from federation.kernel.secret import Secret
from tests.align_scene import (
    IDS,
    MANY,
    MEMBERS,
    SEED,
    Post,
    honest,
    room_of,
)
from tests.rooms import Delivery, Room


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
