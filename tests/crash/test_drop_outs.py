"""Masked sums with drop-outs through real participants: killed and rebuilt at every batch, given up at every place, too late, too few.

Five banks take two sums. A party that dies for good is silent from one of its batches on; where nothing moves any more the coordinator's
carriage gives it up, as a deployment does after its time limit.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache, partial
from typing import Any

import msgspec
import numpy as np
import pytest

from federation.kernel import suite
from federation.kernel.batch import Batch
from federation.kernel.codec import decode, encode
from federation.kernel.envelope import Envelope
from federation.kernel.errors import LostParty, PeerError
from federation.kernel.participant import Participant
from federation.kernel.program import Stage
from federation.kernel.role import COORDINATOR, Role, Run
from federation.kernel.state import State
from federation.masked_sum.bonawitz import Circle, Survivors, sum_coordinator, sum_member
from federation.masked_sum.fixed_point import FixedPoint
from tests.mortal import Killed, MortalJournal
from tests.post import Post, manifest

BANKS = tuple(f"bank{place}" for place in range(5))
EVERYONE = (*BANKS, COORDINATOR)
GRID = FixedPoint(2.0**30, 5, 0)
SUMS = 2
LENGTH = 4


def numbers(name: str, number: int) -> np.ndarray[Any, np.dtype[np.int64]]:
    return np.random.default_rng([9, BANKS.index(name), number]).integers(-(1 << 30), 1 << 30, LENGTH)


class Sums(State, frozen=True):
    """survivors, totals: of each sum so far; ended: the coordinator's count of sums."""

    survivors: tuple[tuple[str, ...], ...] = ()
    totals: tuple[tuple[int, ...], ...] = ()

    @property
    def circle(self) -> Circle:
        return Circle(self.survivors[-1] if self.survivors else BANKS, 4, 5)


@dataclass
class Adding:
    """A party's program."""

    me: str
    kind: type[Sums] = field(default=Sums, init=False)

    def begin(self) -> Sums:
        return Sums()

    def stage(self, state: Sums) -> Stage[Sums] | None:
        role = self.coordinate if self.me == COORDINATOR else self.add
        done = len(state.survivors)
        return None if done == SUMS else Stage(f"sum {done}", partial(role, state=state))

    def add(self, run: Run, state: Sums) -> Role[Sums]:
        total, survivors = yield from sum_member(run, numbers(self.me, len(state.survivors)), GRID, state.circle)
        return Sums((*state.survivors, survivors), (*state.totals, tuple(total.tolist())))

    def coordinate(self, run: Run, state: Sums) -> Role[Sums]:
        survivors = yield from sum_coordinator(run, state.circle, LENGTH)
        return Sums((*state.survivors, survivors), state.totals)


@dataclass
class Street:
    """Real participants and a post that gives up the dead. dies: batch from which a party is silent; late: whose last envelopes are held
    until it has been given up, and then delivered; killed: whether a party is rebuilt from its journal before a batch.
    """

    dies: dict[str, int] = field(default_factory=dict)
    late: bool = False
    killed: Callable[[str, int], bool] = lambda party, number: False
    salt: bytes = b""
    replies: list[tuple[str, int, bytes]] = field(default_factory=list)
    given_up: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        def program(name: str) -> Callable[[], Any]:
            return lambda: Adding(name)

        self.post = Post(manifest(*BANKS), {name: program(name) for name in EVERYONE}, salt=self.salt)
        self.post.parties = {name: self.post.build(name) for name in EVERYONE}
        self.waiting: dict[str, list[Envelope]] = {name: [] for name in EVERYONE}
        self.held: list[Envelope] = []
        self.numbers = dict.fromkeys(EVERYONE, -1)

    def party(self, name: str) -> Any:
        return self.post.parties[name]

    def deliver(self, name: str, missing: tuple[str, ...] = ()) -> None:
        batch, self.waiting[name] = tuple(self.waiting[name]), []
        self.numbers[name] += 1
        number = self.numbers[name]
        if self.killed(name, number):
            self.post.parties[name] = self.post.build(name)
        reply = self.party(name).deliver(number, batch, missing)
        if self.killed(name, number):  # and once more after it was stored: the stored bytes, whatever is delivered
            self.post.parties[name] = self.post.build(name)
            assert self.party(name).deliver(number, batch, missing) == reply
        self.replies.append((name, number, reply))
        for envelope in decode(reply, Batch, name, len(reply)).envelopes:
            if self.late and self.dies.get(name) == number + 1:
                self.held.append(envelope)
            else:
                self.waiting[envelope.recipient].append(envelope)

    def play(self) -> Street:
        while True:
            moving = [n for n in EVERYONE if (self.waiting[n] or self.numbers[n] < 0) and self.numbers[n] + 1 < self.dies.get(n, 1 << 30)]
            for name in moving:
                self.deliver(name)
            if moving:
                continue
            lost = tuple(sorted(n for n, at in self.dies.items() if n not in self.given_up and self.numbers[n] + 1 >= at))
            if not lost or self.party(COORDINATOR).finished or self.party(COORDINATOR).failure:
                return self
            self.given_up |= set(lost)
            self.deliver(COORDINATOR, lost)
            held, self.held = self.held, []
            for envelope in held:
                self.waiting[envelope.recipient].append(envelope)

    def wrong(self) -> list[str]:
        """Banks with a total that is not the sum over the survivors that they were told of, or survivors unlike another's."""
        out, told = [], {}
        for name in BANKS:
            state = self.party(name).state
            for number, (survivors, total) in enumerate(zip(state.survivors, state.totals, strict=True)):
                truth = np.sum([numbers(n, number) for n in survivors], axis=0)
                if total != tuple(truth.tolist()) or told.setdefault(number, survivors) != survivors:
                    out.append(name)
        return out


