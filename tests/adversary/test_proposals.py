"""A coordinator that proposes and asks without end fills no disk, has the source opened so often and no more, and leaves its trace in the log."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import clients.told
from clients import approvals, proposed_today
from federation.carriage.mailbox import DECIDED, UNDECIDED
from federation.kernel.errors import AbortCode, PolicyRefusal
from federation.kernel.manifest import Manifest
from tests.house import House


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> House:
    return House(tmp_path / "bank", monkeypatch)


def refused(house: House, made: Manifest) -> AbortCode:
    with pytest.raises(PolicyRefusal) as caught:
        house.proposed(made)
    return caught.value.code


def test_proposals_without_end_fill_no_disk(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(approvals, "MOST_PROPOSALS", 5)
    monkeypatch.setattr(clients.told.Hourly, "EACH", 10)
    done = house.drafted(run="done")
    house.vote(done.hash)
    house.proposed(done)
    codes = [refused(house, house.drafted(run=f"r{number}")) for number in range(64)]
    assert codes.count(AbortCode.APPROVAL) == 5 and codes[-1] is AbortCode.CAP
    assert len(list((house.root / "approvals").glob("*.json"))) == 5
    told = [entry.facts["of_this_hour"] for entry in house.node.gate.log.entries() if entry.kind == "policy" and not entry.facts["allowed"]]
    print(f"{len(told)} of 64 refusals written")
    assert told == [*range(1, 11), 16, 32, 64]
    assert house.node.gate.approvals.proposal("done") == done, "what was signed is still found"
    house.now = "2026-05-01T13:00:00Z"
    refused(house, house.drafted(run="r-next"))
    assert [e.facts["of_this_hour"] for e in house.node.gate.log.entries() if e.kind == "policy" and not e.facts["allowed"]][-1] == 1


def test_a_run_that_is_approved_is_proposed_so_often_a_day_and_no_more(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proposed_today, "OF_ONE", 3)
    monkeypatch.setattr(proposed_today, "OF_ALL", 5)
    made, other = house.drafted(), house.drafted(seed=9)
    for each in (made, other):
        house.vote(each.hash)
    for _ in range(3):
        house.proposed(made)
    with monkeypatch.context() as shut:
        for reader in ("open_table", "describe_table"):
            shut.setattr(f"clients.vault.{reader}", lambda *_: pytest.fail("the vault was opened"))
        house.restart()  # it is counted on disk
        assert refused(house, made) is AbortCode.CAP
    house.proposed(other)
    house.proposed(other)
    assert refused(house, other) is AbortCode.CAP, "all together"
    house.now = "2026-05-02T00:00:00Z"
    house.proposed(made)


def test_control_where_nobody_counts_the_source_is_opened_each_time(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proposed_today, "OF_ONE", 3)
    monkeypatch.setattr(clients.gate.Gate, "asked", lambda *_: None)
    made = house.drafted()
    house.vote(made.hash)
    before = len(descriptions(house))
    for _ in range(8):
        house.proposed(made)
    assert len(descriptions(house)) == before + 8


def descriptions(house: House) -> list[Any]:
    return [entry.facts for entry in house.node.gate.log.entries() if entry.kind == "vault" and "described" in entry.facts]


def test_a_description_opens_the_source_and_the_log_says_so_with_counts_alone(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    house.ask("describe")
    assert descriptions(house) == [{"described": "its columns", "rows": 60, "columns": 2}]
    monkeypatch.setattr(clients.told.Hourly, "EACH", 2)
    for _ in range(15):
        house.ask("describe")
    assert [facts.get("of_this_hour") for facts in descriptions(house)] == [None, None, 4, 8, 16]


# -- signatures of two runs -----------------------------------------------------------------------------------------------------


def snapshots(house: House) -> list[bytes]:
    """What the signatures of two runs over the same rows show everyone."""
    shown = []
    for seed in (1, 2):
        made = house.drafted(seed=seed)
        house.vote(made.hash)
        shown.append(house.proposed(made).snapshot)
    return shown


def test_signatures_of_two_runs_do_not_tell_whether_the_rows_are_the_same(house: House) -> None:
    first, second = snapshots(house)
    assert first != second
    house.restart()
    assert snapshots(house) == [first, second], "and each is made again from the node's own salt"


def test_control_under_one_salt_for_all_runs_they_do(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("clients.vault.manifests_salt", lambda salt, _hash: salt)
    first, second = snapshots(house)
    assert first == second


def test_asking_whether_people_have_decided_opens_nothing_is_not_counted_and_writes_nothing(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A coordinator that waits asks that, and proposes again only then: proposals are so many a day, and each opens the source."""
    monkeypatch.setattr(proposed_today, "OF_ONE", 3)
    made = house.drafted()
    assert refused(house, made) is AbortCode.APPROVAL
    entries, counted = len(list(house.node.gate.log.entries())), (house.root / "approvals" / "today").read_bytes()
    with monkeypatch.context() as shut:
        for reader in ("open_table", "describe_table"):
            shut.setattr(f"clients.vault.{reader}", lambda *_: pytest.fail("the vault was opened"))
        assert {house.ask("voted", made.hash, made.run) for _ in range(50)} == {UNDECIDED}
        assert house.ask("voted", bytes(32), made.run) == DECIDED, "of another manifest there is nothing to wait for"
        assert len(list(house.node.gate.log.entries())) == entries
        assert (house.root / "approvals" / "today").read_bytes() == counted
        house.vote(made.hash)
        assert house.ask("voted", made.hash, made.run) == DECIDED
    house.proposed(made)
    again = house.drafted(run="again")
    refused(house, again)
    house.vote(again.hash, verdict="revoke")
    assert house.ask("voted", again.hash, again.run) == DECIDED, "no, too, is decided"
    assert refused(house, again) is AbortCode.REVOKED


def test_control_waiting_by_proposals_is_counted_and_ends_the_run_that_waits(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proposed_today, "OF_ONE", 3)
    made = house.drafted()
    assert [refused(house, made) for _ in range(4)] == [*[AbortCode.APPROVAL] * 3, AbortCode.CAP]
