"""An agency that holds consents says whose rows may be used, once and for this run; a coordinator can alter, replay or keep back no statement."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import msgspec
import pytest

import clients.stated
from clients.consent import audited
from clients.consented import Consents
from clients.held import HeldConsents
from clients.node import Node
from federation.kernel import suite
from federation.kernel.batch import Abort, Batch
from federation.kernel.codec import decode, encode
from federation.kernel.errors import AbortCode, ConfigurationError, CreditfedError, LocalError, PeerAborted, PeerError, PolicyRefusal
from federation.kernel.relay import Relay
from federation.kernel.role import COORDINATOR
from federation.kernel.secret import Secret
from federation.kernel.session import opening_channel
from privacy.attacks.agency import OTHER_STATEMENTS, restated
from privacy.consent import statement as statements
from privacy.consent.statement import Told, acknowledge, commitment
from privacy.consent.subject import HASH_BYTES, Pseudonyms
from tests.agency_consent_scene import AGENCY, CONSENTING, FIRMS, PLATFORM, STRANGER, TOMORROW, Held
from tests.post import identity

replace = msgspec.structs.replace


@pytest.fixture
def held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Held:
    return Held(tmp_path, monkeypatch)


# -- what a statement says, and to whom ---------------------------------------------------------------------------------------------


def test_the_vault_gives_the_rows_of_the_statement_and_no_other(held: Held) -> None:
    made = held.open()
    assert held.rows(made) == set(CONSENTING) < set(FIRMS)


def test_without_a_statement_the_platform_refuses_before_anything_is_read_of_it(held: Held) -> None:
    made = held.drafted()
    held.signed(held.agency, made)
    with pytest.raises(PolicyRefusal, match="no consent statement of agency has come") as refusal:
        held.signed(held.platform, made)
    assert refusal.value.code is AbortCode.CONSENT


def test_a_statement_lists_everyone_in_order_whoever_the_platform_knows(held: Held) -> None:
    held.signed(held.agency, held.drafted())
    statement = held.opened_statement(held.told())
    names = Pseudonyms(statements.ledger_key(held.shared))
    assert statement.hashes == sorted(names.of([*CONSENTING, STRANGER]))


def test_the_carrier_reads_nothing_and_learns_no_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sealed: list[Told] = []
    for name, firms in (("few", FIRMS[:20]), ("many", FIRMS)):
        (tmp_path / name).mkdir()
        scene = Held(tmp_path / name, monkeypatch, firms)
        scene.signed(scene.agency, scene.drafted())
        sealed.append(scene.told())
        hashes = scene.opened_statement(sealed[-1]).hashes
        assert not any(subject in msgspec.msgpack.encode(sealed[-1]) for subject in hashes)
        assert any(subject in b"".join(hashes) for subject in hashes), "control: in what is not sealed the search finds them"
    assert len({len(told.sealed) for told in sealed}) == 1
    assert len({told.nonce for told in sealed}) == 2


def test_two_statements_of_one_run_share_neither_key_nor_digest(held: Held) -> None:
    made = held.drafted()
    held.signed(held.agency, made)
    first = held.told()
    held.withdraw(CONSENTING[0])
    held.signed(held.agency, made)
    second = held.told()
    assert first.nonce != second.nonce and first.roll != second.roll


# -- a statement that is another ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", OTHER_STATEMENTS)
def test_a_statement_about_anything_else_is_refused(held: Held, how: str) -> None:
    with pytest.raises(PeerError, match="consent statement"):
        held.hear(_other(held, how))
    with pytest.raises(PolicyRefusal, match="no consent statement"):
        held.signed(held.platform, held.drafted())


@pytest.mark.parametrize("how", OTHER_STATEMENTS)
def test_control_a_platform_that_does_not_look_takes_any(held: Held, how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for rule in ("require", "require_first"):
        monkeypatch.setattr(clients.stated, rule, lambda *_: None)
    assert held.hear(_other(held, how))


def _other(held: Held, how: str) -> Told:
    held.signed(held.agency, held.drafted())
    told = held.told()
    return restated(told, OTHER_STATEMENTS[how](held.opened_statement(told)), held.agency.identity, held.shared)


SPOILS: dict[str, Callable[[Told], Told]] = {
    "a bit of its beginning": lambda t: replace(t, sealed=bytes([t.sealed[0] ^ 1]) + t.sealed[1:]),
    "a bit of its end": lambda t: replace(t, sealed=t.sealed[:-1] + bytes([t.sealed[-1] ^ 1])),
    "a byte less": lambda t: replace(t, sealed=t.sealed[:-1]),
    "nothing": lambda t: replace(t, sealed=b""),
    "another nonce": lambda t: replace(t, nonce=bytes(32)),
}


@pytest.mark.parametrize("how", SPOILS)
def test_an_altered_statement_is_refused(held: Held, how: str) -> None:
    held.signed(held.agency, held.drafted())
    with pytest.raises(PeerError, match="altered"):
        held.hear(SPOILS[how](held.told()))


def test_a_statement_under_other_keys_is_refused(held: Held) -> None:
    held.signed(held.agency, held.drafted())
    told = held.told()
    statement = held.opened_statement(told)
    with pytest.raises(PeerError, match="signature does not hold"):
        held.hear(restated(told, statement, identity("tax"), held.shared))
    with pytest.raises(PeerError, match="altered or is sealed to another"):
        held.hear(restated(told, statement, held.agency.identity, Secret(bytes(32))))


def test_control_without_seal_and_signature_the_carrier_adds_a_firm(held: Held, monkeypatch: pytest.MonkeyPatch) -> None:
    added = Pseudonyms(statements.ledger_key(held.shared)).of([FIRMS[-1]])[0]

    def with_one_more(told: Told) -> Told:
        """What a carrier can do with a statement that it reads."""
        statement = _readable(told)
        more = replace(statement, subjects=b"".join(sorted([*statement.hashes, added])))
        return replace(told, sealed=statements.seal(more, Secret(bytes(32)), Secret(bytes(32)), told.nonce))

    monkeypatch.setattr(suite, "seal", lambda _key, _nonce, _header, plain: plain)
    monkeypatch.setattr(suite, "unseal", lambda _key, _nonce, _header, sealed: sealed)
    made = held.drafted()
    held.signed(held.agency, made)
    told = with_one_more(held.told())
    with pytest.raises(PeerError, match="signature does not hold"):
        held.hear(told)
    monkeypatch.setattr(suite, "verifies", lambda *_: True)
    held.hear(told)
    held.signed(held.platform, made)
    assert FIRMS[-1] in held.rows(made)


def _readable(told: Told) -> statements.Statement:
    size = int.from_bytes(told.sealed[:8], "big")
    return msgspec.convert(msgspec.msgpack.decode(told.sealed[8 : 8 + size])["statement"], statements.Statement)


def test_yesterdays_statement_opens_nothing_today(held: Held) -> None:
    made = held.drafted()
    held.signed(held.agency, made)
    told = held.told()
    held.heard(held.hear(told))
    held.now = TOMORROW
    with pytest.raises(PeerError, match="another day"):
        held.signed(held.platform, made)
    held.signed(held.agency, made)
    assert held.told() != told, "a new one is made"


def test_a_run_without_an_agency_takes_no_statement(held: Held) -> None:
    made = held.drafted()
    parties = tuple(replace(party, consents_at_agency=False) for party in made.parties)
    held.signed(held.agency, made)
    other = replace(held.told(), manifest=replace(made, parties=parties).canonical())
    with pytest.raises(ConfigurationError, match="not held at an agency"):
        held.hear(other)


# -- a statement that was in force, and is not any more -----------------------------------------------------------------------------


def test_a_statement_that_the_agency_made_anew_is_not_the_one_that_it_signed_for(held: Held) -> None:
    """The coordinator gives the platform the statement of before a withdrawal, with the agency's newer signature, or with the older one."""
    made = held.drafted()
    before = held.proposed(made)
    held.withdraw(CONSENTING[0])
    after = held.signed(held.agency, made)
    held.heard(acknowledge(held.opened_statement(held.told()), held.platform.identity))
    with pytest.raises(PeerError, match="another consent statement than the agency's signature commits to"):
        held.ask(held.platform, "open", held.opening(made, before | {AGENCY: after}))
    with pytest.raises(CreditfedError, match="not those that this run was approved for"):
        held.ask(held.agency, "open", held.opening(made, before))


