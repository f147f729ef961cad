"""What a participant remembers through death: the same bytes, its effects, its failure; and what it refuses.

On a small program (`tests.talk`), with the death at every place where it can matter; the real programs are in test_participants.
"""

from __future__ import annotations

import copy
import os
from collections.abc import Mapping
from typing import Any

import pytest

from federation.kernel.batch import Abort, Batch
from federation.kernel.codec import decode, encode
from federation.kernel.envelope import Envelope
from federation.kernel.errors import AbortCode, CreditfedError, DataError, LocalError, PeerAborted, PeerError
from federation.kernel.journal import MemoryJournal, Record
from federation.kernel.participant import Participant
from federation.kernel.role import COORDINATOR
from federation.kernel.session import opening_session
from federation.kernel.snapshot import read_snapshot
from federation.kernel.tally import SENT, Witness
from privacy.attacks.session import opened, reused
from tests.mortal import MortalJournal, dying
from tests.post import Post, identity, manifest
from tests.talk import CANARY, EVERYONE, NAMES, Talk, Word, post, result

Deliver = tuple[Envelope, ...]


def mortal(before: bool) -> tuple[Post, list[bool]]:
    """A talk in which every party dies at every batch; whether it then sent the very bytes that it was about to send."""
    same: list[bool] = []

    def delivers(here: Post, name: str, number: int, batch: Deliver) -> bytes:
        unsent, reply = dying(here, name, number, batch)
        same.append(reply == unsent)
        return reply

    made = post(delivers=delivers)
    made.journals = {name: MortalJournal(before=before) for name in EVERYONE}
    return made, same


@pytest.mark.parametrize("before", [True, False], ids=["before it is stored", "after it is stored"])
def test_killed_in_the_midst_of_every_batch_the_same_bytes_are_sent_and_the_result_is_the_same(before: bool) -> None:
    calm = post()
    calm.play()
    stormy, same = mortal(before)
    stormy.play()
    print(f"{len(same)} deaths, {len(same) - sum(same)} replies that differ")
    assert all(same)
    assert len(same) == sum(party._number + 1 for party in calm.parties.values())
    assert result(stormy) == result(calm)


def test_control_an_effect_that_is_not_stored_is_produced_twice_and_shows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Participant, "effect", lambda _self, _label, produce: produce())
    stormy = post(killed=lambda _party, _number: True)
    stormy.play()
    failed = [party for party in stormy.parties.values() if party.failure]
    assert failed or not all(heard.steady for heard in result(stormy).values())


def test_an_effect_is_stored_before_it_is_used() -> None:
    order: list[str] = []

    class Watched(MemoryJournal):
        def keep(self, label: str, value: bytes) -> None:
            super().keep(label, value)
            order.append("kept")

    party = Participant(manifest(*NAMES), "bank", identity("bank"), Talk("bank"), Watched(), entropy=lambda n: bytes(range(n)))

    def produce() -> bytes:
        order.append("produced")
        return b"value"

    assert party.effect("label", produce) == b"value"
    order.append("used")
    assert party.effect("label", produce) == b"value"
    assert order == ["produced", "kept", "used"]


def test_a_batch_delivered_again_gives_the_same_bytes_whatever_is_in_it_now() -> None:
    def delivers(here: Post, name: str, number: int, batch: Deliver) -> bytes:
        reply = here.parties[name].deliver(number, batch)
        before = copy.deepcopy(here.journals[name].load())
        assert here.parties[name].deliver(number, batch) == reply
        assert here.parties[name].deliver(number, ()) == reply
        assert here.build(name).deliver(number, batch) == reply
        assert here.journals[name].load() == before
        return reply

    calm, doubled = post(), post(delivers=delivers)
    calm.play()
    doubled.play()
    assert result(doubled) == result(calm)
    assert [e.kind for e in doubled.passed] == [e.kind for e in calm.passed]


def test_a_batch_from_the_future_or_the_past_is_refused_and_changes_nothing() -> None:
    refused = 0

    def delivers(here: Post, name: str, number: int, batch: Deliver) -> bytes:
        nonlocal refused
        for wrong in {number + 1, number + 7, number - 2, -1, -5, 1 << 62} - {number, number - 1}:
            before = copy.deepcopy(here.journals[name].load())
            with pytest.raises(PeerError, match="batch"):
                here.parties[name].deliver(wrong, batch)
            assert here.journals[name].load() == before
            refused += 1
        return here.parties[name].deliver(number, batch)

    calm, asked = post(), post(delivers=delivers)
    calm.play()
    asked.play()
    print(f"{refused} of {refused} refused")
    assert result(asked) == result(calm)


# -- what the log says of messages -------------------------------------------------------------------------------------------------


