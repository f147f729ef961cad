"""Any order of deliveries, repetitions, deaths and delays among three institutions and a coordinator comes to the undisturbed result.

What the post may do and an honest network does: carry letters late, in batches of any size, again; each sender's letters stay in order.
What a process may do: die before a batch, while it is answered, or after; come back from its journal. hypothesis looks for a sequence that
ends otherwise, and shows the shortest; the real training programs go through random sequences of fixed seeds.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as some
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from federation.kernel.batch import Batch
from federation.kernel.codec import decode
from federation.kernel.envelope import Envelope
from federation.kernel.errors import PeerError
from federation.kernel.participant import Participant
from federation.kernel.role import COORDINATOR
from federation.models.training import Coordinator
from tests.mortal import Killed, MortalJournal
from tests.pooled_case import Firms, PooledCase
from tests.post import Post
from tests.talk import EVERYONE, Heard, post, result


class Network:
    """The post with letters under way. The coordinator's carrying is honest: it repeats a batch until it is answered."""

    def __init__(self, here: Post) -> None:
        self.here = here
        self.doomed = set[str]()
        here.journals = {name: MortalJournal(lambda _number, name=name: name in self.doomed) for name in here.programs}
        here.parties = {name: here.build(name) for name in here.programs}
        self.waiting: dict[str, list[Envelope]] = {name: [] for name in here.programs}
        self.numbers = dict.fromkeys(here.programs, -1)
        self.last: dict[str, tuple[tuple[Envelope, ...], bytes]] = {}

    def due(self) -> list[str]:
        return [name for name in self.here.programs if self.numbers[name] < 0 or self.waiting[name]]

    def deliver(self, name: str, share: float = 1.0) -> None:
        """The next batch: of each sender's letters under way the first ones."""
        if name not in self.due():
            return
        senders = sorted({letter.sender for letter in self.waiting[name]})
        taken: list[Envelope] = []
        for sender in senders:
            letters = [letter for letter in self.waiting[name] if letter.sender == sender]
            taken += letters[: int(np.ceil(share * len(letters)))]
        self.waiting[name] = [letter for letter in self.waiting[name] if letter not in taken]
        self.numbers[name] += 1
        batch = tuple(taken)
        try:
            reply = self.here.parties[name].deliver(self.numbers[name], batch)
        except Killed:
            self.doomed.remove(name)
            self.restart(name)
            reply = self.here.parties[name].deliver(self.numbers[name], batch)
        self.last[name] = batch, reply
        for envelope in decode(reply, Batch, name, len(reply)).envelopes:
            self.here.passed.append(envelope)
            self.waiting[envelope.recipient].append(envelope)

    def repeat(self, name: str) -> None:
        """The last batch once more: the same bytes."""
        if name in self.last:
            batch, reply = self.last[name]
            assert self.here.parties[name].deliver(self.numbers[name], batch) == reply

    def restart(self, name: str) -> None:
        self.here.parties[name] = self.here.build(name)

    def die_at_next(self, name: str) -> None:
        self.doomed.add(name)

    def ask_wrong(self, name: str, number: int) -> None:
        if number not in (self.numbers[name], self.numbers[name] + 1):
            with pytest.raises(PeerError):
                self.here.parties[name].deliver(number, ())

    def finish(self) -> Post:
        """Deliver all that is left."""
        while self.due():
            for name in self.due():
                self.deliver(name)
        return self.here


@cache
def undisturbed() -> dict[str, Heard]:
    here = post()
    here.play()
    return result(here)


names = some.sampled_from(EVERYONE)


