"""Runs over many banks by the command: equal to the pooled fit, going on without a bank that is lost, refusing what would not be safe."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import tomli_w

import server.app
from federation.kernel.role import COORDINATOR
from tests.end_to_end.bank_scene import BANKS, lost, make_banks, run_file
from tests.end_to_end.scene import Answer, creditfed, logged, simulated


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five banks."""
    return make_banks(tmp_path_factory.mktemp("banks"))


@pytest.mark.parametrize("model", ["logistic", "scorecard"])
def test_a_model_over_banks_is_the_pooled_model(folder: Path, tmp_path: Path, model: str) -> None:
    found = simulated(run_file(folder, model, run={"model": model}), tmp_path / "out", "--pooled")
    assert found["converged"]
    assert found["pooled"]["max_difference"] < 1e-8
    for split in ("train", "test"):
        for figure in ("auc", "ks"):
            assert round(found["metrics"][split][figure], 4) == round(found["pooled"]["metrics"][split][figure], 4)
    hashes = {logged(tmp_path / "out", name)[-1].facts["model"] for name in BANKS}
    assert hashes == {found["model_hash"]}
    assert set(found["banks"]["alone"]) == set(BANKS)
    assert {"global", "per bank", "local"} <= set(found["banks"]["alone"]["bank-a"])


def test_statistics_are_those_of_the_pooled_table(folder: Path, tmp_path: Path) -> None:
    found = simulated(run_file(folder, "statistics", run={"task": "statistics"}), tmp_path / "out")["statistics"]
    pooled = pd.concat([pd.read_parquet(folder / f"{bank}.parquet") for bank in BANKS])
    assert found["rows"] == len(pooled)
    for column in found["columns"]:
        if column["kind"] == "numeric":
            values = pooled[column["name"]]
            assert column["count"] == values.notna().sum()
            assert column["mean"] == pytest.approx(values.mean(), rel=1e-9)
            assert column["variance"] == pytest.approx(values.var(ddof=1), rel=1e-9)
    assert "own" not in found, "a bank's own figures are not in the document of all"


@pytest.mark.slow
def test_bins_are_edited_once_and_given_to_every_bank(folder: Path, tmp_path: Path) -> None:
    first = tmp_path / "first"
    simulated(run_file(folder, "binning", run={"task": "binning", "model": "scorecard"}), first)
    files = {(first / "bins" / f"{bank}.toml").read_text() for bank in BANKS}
    assert len(files) == 1, "all banks have found the same bins"
    given = run_file(folder, "given", run={"model": "scorecard"})
    document = tomllib.loads(given.read_text())
    for section in document["party"]:
        section["bins"] = str(first / "bins" / f"{section['name']}.toml")
    given.write_text(tomli_w.dumps(document))
    assert simulated(given, tmp_path / "second")["converged"]
    (first / "bins" / "bank-c.toml").write_text(files.pop().replace("edges = [", "edges = [\n    -1e6,", 1) + "\n")
    answer = creditfed("simulate", given, "--out", tmp_path / "third")
    assert answer.code in (2, 5)
    assert not (tmp_path / "third" / "result.json").exists()


@pytest.mark.parametrize("place", [3, 4])
def test_a_session_does_not_open_without_a_bank_and_says_which(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: int
) -> None:
    lost(monkeypatch, {4: place})
    answer = refused(run_file(folder, "opening"), tmp_path / "out", code=4)
    assert "bank-e: did not answer in time" in answer.err


@pytest.mark.parametrize("place", [13, *(pytest.param(place, marks=pytest.mark.slow) for place in (5, 6, 8, 30, 31, 32, 33, 34))])
def test_a_run_goes_on_without_a_bank_that_falls_silent(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: int) -> None:
    """1 of 9 places in the quick tests; tests/crash/test_drop_outs.py has every place of a sum."""
    lost(monkeypatch, {4: place})
    found = simulated(run_file(folder, "silent"), tmp_path / "out")
    assert found["converged"]
    assert any(note.startswith("bank-e was lost") for note in found["notes"])
    assert set(found["banks"]["alone"]) == set(BANKS) - {"bank-e"}