def test_control_a_platform_that_does_not_compare_opens_with_the_old_statement(held: Held, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clients.stated.StatedConsents, "require_committed", lambda *_: None)
    made = held.drafted()
    before = held.proposed(made)
    held.withdraw(CONSENTING[0])
    after = held.signed(held.agency, made)
    held.ask(held.platform, "open", held.opening(made, before | {AGENCY: after}))
    assert CONSENTING[0] in held.rows(made)


def test_the_agencys_signature_commits_to_the_statement(held: Held) -> None:
    made = held.drafted()
    signature = held.signed(held.agency, made)
    told = held.told()
    assert signature.snapshot == commitment({PLATFORM: held.opened_statement(told).digest}) == commitment(told.roll)
    assert held.signed(held.agency, made) == signature, "asked again, it says the same"


def test_the_agency_opens_no_run_whose_statement_was_not_acknowledged(held: Held) -> None:
    made = held.drafted()
    agency = held.signed(held.agency, made)
    held.hear(held.told())
    opening = held.opening(made, {AGENCY: agency, PLATFORM: held.signed(held.platform, made)})
    with pytest.raises(PeerError, match="not acknowledged"):
        held.ask(held.agency, "open", opening)


# -- withdrawal while a run goes on -------------------------------------------------------------------------------------------------


