"""A validator's pack: what a model rests on, of partners what they agreed to show, nothing of a firm, and results that can be made again."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from tests.end_to_end.scene import World, creditfed, logged, simulated

QUICK: dict[str, Any] = {"model": {"tolerance": 1e-3, "max_iterations": 4}}


@pytest.fixture(scope="module")
def done(world: World, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A scorecard whose journals are kept, as a resident node's are, and of whose partners' bins edges may be seen."""
    out = tmp_path_factory.mktemp("packed") / "out"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("simulations.simulate.erase_journals", lambda _: None)
        simulated(world.run_file("packed", "scorecard", **QUICK, privacy={"partner_disclosure": "edges"}), out, "--journal", "disk")
    for party in ("bank", "tax"):
        assert (
            creditfed(
                "node", "approvers", "--add", "vera", "--as", "owner-1", "--role", "validator", "--home", out / "parties" / party
            ).code
            == 0
        )
    return out


@pytest.fixture
def out(done: Path, tmp_path: Path) -> Path:
    """A copy to be spoilt."""
    return Path(shutil.copytree(done, tmp_path / "copy"))


def run_of(out: Path) -> str:
    return str(json.loads((out / "result.json").read_text())["run"]["id"])


def packed(out: Path, party: str, *options: str, code: int = 0) -> dict[str, Any]:
    folder = out / "pack" / party
    answer = creditfed("audit", "pack", run_of(out), "--as", "vera", "--home", out / "parties" / party, "--out", folder, *options)
    assert answer.code == code, answer.err
    document: dict[str, Any] = json.loads((folder / "pack.json").read_text())
    return document


def test_the_banks_pack_has_lineage_bins_points_sensitivity_stability_and_out_of_time(out: Path) -> None:
    found = packed(out, "bank", "--replay")
    lineage = found["lineage"]
    assert set(lineage["snapshots"]) == set(lineage["signatures"]) == {"bank", "platform", "tax"}
    assert lineage["log"]["found"] == [] and {head["peer"] for head in lineage["heads_seen"]} >= {"platform", "tax", "coordinator"}
    assert found["own"]["points_range"] and found["own"]["tables"][0]["bins"][0]["points"] is not None
    assert set(found["sensitivity"]) == {part["column"] for part in found["own"]["encoding"]["columns"]} | {"all partners together"}
    assert found["stability"]["score"]["out_of_time"] is not None and found["out_of_time"]["auc"] is not None
    assert found["metrics"]["test"]["auc"] > found["sensitivity"]["all partners together"]["auc"]["test"]
    assert found["results"] == found["results"] | {"verdict": "as the run left them, by the log", "changed": []}
    assert found["replay"]["verdict"] == "the same results" and found["replay"]["differ"] == []
    packs = [entry for entry in logged_now(out, "bank") if entry.kind == "pack"]
    assert [entry.facts["digest"] for entry in packs] == [found["digest"]]
    page = (out / "pack" / "bank" / "pack.html").read_text()
    assert "<script" not in page and "http" not in page.replace("http-equiv", "") and "default-src 'none'" in page


def logged_now(out: Path, party: str) -> Any:
    shutil.rmtree(out / "audit" / party)
    shutil.copytree(out / "parties" / party / "audit", out / "audit" / party)
    return logged(out, party)


def test_of_partners_it_has_what_the_manifest_allows_and_a_partners_pack_has_no_labels(out: Path) -> None:
    found = packed(out, "bank")
    shown = found["partners"]["columns"]
    assert set(shown) == {"platform", "tax"}
    rows = [row for columns in shown.values() for column in columns for row in column["bins"]]
    assert rows and all(row[key] is None for row in rows for key in ("rows", "goods", "bads", "woe"))
    mine = packed(out, "tax", "--replay")
    assert mine["partners"]["columns"] == {} and mine["metrics"] == {} and mine["stability"] == {}
    assert mine["own"]["tables"] and mine["note"] and mine["replay"]["verdict"] == "the same results"


def test_no_id_of_a_firm_is_in_a_pack_and_control_in_the_scores_all_are(out: Path) -> None:
    packed(out, "bank", "--replay")
    text = "".join(path.read_text() for path in (out / "pack" / "bank").iterdir())
    ids = set(pd.read_parquet(out / "parties" / "bank" / "results" / "scores.parquet")["id"])
    found = sum(firm in text for firm in ids)
    print(f"{found} of {len(ids)} ids in the pack")
    assert found == 0 and len(ids) > 1_000


def test_a_result_that_was_changed_is_found_and_a_replay_tells_which(out: Path) -> None:
    path = out / "parties" / "bank" / "results" / "metrics.json"
    path.write_text(path.read_text().replace('"auc": 0.', '"auc": 0.9'))
    found = packed(out, "bank", "--replay", code=5)
    assert found["results"]["changed"] == ["metrics.json"] and found["replay"]["verdict"] == "the same results"


