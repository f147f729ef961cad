"""Ways past the gate that were looked for as a malicious coordinator, a curious insider without an owner's key, or a crash: each is closed.

Where a weakened copy shows that the way was open, the control goes through it.
"""

from __future__ import annotations

import threading
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest
import typer

import clients.gate
from clients.budget_commands import ledger_path
from clients.consent import audited
from clients.gate import Gate, run_key
from clients.node_commands import approve, pending, revoke, show
from federation.kernel.batch import Abort, Batch
from federation.kernel.codec import decode, encode
from federation.kernel.errors import AbortCode, ConfigurationError, CreditfedError, DataError, PeerError, PolicyRefusal
from federation.kernel.manifest import ColumnDeclaration, Manifest, PrivacySettings, SampleSettings
from federation.kernel.role import COORDINATOR
from privacy.approval import vote, words
from privacy.approval.learning import ACROSS, OVER_BANKS, contracts_of
from privacy.approval.study import Study, Used, outside
from privacy.approval.vote import cast
from privacy.store.budget_file import BudgetFile
from privacy.store.consent_import import import_csv
from tests.house import ENDS, NOW, OTHERS, House
from tests.post import manifest

LATER = "2026-05-01T12:00:01Z"
replace = msgspec.structs.replace


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> House:
    return House(tmp_path / "bank", monkeypatch)


def refused(house: House, made: Manifest) -> AbortCode:
    with pytest.raises(PolicyRefusal) as caught:
        house.proposed(made)
    return caught.value.code


def opened(house: House, **changes: Any) -> Manifest:
    made = house.drafted(**changes)
    house.vote(made.hash)
    house.open(made, house.signatures(made))
    return made


def aborted(house: House, number: int = 0) -> set[AbortCode]:
    batch = decode(house.ask("deliver", encode(Batch(number))), Batch, "bank", 1 << 20)
    assert batch.done and {envelope.kind for envelope in batch.envelopes} == {Abort.kind()}
    return {decode(e.body, Abort, "bank", 1 << 20).reason for e in batch.envelopes if e.recipient == COORDINATOR}


def spent(house: House) -> int:
    with closing(BudgetFile(ledger_path(house.root))) as file:
        return file.current().spent("bank", "any").counts.releases


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
    made = opened(house)
    other = house.drafted(seed=8)
    with pytest.raises(PeerError, match="open already"):
        house.proposed(other)
    house.node.gate.approvals.propose(other, NOW)  # and if it had come before
    revoke("test", "alice", house.root, None)
    assert aborted(house) == {AbortCode.APPROVAL}
    assert refused(house, made) is AbortCode.APPROVAL


def test_a_name_that_was_revoked_is_free_again_when_the_same_person_approves_later(house: House) -> None:
    made = house.drafted()
    refused(house, made)
    revoke("test", "alice", house.root, None)
    house.vote(made.hash, "bob")
    assert refused(house, made) is AbortCode.APPROVAL
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
    assert refused(house, made) is AbortCode.APPROVAL
    monkeypatch.setattr(vote, "_approves", lambda mine: mine[-1].verdict == "approve")  # control: the last line counts
    house.proposed(made)


def test_a_revocation_by_a_clock_that_went_back_still_holds(house: House) -> None:
    made = house.drafted()
    house.vote(made.hash)
    house.now = "2026-04-30T00:00:00Z"
    house.vote(made.hash, "alice", "revoke")
    assert refused(house, made) is AbortCode.APPROVAL


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
        assert refused(house, house.drafted(**changes)) is AbortCode.APPROVAL
    assert not list((house.root / "approvals").glob("*.json"))