def test_below_the_threshold_nothing_is_opened_and_the_run_ends_with_one_reason(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lost(monkeypatch, {3: 9, 4: 9})
    answer = creditfed("simulate", run_file(folder, "below"), "--out", tmp_path / "out")
    assert answer.code == 4
    assert "bank-d, bank-e" in answer.err
    assert "threshold" in answer.err
    assert "Traceback" not in answer.err
    assert not (tmp_path / "out" / "result.json").exists()
    assert not list((tmp_path / "out").glob("parties/*/results/share.json"))


def refused(path: Path, out: Path, code: int = 2) -> Answer:
    answer = creditfed("simulate", path, "--out", out)
    assert answer.code == code, answer.err
    assert not (out / "result.json").exists()
    return answer


def test_two_banks_are_refused(folder: Path, tmp_path: Path) -> None:
    assert "3 to 2048" in refused(run_file(folder, "two", BANKS[:2]), tmp_path / "out").err


def test_a_threshold_of_two_thirds_or_less_is_refused(folder: Path, tmp_path: Path) -> None:
    assert "threshold" in refused(run_file(folder, "low", privacy={"threshold": 3}), tmp_path / "out").err


def test_banks_with_other_columns_are_refused_by_name(folder: Path, tmp_path: Path) -> None:
    path = run_file(folder, "columns")
    path.write_text(path.read_text().replace('"officer_grade",\n]', "]", 1))
    answer = refused(path, tmp_path / "out")
    assert "same columns" in answer.err
    assert "officer_grade" in answer.err


@pytest.mark.parametrize("place", [13, *(pytest.param(place, marks=pytest.mark.slow) for place in (5, 31))])
def test_with_drop_outs_stop_a_lost_bank_ends_the_run_and_is_named(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: int
) -> None:
    """At places where a run goes on otherwise (`test_a_run_goes_on_without_a_bank_that_falls_silent`)."""
    lost(monkeypatch, {4: place})
    answer = refused(run_file(folder, "stop", privacy={"drop_outs": "stop"}), tmp_path / "out", code=4)
    assert "bank-e: did not answer in time" in answer.err
    assert 'drop_outs = "stop"' in answer.err
    assert not list((tmp_path / "out").glob("parties/*/results/share.json"))


def test_with_drop_outs_stop_a_run_in_which_nobody_is_lost_ends_well(folder: Path, tmp_path: Path) -> None:
    found = simulated(run_file(folder, "whole", privacy={"drop_outs": "stop"}), tmp_path / "out")
    assert found["converged"]


def test_a_threshold_beside_drop_outs_stop_is_refused(folder: Path, tmp_path: Path) -> None:
    answer = refused(run_file(folder, "both", privacy={"drop_outs": "stop", "threshold": 4}), tmp_path / "out")
    assert "drop_outs" in answer.err


@pytest.mark.slow
def test_what_the_coordinator_hands_out_may_be_more_than_a_bank_may_send(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To thousands of banks it is gigabytes; here the limit is put where the banks' own largest answer is, and then below it."""
    sizes: dict[str, int] = {}
    real = server.app.decode

    def measured(raw: bytes, kind: Any, sender: str, limit: int) -> Any:
        sizes[sender] = max(sizes.get(sender, 0), len(raw))
        return real(raw, kind, sender, limit)

    monkeypatch.setattr(server.app, "decode", measured)
    asked = run_file(folder, "limit", run={"task": "binning", "model": "scorecard"})
    simulated(asked, tmp_path / "free")
    largest = max(size for name, size in sizes.items() if name != COORDINATOR)
    print(f"the coordinator's largest batch {sizes[COORDINATOR]:,} bytes, a bank's {largest:,}")
    assert sizes[COORDINATOR] > largest + 1000
    monkeypatch.setattr(server.app, "LARGEST_BATCH", largest + 1000)  # signatures vary by a few bytes
    simulated(asked, tmp_path / "at")
    monkeypatch.setattr(server.app, "LARGEST_BATCH", largest - 1000)
    assert "bytes where at most" in refused(asked, tmp_path / "below", code=4).err
