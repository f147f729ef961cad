"""Masked sums of a few steps in a room, honest or weakened, with an attacker at the post."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from federation.kernel.codec import Message
from federation.kernel.errors import PeerError
from federation.kernel.role import COORDINATOR, Role, Run
from federation.masked_sum.fixed_point import FixedPoint
from federation.masked_sum.pairwise import MaskedInput, sum_coordinator, sum_integers
from privacy.attacks import masked_sum as attack
from tests.rooms import Delivery, Room

SEED = 20_240_607
MEMBERS = ("bank", "platform", "tax", "court")
GRID = FixedPoint(1000, 4, 10)
REFUSED = "refused"

Post = Callable[[Delivery], "Message | None"]
Inputs = Mapping[str, list[NDArray[np.int64]]]


def inputs(steps: int, length: int, members: tuple[str, ...] = MEMBERS) -> Inputs:
    """Each member's integers, one vector a step."""
    rng = np.random.default_rng(SEED)
    return {m: [rng.integers(-GRID.largest, GRID.largest + 1, length) for _ in range(steps)] for m in members}


def member(run: Run, vectors: list[NDArray[np.int64]], encoding: FixedPoint, members: tuple[str, ...]) -> Role[list[NDArray[np.int64]]]:
    """One masked sum per vector."""
    out = []
    for number, vector in enumerate(vectors):
        out.append((yield from sum_integers(run.within(str(number)), vector, encoding, members)))
    return out


def coordinator(run: Run, steps: int, members: tuple[str, ...], length: int) -> Role[None]:
    for number in range(steps):
        yield from sum_coordinator(run.within(str(number)), members, length)


@dataclass
class Outcome:
    """results: what each member accepted, or that it refused; absent when it still waits."""

    results: dict[str, Any]
    room: Room

    def transcript(self, step: int) -> dict[str, NDArray[np.uint64]]:
        """What the coordinator received in one step."""
        return {
            d.sender: np.frombuffer(d.message.vector.data, "<u8")
            for d in self.room.deliveries
            if isinstance(d.message, MaskedInput) and d.address.endswith(f"/{step}")
        }


def delivered(delivery: Delivery) -> Message:
    """An honest post."""
    return delivery.message


def to(party: str, make: Callable[[Message], Message]) -> Post:
    """A post that changes what it delivers to one party."""
    return lambda delivery: make(delivery.message) if delivery.recipient == party else delivery.message


def recorded(name: str, role: Role[Any], results: dict[str, Any]) -> Role[None]:
    """The role, whose result or refusal is written down: a party that refuses does not end the others."""
    try:
        results[name] = yield from role
    except PeerError:
        results[name] = REFUSED


def play(given: Inputs, post: Post = delivered, without: attack.Without | None = None, session: bytes = bytes(32)) -> Outcome:
    """All steps, with a hostile coordinator at the post; members refuse independently of one another."""
    members, steps, length = tuple(given), len(given["bank"]), len(given["bank"][0])
    hall = Room(members, session=session, post=post)
    encoding = FixedPoint(GRID.clip, len(members), GRID.bits)
    results: dict[str, Any] = {}

    roles: dict[str, Any] = {}
    for name in members:
        run = hall.run(name)
        weak = attack.weakened_member(run, given[name], encoding, members, without) if without else None
        roles[name] = recorded(name, weak or member(run, given[name], encoding, members), results)
    roles[COORDINATOR] = recorded(COORDINATOR, coordinator(hall.run(COORDINATOR), steps, members, length), results)
    try:
        hall.play(roles)
    except RuntimeError as stalled:
        if "every party waits" not in str(stalled):
            raise
    return Outcome(results, hall)


def wrong(outcome: Outcome, given: Inputs) -> int:
    """How many members accepted a sum that is not the sum."""
    truth = [sum(given[m][step] for m in given) for step in range(len(given["bank"]))]
    held = [outcome.results.get(m, REFUSED) for m in given]
    return sum(isinstance(h, list) and any(not np.array_equal(a, b) for a, b in zip(h, truth, strict=True)) for h in held)


def uniform(words: NDArray[np.uint64]) -> float:
    """The least p-value of: bytes (chi-square on each of the 8 places), bits (two-sided binomial on each of the 64), times their number."""
    plain = np.ascontiguousarray(words.astype("<u8"))
    places = plain.view(np.uint8).reshape(-1, 8)
    p = [float(stats.chisquare(np.bincount(places[:, i], minlength=256)).pvalue) for i in range(8)]
    ones = [int(((plain >> np.uint64(i)) & np.uint64(1)).sum()) for i in range(64)]
    p += [float(stats.binomtest(k, plain.size).pvalue) for k in ones]
    return min(1.0, len(p) * min(p))


class Replay:
    """Deliver the first step's message again in the second."""

    def __init__(self, here: Callable[[Delivery], bool]) -> None:
        self.here, self.old = here, dict[tuple[str, str], Message]()

    def __call__(self, delivery: Delivery) -> Message:
        old = self.old.setdefault((delivery.sender, delivery.recipient), delivery.message)
        return old if self.here(delivery) else delivery.message