def always(_party: str, _number: int) -> bool:
    return True


@cache
def batches(name: str) -> int:
    """How many batches a party has where nobody is lost."""
    return Street().play().numbers[name] + 1


def test_undisturbed_all_have_both_sums() -> None:
    street = Street().play()
    assert street.wrong() == []
    for name in EVERYONE:
        assert street.party(name).finished
        assert street.party(name).state.survivors == (BANKS, BANKS)


def test_every_party_killed_at_every_batch_sends_the_same_bytes() -> None:
    calm, stormy = Street().play(), Street(killed=always).play()
    print(f"{len(stormy.replies)} batches, each party rebuilt before and after each")
    assert stormy.replies == calm.replies
    assert [stormy.party(name).state for name in EVERYONE] == [calm.party(name).state for name in EVERYONE]


def test_control_a_party_with_other_entropy_sends_other_bytes() -> None:
    """That the bytes are the same says something: they come from the journal."""
    other = Street(salt=b"other").play()
    assert other.wrong() == []
    assert other.replies != Street().play().replies


@pytest.mark.parametrize("lost", [{}, {BANKS[1]: 5}])
def test_killed_in_the_midst_of_every_batch_the_same_bytes_are_worked_out_again(lost: dict[str, int]) -> None:
    """Also the coordinator in the midst of the batch in which a party is given up."""
    calm = Street(dict(lost)).play()
    street = Street(dict(lost))
    street.post.journals = {name: MortalJournal() for name in EVERYONE}
    street.post.parties = {name: street.post.build(name) for name in EVERYONE}
    plain = Street.deliver

    class Dying(Street):
        def deliver(self, name: str, missing: tuple[str, ...] = ()) -> None:
            batch = list(self.waiting[name])
            with pytest.raises(Killed):
                plain(self, name, missing)
            journal = self.post.journals[name]
            assert isinstance(journal, MortalJournal)
            unsent = journal.unsent
            self.waiting[name], self.numbers[name] = batch, self.numbers[name] - 1
            self.post.parties[name] = self.post.build(name)
            plain(self, name, missing)
            assert self.replies[-1][2] == unsent

    street.__class__ = Dying
    street.play()
    assert street.replies == calm.replies
    assert street.wrong() == []


OTHERS = tuple(name for name in EVERYONE if name != BANKS[2])
OPENED = 2
"""The batch from which on a party has given the session all that it needs of it."""


@pytest.mark.parametrize("late", [False, True])
def test_a_party_given_up_at_any_place_leaves_true_sums_and_what_comes_late_changes_nothing(late: bool) -> None:
    """One bank silent from each of its batches on; with `late`, what it sent last arrives when it has been given up."""
    played = 0
    for batch in range(OPENED, batches(BANKS[2])):
        street = Street({BANKS[2]: batch}, late).play()
        assert street.given_up == {BANKS[2]} or batch == batches(BANKS[2]) - 1
        assert street.wrong() == []
        for name in OTHERS:
            assert street.party(name).finished
            assert street.party(name).failure is None
            assert len(street.party(name).state.survivors) == SUMS
        assert len({street.party(name).state for name in OTHERS if name != COORDINATOR}) == 1
        played += 1
    print(f"late={late}: 0 wrong sums of {played * SUMS}")
    assert played == batches(BANKS[2]) - OPENED


def test_lost_before_the_session_is_open_nothing_is_opened() -> None:
    street = Street({BANKS[2]: 1}).play()
    assert all(street.party(name).state == Sums() for name in EVERYONE)
    assert not any(envelope.kind.startswith("bonawitz/input") for _, _, reply in street.replies for envelope in letters(reply))


def letters(reply: bytes) -> tuple[Envelope, ...]:
    return decode(reply, Batch, "reply", len(reply)).envelopes


@pytest.mark.parametrize("batch", range(OPENED, 11))
def test_killed_at_every_batch_with_a_party_given_up_all_send_the_same_bytes(batch: int) -> None:
    """The coordinator among them: who is given up is in its journal, and in its snapshot when a stage has ended."""
    calm, stormy = Street({BANKS[2]: batch}).play(), Street({BANKS[2]: batch}, killed=always).play()
    assert stormy.given_up == {BANKS[2]}
    assert stormy.replies == calm.replies
    assert stormy.wrong() == []