def accounts(journals: type[MemoryJournal]) -> tuple[dict[tuple[str, ...], Any], int]:
    """A talk in which every party dies before each batch and makes other bytes whenever it makes a message again: by stage, sender and recipient
    what the sender's log has and what the recipient's; and deaths.
    """
    told: dict[tuple[str, ...], list[tuple[int, bytes]]] = {}
    deaths: list[tuple[str, int]] = []

    def witness(me: str) -> Witness:
        def take(_session: str, stage: str, counts: Mapping[str, Mapping[str, tuple[int, bytes]]]) -> None:
            for direction, peers in counts.items():
                for peer, count in peers.items():
                    told.setdefault((stage, *((me, peer) if direction == "sent" else (peer, me))), []).append(count)

        return take

    def killed(name: str, number: int) -> bool:
        deaths.append((name, number))
        return True

    programs = {name: lambda name=name: Talk(name, fresh=lambda: os.urandom(8)) for name in EVERYONE}
    more = {name: {"witness": witness(name)} for name in EVERYONE}
    here = Post(manifest(*NAMES), programs, killed=killed, more=more, journals={name: journals() for name in EVERYONE})
    result_of = here.play()
    assert all(party.finished and not party.failure for party in result_of.values())
    return told, len(deaths)


def test_after_every_death_the_log_has_what_was_sent_and_not_what_was_made_again() -> None:
    told, deaths = accounts(MemoryJournal)
    differ = [place for place, both in told.items() if len(set(both)) > 1]
    print(f"{deaths} deaths, {len(told)} accounts of a stage, {len(differ)} in which sender and recipient differ")
    assert len(told) > 20
    assert not differ


def test_control_a_journal_that_keeps_no_tally_makes_honest_parties_accounts_differ() -> None:
    class Careless(MemoryJournal):
        def answered(self, number: int, batch: bytes, reply: bytes, snapshot: bytes | None, effects: dict[str, bytes]) -> None:
            super().answered(number, batch, reply, snapshot, {label: value for label, value in effects.items() if label != SENT})

    told, _ = accounts(Careless)
    assert [place for place, both in told.items() if len(set(both)) > 1]


# -- failures ---------------------------------------------------------------------------------------------------------------------


def failing(sender: str = "platform") -> Post:
    """A talk in which one envelope to the bank has another signature."""
    done: list[int] = []

    def tamper(envelope: Envelope) -> Envelope:
        if envelope.recipient == "bank" and envelope.sender == sender and envelope.step.startswith("talk 1") and not done:
            done.append(1)
            return Envelope(**{f: getattr(envelope, f) for f in envelope.__struct_fields__} | {"signature": bytes(64)})
        return envelope

    made = post(tamper=tamper)
    made.play()
    return made


def record(here: Post, name: str) -> Record:
    found = here.journals[name].load()
    assert found is not None
    return found


def test_a_failure_outlives_the_process_and_nothing_more_is_ever_sent() -> None:
    here = failing()
    bank = here.parties["bank"]
    assert isinstance(bank.failure, PeerError)
    last = bank._number
    sent = bank.deliver(last, ())
    assert {e.kind for e in decode(sent, Batch, "bank", 1 << 20).envelopes} == {Abort.kind()}
    for _ in range(3):
        again = here.build("bank")
        assert isinstance(again.failure, PeerError)
        assert str(again.failure) == str(bank.failure)
        assert again.deliver(last, ()) == sent
        for number in (last + 1, last + 2, last + 9):
            assert decode(again.deliver(number, tuple(here.passed[:4])), Batch, "bank", 1 << 20) == Batch(number, (), done=True)
        with pytest.raises(PeerError):
            again.deliver(last - 1, ())


def test_a_failed_party_keeps_no_keys_and_lets_nobody_fill_its_disk() -> None:
    here = failing()
    kept = record(here, "bank")
    image = read_snapshot(kept.snapshot)
    assert (image.keys.root, image.keys.group, image.state, kept.effects, kept.entries) == (b"", b"", b"", {}, [])
    calm = post()
    calm.play()
    assert read_snapshot(record(calm, "bank").snapshot).keys.root  # control: a party that has not failed has its keys
    before = copy.deepcopy(kept)
    for number in range(100):
        here.parties["bank"].deliver(here.parties["bank"]._number + 1 + number, tuple(here.passed))
    assert record(here, "bank") == before


@pytest.mark.parametrize(
    "error", [DataError("a", "b", "c"), LocalError("a", "b"), PeerAborted("a", DataError.default_code)], ids=lambda e: type(e).__name__
)
def test_a_failure_comes_back_as_the_error_that_it_was(error: CreditfedError) -> None:
    here = post()
    here.parties = {name: here.build(name) for name in here.programs}
    here.parties["bank"].deliver(0, ())
    here.parties["bank"].abort(error)
    again = here.build("bank").failure
    assert type(again) is type(error)
    assert (str(again), again.code, again.exit_code) == (str(error), error.code, error.exit_code)


