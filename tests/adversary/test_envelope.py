"""Envelopes in hostile hands: altered, replayed, reordered, withheld, spliced, forged, flooded; and what the coordinator can read.

The coordinator carries every envelope and has no institution's key; a hostile institution has its own key and no other.
"""

from __future__ import annotations

import dataclasses
import itertools
from functools import cache
from typing import Any

import msgspec
import numpy as np
import pytest

from federation.kernel import suite
from federation.kernel.batch import Abort, Batch
from federation.kernel.codec import SMALL, decode, encode
from federation.kernel.envelope import Channel, Envelope
from federation.kernel.errors import AbortCode, LocalError, PeerAborted, PeerError
from federation.kernel.journal import MemoryJournal, Record
from federation.kernel.participant import Participant
from federation.kernel.role import COORDINATOR
from federation.kernel.secret import Secret
from federation.kernel.session import opening_channel, session_channel
from privacy.attacks.session import ALTERATIONS, containing
from tests.post import Post, identity
from tests.talk import CANARY, NAMES, Notice, Word, post, result

replace = msgspec.structs.replace


@cache
def honest(salt: bytes = b"") -> Post:
    here = post(salt=salt)
    here.play()
    result(here)
    return here


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


def spoiled(name: str, at: int, change: Any) -> Post:
    """A run in which the batch with this number to this party is what `change` makes of it."""

    def delivers(here: Post, to: str, number: int, batch: tuple[Envelope, ...]) -> bytes:
        return here.parties[to].deliver(number, change(here, batch) if (to, number) == (name, at) else batch)

    here = post(delivers=delivers)
    here.play()
    return here


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


# -- aborts -----------------------------------------------------------------------------------------------------------------------


def _at_talk(forged: Any) -> Post:
    """A run in which the bank's first words from platform are exchanged for something else."""
    done: list[int] = []

    def tamper(e: Envelope) -> Envelope:
        if (e.sender, e.recipient) == ("platform", "bank") and e.step.startswith("talk 0") and not done:
            done.append(1)
            return forged(e)
        return e

    here = post(tamper=tamper)
    here.play()
    return here


def test_the_coordinator_cannot_end_a_run_in_another_partys_name() -> None:
    abort = encode(Abort(AbortCode.COHORT))

    def forged(e: Envelope) -> Envelope:
        draft = replace(e, kind=Abort.kind(), protocol="kernel", body=abort)
        return replace(draft, signature=suite.sign(identity(COORDINATOR), draft.signed()))

    here = _at_talk(forged)
    assert isinstance(here.parties["bank"].failure, PeerError)
    assert not isinstance(here.parties["bank"].failure, PeerAborted)


def _hostile(message: Any, step: str = "abort", **fields: Any) -> Any:
    """What platform itself sends the bank with its own keys, instead of its words; fields: of the envelope, before it is signed."""

    def forged(e: Envelope) -> Envelope:
        # identical entropy gives platform's keys of this very session
        keys = honest().parties["platform"]._keys
        channel = session_channel(honest().manifest, "platform", keys)
        channel.sent["bank"] = e.sequence
        made = channel.wrap("bank", step or e.step, message)
        if fields:
            key = channel._key("platform", "bank")
            assert key is not None
            draft = replace(made, **fields)
            made = replace(draft, body=suite.seal(key, e.sequence, draft.header(), encode(message)))
            made = replace(made, signature=suite.sign(keys.signing, made.signed()))
        return made

    return forged


class Chatty(Abort, frozen=True, tag="kernel/abort"):
    """An abort that would say more."""

    detail: str = ""


def test_an_abort_says_a_code_and_nothing_else() -> None:
    here = _at_talk(_hostile(Abort(AbortCode.COHORT)))
    failure = here.parties["bank"].failure
    assert isinstance(failure, PeerAborted)  # control: platform's own abort is taken, with its reason
    assert failure.reason == AbortCode.COHORT
    detail = _at_talk(_hostile(Chatty(AbortCode.COHORT, detail="row 17 of tax")))
    assert isinstance(detail.parties["bank"].failure, PeerError)
    assert "row 17" not in str(detail.parties["bank"].failure)


def test_what_a_partys_own_error_says_leaves_it_in_no_abort() -> None:
    text = "column 'turnover' of 'tax' has 17 rows"

    def disturb(party: str, stage: int) -> None:
        if party == "tax" and stage == 1:
            raise LocalError("tax", text, text, AbortCode.DATA)

    here = post(disturb)
    here.play()
    assert text in str(here.parties["tax"].failure)
    for name in ("bank", "platform", COORDINATOR):
        failure = here.parties[name].failure
        assert isinstance(failure, PeerAborted)
        assert failure.reason == AbortCode.DATA
        assert "turnover" not in str(failure)
    assert not containing(here.passed, b"turnover")
    bodies = {e.body for e in here.passed if e.kind == Abort.kind() and e.recipient == COORDINATOR}
    assert bodies == {encode(Abort(AbortCode.DATA))}


