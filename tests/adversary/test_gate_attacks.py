"""Ways past the gate that were looked for as a malicious coordinator, a curious insider without an owner's key, or a crash: each is closed.

Where a weakened copy shows that the way was open, the control goes through it.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import msgspec
import pytest
import typer

import clients.gate
from clients.node_commands import approve, pending, revoke, show
from federation.kernel.errors import AbortCode, ConfigurationError, CreditfedError, PeerError
from federation.kernel.manifest import ColumnDeclaration
from privacy.approval import vote, words
from privacy.approval.learning import ACROSS, OVER_BANKS, contracts_of
from privacy.approval.vote import cast
from tests.house import ENDS, NOW, House, aborted, refused
from tests.post import manifest

LATER = "2026-05-01T12:00:01Z"
replace = msgspec.structs.replace


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> House:
    return House(tmp_path / "bank", monkeypatch)


# -- a person signs what was shown ------------------------------------------------------------------------------------------------


def test_a_manifest_that_is_exchanged_while_another_is_on_the_screen_gets_no_vote(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    shown, other = house.drafted(), house.drafted(seed=8)
    refused(house, shown)
    monkeypatch.setattr(typer, "confirm", lambda *_, **__: refused(house, other))
    with pytest.raises(ConfigurationError, match="while this one was shown"):
        approve("test", "alice", house.root, None, yes=False)
    assert refused(house, other) is refused(house, shown) is AbortCode.APPROVAL
    monkeypatch.setattr(typer, "confirm", lambda *_, **__: None)
    approve("test", "alice", house.root, None, yes=False)
    house.proposed(shown)


def test_a_run_is_revoked_by_its_name_whatever_was_proposed_under_it_since(house: House) -> None:
    made = house.opened()
    other = house.drafted(seed=8)
    with pytest.raises(PeerError, match="open already"):
        house.proposed(other)
    house.node.gate.approvals.propose(other, NOW)  # and if it had come before
    revoke("test", "alice", house.root, None)
    assert aborted(house) == {AbortCode.REVOKED}
    assert refused(house, made) is AbortCode.REVOKED


def test_a_name_that_was_revoked_is_free_again_when_the_same_person_approves_later(house: House) -> None:
    made = house.drafted()
    refused(house, made)
    revoke("test", "alice", house.root, None)
    house.vote(made.hash, "bob")
    assert refused(house, made) is AbortCode.REVOKED
    house.now = LATER
    approve("test", "alice", house.root, None, yes=True)
    house.proposed(made)


def test_an_earlier_vote_copied_to_the_end_brings_no_approval_back_and_control_where_the_last_line_counts_it_does(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = house.drafted()
    house.vote(made.hash)
    house.proposed(made)
    house.now = LATER
    house.vote(made.hash, "alice", "revoke")
    path = house.root / "approvals" / "votes.jsonl"
    path.write_bytes(path.read_bytes() + path.read_bytes().splitlines(keepends=True)[0])
    assert refused(house, made) is AbortCode.REVOKED
    monkeypatch.setattr(vote, "_approves", lambda mine: mine[-1].verdict == "approve")  # control: the last line counts
    house.proposed(made)


def test_a_revocation_by_a_clock_that_went_back_still_holds(house: House) -> None:
    made = house.drafted()
    house.vote(made.hash)
    house.now = "2026-04-30T00:00:00Z"
    house.vote(made.hash, "alice", "revoke")
    assert refused(house, made) is AbortCode.REVOKED


HOSTILE = "x\x1b[2J\x1b[1;1H\u202eevil\nWhat it costs\n  nothing[/bold][red]"


def test_no_text_of_a_manifest_steers_the_screen(house: House, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    made = house.drafted(purpose=HOSTILE, code_version=HOSTILE, requested_by=HOSTILE)
    others = tuple(replace(party, columns=(ColumnDeclaration(name=HOSTILE, kind="numeric"),)) for party in made.parties[1:])
    made = replace(made, parties=(made.parties[0], *others))
    with pytest.raises(CreditfedError):
        house.proposed(made)
    for command in (partial(pending, house.root), partial(show, "test", house.root)):
        capsys.readouterr()
        command()
        text = capsys.readouterr().out
        assert "\x1b" not in text and "\u202e" not in text and "\n  nothing" not in text
    assert "\\u202eevil\\n" in text, "it is shown as what it is"
    monkeypatch.setattr(words, "legible", lambda line: line)  # control
    show("test", house.root)
    text = capsys.readouterr().out
    assert "\x1b" in text and "\n  nothing" in text


def test_a_manifest_that_nobody_could_read_is_not_put_before_anybody(house: House) -> None:
    for changes in ({"code_version": "x" * 1_001}, {"contracts": tuple(f"c{i}" for i in range(40))}):
        assert refused(house, house.drafted(**changes)) is AbortCode.REVOKED
    assert not list((house.root / "approvals").glob("*.json"))


@pytest.mark.parametrize("task", ["train", "binning"])
def test_contracts_cannot_be_left_out_of_what_people_are_told(task: str, house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = house.drafted(task=task, model="scorecard")
    for name in whole.contracts:
        less = replace(whole, contracts=tuple(other for other in whole.contracts if other != name))
        house.vote(less.hash)
        assert refused(house, less) is AbortCode.REVOKED
        assert any(line.startswith(f"{name}: ") for section in words.describe(less, "bank") for line in section.lines)
    house.vote(whole.hash)
    house.proposed(whole)
    monkeypatch.setattr(clients.gate, "left_out", lambda _: ())  # control
    less = replace(whole, contracts=())
    house.vote(less.hash)
    house.proposed(less)


def test_the_coordinator_drafts_just_the_contracts_that_a_node_requires() -> None:
    across = manifest("bank", "platform", "tax")
    assert set(contracts_of(replace(across, model="scorecard"))) == {*ACROSS, "binning", "logistic"}
    assert set(contracts_of(replace(across, task="binning"))) == {*ACROSS, "binning"}
    banks = replace(across, parties=tuple(replace(party, label=True) for party in across.parties))
    assert contracts_of(banks) == OVER_BANKS


# -- what was approved still stands ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["a revoked person", "a revoked member", "a revoked coordinator"])
def test_a_run_under_way_ends_when_who_it_rests_on_is_revoked(how: str, house: House) -> None:
    house.opened()
    house.hello()
    if how == "a revoked person":
        house.node.gate.approvals.revoke_approver("alice")
    elif how == "a revoked member":
        house.pin(tax={"revoked": True})
    else:
        path = house.root / "consortium.toml"
        path.write_text("coordinator_revoked = true\n" + path.read_text())
    assert aborted(house, 1) == {AbortCode.REVOKED if "person" in how else AbortCode.POLICY}


@pytest.mark.parametrize("how", ["expired", "revoked"])
def test_a_run_that_is_open_and_may_not_go_on_gets_no_second_signature_and_no_row(
    how: str, house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = house.opened()
    if how == "expired":
        house.now = ENDS
    else:
        house.vote(made.hash, "bob", "refuse")
    house.restart()
    monkeypatch.setattr("clients.vault.open_table", lambda *_: pytest.fail("the vault was opened"))
    assert refused(house, made) is (AbortCode.EXPIRED if how == "expired" else AbortCode.REVOKED)


def test_a_run_that_saw_its_expiry_is_over_also_when_the_clock_goes_back(house: House) -> None:
    made = house.opened()
    house.now = ENDS
    assert aborted(house) == {AbortCode.EXPIRED}
    house.now = NOW
    house.restart()
    assert aborted(house) == {AbortCode.EXPIRED}
    for path in (house.root / "journal").iterdir():
        path.unlink()
    house.restart()
    assert refused(house, made) is AbortCode.REVOKED


def test_a_rule_that_is_added_holds_for_the_next_question_and_the_log_tells_of_it(house: House) -> None:
    made = house.drafted()
    house.vote(made.hash)
    house.proposed(made)
    (house.root / "policy" / "90-none.cedar").write_text('@id("none")\n@why("Nothing.")\nforbid (principal, action, resource);\n')
    assert refused(house, made) is AbortCode.POLICY
    found = [entry.facts for entry in house.node.gate.log.entries() if entry.kind == "configuration" and "policy" in entry.facts]
    assert len({str(facts["policy"]) for facts in found}) == len(found) == 2


def test_four_eyes_are_not_one_key_in_two_spellings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    house = House(tmp_path / "bank", monkeypatch, approvals_needed=2)
    made, path = house.drafted(), house.root / "approvers.toml"
    house.vote(made.hash)
    approvals = house.node.gate.approvals
    alice = approvals.approvers()["alice"]
    approvals.record_vote(cast("bank", "alias", made.hash, "approve", NOW, approvals.key_of("alice")))
    text = path.read_text()
    for key in (alice.key.upper(), f"{alice.key} ", "00" * 32, "zz"):
        path.write_text(text + f'\n[[approver]]\nname = "alias"\nrole = "owner"\nkey = "{key}"\n')
        with pytest.raises(ConfigurationError, match="approver 3"):
            house.proposed(made)
    people = {"alice": alice, "alias": replace(alice, name="alias", key=alice.key.upper())}
    assert len(vote.standing(approvals.votes(), made.hash, "bank", people).approved) == 1, "and where it is counted they are one"


def test_nobody_has_the_policys_name(house: House) -> None:
    with pytest.raises(ConfigurationError):
        house.node.gate.approvals.add_approver("policy", "owner")