def test_after_a_withdrawal_nothing_passes_until_the_platform_has_heard(held: Held) -> None:
    made = held.open()
    hello = held.hello()
    held.withdraw(CONSENTING[3], STRANGER)
    table = held.platform.table(made)
    for _ in range(3):
        answer = held.relay(0, hello)
        assert answer.operation == "consents", "a coordinator that asks again gets the statement again, and nothing else"
    assert held.platform.gate.consents.gone(made, table) is None
    acknowledgement = held.hear(held.told_in(answer))
    gone = held.platform.gate.consents.gone(made, table)
    assert gone is not None and {firm for firm, over in zip(table.firms, gone, strict=True) if over} == {CONSENTING[3]}
    assert held.relay(0, hello).operation == "consents", "a coordinator that does not say so gains nothing"
    held.heard(acknowledgement)
    passed = held.relay(0, hello)
    assert passed.operation == "deliver" and decode(passed.payload, Batch, AGENCY, 1 << 20).envelopes


def test_control_an_agency_that_does_not_look_lets_the_run_go_on(held: Held, monkeypatch: pytest.MonkeyPatch) -> None:
    held.open()
    hello = held.hello()
    held.withdraw(CONSENTING[3])
    monkeypatch.setattr(HeldConsents, "look", lambda *_: None)
    assert decode(held.relay(0, hello).payload, Batch, AGENCY, 1 << 20).envelopes


def test_an_acknowledgement_of_anything_else_is_refused(held: Held) -> None:
    held.open()
    first = clients.stated.read_told((held.homes[PLATFORM].root / "journal" / "test.statement").read_bytes())
    held.withdraw(CONSENTING[3])
    last = held.opened_statement(held.told_in(held.relay(0, held.hello())))
    for forged in (
        b"", bytes(64), acknowledge(held.opened_statement(first), held.platform.identity), acknowledge(last, held.agency.identity),
        acknowledge(last, identity("bank")), acknowledge(replace(last, number=2), held.platform.identity),
    ):  # fmt: skip
        with pytest.raises(PeerError, match="acknowledgement that does not hold"):
            held.heard(forged)
    held.heard(acknowledge(last, held.platform.identity))


def test_an_older_statement_or_one_that_adds_is_refused_in_an_open_run(held: Held) -> None:
    held.open()
    path = held.homes[PLATFORM].root / "journal" / "test.statement"
    first = clients.stated.read_told(path.read_bytes())
    held.withdraw(CONSENTING[3])
    last = held.told_in(held.relay(0, held.hello()))
    old, new = held.opened_statement(first), held.opened_statement(last)
    added = b"".join(sorted([*new.hashes[1:], bytes(HASH_BYTES)]))
    for wrong in (
        replace(new, number=2), replace(new, former=bytes(32)), replace(new, subjects=old.subjects), replace(new, subjects=added),
        replace(new, day=new.day - 1), replace(new, day=new.day + 1), replace(old, salt=bytes(32)),
    ):  # fmt: skip
        with pytest.raises(PeerError, match="consent statement"):
            held.hear(restated(last, wrong, held.agency.identity, held.shared))
    held.heard(held.hear(last))
    kept = path.read_bytes()
    with pytest.raises(PeerError, match="number 0"):
        held.hear(first)
    assert path.read_bytes() == kept