HOSTILE = {
    "another step": _hostile(Word(CANARY), "talk 0:/second"),
    "a step of another stage": _hostile(Word(CANARY), "talk 1:/first"),
    "another kind": _hostile(Notice(b"x"), ""),
    "a kind of another protocol": _hostile(Word(CANARY), "", protocol="align"),
    "another session, signed": _hostile(Word(CANARY), "", session=bytes(32)),
    "another's name, signed with its own key": _hostile(Word(CANARY), "", sender="tax"),
    "a skipped number": _hostile(Word(CANARY), "", sequence=99),
    "an answer as large as it likes": _hostile(Word(bytes(SMALL)), ""),
}


@pytest.mark.parametrize("how", HOSTILE)
def test_a_hostile_institution_is_refused_whatever_it_signs(how: str) -> None:
    here = _at_talk(HOSTILE[how])
    failure = here.parties["bank"].failure
    assert isinstance(failure, PeerError)
    assert CANARY.decode() not in str(failure)
    assert len(str(failure)) < 600
    assert _at_talk(_hostile(Word(CANARY, b"fine"), "")).parties["bank"].failure is None  # control: its honest place is taken


def test_a_long_name_does_not_fill_a_log() -> None:
    raw = encode(Batch(1, (honest().passed[0],)))
    document = msgspec.msgpack.decode(raw)
    for name, value in {
        "kind": "k" * 129,
        "step": "s" * 1025,
        "sender": "s" * 129,
        "session": b"s" * 33,
        "signature": b"s" * 65,
        "sequence": -1,
    }.items():
        changed = document | {"envelopes": [document["envelopes"][0] | {name: value}]}
        with pytest.raises(PeerError) as caught:
            decode(msgspec.msgpack.encode(changed), Batch, COORDINATOR, SMALL)
        assert len(str(caught.value)) < 400
    assert decode(msgspec.msgpack.encode(document), Batch, COORDINATOR, SMALL).number == 1


# -- reading ----------------------------------------------------------------------------------------------------------------------


def test_the_coordinator_reads_no_body_between_institutions() -> None:
    assert not containing(honest().passed, CANARY)
    between = [e for e in honest().passed if COORDINATOR not in (e.sender, e.recipient) and e.kind != "session/hello"]
    assert len(between) > 20
    stored = [honest().journals[COORDINATOR].load()]
    assert all(record is not None and CANARY not in record.snapshot + record.reply + b"".join(record.entries) for record in stored)


def test_control_with_an_unencrypted_channel_the_same_reading_finds_every_body(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Channel, "_key", lambda *_: None)
    here = post()
    here.play()
    result(here)
    words = [e for e in here.passed if e.kind == Word.kind() and COORDINATOR not in (e.sender, e.recipient)]
    assert containing(here.passed, CANARY) == words != []


def test_the_same_words_never_look_alike() -> None:
    bodies = [e.body for e in honest().passed if e.kind == Word.kind() and e.recipient != COORDINATOR]
    assert len(set(bodies)) == len(bodies)
    tails = [body[-16:] for body in bodies]
    assert len(set(tails)) == len(tails)


def channels(pair: Secret | None) -> tuple[Channel, Channel]:
    publics = {name: suite.signing_public(identity(name)) for name in NAMES}
    one, other = ({"platform": pair}, {"bank": pair}) if pair else (None, None)
    return Channel("bank", bytes(32), identity("bank"), publics, one), Channel("platform", bytes(32), identity("platform"), publics, other)


def test_control_before_keys_are_agreed_bodies_are_plain() -> None:
    sender, receiver = channels(None)
    envelope = sender.wrap("platform", "talk", Word(CANARY))
    assert containing([envelope], CANARY)
    assert decode(receiver.open(envelope).body, Word, "bank").text == CANARY
    sender, _ = channels(Secret(bytes(32)))
    assert not containing([sender.wrap("platform", "talk", Word(CANARY))], CANARY)


def test_control_without_signatures_an_altered_envelope_is_accepted(monkeypatch: pytest.MonkeyPatch) -> None:
    sender, receiver = channels(None)
    envelope = replace(sender.wrap("platform", "talk", Word(b"a")), body=encode(Word(b"b")))
    with pytest.raises(PeerError, match="signature"):
        receiver.open(envelope)
    monkeypatch.setattr(suite, "verifies", lambda *_: True)
    assert decode(receiver.open(envelope).body, Word, "bank").text == b"b"


# -- floods and noise -------------------------------------------------------------------------------------------------------------


def started(name: str = "bank") -> Participant[Any]:
    here = post()
    party = here.build(name)
    party.deliver(0, ())
    return party


