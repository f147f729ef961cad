"""What a hostile coordinator or institution signs with its own keys: aborts, other places, other kinds, long names. Each is refused or says a code."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from federation.kernel import suite
from federation.kernel.batch import Abort, Batch
from federation.kernel.codec import SMALL, decode, encode
from federation.kernel.envelope import Envelope
from federation.kernel.errors import AbortCode, LocalError, PeerAborted, PeerError
from federation.kernel.role import COORDINATOR
from federation.kernel.session import session_channel
from privacy.attacks.session import containing
from tests.envelope_scene import honest
from tests.post import Post, identity
from tests.talk import CANARY, Notice, Word, post

replace = msgspec.structs.replace


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