def test_control_a_coordinator_that_forgets_who_was_given_up_stands_still(monkeypatch: pytest.MonkeyPatch) -> None:
    """A snapshot without the missing: after a restart the second sum waits for the lost for ever."""

    def forgets(party: Participant[Any]) -> bytes:
        remembered, party._missing = party._missing, frozenset()
        try:
            return snapshot(party)
        finally:
            party._missing = remembered

    snapshot = Participant._snapshot
    monkeypatch.setattr(Participant, "_snapshot", forgets)
    street = Street({BANKS[2]: 4}, killed=always).play()
    assert not street.party(COORDINATOR).finished


@pytest.mark.parametrize("batch", range(OPENED, 11))
def test_below_the_threshold_the_run_ends_and_nothing_more_is_opened(batch: int) -> None:
    street = Street({BANKS[2]: batch, BANKS[3]: batch}).play()
    coordinator = street.party(COORDINATOR)
    assert street.given_up == {BANKS[2], BANKS[3]}
    assert isinstance(coordinator.failure, LostParty)
    assert "threshold" in str(coordinator.failure)
    for name in (BANKS[0], BANKS[1], BANKS[4]):  # the shares of the first sum are in the sixth batch, number 5
        assert len(street.party(name).state.survivors) == (1 if batch > 5 else 0)
    assert street.wrong() == []
    rebuilt = street.post.build(COORDINATOR)
    assert type(rebuilt.failure) is type(coordinator.failure)


def test_two_given_up_one_after_the_other_end_the_run_at_the_second() -> None:
    street = Street({BANKS[2]: 3}).play()
    assert street.party(COORDINATOR).finished
    street = Street({BANKS[2]: 3, BANKS[3]: 8}).play()
    assert isinstance(street.party(COORDINATOR).failure, LostParty)
    assert street.wrong() == []
    assert len(street.party(BANKS[0]).state.survivors) == 1


def test_an_institution_is_told_of_no_missing_party() -> None:
    """It hears of lost parties by its protocols alone, and refuses without a change: the same batch without the list is answered."""
    for name in BANKS:
        calm, told = Street(), Street()
        with pytest.raises(PeerError, match="missing"):
            told.party(name).deliver(0, (), (BANKS[1],))
        assert told.party(name).failure is None
        assert told.party(name).deliver(0, ()) == calm.party(name).deliver(0, ())


def test_a_repeated_batch_answers_the_same_whoever_is_now_said_to_be_missing() -> None:
    """Giving up more parties under a number that was answered changes nothing: no second list of survivors from one place."""
    street = Street({BANKS[2]: 4}).play()
    coordinator, number = street.party(COORDINATOR), street.numbers[COORDINATOR]
    stored = street.replies[[(name, at) for name, at, _ in street.replies].index((COORDINATOR, number))][2]
    assert coordinator.deliver(number, (), BANKS) == stored
    assert street.post.build(COORDINATOR).deliver(number, (), BANKS) == stored
    assert coordinator.state.survivors[-1] == tuple(name for name in BANKS if name != BANKS[2])


def test_a_repeated_batch_with_other_contents_gets_the_stored_answer() -> None:
    """Each party, at each of its batches: an empty batch, and one with what others were sent, under a number that was answered."""
    tried = 0

    class Asking(Street):
        def deliver(self, name: str, missing: tuple[str, ...] = ()) -> None:
            nonlocal tried
            super().deliver(name, missing)
            number, reply = self.replies[-1][1:]
            others = tuple(letter for waiting in self.waiting.values() for letter in waiting)
            for batch in ((), others, others[::-1]):
                assert self.party(name).deliver(number, batch) == reply
                tried += 1

    street = Asking().play()
    print(f"second answers that differ: 0 of {tried}")
    assert street.replies == Street().play().replies
    assert tried > 150


def test_a_second_list_of_survivors_signed_by_the_coordinator_ends_the_run_at_the_member() -> None:
    """A hostile coordinator with its own keys: after the agreement a second list, in the total's place."""
    forgeries: list[Envelope] = []

    class Hostile(Street):
        def deliver(self, name: str, missing: tuple[str, ...] = ()) -> None:
            if name == BANKS[0]:
                self.waiting[name] = [self.second(e) if e.kind == "bonawitz/total" else e for e in self.waiting[name]]
            super().deliver(name, missing)

        def second(self, total: Envelope) -> Envelope:
            participant = self.party(COORDINATOR)
            body = encode(Survivors(BANKS[:4]))
            forged = msgspec.structs.replace(total, kind="bonawitz/survivors", body=body)
            forgeries.append(forged)
            return msgspec.structs.replace(forged, signature=suite.sign(participant._keys.signing, forged.signed()))

    street = Hostile().play()
    victim = street.party(BANKS[0])
    assert forgeries
    assert isinstance(victim.failure, PeerError)
    assert victim.state.survivors == ()
    assert (
        sum(envelope.kind == "bonawitz/unmask" for name, _, reply in street.replies if name == BANKS[0] for envelope in letters(reply)) == 1
    )
