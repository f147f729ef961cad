"""An alignment of three institutions in a room, honest or weakened, and what each of them was shown."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np

from federation.align.chain import Announcement, KeyedList, TravellingList, align_coordinator, align_member
from federation.align.curve import Points, Progress, exponentiate, fresh_exponent
from federation.align.universe import Visibility
from federation.kernel.codec import Array, Message
from federation.kernel.role import COORDINATOR, Received, Role, Run
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


def tampered(place: str, change: Callable[[Points], Points]) -> Post:
    """What tax sends at a place is changed."""

    def post(d: Delivery) -> Message:
        if d.sender == "tax" and isinstance(d.message, TravellingList | KeyedList) and (d.step == place or d.address.endswith(place)):
            points = np.frombuffer(d.message.points.data, np.uint8).reshape(-1, 32)
            return msgspec.structs.replace(d.message, points=Array.of(change(points)))
        return d.message

    return post