class Disturbed(RuleBasedStateMachine):
    """Every rule is something that may happen at any time."""

    def __init__(self) -> None:
        super().__init__()
        self.network = Network(post())

    @rule(name=names, share=some.sampled_from([1.0, 0.5, 0.01]))
    def deliver(self, name: str, share: float) -> None:
        self.network.deliver(name, share)

    @rule()
    def deliver_to_all(self) -> None:
        for name in self.network.due():
            self.network.deliver(name)

    @rule(name=names)
    def repeat(self, name: str) -> None:
        self.network.repeat(name)

    @rule(name=names)
    def restart(self, name: str) -> None:
        self.network.restart(name)

    @rule(name=names)
    def die_at_next(self, name: str) -> None:
        self.network.die_at_next(name)

    @rule(name=names, number=some.integers(-2, 12))
    def ask_wrong(self, name: str, number: int) -> None:
        self.network.ask_wrong(name, number)

    @invariant()
    def nobody_has_failed(self) -> None:
        assert all(party.failure is None for party in self.network.here.parties.values())

    @invariant()
    def no_sequence_number_serves_twice(self) -> None:
        places = [(e.session, e.sender, e.recipient, e.sequence) for e in self.network.here.passed]
        assert len(set(places)) == len(places)

    def teardown(self) -> None:
        assert result(self.network.finish()) == undisturbed()


CALM = settings(
    max_examples=60,
    stateful_step_count=40,
    report_multiple_bugs=False,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.too_slow],
)


def test_whatever_happens_the_result_is_the_undisturbed_one() -> None:
    run_state_machine_as_test(Disturbed, settings=CALM)  # type: ignore[no-untyped-call]


def test_control_where_effects_are_forgotten_a_sequence_is_found_that_ends_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Participant, "effect", lambda _self, _label, produce: produce())
    with pytest.raises(AssertionError):
        run_state_machine_as_test(Disturbed, settings=CALM)  # type: ignore[no-untyped-call]


def test_control_where_a_repeated_batch_is_answered_anew_a_sequence_is_found_that_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    deliver = Participant.deliver

    def anew(self: Participant[Heard], number: int, envelopes: tuple[Envelope, ...]) -> bytes:
        if number == self._number:
            self._number = number - 1
        return deliver(self, number, envelopes)

    monkeypatch.setattr(Participant, "deliver", anew)
    with pytest.raises((AssertionError, PeerError, Killed)):
        run_state_machine_as_test(Disturbed, settings=CALM)  # type: ignore[no-untyped-call]


# -- the real programs -----------------------------------------------------------------------------------------------------------


def training(model: str) -> Post:
    case = PooledCase(
        Firms(rows=300, columns=1, strength=0.8).draw(), others={"model": model}, model={"max_iterations": 3}, privacy={"label_disclosure": True}
    )  # fmt: skip

    def make(name: str) -> Callable[[], Any]:
        return lambda: case.program(name)

    programs: dict[str, Callable[[], Any]] = {name: make(name) for name in case.tables}
    return Post(case.manifest, programs | {COORDINATOR: lambda: Coordinator(case.manifest)})


@cache
def trained(model: str) -> dict[str, bytes]:
    here = training(model)
    here.play()
    return {name: party.state.model_hash for name, party in here.parties.items()}


@pytest.mark.parametrize("model", ["logistic", "scorecard"])
@pytest.mark.parametrize("seed", [0, 1, *(pytest.param(seed, marks=pytest.mark.slow) for seed in (2, 3))])
def test_training_through_a_random_sequence_of_deaths_and_delays_gives_the_same_model(model: str, seed: int) -> None:
    """2 of 4 sequences of each model in the quick tests."""
    rng, network = np.random.default_rng(seed), Network(training(model))
    events: Counter[str] = Counter()
    while network.due():
        name = str(rng.choice(network.due()))
        event = str(rng.choice(["go", "go", "late", "die", "restart", "repeat"]))
        events[event] += 1
        match event:
            case "die":
                network.die_at_next(name)
            case "restart":
                network.restart(name)
            case "repeat":
                network.repeat(name)
            case "late":
                network.deliver(name, share=0.01)
            case _:
                network.deliver(name)
    here = network.here
    print(f"seed {seed}: {sum(network.numbers.values())} batches, {dict(events)}")
    assert all(party.finished and party.failure is None for party in here.parties.values())
    assert {n: p.state.model_hash for n, p in here.parties.items()} == trained(model)
    assert all(trained(model).values())
