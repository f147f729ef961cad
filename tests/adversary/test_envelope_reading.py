"""What the coordinator, which carries every envelope, can read: no body between institutions, and no two alike."""

from __future__ import annotations

import pytest

from federation.kernel.codec import decode
from federation.kernel.envelope import Channel
from federation.kernel.role import COORDINATOR
from federation.kernel.secret import Secret
from privacy.attacks.session import containing
from tests.envelope_scene import channels, honest
from tests.talk import CANARY, Word, post, result


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


def test_control_before_keys_are_agreed_bodies_are_plain() -> None:
    sender, receiver = channels(None)
    envelope = sender.wrap("platform", "talk", Word(CANARY))
    assert containing([envelope], CANARY)
    assert decode(receiver.open(envelope).body, Word, "bank").text == CANARY
    sender, _ = channels(Secret(bytes(32)))
    assert not containing([sender.wrap("platform", "talk", Word(CANARY))], CANARY)
