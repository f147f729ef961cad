"""Envelopes in hostile hands: altered, replayed, reordered, withheld, spliced; and what the coordinator can read."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import pytest

from federation.kernel import suite
from federation.kernel.codec import Message, decode, encode
from federation.kernel.envelope import Channel, Envelope
from federation.kernel.errors import AbortCode, PeerError
from federation.kernel.participant import Abort, Batch, Stage
from federation.kernel.role import COORDINATOR, Role, Run
from federation.kernel.secret import Secret
from federation.kernel.state import State
from tests.post import Post, identity, manifest

CANARY = b"canary of a body between institutions"
NAMES = ("bank", "platform", "tax")


class Word(Message, frozen=True, tag="test/word"):
    """A body."""

    text: bytes


class Counted(State, frozen=True):
    done: int = 0


class Talk:
    """Two stages in which every institution tells every other a canary, and the coordinator a plain word."""

    kind = Counted

    def __init__(self, me: str) -> None:
        self.me = me

    def begin(self) -> Counted:
        return Counted()

    def stage(self, state: Counted) -> Stage[Counted] | None:
        def role(run: Run) -> Role[Counted]:
            if self.me == COORDINATOR:
                yield from run.step("talk", dict.fromkeys(run.members, Word(b"hello")), dict.fromkeys(run.members, Word))
            else:
                everyone = dict.fromkeys(run.peers, Word(CANARY)) | {COORDINATOR: Word(b"hello")}
                yield from run.step("talk", everyone, dict.fromkeys((*run.peers, COORDINATOR), Word))
            return Counted(state.done + 1)

        return None if state.done == 2 else Stage(f"talk {state.done}", role)


def post(**hostile: Any) -> Post:
    names = (*NAMES, COORDINATOR)
    return Post(manifest(*NAMES), {name: (lambda name=name: Talk(name)) for name in names}, **hostile)


def outcome(tampered: Post) -> dict[str, Any]:
    parties = tampered.play()
    return {name: (party.finished, party.failure) for name, party in parties.items()}


def alterations() -> list[tuple[str, Any]]:
    """What a hostile post does to one envelope."""
    return [
        ("session", lambda e: msgspec.structs.replace(e, session=bytes(32))),
        ("protocol", lambda e: msgspec.structs.replace(e, protocol="other")),
        ("step", lambda e: msgspec.structs.replace(e, step=e.step + "x")),
        ("sender", lambda e: msgspec.structs.replace(e, sender="tax" if e.sender != "tax" else "bank")),
        ("sequence", lambda e: msgspec.structs.replace(e, sequence=e.sequence + 1)),
        ("kind", lambda e: msgspec.structs.replace(e, kind="kernel/abort")),
        ("body", lambda e: msgspec.structs.replace(e, body=bytes([e.body[0] ^ 1]) + e.body[1:])),
        ("shorter body", lambda e: msgspec.structs.replace(e, body=e.body[:-1])),
        ("signature", lambda e: msgspec.structs.replace(e, signature=bytes(64))),
        ("withheld", lambda _: None),
    ]


def test_no_altered_envelope_is_accepted() -> None:
    honest = post()
    assert all(finished for finished, _ in outcome(honest).values())
    accepted, tried = 0, 0
    for place in range(0, len(honest.passed), 3):
        for _name, alter in alterations():
            seen = iter(range(1 << 20))

            def tamper(envelope: Envelope, place: int = place, alter: Any = alter, seen: Any = seen) -> Envelope | None:
                return alter(envelope) if next(seen) == place else envelope

            result = outcome(post(tamper=tamper))
            tried += 1
            accepted += all(finished for finished, _ in result.values())
            assert all(failure is None or failure.exit_code == 4 for _, failure in result.values())
    print(f"{accepted} of {tried} altered envelopes accepted")
    assert accepted == 0


@pytest.mark.parametrize("how", ["replayed", "from another session"])
def test_an_envelope_is_good_for_one_place(how: str) -> None:
    first = post()
    first.play()
    old = next(e for e in first.passed if e.recipient == "bank" and e.step.startswith("talk 0"))
    done = []

    def tamper(envelope: Envelope) -> Envelope | None:
        if envelope.recipient == "bank" and envelope.step.startswith("talk 1") and not done:
            done.append(1)
            return old
        return envelope

    again = post(tamper=tamper, salt=b"" if how == "replayed" else b"other")
    result = outcome(again)
    assert isinstance(result["bank"][1], PeerError) and not result["bank"][0]


def test_an_abort_says_a_code_and_nothing_else() -> None:
    broken = post(tamper=lambda e: msgspec.structs.replace(e, signature=bytes(64)) if e.step.startswith("talk 0") else e)
    broken.play()
    aborts = [e for e in broken.passed if e.kind == Abort.kind()]
    assert aborts
    plain = [decode(e.body, Abort, e.sender) for e in aborts if e.recipient == COORDINATOR]
    assert plain and all(message == Abort(AbortCode.PROTOCOL) for message in plain)


def test_the_coordinator_reads_no_body_between_institutions() -> None:
    watched = post()
    watched.play()
    assert all(CANARY not in encode(envelope) for envelope in watched.passed)


def _channels(pairs: dict[str, Secret] | None) -> tuple[Channel, Channel]:
    publics = {name: suite.signing_public(identity(name)) for name in NAMES}
    mine = pairs or {}
    return (
        Channel("bank", bytes(32), identity("bank"), publics, {"platform": mine["pair"]} if mine else None),
        Channel("platform", bytes(32), identity("platform"), publics, {"bank": mine["pair"]} if mine else None),
    )


def test_control_before_keys_are_agreed_bodies_are_plain() -> None:
    sender, receiver = _channels(None)
    envelope = sender.wrap("platform", "talk", Word(CANARY))
    assert CANARY in encode(envelope)
    assert decode(receiver.open(envelope).body, Word, "bank").text == CANARY
    sender, _ = _channels({"pair": Secret(bytes(32))})
    assert CANARY not in encode(sender.wrap("platform", "talk", Word(CANARY)))


def test_control_without_signatures_an_altered_envelope_is_accepted(monkeypatch: pytest.MonkeyPatch) -> None:
    sender, receiver = _channels(None)
    envelope = msgspec.structs.replace(sender.wrap("platform", "talk", Word(b"a")), body=encode(Word(b"b")))
    with pytest.raises(PeerError, match="signature"):
        receiver.open(envelope)
    monkeypatch.setattr(suite, "verifies", lambda *_: True)
    assert decode(receiver.open(envelope).body, Word, "bank").text == b"b"


def test_mutated_batches_raise_peer_errors_and_nothing_else() -> None:
    honest = post()
    honest.play()
    raw = encode(Batch(1, tuple(honest.passed[:6])))
    rng, refused = np.random.default_rng(3), 0
    for _ in range(10_000):
        mutant = bytearray(raw)
        for place in rng.integers(0, len(raw), rng.integers(1, 4)):
            mutant[place] = int(rng.integers(0, 256))
        try:
            decode(bytes(mutant), Batch, COORDINATOR, 1 << 20)
        except PeerError:
            refused += 1
    print(f"seed 3: {refused} of 10,000 mutants refused, the rest decode; 0 crashes")
    assert refused > 0
