"""A node answers nothing for a run that lacks anyone's signature of just these bytes, or its own people's approval that still stands."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from clients.consent import audited
from clients.consortium import FILE
from federation.kernel import suite
from federation.kernel.batch import Abort, Batch
from federation.kernel.codec import decode, encode
from federation.kernel.errors import AbortCode, ConfigurationError, CreditfedError, PeerError, PolicyRefusal
from federation.kernel.manifest import Manifest
from federation.kernel.role import COORDINATOR
from federation.kernel.signatures import Opening, Signature, sign_manifest
from privacy.approval.study import Study
from privacy.approval.vote import cast
from privacy.store.consent_import import import_csv
from tests.house import ENDS, NOW, OTHERS, House, refused
from tests.post import identity

replace = msgspec.structs.replace


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> House:
    return House(tmp_path / "bank", monkeypatch)


def test_control_with_every_signature_and_a_vote_the_run_is_answered(house: House) -> None:
    house.opened()
    assert {envelope.kind for envelope in house.hello().envelopes} == {"session/hello"}


def test_without_a_vote_no_row_is_opened_and_no_signature_given(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    made = house.drafted()
    monkeypatch.setattr("clients.vault.open_table", lambda *_: pytest.fail("the vault was opened"))
    assert refused(house, made) is AbortCode.APPROVAL
    house.vote(made.hash, "alice", "refuse")
    assert refused(house, made) is AbortCode.REVOKED


@pytest.mark.parametrize("bits", [1, pytest.param(8, marks=pytest.mark.slow)])
def test_every_byte_of_a_manifest_flipped_is_refused(house: House, bits: int) -> None:
    made = house.drafted()
    house.vote(made.hash)
    signed, raw = house.signatures(made), made.canonical()
    accepted = flips = 0
    for place in range(len(raw)):
        for bit in (place % 8,) if bits == 1 else range(8):
            flips += 1
            forged = raw[:place] + bytes([raw[place] ^ (1 << bit)]) + raw[place + 1 :]
            try:
                house.ask("open", msgspec.json.encode(Opening(forged, signed)))
                accepted += 1
            except CreditfedError:
                pass
    print(f"{accepted} of {flips} flipped bits of a manifest accepted")
    assert accepted == 0
    with pytest.raises(PeerError, match="no journal"):
        house.hello()


def test_control_where_signatures_are_not_checked_a_changed_manifest_opens(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    made = house.drafted()
    changed = replace(made, seed=8)
    for each in (made, changed):
        house.vote(each.hash)
    signed = (house.proposed(changed), *house.signatures(made)[1:])  # its own is of what is opened, the others' are not
    with pytest.raises(PeerError, match="does not hold"):
        house.open(changed, signed)
    monkeypatch.setattr(suite, "verifies", lambda *_: True)
    house.open(changed, signed)
    assert house.hello().envelopes


def _wrong(house: House, made: Manifest) -> dict[str, tuple[Signature, ...]]:
    bank, platform, tax = house.signatures(made)
    other = sign_manifest(replace(made, seed=9), "tax", bytes(32), identity("tax"))
    return {
        "swapped": (replace(platform, party="bank"), replace(bank, party="platform"), tax),
        "dropped": (bank, platform), "duplicated": (bank, platform, platform), "all of one": (bank, bank, bank),
        "of another manifest": (bank, platform, other), "of a stranger": (bank, platform, sign_manifest(made, "tax", bytes(32), identity("court"))),
        "cut short": (bank, platform, replace(tax, signature=tax.signature[:-1])),
        "for other data of one's own": (replace(bank, snapshot=bytes(32)), platform, tax),
        "for other data, signed": (sign_manifest(made, "bank", bytes(32), house.node.identity), platform, tax),
    }  # fmt: skip


@pytest.mark.parametrize(
    "how",
    ["swapped", "dropped", "duplicated", "all of one", "of another manifest", "of a stranger", "cut short", "for other data of one's own", "for other data, signed"],
)  # fmt: skip
def test_signatures_that_are_not_everyones_of_just_this_open_nothing(house: House, how: str) -> None:
    made = house.drafted()
    house.vote(made.hash)
    with pytest.raises(CreditfedError):
        house.open(made, _wrong(house, made)[how])
    with pytest.raises(PeerError, match="no journal"):
        house.hello()


def test_a_run_under_another_name_needs_votes_of_its_own(house: House) -> None:
    made = house.opened()
    other = replace(made, run="again")
    assert refused(house, other) is AbortCode.APPROVAL
    with pytest.raises(CreditfedError):
        house.open(other, tuple(sign_manifest(made, n, bytes(32), identity(n)) for n in made.members), "again")
    with pytest.raises(PeerError, match=r"another manifest|another run"):
        house.ask("open", msgspec.json.encode(Opening(made.canonical(), house.signatures(made))), "again")


def test_after_its_expiry_a_run_gets_no_signature_and_no_further_answer(house: House) -> None:
    made = house.opened()
    house.now = ENDS
    batch = house.hello()
    assert {envelope.kind for envelope in batch.envelopes} == {Abort.kind()} and batch.done
    assert refused(house, replace(made, run="later")) is AbortCode.EXPIRED


@pytest.mark.parametrize("when", ["before", "under way", "under way, after a restart"])
def test_a_revoked_run_is_answered_no_more(house: House, when: str) -> None:
    if when == "before":
        made = house.drafted()
        house.vote(made.hash)
        house.vote(made.hash, "bob", "revoke")
        assert refused(house, made) is AbortCode.REVOKED
        return
    made = house.opened()
    house.hello()
    house.vote(made.hash, "alice", "revoke")
    if "restart" in when:
        house.restart()
    batch = decode(house.ask("deliver", encode(Batch(1))), Batch, "bank", 1 << 20)
    assert {decode(e.body, Abort, "bank", 1 << 20).reason for e in batch.envelopes if e.recipient == COORDINATOR} == {AbortCode.REVOKED}
    assert batch.done and {e.kind for e in batch.envelopes} == {Abort.kind()}


def test_a_vote_counts_only_as_its_persons_own_at_this_institution(house: House) -> None:
    made = house.drafted()
    approvals = house.node.gate.approvals
    good = cast("bank", "alice", made.hash, "approve", NOW, approvals.key_of("alice"))
    approvals.add_approver("carol", "risk officer")
    wrong = [
        replace(good, about=bytes(32)), replace(good, approver="bob"), replace(good, time=ENDS), replace(good, signature=bytes(64)),
        cast("bank", "alice", made.hash, "approve", NOW, approvals.key_of("bob")),
        cast("platform", "alice", made.hash, "approve", NOW, approvals.key_of("alice")),
        cast("bank", "carol", made.hash, "approve", NOW, approvals.key_of("carol")),
        cast("bank", "mallory", made.hash, "approve", NOW, identity("mallory")),
    ]  # fmt: skip
    for vote in wrong:
        approvals.record_vote(vote)
        assert refused(house, made) is AbortCode.APPROVAL
    approvals.record_vote(good)
    house.proposed(made)
    approvals.revoke_approver("alice")
    house.restart()
    assert refused(house, made) is AbortCode.APPROVAL


def test_four_eyes_are_two_people(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    house = House(tmp_path / "bank", monkeypatch, approvals_needed=2)
    made = house.drafted()
    house.vote(made.hash)
    house.vote(made.hash)
    assert refused(house, made) is AbortCode.APPROVAL
    house.vote(made.hash, "bob")
    house.proposed(made)


def test_two_names_with_one_key_are_one_person(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    house = House(tmp_path / "bank", monkeypatch, approvals_needed=2)
    text = (house.root / "approvers.toml").read_text()
    alice = house.node.gate.approvals.approvers()["alice"]
    (house.root / "approvers.toml").write_text(text + f'\n[[approver]]\nname = "alias"\nrole = "owner"\nkey = "{alice.key}"\n')
    made = house.drafted()
    house.vote(made.hash)
    approvals = house.node.gate.approvals
    approvals.record_vote(cast("bank", "alias", made.hash, "approve", NOW, approvals.key_of("alice")))
    assert refused(house, made) is AbortCode.APPROVAL


PINS: dict[str, dict[str, Any]] = {
    "another key": {"platform": {"key": suite.signing_public(identity("court")).hex()}}, "a revoked key": {"platform": {"revoked": True}},
    "another role": {"platform": {"role": "tax"}}, "another name": {"platform": {"name": "platform-b"}},
}  # fmt: skip


@pytest.mark.parametrize("how", PINS)
def test_a_party_that_is_not_the_pinned_one_is_refused(house: House, how: str) -> None:
    made = house.drafted()
    house.vote(made.hash)
    house.proposed(made)
    house.pin(**PINS[how])
    assert refused(house, made) is AbortCode.POLICY


def test_without_pinned_members_nothing_is_answered(house: House) -> None:
    made = house.drafted()
    house.vote(made.hash)
    (house.root / FILE).unlink()
    assert refused(house, made) is AbortCode.POLICY


def test_a_run_that_is_over_is_not_begun_again(house: House) -> None:
    made = house.opened()
    house.node.gate.ended(made, None, session="", model="")
    for path in (house.root / "journal").iterdir():
        path.unlink()
    house.restart()
    assert refused(house, made) is AbortCode.REVOKED


# -- studies --------------------------------------------------------------------------------------------------------------------

STUDY = Study(
    name="winter", parties=OTHERS, columns=("turnover", "age"), purpose="decide", models=("logistic",), runs=3, reveals=130, expires=ENDS
)


def inside(house: House, run: str, **changes: Any) -> Manifest:
    return house.drafted(**({"run": run, "study": "winter"} | changes))


def test_inside_an_approved_study_no_vote_is_needed_and_outside_one_is(house: House) -> None:
    approvals = house.node.gate.approvals
    approvals.add_study(STUDY)
    assert refused(house, inside(house, "r0")) is AbortCode.APPROVAL
    house.vote(STUDY.hash)
    house.proposed(inside(house, "r1"))
    privacy = house.drafted().privacy
    beyond: dict[str, dict[str, Any]] = {
        "purpose": {"purpose": "monitor"}, "model": {"model": "scorecard"}, "who asks": {"requested_by": "validator"},
        "cohort": {"privacy": replace(privacy, minimum_cohort=9)}, "labels": {"privacy": replace(privacy, label_disclosure=True)},
        "one partner": {"privacy": replace(privacy, single_partner_disclosure=True)}, "reveals": {"privacy": replace(privacy, max_score_reveals=131)},
        "answers": {"privacy": replace(privacy, max_answers=10**8)}, "bins": {"privacy": replace(privacy, partner_disclosure="full")},
        "expiry": {"expires": "2026-06-01T00:00:01Z"}, "no study": {"study": ""}, "another study": {"study": "summer"},
        "visibility": {"align": msgspec.structs.replace(house.drafted().align, visibility="book")},
    }  # fmt: skip
    for name, change in beyond.items():
        with pytest.raises(PolicyRefusal) as caught:
            house.proposed(inside(house, f"r-{name.replace(' ', '-')}", **change))
        assert caught.value.code is AbortCode.APPROVAL, name


def test_a_studys_totals_end_it(house: House) -> None:
    house.node.gate.approvals.add_study(STUDY)
    house.vote(STUDY.hash)
    for number in range(3):
        made = inside(house, f"r{number}")
        house.open(made)
        house.restart()
    with pytest.raises(PolicyRefusal, match="run 4 of 3"):
        house.proposed(inside(house, "r3"))


def test_a_study_that_was_revoked_ends_its_runs(house: House) -> None:
    house.node.gate.approvals.add_study(STUDY)
    house.vote(STUDY.hash)
    made = inside(house, "r0")
    house.open(made)
    house.vote(STUDY.hash, "bob", "revoke")
    batch = house.hello("r0")
    assert {e.kind for e in batch.envelopes} == {Abort.kind()}
    assert refused(house, inside(house, "r1")) is AbortCode.REVOKED


def test_a_wider_study_under_the_same_name_is_another_one(house: House) -> None:
    approvals = house.node.gate.approvals
    approvals.add_study(STUDY)
    house.vote(STUDY.hash)
    with pytest.raises(ConfigurationError, match="another study"):
        approvals.add_study(replace(STUDY, runs=1000))
    wider = msgspec.json.encode(replace(STUDY, purpose="monitor"))
    (house.root / "approvals" / "studies" / "winter.json").write_bytes(wider)  # by hand, past the check
    assert refused(house, inside(house, "r0", purpose="monitor")) is AbortCode.APPROVAL


def test_the_log_tells_of_every_decision_and_quotes_no_row(house: House) -> None:
    house.opened()
    kinds = [entry.kind for entry in house.node.gate.log.entries()]
    assert {"founding", "policy", "vault", "approval", "release"} <= set(kinds)
    text = b"".join(path.read_bytes() for path in (house.root / "audit").rglob("*") if path.is_file()).decode(errors="replace")
    assert "firm1" not in text


# -- consent --------------------------------------------------------------------------------------------------------------------


def consenting(house: House, firms: range, until: str = "2026-12-31", recipients: str = "platform;tax") -> None:
    lines = ["id,purpose,levels,recipients,from,until,evidence"]
    lines += [f"firm{i},credit,3,{recipients},2026-01-01,{until},form {i}" for i in firms]
    path = house.root / "consents.csv"
    path.write_text("\n".join(lines))
    with closing(audited(house.node.home)) as ledger:
        import_csv(ledger, path, NOW)


def rows_used(house: House) -> int:
    return [int(entry.facts["rows"]) for entry in house.node.gate.log.entries() if entry.kind == "vault"][-1]


def test_rows_without_a_consent_for_this_run_are_nowhere_in_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    house = House(tmp_path / "bank", monkeypatch, legal_basis="consent")
    made = house.drafted()
    house.vote(made.hash)
    assert refused(house, made) is AbortCode.COHORT  # nobody has consented
    consenting(house, range(40))
    house.proposed(made)
    assert rows_used(house) == 40
    other = replace(made, run="research", purpose="research", parties=(replace(made.parties[0]), *made.parties[1:]))
    house.vote(other.hash)
    assert refused(house, other) is AbortCode.COHORT  # a consent for credit is none for research
    with closing(audited(house.node.home)) as ledger:
        ledger.withdraw(["firm3"], NOW)
    house.proposed(made)
    assert rows_used(house) == 39
    house.now = "2027-01-05T00:00:00Z"
    later = replace(made, run="later", expires="2027-02-01T00:00:00Z")
    house.vote(later.hash)
    assert refused(house, later) is AbortCode.COHORT  # they have run out


def test_control_where_consent_is_not_the_basis_all_rows_are_used(house: House) -> None:
    house.opened()
    assert rows_used(house) == 60


@pytest.mark.parametrize(("columns", "rows"), [("turnover;age", 0), ("turnover;age;label", 40), ("turnover;label", 0)])
def test_a_consent_must_cover_every_column_and_the_label_is_one(
    columns: str, rows: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    house = House(tmp_path / "bank", monkeypatch, legal_basis="consent")
    lines = ["id,purpose,columns,recipients,from,until,evidence"]
    lines += [f"firm{i},credit,{columns},platform;tax,2026-01-01,2026-12-31,form {i}" for i in range(40)]
    (house.root / "consents.csv").write_text("\n".join(lines))
    with closing(audited(house.node.home)) as ledger:
        import_csv(ledger, house.root / "consents.csv", NOW)
    made = house.drafted()
    house.vote(made.hash)
    if rows:
        house.proposed(made)
    else:
        assert refused(house, made) is AbortCode.COHORT
    assert rows_used(house) == rows


def test_a_withdrawal_between_approval_and_opening_needs_the_approval_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    house = House(tmp_path / "bank", monkeypatch, legal_basis="consent")
    consenting(house, range(40))
    made = house.drafted()
    house.vote(made.hash)
    signed = house.signatures(made)
    with closing(audited(house.node.home)) as ledger:
        ledger.withdraw(["firm3"], NOW)
    with pytest.raises(CreditfedError, match="not those that this run was approved for"):
        house.open(made, signed)
    house.open(made)
    assert house.hello().envelopes


def test_after_a_restart_a_run_has_the_rows_that_it_began_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    house = House(tmp_path / "bank", monkeypatch, legal_basis="consent")
    consenting(house, range(40))
    made = house.drafted()
    house.vote(made.hash)
    house.open(made)
    first = house.hello()
    with closing(audited(house.node.home)) as ledger:
        ledger.withdraw(["firm3"], NOW)
    house.restart()
    assert house.hello() == first
    table = house.node.table(made)
    gone = house.node.gate.consents.gone(made, table)
    assert gone is not None and [table.firms[i] for i in np.flatnonzero(gone)] == ["firm3"]
