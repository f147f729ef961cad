"""Envelopes in hostile hands: altered, withheld, replayed, reordered, and hellos shown differently to different parties.

The coordinator carries every envelope and has no institution's key; a hostile institution has its own key and no other.
"""

from __future__ import annotations

import itertools
from typing import Any

import msgspec
import pytest

from federation.kernel import suite
from federation.kernel.batch import Abort, Batch
from federation.kernel.codec import SMALL, decode, encode
from federation.kernel.envelope import Envelope
from federation.kernel.errors import AbortCode, PeerAborted, PeerError
from federation.kernel.role import COORDINATOR
from federation.kernel.session import opening_channel
from privacy.attacks.session import ALTERATIONS, containing
from tests.envelope_scene import channels, honest, spoiled
from tests.post import Post, identity
from tests.talk import CANARY, Word, post

replace = msgspec.structs.replace


def kinds() -> list[int]:
    """A place in the honest order of envelopes for each kind, stage, and sort of sender and recipient."""
    seen: dict[object, int] = {}
    for place, e in enumerate(honest().passed):
        seen.setdefault((e.kind, e.step, e.sender == COORDINATOR, e.recipient == COORDINATOR), place)
    return list(seen.values())


def tampered(place: int, alter: Any) -> Post:
    """A run in which the envelope at this place is what `alter` makes of it."""
    counter = itertools.count()
    here = post(tamper=lambda e: alter(e) if next(counter) == place else e)
    here.play()
    return here


def assert_only_codes(here: Post) -> None:
    """Every abort that left a party says a code of the list and nothing else; its signature holds."""
    for envelope in here.passed:
        if envelope.kind == Abort.kind():
            publics = {name: party.manifest.identities()[name] for name, party in here.parties.items()}
            keys = {name: suite.signing_public(party._keys.signing) for name, party in here.parties.items()}
            assert any(suite.verifies(table[envelope.sender], envelope.signed(), envelope.signature) for table in (publics, keys))
            if envelope.recipient == COORDINATOR:
                assert envelope.body == encode(Abort(AbortCode.PROTOCOL))
            assert len(envelope.body) <= len(encode(Abort(AbortCode.CONFIGURATION))) + 16


@pytest.mark.parametrize("how", ALTERATIONS)
def test_no_altered_envelope_is_accepted(how: str) -> None:
    accepted, places = 0, kinds()
    for place in places:
        here = tampered(place, ALTERATIONS[how])
        victim = here.parties[honest().passed[place].recipient]
        accepted += victim.finished
        assert not any(party.finished for party in here.parties.values()) or honest().passed[place].step.startswith("talk 1")
        if "session" in how and honest().passed[place].kind == "session/hello":  # kept for a session that never opens: as good as withheld
            assert victim.failure is None
            continue
        assert isinstance(victim.failure, PeerError), (how, honest().passed[place].kind, victim.failure)
        mine = [e for e in here.passed if e.sender == victim.me]
        assert mine[-1].kind == Abort.kind()
        assert all(party.failure is None or isinstance(party.failure, PeerError | PeerAborted) for party in here.parties.values())
        assert_only_codes(here)
    print(f"{how}: {accepted} of {len(places)} accepted")
    assert accepted == 0