def test_envelopes_of_no_session_yet_are_bounded() -> None:
    alien = replace(honest().passed[-1], session=bytes(32), recipient="bank")
    party = started()
    party.deliver(1, (alien,) * 64)
    assert party.failure is None  # a peer that has every hello may be ahead
    party.deliver(2, (alien,))
    assert isinstance(party.failure, PeerError)
    large = started()
    large.deliver(1, (replace(alien, body=bytes(SMALL + 1)),))
    assert isinstance(large.failure, PeerError)


def test_letters_that_nobody_waits_for_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    keys = honest().parties["platform"]._keys
    channel = session_channel(honest().manifest, "platform", keys)

    def flooded(count: int, size: int) -> Participant[Any]:
        def delivers(here: Post, name: str, number: int, batch: tuple[Envelope, ...]) -> bytes:
            if name == "bank" and number == 2:
                channel.sent["bank"] = 1 + max(e.sequence for e in batch if e.sender == "platform")
                batch += tuple(channel.wrap("bank", "talk 0:/first", Word(bytes(size))) for _ in range(count))
            return here.parties[name].deliver(number, batch)

        here = post(delivers=delivers)
        here.play(rounds=3)
        return here.parties["bank"]

    assert flooded(100, 10).failure is None  # control: ahead, but not by that much; it fails only where they do not fit
    assert isinstance(flooded(300, 10).failure, PeerError)
    monkeypatch.setattr("federation.kernel.participant._MOST_EARLY_BYTES", 100_000)
    assert isinstance(flooded(5, 50_000).failure, PeerError)


def test_a_batch_of_more_envelopes_than_any_honest_one_is_refused_before_they_are_read() -> None:
    with pytest.raises(PeerError):
        decode(encode(Batch(1, (honest().passed[0],) * 4097)), Batch, COORDINATOR, 1 << 30)
    head = encode(Batch(1))[: encode(Batch(1)).index(b"envelopes") + len(b"envelopes")]
    with pytest.raises(PeerError):
        decode(head + b"\xdd\xff\xff\xff\xff", Batch, COORDINATOR, 1 << 30)
    assert len(decode(encode(Batch(1, (honest().passed[0],) * 4096)), Batch, COORDINATOR, 1 << 30).envelopes) == 4096


def test_mutated_batches_raise_peer_errors_and_nothing_else() -> None:
    here = post()
    caught: list[tuple[int, tuple[Envelope, ...]]] = []

    def delivers(at: Post, name: str, number: int, batch: tuple[Envelope, ...]) -> bytes:
        if name == "bank" and number == 2:
            caught.append((number, batch))
            raise StopIteration
        return at.parties[name].deliver(number, batch)

    here.delivers = delivers
    with pytest.raises(StopIteration):
        here.play()
    number, batch = caught[0]
    raw, record = encode(Batch(number, batch)), here.journals["bank"].load()
    assert record is not None
    rng = np.random.default_rng(3)
    unread, refused, aborted, harmless = 0, 0, 0, 0
    for _ in range(10_000):
        mutant = mutated(raw, rng)
        try:
            read = decode(mutant, Batch, COORDINATOR, SMALL)
        except PeerError:
            unread += 1
            continue
        if read.envelopes == batch and read.number == number:
            harmless += 1  # `done`, which a party does not read
            continue
        here.journals["bank"] = kept(record)
        party = here.build("bank")
        try:
            reply = decode(party.deliver(read.number, read.envelopes), Batch, "bank", SMALL)
        except PeerError:
            refused += 1
            continue
        if read.number == number:
            assert isinstance(party.failure, PeerError)
            assert {e.kind for e in reply.envelopes} == {Abort.kind()}
            aborted += 1
        else:
            assert reply.number == read.number  # the last batch's number: its stored answer, once more
            harmless += 1
    print(
        f"seed 3: of 10,000 mutants {unread} do not decode, {refused} have another number, {aborted} end the run, {harmless} change nothing"
    )
    assert unread + refused + aborted + harmless == 10_000
    assert aborted > 1000


def kept(record: Record) -> MemoryJournal:
    """A journal of its own with this record."""
    journal = MemoryJournal()
    journal._record = dataclasses.replace(record, entries=list(record.entries), effects=dict(record.effects))
    return journal


def mutated(raw: bytes, rng: np.random.Generator) -> bytes:
    """A few bytes changed, or a stretch cut out or doubled."""
    mutant = bytearray(raw)
    how = rng.integers(0, 10)
    start, length = int(rng.integers(0, len(raw))), int(rng.integers(1, 40))
    if how == 0:
        del mutant[start : start + length]
    elif how == 1:
        mutant[start:start] = mutant[start : start + length]
    else:
        for place in rng.integers(0, len(raw), rng.integers(1, 4)):
            mutant[place] = int(rng.integers(0, 256))
    return bytes(mutant)
