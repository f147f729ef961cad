"""A check across institutions in a room: no envelopes, and a test may read and change all that passes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from federation.checks.program import Checker, Router
from federation.kernel.codec import Message
from federation.kernel.role import COORDINATOR, Role, Run
from tests.check_scene import ASKS, CheckCase
from tests.rooms import Delivery, Room


def played(
    case: CheckCase,
    session: bytes = b"one",
    post: Callable[[Delivery], Message | None] = lambda d: d.message,
    keep: list[Room] | None = None,
) -> tuple[Any, Room]:
    """The counts that the asking bank holds, and all that passed. Raises what the first party raises; keep: takes the room all the same."""
    manifest = case.manifest
    room = Room(manifest.members, session=session.ljust(32, b"\0"), post=post)
    if keep is not None:
        keep.append(room)

    def whole(program: Any, run: Run) -> Role[Any]:
        state = program.begin()
        while (stage := program.stage(state)) is not None:
            state = yield from stage.role(run.within(stage.name))
        return state

    parts: dict[str, Any] = {COORDINATOR: Router(manifest)} | {name: Checker(manifest, name, table) for name, table in case.tables.items()}
    ends = room.play({name: whole(program, room.run(name)) for name, program in parts.items()})
    return parts[ASKS].found(ends[ASKS])[1].tolist(), room


def of(room: Room, kind: type[Message], recipient: str) -> dict[str, Any]:
    """Messages of a kind to somebody, by sender."""
    return {d.sender: d.message for d in room.deliveries if isinstance(d.message, kind) and d.recipient == recipient}
