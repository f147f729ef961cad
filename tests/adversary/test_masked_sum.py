"""A hostile coordinator at the masked sum: no wrong sum is ever accepted, and nothing it holds depends on what members put in.

Every attack has its control: the same attack on a copy that lacks the one protection concerned succeeds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any, ClassVar

import msgspec
import numpy as np
import pytest

from federation.kernel.codec import Array, Message
from federation.kernel.errors import PeerError
from federation.kernel.role import COORDINATOR, Role, Run
from federation.masked_sum import mersenne
from federation.masked_sum.cover import Cover
from federation.masked_sum.pairwise import MaskedInput, MaskedTotal, sum_coordinator, sum_integers
from tests.masked_sum_scene import (
    GRID,
    MEMBERS,
    REFUSED,
    SEED,
    Post,
    Replay,
    inputs,
    play,
    to,
    wrong,
)
from tests.rooms import Delivery, Room

# -- alter, swap, replay, withhold --------------------------------------------------------------------------------------------------


def changed(message: Message, word: int = 0, by: int = 0, tag: int = 0) -> Message:
    """The message with `by` added to one of its words, and `tag` to its tag."""
    assert isinstance(message, MaskedInput | MaskedTotal)
    words = np.frombuffer(message.vector.data, "<u8").copy()
    words[word : word + 1] += np.uint64(by % (1 << 64))
    return msgspec.structs.replace(message, vector=Array.of(words), tag=(message.tag + tag) % mersenne.P)


def exchanged(message: Message) -> Message:
    """The message with its first two words exchanged."""
    assert isinstance(message, MaskedInput | MaskedTotal)
    words = np.frombuffer(message.vector.data, "<u8")[[1, 0, 2]]
    return msgspec.structs.replace(message, vector=Array.of(words))


ALTERATIONS: Mapping[str, Callable[[Message], Message]] = {
    "lowest bit": lambda m: changed(m, by=1),
    "one grid step": lambda m: changed(m, 1, by=1 << GRID.shift),
    "minus one grid step": lambda m: changed(m, 1, by=-(1 << GRID.shift)),
    "two words against each other": lambda m: changed(changed(m, 0, by=1 << GRID.shift), 1, by=-(1 << GRID.shift)),
    "the tag's modulus": lambda m: changed(m, 2, by=mersenne.P << GRID.shift),
    "highest bit": lambda m: changed(m, by=1 << 63),
    "the tag": lambda m: changed(m, tag=1),
    "word and tag": lambda m: changed(m, by=1 << GRID.shift, tag=1),
    "two words exchanged": exchanged,
    "all zero": lambda m: msgspec.structs.replace(m, vector=Array.of(np.zeros(3, np.uint64)), tag=0),
}


def attacks() -> Iterator[tuple[str, Post]]:
    """Every way to treat one message of each kind between each ordered pair, in the second of two steps."""
    pairs = [(m, COORDINATOR) for m in MEMBERS] + [(COORDINATOR, m) for m in MEMBERS]
    for sender, recipient in pairs:

        def here(d: Delivery, sender: str = sender, recipient: str = recipient) -> bool:
            return (d.sender, d.recipient) == (sender, recipient) and d.address.endswith("/1")

        def altered(alter: Callable[[Message], Message], here: Callable[[Delivery], bool] = here) -> Post:
            return lambda d: alter(d.message) if here(d) else d.message

        def withheld(d: Delivery, here: Callable[[Delivery], bool] = here) -> Message | None:
            return None if here(d) else d.message

        for name, alter in ALTERATIONS.items():
            yield f"{sender} to {recipient}: {name}", altered(alter)
        yield f"{sender} to {recipient}: withheld", withheld
        yield f"{sender} to {recipient}: replayed", Replay(here)
        for other in MEMBERS:
            if other != sender and recipient == COORDINATOR:
                yield f"{sender} to {recipient}: {other}'s twice", Doubled(here, other)


class Doubled:
    """Deliver another member's contribution in place of this one's; the other's in the first step where it is not there yet."""

    def __init__(self, here: Callable[[Delivery], bool], other: str) -> None:
        self.here, self.other, self.latest = here, other, dict[str, Message]()

    def __call__(self, delivery: Delivery) -> Message:
        if delivery.recipient == COORDINATOR:
            self.latest[delivery.sender] = delivery.message
        return self.latest[self.other] if self.here(delivery) else delivery.message


def test_a_wrong_sum_is_never_accepted() -> None:
    given = inputs(steps=2, length=3)
    outcomes = {name: play(given, post) for name, post in attacks()}
    accepted = [name for name, outcome in outcomes.items() if wrong(outcome, given)]
    print(f"wrong sums accepted: {len(accepted)} of {len(outcomes)} attacks")
    assert accepted == []
    assert len(outcomes) == 108
    finished = [n for n, o in outcomes.items() if all(isinstance(o.results.get(m), list) for m in MEMBERS)]
    assert finished == []  # no attack of these leaves the true sum, so none may pass


