"""A validator's pack of runs over many banks: the common model and this bank's own part, of other banks nothing, made again from its journal."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from federation.models.horizontal.program import Bank
from tests.end_to_end.bank_scene import make_banks, run_file
from tests.end_to_end.scene import creditfed, simulated

BANKS = ("bank-a", "bank-b", "bank-c")
KINDS: dict[str, dict[str, Any]] = {
    "scorecard": {"model": "scorecard"}, "statistics": {"task": "statistics"}, "binning": {"task": "binning"}, "private": {"task": "binning"},
}  # fmt: skip


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs of each kind, whose journals are kept; every bank has a validator."""
    root = make_banks(tmp_path_factory.mktemp("packed-banks"), BANKS, firms=1_500, shares=(0.4, 0.35, 0.25))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("simulations.simulate.erase_journals", lambda _: None)
        for kind, run in KINDS.items():
            changes: dict[str, Any] = {"privacy": {"epsilon": 8.0, "delta": 1e-5}} if kind == "private" else {}
            path = run_file(root, kind, BANKS, run=run, binning={"max_bins": 3}, **changes)
            if kind == "private":
                path.write_text(path.read_text().replace('\n    "officer_grade",', ""))
            simulated(path, root / kind, "--journal", "disk")
            for bank in BANKS:
                assert (
                    creditfed(
                        "node",
                        "approvers",
                        "--add",
                        "vera",
                        "--as",
                        "owner-1",
                        "--role",
                        "validator",
                        "--home",
                        root / kind / "parties" / bank,
                    ).code
                    == 0
                )
    return root


@pytest.fixture
def out(done: Path, tmp_path: Path) -> Path:
    """A copy of the scorecard's run, to be spoilt."""
    return Path(shutil.copytree(done / "scorecard", tmp_path / "copy"))


def packed(out: Path, bank: str, code: int = 0) -> dict[str, Any]:
    run, folder = json.loads((out / "result.json").read_text())["run"]["id"], out / "pack" / bank
    answer = creditfed("audit", "pack", run, "--as", "vera", "--home", out / "parties" / bank, "--out", folder, "--replay")
    assert answer.code == code, answer.err
    document: dict[str, Any] = json.loads((folder / "pack.json").read_text())
    return document


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_of_run_is_packed_and_made_again(done: Path, tmp_path: Path, kind: str) -> None:
    out = Path(shutil.copytree(done / kind, tmp_path / "out"))
    found = packed(out, "bank-a")
    assert found["replay"] | {"verdict": "the same results", "differ": [], "names": []} == found["replay"]
    result = json.loads((out / "result.json").read_text())
    assert found["replay"]["model"] == result["model_hash"] and found["lineage"]["log"]["found"] == []
    assert set(found["lineage"]["snapshots"]) == set(BANKS) and found["partners"]["columns"] == {}
    page = (out / "pack" / "bank-a" / "pack.html").read_text()
    assert ("Statistics over all banks" in page) == (kind == "statistics")
    if kind != "statistics":
        assert all(
            row["label"] in page.replace("&lt;", "<").replace("&gt;", ">") for table in found["own"]["tables"] for row in table["bins"]
        )


def test_the_scorecards_pack_has_bins_points_coefficients_and_figures_of_all_banks_and_of_this_one(out: Path) -> None:
    found = packed(out, "bank-a")
    own = found["own"]
    assert {table["column"] for table in own["tables"]} == set(own["points_range"]) == set(own["coefficients"])
    assert all(row["woe"] is not None and "points" in row for table in own["tables"] for row in table["bins"][:-1])
    assert found["all_banks"]["test"]["n"] > found["metrics"]["test"]["n"] > 100 and found["stability"]["score"]["test"] is not None
    assert all(table["iv"] > 0 for table in own["tables"])


def test_of_another_bank_and_of_a_firm_nothing_is_in_a_pack_and_control_in_the_others_it_is(out: Path) -> None:
    packs = {bank: packed(out, bank) for bank in BANKS[:2]}
    texts = {bank: "".join(path.read_text() for path in (out / "pack" / bank).iterdir()) for bank in packs}
    intercept = packs["bank-b"]["own"]["own"]["models"]["local"]["intercept"]  # what it would have found alone
    assert str(intercept) in texts["bank-b"] and str(intercept) not in texts["bank-a"]
    assert packs["bank-a"]["own"]["tables"] != [] and packs["bank-a"]["metrics"] != packs["bank-b"]["metrics"]
    ids = set(pd.read_parquet(out / "parties" / "bank-a" / "results" / "scores.parquet")["id"])
    assert len(ids) > 300 and not any(firm in texts["bank-a"] for firm in ids)


def test_what_was_changed_is_named_by_column(out: Path) -> None:
    path = out / "parties" / "bank-a" / "results" / "share.json"
    said = json.loads(path.read_text())
    first, second = said["tables"][0]["column"], said["own"]["points"]["characteristics"][1]["bins"]["column"]
    said["tables"][0]["bins"][0]["woe"] += 0.01
    said["own"]["points"]["characteristics"][1]["points"][0] += 1
    path.write_text(json.dumps(said, indent=1))
    found = packed(out, "bank-a", code=5)
    assert found["replay"]["names"] == [f"bins of {first}", f"points of {second}", "share.json"]


def test_a_state_that_does_not_give_the_hash_that_all_banks_found_is_named(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Bank, "digest", lambda *_: bytes(32))  # as if the common model in the journal's state were another
    found = packed(out, "bank-a", code=5)
    assert found["replay"]["verdict"] == "other results than the run's" and found["replay"]["names"] == ["model hash"]
