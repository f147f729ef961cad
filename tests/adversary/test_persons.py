"""Who may vote, and what runs may cost, changes under the signature of a person whom the policy lets change it, and of no one else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from clients import persons
from clients.budget_commands import ledger_path
from clients.founding import found
from clients.home import Home
from clients.node_commands import app
from federation.kernel.errors import ConfigurationError, CreditfedError, PolicyRefusal
from privacy.approval.vote import standing
from privacy.budget.limits import Limits
from privacy.store.budget_file import BudgetFile
from simulations.founding import AT_ONCE, simulated
from tests.house import NOW, House
from tests.post import identity

LIMITS = ("budget", "set", "bank", "decide", "--rows", "5")
BOTH_APPROVE = '@id("both") @why("Both approve.") permit (principal == Role::"risk officer", action == Action::"approve run", resource);'


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> House:
    return House(tmp_path / "bank", monkeypatch)


@pytest.fixture
def four_eyes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> House:
    return House(tmp_path / "bank", monkeypatch, approvals_needed=2)


def command(root: Path, *words: str) -> Result:
    result = CliRunner().invoke(app, [*words, "--home", str(root)])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def refused(root: Path, *words: str, error: type[CreditfedError] = ConfigurationError, match: str = "") -> None:
    """A command that is refused, and leaves who may vote and what runs may cost as they were."""
    before = state(root)
    with pytest.raises(error, match=match):
        command(root, *words)
    assert state(root) == before


def state(root: Path) -> tuple[bytes, Any]:
    path = root / "approvers.toml"
    return path.read_bytes() if path.exists() else b"", BudgetFile(ledger_path(root)).current().limits


def changes(house: House) -> list[str]:
    return [str(entry.facts["change"]) for entry in house.node.gate.log.entries() if entry.kind == "configuration"]


def may_vote(house: House) -> set[str]:
    return {name for name, person in house.node.gate.approvals.approvers().items() if not person.revoked}


def strangers_key(house: House) -> str:
    path = house.root / "mallory.key"
    path.write_bytes(identity("mallory").reveal())
    return str(path)


def test_a_person_is_added_and_revoked_under_an_owners_signature_that_stays(house: House) -> None:
    command(house.root, "approvers", "--add", "carol", "--as", "alice")
    assert may_vote(house) == {"alice", "bob", "carol"}
    assert house.node.gate.approvals.votes()[-1].approver == "alice" and "approver add in force" in changes(house)
    command(house.root, "approvers", "--revoke", "carol", "--as", "bob")
    assert may_vote(house) == {"alice", "bob"}


@pytest.mark.parametrize("words", [("--add", "mallory"), ("--revoke", "bob")])
def test_who_may_vote_is_changed_by_no_stranger_no_other_key_and_no_risk_officer(house: House, words: tuple[str, ...]) -> None:
    command(house.root, "approvers", "--add", "rita", "--role", "risk officer", "--as", "alice")
    refused(house.root, "approvers", *words, match="nobody who is known here")
    refused(house.root, "approvers", *words, "--as", "alice", "--key", strangers_key(house), match="not the key of alice")
    refused(house.root, "approvers", *words, "--as", "rita", error=PolicyRefusal, match="change policy")


def test_one_of_two_owners_makes_no_second_voice_for_himself(four_eyes: House) -> None:
    command(four_eyes.root, "approvers", "--add", "carol", "--as", "alice")
    assert may_vote(four_eyes) == {"alice", "bob"}
    refused(four_eyes.root, "approvers", "--add", "carol", "--as", "alice", error=PolicyRefusal, match="four-eyes")
    command(four_eyes.root, "approvers", "--add", "carol", "--role", "risk officer", "--as", "bob")  # another change, with one signature
    assert may_vote(four_eyes) == {"alice", "bob"}
    command(four_eyes.root, "approvers", "--revoke", "bob", "--as", "alice")  # whoever is left does not count as both
    refused(four_eyes.root, "approvers", "--add", "carol", "--as", "alice", error=PolicyRefusal, match="four-eyes")
    command(four_eyes.root, "approvers", "--add", "dora", "--as", "alice")
    assert may_vote(four_eyes) == {"alice"}


def test_control_two_owners_together_add_a_third(four_eyes: House) -> None:
    command(four_eyes.root, "approvers", "--add", "carol", "--as", "alice")
    command(four_eyes.root, "approvers", "--add", "carol", "--as", "bob")
    assert may_vote(four_eyes) == {"alice", "bob", "carol"}


def test_control_where_the_bar_falls_with_those_revoked_one_owner_is_enough(four_eyes: House, monkeypatch: pytest.MonkeyPatch) -> None:
    lowered = persons.Persons._sign_change
    monkeypatch.setattr(
        persons.Persons, "_sign_change", lambda self, change, person, who, key, _most: lowered(self, change, person, who, key, 1)
    )
    command(four_eyes.root, "approvers", "--add", "carol", "--as", "alice")
    assert "carol" in may_vote(four_eyes)


def test_the_last_owner_is_not_revoked(house: House) -> None:
    command(house.root, "approvers", "--revoke", "bob", "--as", "bob")
    refused(house.root, "approvers", "--revoke", "alice", "--as", "alice", match="no owner")


def test_a_budget_is_set_by_the_risk_officer_with_his_own_key_alone(house: House) -> None:
    command(house.root, "approvers", "--add", "rita", "--role", "risk officer", "--as", "alice")
    refused(house.root, *LIMITS, "--by", "Rita", match="nobody who is known here")
    refused(house.root, *LIMITS, "--by", "alice", error=PolicyRefusal, match="set budget")
    refused(house.root, *LIMITS, "--by", "rita", "--key", strangers_key(house), match="not the key of rita")
    command(house.root, *LIMITS, "--by", "rita")
    assert state(house.root)[1][("bank", "decide")] == Limits(rows=5)
    assert house.node.gate.approvals.votes()[-1].approver == "rita" and "budget set" in changes(house)


def test_control_a_policy_that_lets_owners_set_budgets_does(house: House) -> None:
    rule = '@id("own") @why("Owners set budgets.") permit (principal == Role::"owner", action == Action::"set budget", resource);'
    (house.root / "policy" / "60-own.cedar").write_text(rule)
    command(house.root, *LIMITS, "--by", "alice")
    assert state(house.root)[1][("bank", "decide")] == Limits(rows=5)


def test_a_node_where_nobody_is_registered_takes_one_budget_and_one_owner_and_logs_both(tmp_path: Path) -> None:
    found(tmp_path, {"name": "bank", "role": "bank", "source": "bank.csv"}, lambda: NOW)
    refused(tmp_path, "approvers", "--add", "rita", "--role", "risk officer", match="no owner yet")
    command(tmp_path, *LIMITS, "--by", "Ann")
    refused(tmp_path, *LIMITS, "--by", "Ann", "--lift", "releases", match="nobody is registered")
    command(tmp_path, "approvers", "--add", "alice")
    refused(tmp_path, "approvers", "--add", "bob", match="nobody who is known here")
    refused(tmp_path, *LIMITS, "--by", "Ann", match="nobody who is known here")
    command(tmp_path, "approvers", "--add", "bob", "--as", "alice")
    log = [str(e.facts["change"]) for e in log_of(tmp_path) if e.kind == "configuration"]
    assert log == ["founded", "first budget set", "first approver added", "approver add in force"]


def log_of(root: Path) -> list[Any]:
    from privacy.store.audit_file import AuditFile

    return list(AuditFile(root / "audit", Home(root).key("identity"), lambda: NOW).entries())


# -- four eyes ------------------------------------------------------------------------------------------------------------------


def with_second_name(house: House, role: str) -> bytes:
    """Alice is registered once more, in another role and with the same key, and a run waits; returns its hash."""
    alice = house.node.gate.approvals.approvers()["alice"]
    path = house.root / "approvers.toml"
    path.write_text(f'{path.read_text()}\n[[approver]]\nname = "alias"\nrole = "{role}"\nkey = "{alice.key}"\n')
    (house.root / "policy" / "60-both.cedar").write_text(BOTH_APPROVE)
    made = house.drafted()
    with pytest.raises(PolicyRefusal):
        house.proposed(made)
    command(house.root, "approve", "test", "--as", "alice", "--yes")
    return made.hash


def alias(house: House) -> Result:
    key = house.root / "approvers" / "alice.key"
    return command(house.root, "approve", "test", "--as", "alias", "--key", str(key), "--yes")


@pytest.mark.parametrize("role", ["owner", "risk officer"])
def test_one_person_does_not_vote_twice_under_two_roles(four_eyes: House, role: str) -> None:
    about = with_second_name(four_eyes, role)
    with pytest.raises(PolicyRefusal, match="four-eyes"):
        alias(four_eyes)
    assert {vote.approver for vote in four_eyes.node.gate.approvals.votes() if vote.about == about} == {"alice"}


@pytest.mark.parametrize("role", ["owner", "risk officer"])
def test_control_where_nobody_asks_whether_it_is_the_same_person_both_votes_are_kept(
    four_eyes: House, monkeypatch: pytest.MonkeyPatch, role: str
) -> None:
    about = with_second_name(four_eyes, role)
    monkeypatch.setattr(persons, "has_approved", lambda *_: False)
    alias(four_eyes)
    assert {vote.approver for vote in four_eyes.node.gate.approvals.votes() if vote.about == about} == {"alice", "alias"}


def test_a_second_person_approves_and_one_who_took_it_back_may_approve_again(four_eyes: House) -> None:
    made = four_eyes.drafted()
    with pytest.raises(PolicyRefusal):
        four_eyes.proposed(made)
    command(four_eyes.root, "approve", "test", "--as", "alice", "--yes")
    command(four_eyes.root, "approve", "test", "--as", "bob", "--yes")
    command(four_eyes.root, "revoke", "test", "--as", "bob")
    four_eyes.now = "2026-05-01T12:00:01Z"
    command(four_eyes.root, "approve", "test", "--as", "bob", "--yes")
    approvals = four_eyes.node.gate.approvals
    assert standing(approvals.votes(), made.hash, "bank", approvals.approvers()).approved == ("alice", "bob")
    four_eyes.proposed(made)


# -- people, not the node -------------------------------------------------------------------------------------------------------


def test_a_node_whose_configuration_says_that_it_approves_at_once_does_not_start(house: House, tmp_path: Path) -> None:
    for word in ("at once", "people"):
        with pytest.raises(ConfigurationError, match="simulation"):
            found(tmp_path / word, {"name": "bank", "role": "bank", "source": "bank.csv", "approval": word}, lambda: NOW)
    path = house.root / "node.toml"
    path.write_text(f'approval = "at once"\n{path.read_text()}')
    with pytest.raises(ConfigurationError, match="simulation"):
        house.restart()


def test_no_file_of_a_simulation_makes_a_approve_at_once(house: House) -> None:
    (house.root / AT_ONCE).touch()
    house.restart()
    with pytest.raises(PolicyRefusal, match="waits for the approval"):
        house.proposed(house.drafted())
    assert house.node.gate.approvals.votes() == []


def test_control_the_same_home_as_a_simulation_makes_its_node_does(house: House) -> None:
    (house.root / AT_ONCE).touch()
    house.node = simulated(house.root)
    house.proposed(house.drafted())
    assert [vote.approver for vote in house.node.gate.approvals.votes()] == ["alice"]
