"""A run over many banks by the command comes to one model: through kill -9 at any moment, in any order of rows, on one core and two.

What is compared is `model_hash`, over what all banks have alike, and the metrics; of a task without a model, what it found.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tests.end_to_end.bank_scene import BANKS, make_banks, run_file
from tests.end_to_end.scene import creditfed, finish, killed_after, result, sessions, simulated, start

KILLS = (1, 2, 4, 9, 16, 22)
FEWER = (2, 9, 22)
"""FEWER is for the quick tests. The run is killed when this many exchanges have been put into its outbox since it (re)started: in the opening,
between levels and the first sum, and at each of the five exchanges of a sum."""
RUNS: dict[str, dict[str, dict[str, Any]]] = {
    "logistic": {"run": {"patience": 60.0}},
    "scorecard": {"run": {"model": "scorecard", "patience": 60.0}, "select": {"iv_min": 0.02, "p_max": 0.05}, "binning": {"max_bins": 4}},
    "own slopes": {"run": {"patience": 60.0}, "model": {"intercept": "per bank", "personal_C": 1.0}},
    "statistics": {"run": {"task": "statistics", "patience": 60.0}},
    "binning": {"run": {"task": "binning", "model": "scorecard", "patience": 60.0}},
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five banks."""
    return make_banks(tmp_path_factory.mktemp("banks"))


@pytest.fixture(scope="module")
def whole(folder: Path) -> Callable[[str], Path]:
    """The folder of a kind of run, never killed; made when it is first asked for."""

    @cache
    def made(kind: str) -> Path:
        simulated(run_file(folder, kind, **RUNS[kind]), folder / f"{kind} whole")
        return folder / f"{kind} whole"

    return made


def found(document: dict[str, Any]) -> dict[str, Any]:
    """What a run has come to, without what differs from run to run."""
    return {key: value for key, value in document.items() if key not in ("run", "cost", "manifest_hash", "parties")}


def exchanges(out: Path) -> int:
    return int(json.loads((out / "coordinator" / "conduct.json").read_text())["exchanges"])


@pytest.mark.parametrize(
    ("kind", "at"), [("scorecard", FEWER), *(pytest.param(kind, KILLS, marks=pytest.mark.slow) for kind in RUNS)], ids=str
)
def test_killed_again_and_again_a_run_over_banks_goes_on_to_the_same_end(
    kind: str, at: tuple[int, ...], folder: Path, whole: Callable[[str], Path], tmp_path: Path
) -> None:
    """Killed up to three times in the quick tests, up to six in the others; one session from first to last."""
    path, out, kills = run_file(folder, kind, **RUNS[kind]), tmp_path / "out", 0
    for number in at:
        if not killed_after(number, path, out):
            break
        kills += 1
        assert not (out / "result.json").exists(), "half a result is none"
        assert list((out / "parties" / "bank-a" / "journal").glob("*.db"))
    document = simulated(path, out, "--journal", "disk")
    print(f"{kind}: killed {kills} times on the way of {exchanges(whole(kind))} exchanges")
    assert kills >= len(at) - 1
    assert found(document) == found(result(whole(kind)))
    assert document.get("model_hash") == result(whole(kind)).get("model_hash")
    assert len(sessions(out)) == 1
    assert not list(out.rglob("journal/*.db")), "the session's secrets are forgotten at its end"
    assert not list(out.rglob("*.outbox"))


@pytest.mark.parametrize("seed", [1, pytest.param(2, marks=pytest.mark.slow)])
@pytest.mark.parametrize("kind", ["scorecard", pytest.param("own slopes", marks=pytest.mark.slow)])
def test_shuffled_rows_give_the_same_model(kind: str, seed: int, folder: Path, whole: Callable[[str], Path], tmp_path: Path) -> None:
    """1 of 2 orders in the quick tests."""
    print(f"shuffled with seed {seed}")
    random = np.random.default_rng(seed)
    for bank in BANKS:
        table = pd.read_parquet(folder / f"{bank}.parquet")
        table.iloc[random.permutation(len(table))].to_parquet(tmp_path / f"{bank}.parquet", index=False)
    document = simulated(run_file(tmp_path, kind, **RUNS[kind]), tmp_path / "out")
    assert document["model_hash"] == result(whole(kind))["model_hash"]
    assert document["metrics"] == result(whole(kind))["metrics"]


@pytest.mark.parametrize("cores", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_one_core_and_two_give_the_same_model(cores: int, folder: Path, whole: Callable[[str], Path], tmp_path: Path) -> None:
    """1 of 2 in the quick tests: the run that it is compared with has all cores."""
    prefix = ("taskset", "-c", "0" if cores == 1 else "0,1")
    settings = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), str(cores))
    path = run_file(folder, "scorecard", **RUNS["scorecard"])
    answer = finish(start("simulate", path, "--out", tmp_path / "out", prefix=prefix, **settings))
    assert answer.code == 0, answer.err
    assert result(tmp_path / "out")["model_hash"] == result(whole("scorecard"))["model_hash"]


def changed(folder: Path, to: Path) -> None:
    """The same banks with one value of one row changed."""
    for bank in BANKS:
        table = pd.read_parquet(folder / f"{bank}.parquet")
        if bank == "bank-b":
            table.loc[table.index[0], "utilisation"] += 0.25
        table.to_parquet(to / f"{bank}.parquet", index=False)


def test_control_one_changed_value_gives_another_model(folder: Path, whole: Callable[[str], Path], tmp_path: Path) -> None:
    changed(folder, tmp_path)
    document = simulated(run_file(tmp_path, "scorecard", **RUNS["scorecard"]), tmp_path / "out")
    assert document["model_hash"] != result(whole("scorecard"))["model_hash"]


@pytest.mark.slow
def test_data_changed_between_kill_and_resume_are_noticed(folder: Path, tmp_path: Path) -> None:
    make_banks(tmp_path)
    path, out = run_file(tmp_path, "logistic", **RUNS["logistic"]), tmp_path / "out"
    assert killed_after(12, path, out)
    changed(folder, tmp_path)
    answer = creditfed("simulate", path, "--out", out, "--journal", "disk")
    assert answer.code == 5, answer.err
    assert "bank-b" in answer.err
    assert "not those that this run began with" in answer.err
    assert "Traceback" not in answer.err
    assert not (out / "result.json").exists()
    assert simulated(path, out, "--journal", "disk")["converged"], "and the next run is a new one"
