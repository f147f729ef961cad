"""A run as a compliance officer meets it: it waits for people, uses the rows that consented, and leaves logs that an outsider can check."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from tests.end_to_end.scene import World, creditfed, logged, result, simulated

QUICK = {"model": {"tolerance": 1e-3, "max_iterations": 4}}


def test_a_run_waits_for_the_people_who_are_to_approve_it_and_then_goes_on(world: World, tmp_path: Path) -> None:
    out = tmp_path / "out"
    path = world.run_file("people", **QUICK, party_tax={"approval": "people", "approvals_needed": 2, "owners": ["alice", "bob"]})
    first = creditfed("simulate", path, "--out", out)
    assert first.code == 3, first.err
    assert "waits for the approval of 2 owners" in first.err and "creditfed node approve" in first.err
    assert not (out / "result.json").exists()
    home, run = out / "parties" / "tax", next((out / "coordinator" / "drafts").glob("*.json")).stem
    asked = creditfed("node", "approve", run, "--as", "alice", "--home", home, "--yes")
    assert asked.code == 0, asked.err
    for words in (
        "What",
        "purpose decide",
        "void_share",
        "level 3",
        "Who learns what",
        "Until when",
        "the first run that this institution",
    ):
        assert words in asked.out, words
    second = creditfed("simulate", path, "--out", out)
    assert second.code == 3 and "has 1" in second.err
    twice = creditfed("node", "approve", run, "--as", "alice", "--home", home, "--yes")
    assert twice.code == 3 and "four-eyes" in twice.err
    assert creditfed("simulate", path, "--out", out).code == 3, "one person is not two"
    assert creditfed("node", "approve", run, "--as", "bob", "--home", home, "--yes").code == 0
    simulated(path, out)
    (approval,) = [e for e in logged(out, "tax") if e.kind == "approval"][-1:]
    assert approval.facts["by"] == "alice, bob"
    votes = (home / "approvals" / "votes.jsonl").read_bytes()
    for other in (path, world.run_file("other", **QUICK, run={"seed": 99})):
        over = creditfed("simulate", other, "--out", out)
        assert over.code == 2 and "would forget their votes" in over.err
    assert (home / "approvals" / "votes.jsonl").read_bytes() == votes


def test_a_revoked_run_ends_with_its_reason_and_code(world: World, tmp_path: Path) -> None:
    out = tmp_path / "out"
    path = world.run_file("revoked", **QUICK, party_tax={"approval": "people", "owners": ["alice"]})
    assert creditfed("simulate", path, "--out", out).code == 3
    home, run = out / "parties" / "tax", next((out / "coordinator" / "drafts").glob("*.json")).stem
    assert creditfed("node", "revoke", run, "--as", "alice", "--home", home).code == 0
    answer = creditfed("simulate", path, "--out", out)
    assert answer.code == 3 and "refused or revoked by alice" in answer.err
    assert creditfed("audit", "export", home, "--out", tmp_path / "account.json").code == 0
    (told,) = json.loads((tmp_path / "account.json").read_text())["runs"]
    assert [(one["party"], one["by"], one["against"]) for one in told["approvals"]] == [("tax", "", "alice")], (
        "who revoked has not approved"
    )
    assert "Traceback" not in answer.err


def test_a_column_of_level_4_for_the_purpose_acquire_is_refused_with_what_would_change_it(world: World, tmp_path: Path) -> None:
    path = world.run_file("acquire", run={"purpose": "acquire"}, party_platform={"levels": {"gmv_growth": 4}})
    answer = creditfed("simulate", path, "--out", tmp_path / "out")
    assert answer.code == 3
    for words in ("gmv_growth", "level 4", "purpose 'acquire'", "a modeller", "level-4-only-for-lending", "What would change it"):
        assert words in answer.err, words
    allowed = world.run_file("decide", **QUICK, party_platform={"levels": {"gmv_growth": 4}})
    simulated(allowed, tmp_path / "control")


def test_only_rows_with_a_consent_take_part(world: World, tmp_path: Path) -> None:
    firms = sorted(world.tables["tax"]["id"].unique())
    consented = firms[: len(firms) * 2 // 3]
    lines = ["id,purpose,levels,recipients,from,until,evidence"]
    lines += [f"{firm},credit,3,bank;platform,2020-01-01,2099-12-31,form {i}" for i, firm in enumerate(consented)]
    (world.folder / "consents.csv").write_text("\n".join(lines))
    path = world.run_file("consented", **QUICK, party_tax={"consents": "consents.csv"})
    found = simulated(path, tmp_path / "out")
    rows = {party["name"]: party["rows"] for party in found["parties"]}
    assert rows["tax"] == int(world.tables["tax"]["id"].isin(consented).sum())
    assert rows["platform"] == len(world.tables["platform"])
    left = set(firms) - set(consented)
    for path_ in (tmp_path / "out").rglob("*"):
        if path_.suffix == ".parquet" and "tax" in path_.parts:
            assert not set(pd.read_parquet(path_)["id"]) & left


def test_the_logs_of_a_run_verify_agree_and_tell_a_regulator(world: World, tmp_path: Path) -> None:
    out = tmp_path / "out"
    simulated(world.run_file("logs", **QUICK), out)
    logs = [out / "audit" / name for name in ("bank", "platform", "tax", "coordinator")]
    pins = out / "parties" / "bank" / "consortium.toml"
    for log in logs:
        verified = creditfed("audit", "verify", log, "--consortium", pins)
        assert verified.code == 0, verified.out + verified.err
    compared = creditfed("audit", "compare", *logs, "--consortium", pins)
    assert compared.code == 0, compared.out + compared.err
    exported = creditfed("audit", "export", *logs, "--consortium", pins, "--out", tmp_path / "export.json")
    assert exported.code == 0, exported.out + exported.err
    text = (tmp_path / "export.json").read_text()
    assert result(out)["manifest_hash"] in text and "decide" in text
    (told,) = json.loads(text)["runs"]
    assert {one["party"]: bool(one["by"]) for one in told["approvals"]} == {"bank": True, "platform": True, "tax": True}
    assert all(len(one["signature_seen_by"]) == 4 and not one["against"] for one in told["approvals"]) and told["tasks"] == ["train"]
    assert not [firm for firm in world.tables["tax"]["id"].unique() if str(firm) in text]
    segment = out / "audit" / "tax" / "000000000000.jsonl"
    raw = segment.read_bytes()
    place = raw.index(b'"rows":') + 7
    segment.write_bytes(raw[:place] + (b"9" if raw[place : place + 1] != b"9" else b"8") + raw[place + 1 :])
    forged = creditfed("audit", "verify", out / "audit" / "tax", "--consortium", pins)
    assert forged.code != 0 and "flip" in (forged.out + forged.err).lower()


def test_a_node_is_founded_by_one_command_and_says_what_comes_next(tmp_path: Path) -> None:
    pd.DataFrame({"id": ["a"], "x": [1.0]}).to_csv(tmp_path / "t.csv", index=False)
    home = tmp_path / "node"
    made = creditfed(
        "node", "init", "--name", "tax-a", "--role", "tax", "--source", tmp_path / "t.csv", "--home", home, "--four-eyes",
        "--owner", "alice", "--owner", "bob",
    )  # fmt: skip
    assert made.code == 0, made.err
    assert "fingerprint" in made.out and "consortium.toml" in made.out
    for path in (*home.glob("keys/*.key"), *home.glob("approvers/*.key")):
        assert path.stat().st_mode & 0o077 == 0
    assert json.dumps([p.name for p in sorted(home.glob("policy/*.cedar"))]).count(".cedar") >= 4
    again = creditfed("node", "init", "--name", "tax-a", "--role", "tax", "--source", tmp_path / "t.csv", "--home", home)
    assert again.code == 2 and "there is a node already" in again.err
    assert creditfed("node", "members", "--home", home).code == 3, "no members are pinned yet"
    assert creditfed("audit", "verify", home).code in (0, 2)


@pytest.fixture(scope="module")
def after_a_run(world: World, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A node's home when a run is over."""
    out = tmp_path_factory.mktemp("any")
    simulated(world.run_file("any", **QUICK), out)
    return out / "parties" / "tax"


@pytest.mark.parametrize("arguments", [("approve", "no-such-run"), ("approve", "../../x"), ("show", "study:none"), ("revoke", "x" * 80)])
def test_a_run_that_was_not_proposed_is_named_and_nothing_is_signed(arguments: tuple[str, ...], after_a_run: Path) -> None:
    before = (after_a_run / "approvals" / "votes.jsonl").read_bytes()
    answer = creditfed("node", *arguments, "--home", after_a_run)
    assert answer.code == 2 and "Traceback" not in answer.err
    assert (after_a_run / "approvals" / "votes.jsonl").read_bytes() == before
