"""A hostile coordinator at the masked sum: no wrong sum is ever accepted, and nothing it holds depends on what members put in.

Every attack has its control: the same attack on a copy that lacks the one protection concerned succeeds.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from federation.kernel.codec import Array, Message
from federation.kernel.errors import PeerError
from federation.kernel.role import COORDINATOR, Role, Run
from federation.masked_sum import mersenne
from federation.masked_sum.cover import Cover, stretch
from federation.masked_sum.fixed_point import FixedPoint
from federation.masked_sum.pairwise import MaskedInput, MaskedTotal, pair_masks, sum_coordinator, sum_integers
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


class Replay:
    """Deliver the first step's message again in the second."""

    def __init__(self, here: Callable[[Delivery], bool]) -> None:
        self.here, self.old = here, dict[tuple[str, str], Message]()

    def __call__(self, delivery: Delivery) -> Message:
        old = self.old.setdefault((delivery.sender, delivery.recipient), delivery.message)
        return old if self.here(delivery) else delivery.message


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


# -- what the coordinator holds -------------------------------------------------------------------------------------------------------


def extremes(length: int, members: tuple[str, ...], steps: int) -> tuple[Inputs, Inputs]:
    """Two worlds as different as can be: all zero, and all the largest (odd) number."""
    top = GRID.largest - 1 + GRID.largest % 2
    return tuple({m: [np.full(length, value) for _ in range(steps)] for m in members} for value in (0, top))  # type: ignore[return-value]


def uniform(words: NDArray[np.uint64]) -> float:
    """The least p-value of: bytes (chi-square on each of the 8 places), bits (two-sided binomial on each of the 64), times their number."""
    plain = np.ascontiguousarray(words.astype("<u8"))
    places = plain.view(np.uint8).reshape(-1, 8)
    p = [float(stats.chisquare(np.bincount(places[:, i], minlength=256)).pvalue) for i in range(8)]
    ones = [int(((plain >> np.uint64(i)) & np.uint64(1)).sum()) for i in range(64)]
    p += [float(stats.binomtest(k, plain.size).pvalue) for k in ones]
    return min(1.0, len(p) * min(p))


@pytest.mark.parametrize("members", [MEMBERS[:3], MEMBERS])
def test_what_the_coordinator_receives_is_uniform_whatever_the_inputs(members: tuple[str, ...]) -> None:
    for world in extremes(4000, members, steps=3):
        outcome = play(world)
        for step in range(3):
            transcript = outcome.transcript(step)
            for name in members:
                assert uniform(transcript[name]) > 1e-4, name
            for name in members[1:]:  # nor do two contributions together show anything
                assert uniform(transcript[members[0]] + transcript[name]) > 1e-4
                assert uniform(transcript[members[0]] - transcript[name]) > 1e-4
        tags = np.array([d.message.tag for d in outcome.room.deliveries if isinstance(d.message, MaskedInput)], np.uint64)
        assert len(set(tags.tolist())) == 3 * len(members)


@pytest.mark.parametrize("members", [MEMBERS[:3], MEMBERS])
def test_the_total_tells_the_coordinator_nothing_not_even_a_low_bit(members: tuple[str, ...]) -> None:
    """Of n masks the total keeps the multiples of 2^a alone: those low bits are 0 in every world, and all others are uniform."""
    zero, unit = np.uint64((len(members) & -len(members)).bit_length() - 1), np.uint64(len(members) & -len(members))
    for world in extremes(20_000, members, steps=1):
        total = attack.total(play(world).transcript(0))
        assert not (total & (unit - np.uint64(1))).any()
        rest = total >> zero
        spread = rest << zero | (np.random.default_rng(SEED).integers(0, int(unit), rest.size, dtype=np.uint64))  # fill the empty bits
        assert uniform(spread) > 1e-4


def test_control_without_the_shift_the_low_bits_of_an_even_number_of_inputs_show() -> None:
    given = inputs(steps=1, length=500)
    truth = sum(given[m][0] for m in MEMBERS).view(np.uint64)  # type: ignore[union-attr]
    unit, seen = attack.low_bits(play(given, without="shift").transcript(0))
    assert unit == 4
    assert np.array_equal(seen, truth % np.uint64(4))
    unit, seen = attack.low_bits(play(given).transcript(0))
    assert not seen.any()


def test_the_coordinator_cannot_read_the_sum_and_control_without_the_group_mask_it_does() -> None:
    given = inputs(steps=1, length=500)
    truth = sum(given[m][0] for m in MEMBERS)
    ours = attack.read_sum(play(given).transcript(0), GRID.shift)
    assert (ours == truth).sum() == 0
    control = attack.read_sum(play(given, without="group mask").transcript(0), GRID.shift)
    assert np.array_equal(control, truth)


def test_two_steps_do_not_show_a_change_of_input_and_control_with_one_mask_they_do() -> None:
    given = inputs(steps=2, length=500)
    ours, control = play(given), play(given, without="fresh masks")
    for name in MEMBERS:
        change = given[name][1] - given[name][0]
        assert (attack.differences(ours.transcript(0), ours.transcript(1), GRID.shift)[name] == change).sum() == 0
        assert np.array_equal(attack.differences(control.transcript(0), control.transcript(1), GRID.shift)[name], change)


def test_a_run_begun_anew_does_not_show_a_change_of_input_either() -> None:
    """A second attempt is another session: the same places, other masks."""
    given, other = inputs(steps=1, length=500), inputs(steps=2, length=500)
    moved = {m: [other[m][1]] for m in MEMBERS}
    first, second = play(given, session=b"1".ljust(32)), play(moved, session=b"2".ljust(32))
    guess = attack.differences(first.transcript(0), second.transcript(0), GRID.shift)
    for name in MEMBERS:
        assert (guess[name] == moved[name][0] - given[name][0]).sum() == 0


def test_a_coalition_short_of_all_others_cannot_strip_a_member_and_all_others_can() -> None:
    given = inputs(steps=1, length=500)
    step = play(given).transcript(0)
    spies = {name: Room(MEMBERS, session=bytes(32)).run(name).within("0") for name in MEMBERS}
    group = Cover.agree(spies["court"], MEMBERS, 500, GRID).mask.words
    masks = {n: stretch(spies[n].pair_key("bank", "pair mask"), 500).words for n in MEMBERS[1:]}  # the bank, named first, adds them
    for missing in MEMBERS[1:]:
        some = {n: mask for n, mask in masks.items() if n != missing}
        guess = attack.strip("bank", step, some, group, shift=0)
        assert (guess >> np.int64(GRID.shift) == given["bank"][0]).sum() == 0
        assert uniform(guess.view(np.uint64)) > 1e-4
    assert np.array_equal(attack.strip("bank", step, masks, group, GRID.shift), given["bank"][0])


def test_pair_masks_cancel_and_never_repeat() -> None:
    room = Room(MEMBERS)
    runs = {m: room.run(m) for m in MEMBERS}
    seen: Counter[bytes] = Counter()
    for place in ("first", "second"):
        masks = [pair_masks(runs[m].within(place), MEMBERS, 50) for m in MEMBERS]
        assert not np.sum(np.stack([m.words for m in masks]), axis=0, dtype=np.uint64).any()
        assert sum(m.tag for m in masks) % mersenne.P == 0
        seen.update(m.words.tobytes() for m in masks)
    assert len(seen) == 8