def test_two_contributions_exchanged_change_nothing() -> None:
    """The coordinator adds them: which came from whom does not matter to the sum, and the sum is right."""
    given, held = inputs(steps=1, length=3), dict[str, Message]()
    first = play(given)
    for delivery in first.room.deliveries:
        held[delivery.sender] = delivery.message
    swap = {"bank": "tax", "tax": "bank"}
    outcome = play(given, lambda d: held[swap[d.sender]] if d.sender in swap else d.message)
    assert wrong(outcome, given) == 0
    assert all(isinstance(outcome.results[m], list) for m in MEMBERS)


def test_control_without_the_tag_an_altered_sum_is_accepted() -> None:
    given = inputs(steps=2, length=3)
    passed = 0
    for name, post in attacks():
        if name.endswith(": one grid step"):
            passed += bool(wrong(play(given, post, without="tag"), given))
    assert passed == 2 * len(MEMBERS)


def test_a_sum_altered_by_a_guess_of_the_tag_is_refused_every_time() -> None:
    """The coordinator changes a word and, at random, the tag: 0 of 500."""
    rng, given = np.random.default_rng(SEED), inputs(steps=1, length=3)
    refused = 0
    for trial in range(500):
        guess = int(rng.integers(0, mersenne.P))
        post = to("tax", partial(changed, word=1, by=8, tag=guess))
        refused += play(given, post, session=trial.to_bytes(32, "big")).results["tax"] == REFUSED
    print(f"guessed tags accepted: {500 - refused} of 500 (seed {SEED})")
    assert refused == 500


def test_control_a_coordinator_that_knew_the_weights_would_pass_off_a_wrong_sum() -> None:
    """What the contract says of the coordinator together with a member."""
    given = inputs(steps=1, length=3)
    spy = Room(MEMBERS, session=bytes(32)).run("court").within("0")
    weights = Cover.agree(spy, MEMBERS, 3, GRID).weights
    outcome = play(given, to("tax", partial(changed, word=1, by=1 << GRID.shift, tag=int(weights[1]))))
    assert wrong(outcome, given) == 1


def oversize(message: Message) -> Message:
    """The message with a megabyte for an array."""
    return msgspec.structs.replace(message, vector=Array("<u8", (3,), bytes(1 << 20)))


def test_malformed_messages_are_refused() -> None:
    given, refused = inputs(steps=1, length=3), 0
    bad: tuple[Callable[[Message], Message], ...] = (
        lambda m: msgspec.structs.replace(m, vector=Array.of(np.zeros(4, np.uint64))),
        lambda m: msgspec.structs.replace(m, vector=Array.of(np.zeros(3, np.int64))),
        lambda m: msgspec.structs.replace(m, vector=Array.of(np.zeros((3, 1), np.uint64))),
        lambda m: msgspec.structs.replace(m, vector=Array("<u8", (3,), bytes(23))),
        lambda m: msgspec.structs.replace(m, tag=mersenne.P),
        lambda m: msgspec.structs.replace(m, tag=m.tag + mersenne.P),  # type: ignore[attr-defined]
        lambda m: msgspec.structs.replace(m, tag=-1),
    )
    for make in bad:
        for target in ("bank", COORDINATOR):
            refused += play(given, to(target, make)).results[target] == REFUSED
    assert refused == 2 * len(bad)
    for target in ("bank", COORDINATOR):
        with pytest.raises(PeerError, match="bytes"):
            play(given, to(target, oversize))


# -- members who were shown different things ------------------------------------------------------------------------------------------


class Notice(Message, frozen=True, tag="test/notice"):
    """Anything the coordinator broadcasts."""

    broadcast: ClassVar[bool] = True

    number: int


class Whisper(Message, frozen=True, tag="test/whisper"):
    """The same, not declared a broadcast."""

    number: int


@pytest.mark.parametrize("kind", [Notice, Whisper])
def test_members_shown_different_broadcasts_fail_the_next_sum(kind: type[Notice | Whisper]) -> None:
    """And the control: shown differently by a message that is no broadcast, nobody notices."""
    results: dict[str, Any] = {}

    def tell(run: Run) -> Role[None]:
        yield from run.step("notice", send={m: kind(7) for m in MEMBERS})
        yield from sum_coordinator(run, MEMBERS, 1)

    def hear(run: Run) -> Role[None]:
        yield from run.step("notice", expect={COORDINATOR: kind})
        try:
            results[run.me] = yield from sum_integers(run, np.array([1]), GRID, MEMBERS)
        except PeerError:
            results[run.me] = REFUSED

    room = Room(MEMBERS, post=lambda d: kind(8) if isinstance(d.message, kind) and d.recipient == "tax" else d.message)
    room.play({**{m: hear(room.run(m)) for m in MEMBERS}, COORDINATOR: tell(room.run(COORDINATOR))})
    if kind is Notice:
        assert results == dict.fromkeys(MEMBERS, REFUSED)
    else:
        assert all(results[m].tolist() == [4] for m in MEMBERS)
