"""A validator's pack at a bank of a run over banks: the common tables and figures with this bank's own part, and nothing of another's."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.end_to_end.bank_scene import make_banks, run_file
from tests.end_to_end.scene import creditfed, simulated

THREE = ("bank-a", "bank-b", "bank-c")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three even banks."""
    return make_banks(tmp_path_factory.mktemp("banks"), THREE, firms=1_500, shares=None)


def packed(folder: Path, out: Path, **run: Any) -> tuple[dict[str, Any], str]:
    """The first bank's pack after a run, as JSON and as a page."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("simulations.simulate.erase_journals", lambda _: None)
        result = simulated(run_file(folder, "packed", THREE, run=run), out, "--journal", "disk")
    made = out / "pack"
    answer = creditfed("audit", "pack", result["run"]["id"], "--home", out / "parties" / "bank-a", "--out", made, "--replay")
    assert answer.code == 0, answer.err
    return json.loads((made / "pack.json").read_text()), (made / "pack.html").read_text()


def test_of_a_scorecard_it_has_tables_points_coefficients_and_figures_and_no_other_banks(folder: Path, tmp_path: Path) -> None:
    found, page = packed(folder, tmp_path, model="scorecard")
    own = found["own"]
    assert own["tables"] and all(table["iv"] >= 0 and len(table["bins"]) > 2 for table in own["tables"])
    assert own["points_range"].keys() == own["coefficients"].keys() == {part["column"] for part in own["encoding"]["columns"]}
    assert found["metrics"]["test"]["auc"] is not None and found["replay"]["verdict"] == "the same results"
    assert all(f"{low} to {high}" in page for low, high in own["points_range"].values())
    assert all(f"<td>{value:.6g}</td>" in page for value in own["coefficients"].values())
    other = json.loads((tmp_path / "parties" / "bank-b" / "results" / "share.json").read_text())["own"]["figures"]
    assert other["global"]["test"]["auc"] not in {figures["test"]["auc"] for figures in own["own"]["figures"].values()}


def test_of_bins_alone_it_has_all_banks_tables(folder: Path, tmp_path: Path) -> None:
    found, page = packed(folder, tmp_path, task="binning")
    assert {table["column"] for table in found["own"]["tables"]} == {"utilisation", "overdraft_days", "officer_grade"}
    assert all(f"{table['iv']:.6g}" in page for table in found["own"]["tables"]) and found["metrics"] == {}
    assert found["replay"]["verdict"] == "the same results"


def test_of_statistics_it_has_no_table(folder: Path, tmp_path: Path) -> None:
    found, page = packed(folder, tmp_path, task="statistics")
    assert "tables" not in found["own"] and found["own"]["points_range"] == {} and "Own columns" in page
