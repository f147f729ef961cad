"""Runs with epsilon, and with label noise, by the command: what they cost stands in the result and the report, and what cannot be had is refused."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from clients.budget_commands import ledger_path
from privacy.audit.entry import from_line
from privacy.budget.ledger import Spend
from privacy.store.audit_folder import find
from privacy.store.budget_file import BudgetFile
from tests.end_to_end.bank_scene import BANKS, make_banks, run_file
from tests.end_to_end.scene import creditfed, simulated

NOISE = {"epsilon": 8.0, "delta": 1e-5}
SUMS = {"statistics": 4, "binning": 5, "train": 9}
COLUMNS = ["utilisation", "overdraft_days"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five banks."""
    return make_banks(tmp_path_factory.mktemp("private"))


def private(folder: Path, name: str, run: dict[str, Any], **changes: Any) -> Path:
    """A run file with epsilon over the columns that are numbers."""
    path = run_file(folder, name, run=run, privacy=NOISE, **changes)
    text = path.read_text().replace(', "officer_grade"', "")
    text = text.replace('\n    "officer_grade",', "")
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    "run",
    [{"task": "statistics"}, pytest.param({"task": "binning"}, marks=pytest.mark.slow), {"task": "train", "model": "scorecard"}],
    ids=lambda run: run["task"],
)  # fmt: skip
def test_a_run_with_epsilon_says_what_it_costs(folder: Path, tmp_path: Path, run: dict[str, Any]) -> None:
    found = simulated(private(folder, run["task"], run), tmp_path / "out")
    assert {key: found["privacy"][key] for key in NOISE} == NOISE
    report = (tmp_path / "out" / "report.html").read_text()
    assert "ε 8" in report
    assert "for adding or removing any one row of any one bank" in report
    shares = [json.loads((tmp_path / "out" / "models" / f"{name}.json").read_text()) for name in BANKS]
    for name in BANKS:
        assert spent_at(tmp_path / "out" / "parties" / name, found["run"]["id"]) == SUMS[run["task"]]
    if run["task"] == "train":
        assert found["converged"]
        assert found["metrics"]["test"]["auc"] > 0.6
        assert {tuple(share["fits"]["global"]["standardized"].items()) for share in shares} == {
            tuple(shares[0]["fits"]["global"]["standardized"].items())
        }
        assert all(value is None for value in shares[0]["fits"]["global"]["p"].values())
        assert all(share["own"]["shortened"] >= 0 for share in shares)


def spent_at(home: Path, run: str) -> int:
    """How many releases a node's ledger has of the run, which it has settled, at no more than the run stated; the log says the same."""
    with closing(BudgetFile(ledger_path(home))) as file:
        ledger, spends = file.current(), [entry.record for entry in file.history() if isinstance(entry.record, Spend)]
    assert not ledger.open_runs and {spend.run.rpartition("-")[0] for spend in spends} == {run}
    epsilon, delta = ledger.composed(spends[0].run)
    assert 0.8 * NOISE["epsilon"] < epsilon <= NOISE["epsilon"] and delta == NOISE["delta"]
    told = [line.entry.facts for line in map(from_line, segment_lines(home)) if line and line.entry.kind == "budget"]
    assert max(float(facts.get("epsilon", 0)) for facts in told if facts["step"] == "spent") == epsilon
    return len(spends)


def segment_lines(home: Path) -> list[bytes]:
    """Of a node's audit log."""
    return list(find(home).log().lines())


def test_a_plain_model_with_epsilon_is_refused_with_what_to_do(folder: Path, tmp_path: Path) -> None:
    answer = creditfed("simulate", private(folder, "plain", {"model": "logistic"}), "--out", tmp_path / "out")
    assert answer.code == 2
    assert "plain columns have no bound on what one row adds to a gradient" in answer.err + answer.out
    assert 'model = "scorecard"' in answer.err + answer.out


def test_a_column_of_text_without_bins_by_hand_is_refused_with_what_to_do(folder: Path, tmp_path: Path) -> None:
    path = run_file(folder, "text", run={"model": "scorecard"}, privacy=NOISE)
    answer = creditfed("simulate", path, "--out", tmp_path / "out")
    assert answer.code == 2
    assert "levels are told without noise" in answer.err + answer.out