def test_an_index_that_was_changed_with_it_is_found_by_the_log(out: Path) -> None:
    from federation.kernel import suite

    results = out / "parties" / "bank" / "results"
    path, index = results / "metrics.json", results / "run.json"
    forged = path.read_text().replace('"auc": 0.', '"auc": 0.9')
    path.write_text(forged)
    said = json.loads(index.read_text())
    said["files"]["metrics.json"] = suite.plain_digest(forged.encode()).hex()
    index.write_text(json.dumps(said))
    found = packed(out, "bank", "--replay", code=5)
    assert found["results"]["verdict"] == "run.json is not what the log says the run left"
    assert found["replay"]["differ"] == found["replay"]["names"] == ["metrics.json"]


def test_bins_points_and_coefficients_that_were_changed_are_named_by_column(out: Path) -> None:
    path = out / "parties" / "bank" / "results" / "share.json"
    said = json.loads(path.read_text())
    first, second = (table["column"] for table in said["tables"][:2])
    said["tables"][0]["bins"][0]["woe"] += 0.01
    said["points"]["characteristics"][1]["points"][0] += 1
    said["coefficients"][first] += 0.5
    path.write_text(json.dumps(said))
    found = packed(out, "bank", "--replay", code=5)
    assert found["replay"]["names"] == [f"bins of {first}", f"points of {second}", f"coefficient of {first}", "share.json"]
    assert found["replay"]["verdict"] == "the same results"  # what comes out again is what the log has, and stands in the pack
    shown = {table["column"]: table["bins"][0]["woe"] for table in found["own"]["tables"]}
    assert shown[first] == pytest.approx(said["tables"][0]["bins"][0]["woe"] - 0.01)


def test_whoever_is_no_validator_is_refused_with_the_reason_and_control_the_validator_is_not(out: Path) -> None:
    home, folder = out / "parties" / "bank", out / "pack" / "none"
    command = ("audit", "pack", run_of(out), "--home", home, "--out", folder)
    answer = creditfed(*command, "--as", "owner-1")
    assert answer.code == 3 and not folder.exists()
    assert "the-validator-sees-validation" in answer.err and "What would change it" in answer.err
    refused = [entry.facts for entry in logged_now(out, "bank") if entry.kind == "policy" and entry.facts.get("act") == "view validation"]
    assert [(facts["by"], facts["allowed"]) for facts in refused] == [("owner-1", False)]
    nobody, other = creditfed(*command, "--as", "walter"), creditfed(*command, "--as", "vera", "--key", home / "approvers" / "owner-1.key")
    assert nobody.code == other.code == 2 and "nobody who is known here" in nobody.err and "not the key of vera" in other.err
    assert not folder.exists() and not [entry for entry in logged_now(out, "bank") if entry.kind == "pack"]
    packed(out, "bank")
    assert [entry.facts["by"] for entry in logged_now(out, "bank") if entry.kind == "pack"] == ["vera"]


def test_a_policy_of_the_institutions_own_decides_too(out: Path) -> None:
    rule = '@id("no-packs-this-week")\n@why("The committee sits.")\nforbid (principal, action == Action::"view validation", resource);\n'
    (out / "parties" / "bank" / "policy" / "90-own.cedar").write_text(rule)
    answer = creditfed("audit", "pack", run_of(out), "--as", "vera", "--home", out / "parties" / "bank", "--out", out / "pack" / "none")
    assert answer.code == 3 and "The committee sits." in answer.err


def test_without_a_journal_it_says_so_and_other_rows_are_not_replayed(out: Path) -> None:
    home = out / "parties" / "bank"
    source = next(line for line in (home / "node.toml").read_text().splitlines() if line.startswith("source"))
    table = pd.read_parquet(home / json.loads(source.split("=")[1]))
    table["utilisation"] = table["utilisation"] + 1
    table.to_parquet(home / "other.parquet", index=False)
    config = (home / "node.toml").read_text()
    (home / "node.toml").write_text(config.replace(source, 'source = "other.parquet"'))
    assert "not those that this run began with" in packed(out, "bank", "--replay")["replay"]["verdict"]
    (home / "node.toml").write_text(config)
    for path in (home / "journal").iterdir():
        path.unlink()
    found = packed(out, "bank", "--replay")
    assert found["replay"]["verdict"].startswith("not possible: the journal of run")


def test_results_of_a_later_run_are_not_passed_off_and_the_journal_gives_the_run_its_own(out: Path) -> None:
    index = out / "parties" / "bank" / "results" / "run.json"
    said = json.loads(index.read_text())
    index.write_text(json.dumps(said | {"run": "later", "manifest": "00" * 32}))
    answer = creditfed("audit", "pack", run_of(out), "--as", "vera", "--home", out / "parties" / "bank", "--out", out / "pack" / "none")
    assert answer.code == 5 and "no results of this run" in answer.err and not (out / "pack" / "none").exists()
    found = packed(out, "bank", "--replay")
    assert found["replay"]["verdict"] == "the same results" and found["own"]["tables"] and found["metrics"]
