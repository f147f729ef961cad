"""A room of parties in memory: runs roles against each other, and lets a test stand at the post and read or change what passes.

No keys, no Flower: what a protocol does is tested here; how its bytes travel is tested with the kernel and the carriage.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from federation.kernel import suite
from federation.kernel.codec import Message, decode, encode
from federation.kernel.errors import LostParty
from federation.kernel.loss import Loss
from federation.kernel.role import COORDINATOR, Context, Received, Run, Step
from federation.kernel.secret import Secret


@lru_cache(maxsize=256)
def _signing(name: str) -> Secret:
    return Secret(suite.digest("signing", name))


@dataclass
class MemoryShelf:
    """Effects of one party, in memory."""

    effects: dict[str, bytes] = field(default_factory=dict)
    figures: list[dict[str, float | str]] = field(default_factory=list)
    spent: list[tuple[str, Loss]] = field(default_factory=list)

    def effect(self, label: str, produce: Callable[[], bytes]) -> bytes:
        if label not in self.effects:
            self.effects[label] = produce()
        return self.effects[label]

    def spend(self, release: str, loss: Loss) -> None:
        self.spent.append((release, loss))

    def report(self, **figures: float | str) -> None:
        self.figures.append(figures)


@dataclass(frozen=True)
class Delivery:
    """One message as it passed the post."""

    sender: str
    recipient: str
    address: str
    step: str
    message: Message
    size: int


@dataclass
class Room:
    """members: the institutions; post: called with every Delivery, returns the message to deliver instead, or None to withhold it."""

    members: tuple[str, ...]
    session: bytes = b"room".ljust(32, b"\0")
    stage: str = "test"
    post: Callable[[Delivery], Message | None] = lambda delivery: delivery.message
    deliveries: list[Delivery] = field(default_factory=list)
    shelves: dict[str, MemoryShelf] = field(default_factory=dict)
    gone: Mapping[str, int] = field(default_factory=dict)
    """Parties that fall silent after so many sendings; a step with a quorum then goes on without them."""

    def run(self, me: str) -> Run:
        """A party's run, with keys derived from the names (a test is reproducible)."""
        view = [suite.digest("view")]
        self._views = getattr(self, "_views", {})
        self._views[me] = view
        pair = {p: Secret(suite.digest("pair", *sorted((me, p)), self.session)) for p in self.members if me not in (p, COORDINATOR)}
        group = Secret(suite.digest("group", self.session) if me != COORDINATOR else b"")
        shelf = self.shelves.setdefault(me, MemoryShelf())
        return Run(
            Context(
                me,
                self.members,
                self.session,
                self.stage,
                Secret(suite.digest("secret", me, self.session)),
                pair,
                group,
                7,
                shelf,
                lambda: view[0],
                _signing(me),
                {name: suite.signing_public(_signing(name)) for name in (*self.members, COORDINATOR)},
            )
        )

    def play(  # noqa: C901  # one loop, read from top to bottom
        self, roles: Mapping[str, Generator[tuple[Run, Step], Received, Any]]
    ) -> dict[str, Any]:
        """Run the roles to their ends and return what each returned; a party that fell silent returns nothing.

        Raises RuntimeError when all wait and nothing is under way, LostParty where a quorum is not met.
        """
        sendings: dict[str, int] = dict.fromkeys(roles, 0)
        silent: set[str] = set()
        waiting: dict[str, tuple[Run, Step]] = {}
        outputs: dict[str, Any] = {}
        letters: dict[tuple[str, str], list[Delivery]] = {}

        def advance(name: str, received: Received | None) -> None:
            try:
                run, step = roles[name].send(received)  # type: ignore[arg-type]
            except StopIteration as end:
                outputs[name] = end.value
                waiting.pop(name, None)
                return
            if step.send and sendings[name] == self.gone.get(name, -1):
                silent.add(name)
                waiting.pop(name, None)
                return
            sendings[name] += bool(step.send)
            waiting[name] = (run, step)
            for recipient, message in step.send.items():
                body = encode(message)
                passed = Delivery(name, recipient, run.address, step.name, decode(body, type(message), name, 1 << 40), len(body))
                self.deliveries.append(passed)
                if (after := self.post(passed)) is not None:
                    letters.setdefault((name, recipient), []).append(
                        Delivery(name, recipient, run.address, step.name, after, len(encode(after)))
                    )

        for name in roles:
            advance(name, None)  # type: ignore[arg-type]
        while len(outputs) + len(silent) < len(roles):
            ready = [n for n, (_, s) in waiting.items() if all(letters.get((p, n)) or p in silent for p in s.expect)]
            if not ready:
                msg = "every party waits: " + "; ".join(
                    f"{n} at {r.address}/{s.name} for {sorted(s.expect)}" for n, (r, s) in waiting.items()
                )
                raise RuntimeError(msg)
            for name in ready:
                if name not in waiting:
                    continue
                _, step = waiting[name]
                received = Received()
                lost = [sender for sender in step.expect if not letters.get((sender, name))]
                if len(step.expect) - len(lost) < (len(step.expect) if step.quorum is None else step.quorum):
                    raise LostParty(", ".join(lost), f"{len(step.expect) - len(lost)} answered at {step.name}")
                for sender, kind in step.expect.items():
                    if sender in lost:
                        continue
                    letter = letters[(sender, name)].pop(0)
                    received[sender] = decode(encode(letter.message), kind, sender, step.limit)
                    if kind.broadcast:
                        view = self._views[name]
                        view[0] = suite.digest(view[0], encode(letter.message))
                advance(name, received)
        return outputs