def test_control_a_platform_without_the_rule_goes_back_to_the_old_statement(held: Held, monkeypatch: pytest.MonkeyPatch) -> None:
    made = held.open()
    first = clients.stated.read_told((held.homes[PLATFORM].root / "journal" / "test.statement").read_bytes())
    held.withdraw(CONSENTING[3])
    held.heard(held.hear(held.told_in(held.relay(0, held.hello()))))
    monkeypatch.setattr(clients.stated, "require_next", lambda *_: None)
    held.hear(first)
    assert held.platform.gate.consents.gone(made, held.platform.table(made)) is None


def test_killed_at_any_moment_both_go_on_with_the_same_rows_and_statement(held: Held) -> None:
    made = held.open()
    hello, rows = held.hello(), held.rows(made)
    held.withdraw(CONSENTING[3])
    held.restart()
    told = held.relay(0, hello)
    held.restart()
    assert held.relay(0, hello) == told
    acknowledgement = held.hear(held.told_in(told))
    held.restart()
    assert held.rows(made) == rows and held.hear(held.told_in(told)) == acknowledgement
    held.heard(acknowledgement)
    held.restart()
    assert held.relay(0, hello).operation == "deliver"
    gone = held.platform.gate.consents.gone(made, held.platform.table(made))
    assert gone is not None and gone.sum() == 1


@pytest.mark.parametrize("weakened", [False, True], ids=["", "control"])
def test_an_abort_that_the_agency_alone_hears_does_not_end_its_watch_and_control_it_did(
    weakened: bool, held: Held, monkeypatch: pytest.MonkeyPatch
) -> None:
    if weakened:
        monkeypatch.setattr(Relay, "stopped", property(lambda relay: relay.failure is not None))
        monkeypatch.setattr(Relay, "deliver", lambda _relay, number, envelopes: encode(Batch(number, envelopes)))
    made, hello = held.open(), held.hello()
    abort = opening_channel(made, COORDINATOR, identity(COORDINATOR)).wrap(AGENCY, "abort", Abort(AbortCode.STOPPED))
    held.ask(held.agency, "deliver", encode(Batch(0, (abort,))))
    assert isinstance(held.agency._runs["test"].participant.failure, PeerAborted) or weakened
    if weakened:
        held.agency._runs["test"].participant.failure = PeerAborted(COORDINATOR, AbortCode.STOPPED)
    held.withdraw(CONSENTING[3])
    assert held.relay(1, hello).operation == ("deliver" if weakened else "consents"), "nothing passes before the platform has heard"


@pytest.mark.parametrize("weakened", [False, True], ids=["", "control"])
def test_an_opening_that_came_to_nothing_decides_no_later_one_and_control_it_did(
    weakened: bool, held: Held, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The platform's opening dies when its rows were kept; a firm withdraws; the run is begun again under another first statement."""
    made = held.drafted()
    opening = held.opening(made, held.proposed(made))
    with monkeypatch.context() as dying:
        dying.setattr(Node, "_open_run", lambda *_: (_ for _ in ()).throw(LocalError("platform", "dies here", "Restart it.")))
        with pytest.raises(LocalError, match="dies here"):
            held.ask(held.platform, "open", opening)
    held.withdraw(CONSENTING[3])
    held.restart()
    if weakened:
        monkeypatch.setattr(Consents, "again", lambda *_: None)
    try:
        held.proposed(made)
    except LocalError:  # what was recorded to be released was another table: the run needs another name
        assert not weakened
        return
    assert (CONSENTING[3] in held.rows(made)) == weakened


def test_a_ledger_that_went_back_ends_the_run_at_the_agency(held: Held) -> None:
    home = held.homes[AGENCY].root
    held.withdraw(CONSENTING[0])
    held.open()
    (home / "consent" / f"{PLATFORM}.db").unlink()
    reply = decode(held.relay(0, held.hello()).payload, Batch, AGENCY, 1 << 20)
    assert reply.done and {envelope.kind for envelope in reply.envelopes} == {"kernel/abort"}
    failure = held.agency._runs["test"].participant.failure
    assert failure is not None and failure.code is AbortCode.CONSENT


# -- what is written down -----------------------------------------------------------------------------------------------------------


def test_the_agency_notes_whom_a_run_could_use_and_the_platform_notes_nobody(held: Held) -> None:
    held.open()
    with closing(audited(held.homes[AGENCY], PLATFORM)) as ledger:
        assert [use.run for use in ledger.explain(STRANGER).uses] == [use.run for use in ledger.explain(CONSENTING[0]).uses] == ["test"]
        assert ledger.explain(FIRMS[-1]).uses == ()
    assert not (held.homes[PLATFORM].root / "consent").exists()