@pytest.mark.parametrize("how", ["no session", "step", "kind", "first byte of the body", "a signature of zeros"])
def test_control_a_receiver_that_checks_nothing_accepts(how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    sender, receiver = channels(None)
    altered = ALTERATIONS[how](sender.wrap("platform", "talk", Word(b"a")))
    assert altered is not None
    with pytest.raises(PeerError):
        receiver.open(altered)
    monkeypatch.setattr(suite, "verifies", lambda *_: True)
    if how == "no session":
        receiver.session = altered.session
    assert receiver.open(altered).body == altered.body


def test_a_withheld_envelope_stops_the_run_and_shows_nothing() -> None:
    for place in kinds():
        here = tampered(place, lambda _: None)
        assert not here.parties[honest().passed[place].recipient].finished
        assert len(here.passed) <= len(honest().passed)
        assert not containing(here.passed, CANARY)
        assert not any(
            e.kind == Abort.kind() and e.recipient == COORDINATOR and e.body != encode(Abort(AbortCode.PROTOCOL)) for e in here.passed
        )


BATCHES = {
    "the first twice": lambda _, batch: (*batch, batch[0]),
    "an earlier one again": lambda here, batch: (*batch, next(e for e in here.passed if e.recipient == "bank")),
    "its own envelope reflected": lambda here, batch: (*batch, next(e for e in reversed(here.passed) if e.sender == "bank")),
    "one for another party": lambda here, batch: (
        *batch,
        next(e for e in reversed(here.passed) if e.recipient == "tax" and e.sender != "bank"),
    ),
    "one of another session": lambda _, batch: (
        *batch,
        next(e for e in honest(b"other").passed if e.recipient == "bank" and "talk" in e.step),
    ),
    "one of another opening": lambda _, batch: (
        *batch,
        next(e for e in honest(b"other").passed if e.recipient == "bank" and "open" in e.step),
    ),
    "one of nobody": lambda _, batch: (*batch, replace(batch[0], sender="")),
}


@pytest.mark.parametrize("how", BATCHES)
@pytest.mark.parametrize("number", [2, 3, 4])
def test_an_envelope_is_good_for_one_place(how: str, number: int) -> None:
    here = spoiled("bank", number, BATCHES[how])
    assert isinstance(here.parties["bank"].failure, PeerError)
    assert not here.parties["bank"].finished
    last = here.parties["bank"].deliver(here.parties["bank"]._number, ())
    assert {e.kind for e in decode(last, Batch, "bank", SMALL).envelopes} == {Abort.kind()}


def test_two_envelopes_of_one_sender_in_the_other_order_are_refused_and_of_two_senders_are_not() -> None:
    def swapped(_: Post, batch: tuple[Envelope, ...]) -> tuple[Envelope, ...]:
        return batch[::-1]

    numbers = range(1, honest().parties["platform"]._number + 1)
    outcomes = {number: spoiled("platform", number, swapped).parties["platform"] for number in numbers}
    alike = {n: _senders_repeat("platform", n) for n in numbers}
    assert any(alike.values())
    for number, party in outcomes.items():
        assert isinstance(party.failure, PeerError) if alike[number] else party.finished


def _senders_repeat(name: str, number: int) -> bool:
    found: list[bool] = []

    def look(_: Post, batch: tuple[Envelope, ...]) -> tuple[Envelope, ...]:
        found.append(len({(e.sender, e.session) for e in batch}) < len(batch))
        return batch

    spoiled(name, number, look)
    return found[0]


# -- hellos -----------------------------------------------------------------------------------------------------------------------


def _replayed_hello(*victims: str) -> Post:
    """A run in which these parties are shown the hello that tax sent in an earlier opening of the same manifest."""
    old = {e.recipient: e for e in honest(b"other").passed if e.sender == "tax" and e.kind == "session/hello"}
    here = post(tamper=lambda e: old[e.recipient] if e.kind == "session/hello" and e.sender == "tax" and e.recipient in victims else e)
    here.play()
    return here


@pytest.mark.parametrize(
    "victims", [("bank",), ("bank", COORDINATOR), ("bank", "platform"), ("bank", "platform", COORDINATOR), (COORDINATOR,)], ids=str
)
def test_parties_shown_different_hellos_get_no_further(victims: tuple[str, ...]) -> None:
    here = _replayed_hello(*victims)
    assert not any(party.finished for party in here.parties.values())
    assert len({party.session for party in here.parties.values()}) > 1
    between = [e for e in here.passed if e.step.startswith("talk") and e.kind == Word.kind() and COORDINATOR not in (e.sender, e.recipient)]
    assert between == []  # no protocol has begun between institutions


def test_control_with_the_same_hellos_for_all_they_do() -> None:
    assert len({party.session for party in honest().parties.values()}) == 1
    assert any(e.step.startswith("talk") and e.kind == Word.kind() for e in honest().passed)


def test_a_hello_that_is_not_signed_with_the_identity_key_is_refused() -> None:
    made = honest().manifest
    forger = opening_channel(made, "tax", identity("somebody else"))
    hello = honest().parties["bank"]._keys.hello(bytes(32))

    def tamper(envelope: Envelope) -> Envelope:
        return (
            forger.wrap("bank", envelope.step, hello)
            if (envelope.sender, envelope.recipient, envelope.kind) == ("tax", "bank", hello.kind())
            else envelope
        )

    here = post(tamper=tamper)
    here.play()
    assert isinstance(here.parties["bank"].failure, PeerError)


def test_control_without_signatures_an_altered_envelope_is_accepted(monkeypatch: pytest.MonkeyPatch) -> None:
    sender, receiver = channels(None)
    envelope = replace(sender.wrap("platform", "talk", Word(b"a")), body=encode(Word(b"b")))
    with pytest.raises(PeerError, match="signature"):
        receiver.open(envelope)
    monkeypatch.setattr(suite, "verifies", lambda *_: True)
    assert decode(receiver.open(envelope).body, Word, "bank").text == b"b"