def breaks_once(*, forgetful: bool) -> Post:
    """A bug at the bank in its first stage, once; the node then aborts, is restarted, and the coordinator goes on as if nothing had been.

    forgetful: the node comes back with the journal as it was before the abort.
    """
    bugs: list[int] = []

    def disturb(party: str, stage: int) -> None:
        if party == "bank" and stage == 0 and not bugs:
            bugs.append(1)
            raise ZeroDivisionError

    def delivers(here: Post, name: str, number: int, batch: Deliver) -> bytes:
        before = copy.deepcopy(here.journals[name].load())
        try:
            return here.parties[name].deliver(number, batch)
        except ZeroDivisionError:
            aborted = here.parties[name].abort(LocalError(name, "an internal error"))
            here.passed += decode(aborted, Batch, name, 1 << 20).envelopes  # the coordinator has them, and tells nobody
            if forgetful:
                here.journals[name]._record = before  # type: ignore[attr-defined]
            here.parties[name] = here.build(name)
            return here.parties[name].deliver(number, batch)

    here = post(disturb, delivers=delivers)
    here.play()
    return here


def test_after_an_internal_error_and_a_restart_no_sequence_number_serves_twice() -> None:
    here = breaks_once(forgetful=False)
    assert isinstance(here.parties["bank"].failure, LocalError)
    assert not reused(here.passed)


def test_control_a_party_that_forgets_its_failure_uses_sequence_numbers_twice_and_shows_its_words() -> None:
    here = breaks_once(forgetful=True)
    code = encode(Abort(AbortCode.INTERNAL))
    shown = {opened(later, abort, code) for abort, later in reused(here.passed) if COORDINATOR not in (later.sender, later.recipient)}
    assert encode(Word(CANARY))[: len(code)] in shown


def test_an_abort_in_the_midst_of_a_batch_is_the_next_that_peers_expect() -> None:
    def disturb(party: str, stage: int) -> None:
        if party == "bank" and stage == 1:
            raise ZeroDivisionError

    def delivers(here: Post, name: str, number: int, batch: Deliver) -> bytes:
        try:
            return here.parties[name].deliver(number, batch)
        except ZeroDivisionError:
            return here.parties[name].abort(LocalError(name, "an internal error"))

    here = post(disturb, delivers=delivers)
    here.play()
    for name in ("platform", "tax", COORDINATOR):
        failure = here.parties[name].failure
        assert isinstance(failure, PeerAborted), (name, failure)
        assert failure.where == "bank"


# -- what is not resumed ----------------------------------------------------------------------------------------------------------


def test_a_journal_that_replays_to_another_place_is_refused() -> None:
    class Wordier(Talk):
        """The same program after an update: one message more."""

        def talk(self, run: Any, state: Any) -> Any:
            yield from run.step("extra", dict.fromkeys(run.peers, Abort(LocalError.default_code)))
            return (yield from super().talk(run, state))

    here = post(killed=lambda party, number: party == "bank" and number == 4)
    here.programs = dict(here.programs) | {"bank": _second_time(Talk("bank"), Wordier("bank"))}
    with pytest.raises(LocalError, match="does not replay"):
        here.play()


def _second_time(first: Talk, then: Talk) -> Any:
    programs = iter([first])
    return lambda: next(programs, then)


def test_other_data_than_the_run_began_with_are_refused() -> None:
    here = post()
    here.play()
    build = {"entropy": bytes, "commitment": b"\1" * 32}
    with pytest.raises(DataError, match="data"):
        Participant(here.manifest, "bank", identity("bank"), Talk("bank"), here.journals["bank"], **build)  # type: ignore[arg-type]


def test_a_lost_journal_opens_another_session_that_no_peer_is_in() -> None:
    here = post()

    def delivers(post: Post, name: str, number: int, batch: Deliver) -> bytes:
        if name == "bank" and number == 3:
            post.salt, post.journals["bank"] = b"fresh entropy", MemoryJournal()
            post.parties["bank"] = post.build("bank")
            with pytest.raises(PeerError, match="batch 3"):
                post.parties["bank"].deliver(number, batch)
        return post.parties[name].deliver(number - 3 if name == "bank" and number >= 3 else number, batch)

    here.delivers = delivers
    here.play()
    assert not any(party.finished for party in here.parties.values())
    assert not reused(e for e in here.passed if e.session != opening_session(here.manifest))  # hellos are plain, and signed twice