@pytest.mark.parametrize("task", ["train", "binning"])
def test_contracts_cannot_be_left_out_of_what_people_are_told(task: str, house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = house.drafted(task=task, model="scorecard")
    for name in whole.contracts:
        less = replace(whole, contracts=tuple(other for other in whole.contracts if other != name))
        house.vote(less.hash)
        assert refused(house, less) is AbortCode.APPROVAL
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
    opened(house)
    house.hello()
    if how == "a revoked person":
        house.node.gate.approvals.revoke_approver("alice")
    elif how == "a revoked member":
        house.pin(tax={"revoked": True})
    else:
        path = house.root / "consortium.toml"
        path.write_text("coordinator_revoked = true\n" + path.read_text())
    assert aborted(house, 1) == {AbortCode.APPROVAL if "person" in how else AbortCode.POLICY}


@pytest.mark.parametrize("how", ["expired", "revoked"])
def test_a_run_that_is_open_and_may_not_go_on_gets_no_second_signature_and_no_row(
    how: str, house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = opened(house)
    if how == "expired":
        house.now = ENDS
    else:
        house.vote(made.hash, "bob", "refuse")
    house.restart()
    monkeypatch.setattr("clients.node.open_table", lambda *_: pytest.fail("the vault was opened"))
    assert refused(house, made) is (AbortCode.EXPIRED if how == "expired" else AbortCode.APPROVAL)


def test_a_run_that_saw_its_expiry_is_over_also_when_the_clock_goes_back(house: House) -> None:
    made = opened(house)
    house.now = ENDS
    assert aborted(house) == {AbortCode.EXPIRED}
    house.now = NOW
    house.restart()
    assert aborted(house) == {AbortCode.EXPIRED}
    for path in (house.root / "journal").iterdir():
        path.unlink()
    house.restart()
    assert refused(house, made) is AbortCode.APPROVAL


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


# -- nothing is counted once and released twice --------------------------------------------------------------------------------------


@pytest.mark.parametrize("weakened", [False, True], ids=["", "control"])
def test_a_session_that_was_lost_with_its_process_is_not_begun_again_at_no_cost(
    weakened: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    house = House(tmp_path / "bank", monkeypatch, journal="memory")
    if weakened:
        monkeypatch.setattr(Gate, "opened_before", lambda *_: False)
    made = opened(house)
    hellos = {encode(house.hello())}
    for _ in range(3):
        house.restart()
        try:
            house.open(made, house.signatures(made))
        except DataError:
            continue
        hellos.add(encode(house.hello()))
    print(f"{len(hellos) - 1} of 3 restarts gave another session at no cost")
    assert len(hellos) == (4 if weakened else 1)
    assert spent(house) == 1


@pytest.mark.parametrize("digits", [64, 3])
def test_two_manifests_whose_hashes_begin_alike_are_counted_as_two(digits: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 48 bits a coordinator finds two in 2^24 drafts; here the control has 12."""
    house = House(tmp_path / "bank", monkeypatch, journal="memory")
    drafts: dict[str, Manifest] = {}
    plain = house.drafted()
    for seed in range(10_000):
        one = replace(plain, seed=seed)
        two = drafts.setdefault(one.hash.hex()[:3], one)
        if two is not one:
            break
    if digits == 3:
        monkeypatch.setattr(clients.gate, "run_key", lambda made: f"{made.run}-{made.hash.hex()[:3]}")
    else:
        assert run_key(one) != run_key(two)
    for made in (one, two):
        house.vote(made.hash)
        house.open(made, house.signatures(made))
        assert house.hello().envelopes
        house.restart()
    assert spent(house) == (2 if digits == 64 else 1)


STEPS = [
    ("privacy.store.budget_file.BudgetFile.reserve", 1), ("privacy.store.releases.ReleaseFile.record", 1), ("clients.consented.Consents.opened", 1),
    ("privacy.store.budget_file.BudgetFile.spend", 1), ("clients.approvals.Approvals.note", 2), ("privacy.audit.witness.Witness.approved", 1),
    ("privacy.store.audit_file.AuditFile.sync", 2), ("clients.node.Node._participant", 1), ("clients.home.Home.keep", 2),
]  # fmt: skip


class Killed(BaseException):
    """The process ends here."""


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("step", range(len(STEPS)))
def test_killed_at_any_step_of_opening_a_run_is_counted_before_anything_leaves(
    step: int, after: bool, house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, which = STEPS[step]
    module, owner, name = path.rsplit(".", 2)
    place = getattr(__import__(module, fromlist=[owner]), owner)
    made = house.drafted()
    house.vote(made.hash)
    signed = house.signatures(made)
    real, calls = getattr(place, name), iter(range(1, 1 << 30))
    static = name == "keep"

    def dying(*arguments: Any, **options: Any) -> Any:
        last = next(calls) >= which
        if last and not after:
            raise Killed
        answer = real(*arguments, **options)
        if last:
            raise Killed
        return answer

    with monkeypatch.context() as patch:
        patch.setattr(place, name, staticmethod(dying) if static else dying)
        try:
            house.open(made, signed)
        except Killed:
            pass
        else:
            pytest.fail("the step was not reached")
    house.restart()
    house.open(made, house.signatures(made))
    assert spent(house) == 1
    assert house.node.gate.releases.history()[0].run == run_key(made)
    assert house.hello().envelopes


# -- consents are asked for just this manifest ------------------------------------------------------------------------------------------


def test_another_manifest_of_the_name_does_not_get_the_rows_of_the_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    house = House(tmp_path / "bank", monkeypatch, legal_basis="consent")
    lines = ["id,purpose,levels,recipients,from,until,evidence"]
    lines += [f"firm{i},credit,3,platform;tax,2026-01-01,2026-12-31,form {i}" for i in range(40)]
    (house.root / "consents.csv").write_text("\n".join(lines))
    with closing(audited(house.node.home)) as ledger:
        import_csv(ledger, house.root / "consents.csv", NOW)
    first = opened(house)
    (house.root / "journal" / "test.opening").unlink()  # killed before it was written
    with closing(audited(house.node.home)) as ledger:
        ledger.withdraw([f"firm{i}" for i in range(12)], NOW)
    house.restart()
    rows = {}
    for made in (house.drafted(seed=8), first):
        house.vote(made.hash)
        house.proposed(made)
        rows[made.seed] = [int(entry.facts["rows"]) for entry in house.node.gate.log.entries() if entry.kind == "vault"][-1]
    assert rows == {8: 28, first.seed: 40}, "and the first goes on with those that it began with, and hears who left"


def test_who_was_erased_at_the_source_is_in_no_further_run(house: House) -> None:
    opened(house)
    source = house.root / "bank.csv"
    source.write_text("".join(source.read_text().splitlines(keepends=True)[:-12]))
    made = house.drafted(run="next")
    house.vote(made.hash)
    house.proposed(made)
    assert [int(entry.facts["rows"]) for entry in house.node.gate.log.entries() if "snapshot" in entry.facts and entry.kind == "vault"] == [
        60,
        60,
        48,
    ]
    assert house.hello().envelopes, "and the run that is open has the rows that it began with"


def test_a_cap_on_rows_is_asked_of_each_run(house: House) -> None:
    for cap in (10**6, 59):
        made = house.drafted(
            run=f"cap-{cap}", sample=SampleSettings(key="firm and month", periods=("2026-01",)), privacy=PrivacySettings(max_rows=cap)
        )
        house.vote(made.hash)
        if cap == 59:
            assert refused(house, made) is AbortCode.CAP
        else:
            house.proposed(made)


# -- studies --------------------------------------------------------------------------------------------------------------------

STUDY = Study(name="winter", parties=OTHERS, columns=("turnover", "age"), purpose="decide", models=("logistic",), runs=3, expires=ENDS)


def test_a_study_whose_runs_cannot_be_added_up_approves_nothing(house: House) -> None:
    house.node.gate.approvals.add_study(STUDY)
    house.vote(STUDY.hash)
    made = house.drafted(run="r0", study="winter")
    house.open(made, house.signatures(made))
    (house.root / "approvals" / "signed" / f"{made.hash.hex()}.json").unlink()
    with pytest.raises(DataError, match="no longer there"):
        house.proposed(house.drafted(run="r1", study="winter"))


def test_what_a_study_does_not_say_is_outside_it(house: House) -> None:
    made = house.drafted(study="winter")
    assert outside(STUDY, made, "bank", Used(), NOW) == ()
    wide = replace(made, privacy=replace(made.privacy, max_released_counts=10**9))
    assert outside(STUDY, wide, "bank", Used(), NOW)
    assert outside(replace(STUDY, disclosures=("max_released_counts",)), wide, "bank", Used(), NOW) == ()
    banks = replace(made, parties=tuple(replace(party, label=True) for party in made.parties))
    noisy = replace(banks, privacy=PrivacySettings(epsilon=0.5, delta=1e-6))
    study = replace(STUDY, epsilon=1.0)
    assert outside(study, noisy, "bank", Used(), NOW) == ()
    assert outside(study, banks, "bank", Used(), NOW) == ("it adds no noise, and the study is of runs with noise",)
    assert outside(study, noisy, "bank", Used(delta=1e-6), NOW), "deltas add up too"


def test_runs_of_a_study_are_decided_on_one_after_the_other(house: House) -> None:
    """So that none is decided on by totals that another is about to change."""
    made = house.drafted()
    house.vote(made.hash)
    signed = house.signatures(made)
    done = threading.Event()

    def second() -> None:
        house.open(made, signed)
        done.set()

    thread = threading.Thread(target=second)
    with house.node.gate.approvals.alone():
        thread.start()
        assert not done.wait(0.3)
    thread.join(60)
    assert done.is_set()
