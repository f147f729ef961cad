"""A hall of parties who refuse independently of one another, under a coordinator who goes on with whoever is left.

As `tests.rooms`, and hostile: `post` sees every message and says what is delivered; a party that raises PeerError is out, and the rest go on;
where nothing moves any more the coordinator gives up those for whom it waits, and ends when a quorum is not met.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from typing import Any

from federation.kernel import suite
from federation.kernel.codec import Message, decode, encode
from federation.kernel.errors import PeerError
from federation.kernel.role import COORDINATOR, Received, Run, Step
from tests.rooms import Delivery, Room

REFUSED, WAITS, ENDED = "refused", "waits", "ended"


@dataclass
class Hall:
    """members: the institutions; post: what is delivered in place of a message: one, several or none, each with its sender and recipient."""

    members: tuple[str, ...]
    session: bytes = bytes(32)
    post: Callable[[Delivery], list[Delivery]] = lambda delivery: [delivery]
    sent: list[Delivery] = field(default_factory=list)
    refusals: dict[str, PeerError] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.room = Room(self.members, session=self.session)

    def run(self, me: str) -> Run:
        """A party's run."""
        return self.room.run(me)

    def spy(self, me: str) -> Run:
        """What a member in league can derive: the same keys, at the point where it had heard the roster."""
        room = Room(self.members, session=self.session)
        run = room.run(me)
        for delivery in self.sent:
            if delivery.recipient == me and delivery.message.kind() == "bonawitz/roster":
                view = room._views[me]
                view[0] = suite.digest(view[0], encode(delivery.message))
        return run

    def play(  # noqa: C901  # one loop, read from top to bottom
        self, roles: Mapping[str, Generator[tuple[Run, Step], Received, Any]]
    ) -> dict[str, Any]:
        """Run the roles as far as they go: what each returned, or REFUSED, WAITS, ENDED."""
        results: dict[str, Any] = {}
        waiting: dict[str, tuple[Run, Step]] = {}
        letters: dict[tuple[str, str], deque[Message]] = {}

        def advance(name: str, received: Received | None) -> None:
            waiting.pop(name, None)
            try:
                run, step = roles[name].send(received)  # type: ignore[arg-type]
            except StopIteration as end:
                results[name] = end.value
                return
            except PeerError as error:
                results[name], self.refusals[name] = REFUSED, error
                return
            waiting[name] = run, step
            for recipient, message in step.send.items():
                delivery = Delivery(name, recipient, run.address, step.name, message, 0)
                self.sent.append(delivery)
                for after in self.post(delivery):
                    letters.setdefault((after.sender, after.recipient), deque()).append(after.message)

        def feed(name: str, lost: list[str]) -> None:
            _, step = waiting[name]
            received = Received()
            try:
                for sender, kind in step.expect.items():
                    if sender in lost:
                        continue
                    letter = letters[(sender, name)].popleft()
                    received[sender] = decode(encode(letter), kind, sender, step.limit)
                    if kind.broadcast:
                        view = self.room._views[name]
                        view[0] = suite.digest(view[0], encode(letter))
            except PeerError as error:
                waiting.pop(name)
                results[name], self.refusals[name] = REFUSED, error
                return
            advance(name, received)

        for name in roles:
            advance(name, None)
        while waiting:
            lacks = {name: [sender for sender in step.expect if not letters.get((sender, name))] for name, (_, step) in waiting.items()}
            ready = [name for name, lost in lacks.items() if not lost]
            if ready:
                for name in ready:
                    feed(name, [])
                continue
            step = waiting[COORDINATOR][1] if COORDINATOR in waiting else None
            if step is None or step.quorum is None:
                break
            if len(step.expect) - len(lacks[COORDINATOR]) < step.quorum:
                results[COORDINATOR] = ENDED
                break
            feed(COORDINATOR, lacks[COORDINATOR])
        return {name: results.get(name, WAITS) for name in roles}
