"""Floods and noise: what may pile up is bounded, and whatever bytes arrive, a party raises a peer error or none."""

from __future__ import annotations

import dataclasses
from typing import Any

import msgspec
import numpy as np
import pytest

from federation.kernel.batch import Abort, Batch
from federation.kernel.codec import SMALL, decode, encode
from federation.kernel.envelope import Envelope
from federation.kernel.errors import PeerError
from federation.kernel.journal import MemoryJournal, Record
from federation.kernel.participant import Participant
from federation.kernel.role import COORDINATOR
from federation.kernel.session import session_channel
from tests.envelope_scene import honest
from tests.post import Post
from tests.talk import Word, post

replace = msgspec.structs.replace


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
    monkeypatch.setattr("federation.kernel.inbox._MOST_EARLY_BYTES", 100_000)
    assert isinstance(flooded(5, 50_000).failure, PeerError)


def test_a_batch_of_more_envelopes_than_any_honest_one_is_refused_before_they_are_read() -> None:
    with pytest.raises(PeerError):
        decode(encode(Batch(1, (honest().passed[0],) * 4097)), Batch, COORDINATOR, 1 << 30)
    head = encode(Batch(1))[: encode(Batch(1)).index(b"envelopes") + len(b"envelopes")]
    with pytest.raises(PeerError):
        decode(head + b"\xdd\xff\xff\xff\xff", Batch, COORDINATOR, 1 << 30)
    assert len(decode(encode(Batch(1, (honest().passed[0],) * 4096)), Batch, COORDINATOR, 1 << 30).envelopes) == 4096


@pytest.mark.parametrize("mutants", [2_500, pytest.param(10_000, marks=pytest.mark.slow)])
def test_mutated_batches_raise_peer_errors_and_nothing_else(mutants: int) -> None:
    """2,500 mutants in the quick tests, 10,000 in the long ones."""
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
    for _ in range(mutants):
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
        f"seed 3: of {mutants:,} mutants {unread} do not decode, {refused} have another number, {aborted} end the run, {harmless} change nothing"
    )
    assert unread + refused + aborted + harmless == mutants
    assert aborted > mutants // 10


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
