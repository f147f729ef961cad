"""What can be wrong in a run over many banks: one short message that says what, where and what to do, the exit code that goes with it, no
value of the data, and nothing that looks like a result.
"""

from __future__ import annotations

import shutil
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import tomli_w

from tests.end_to_end.bank_scene import BANKS, lost, make_banks, run_file
from tests.end_to_end.scene import Answer, creditfed, result

CONFIGURATION, COHORT, LOST, DATA = 2, 3, 4, 5
CANARY = "73519.25"
"""Stands in data that are wrong, and in no message."""
Change = Callable[[pd.DataFrame], pd.DataFrame]
Sections = list[dict[str, Any]]


@pytest.fixture(scope="module")
def banks(tmp_path_factory: pytest.TempPathFactory) -> dict[str, pd.DataFrame]:
    """The tables of five banks, a tenth of each."""
    folder = make_banks(tmp_path_factory.mktemp("banks"))
    return {bank: pd.read_parquet(folder / f"{bank}.parquet").iloc[:200] for bank in BANKS}


def run(
    banks: dict[str, pd.DataFrame], folder: Path, *, at: tuple[str, ...] = ("bank-c",), change: Change | None = None,
    sections: Callable[[Sections], object] | None = None, **changes: Any,
) -> tuple[Answer, Path]:  # fmt: skip
    """The command over the banks with a changed table at some of them, changed sections or a changed run file."""
    for bank, table in banks.items():
        (change(table.copy()) if change is not None and bank in at else table).to_parquet(folder / f"{bank}.parquet", index=False)
    path = run_file(folder, "run", **changes)
    if sections is not None:
        document = tomllib.loads(path.read_text())
        sections(document["party"])
        path.write_text(tomli_w.dumps(document))
    return creditfed("simulate", path, "--out", folder / "out"), folder / "out"


def refused(found: tuple[Answer, Path], code: int, *says: str) -> None:
    answer, out = found
    assert answer.code == code, (answer.code, answer.err)
    message = "\n".join(line for line in answer.err.strip().splitlines() if not line.startswith("Estimate:"))
    print(message)
    assert [text for text in says if text not in message] == [], message
    assert len(message.splitlines()) == 2, "what and where, then what to do"
    assert len(message) < 400
    assert "Traceback" not in message
    assert CANARY not in message
    for left in ("result.json", "report.html", "scores", "models", "audit", "bins", "curves.json"):
        assert not (out / left).exists(), left


def all_columns(sections: Sections) -> None:
    """No bank says which columns it uses."""
    for section in sections:
        del section["include"]


# -- columns ------------------------------------------------------------------------------------------------------------------------

COLUMNS: dict[str, tuple[Change, tuple[str, ...]]] = {
    "missing": (lambda t: t.drop(columns="collateral"), ("bank-c", "as bank-a", "lacks 'collateral'")),
    "renamed": (lambda t: t.rename(columns={"collateral": "Collateral"}), ("lacks 'collateral'", "alone has 'Collateral'")),
    "one more": (lambda t: t.assign(region=float(CANARY)), ("alone has 'region'",)),
    "without a value": (lambda t: t.assign(collateral=None), ("lacks 'collateral'",)),
    "numbers as text": (lambda t: t.assign(overdraft_days=t["overdraft_days"].map(lambda v: f"{v % 3} days")), ("overdraft_days",)),
    "many missing": (lambda t: t.iloc[:, [0, 1, -1, 2]], ("and 4 more",)),
    "another order": (lambda t: t[[*t.columns[:2], *t.columns[:1:-1]]], ("order",)),
}


@pytest.mark.parametrize("name", list(COLUMNS))
def test_a_bank_whose_columns_are_not_those_of_the_others(name: str, banks: dict[str, pd.DataFrame], tmp_path: Path) -> None:
    change, says = COLUMNS[name]
    found = run(banks, tmp_path, change=change, sections=all_columns)
    refused(found, CONFIGURATION, "bank-c", "[[party]] to give every bank the same columns", *says)


# -- rows ---------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("label", [0, 1])
def test_a_bank_without_bads_or_without_goods(label: int, banks: dict[str, pd.DataFrame], tmp_path: Path) -> None:
    found = run(banks, tmp_path, change=lambda t: t[t["label"] == label])
    refused(found, DATA, "bank-c", "'label'", "one class", "Bring rows of both")


def test_a_bank_without_rows(banks: dict[str, pd.DataFrame], tmp_path: Path) -> None:
    refused(run(banks, tmp_path, change=lambda t: t.iloc[:0]), DATA, "bank-c", "no rows")


def test_numbers_that_are_not_finite(banks: dict[str, pd.DataFrame], tmp_path: Path) -> None:
    found = run(banks, tmp_path, change=lambda t: t.assign(utilisation=[float("inf")] * 2 + [float(CANARY)] * (len(t) - 2)))
    refused(found, DATA, "bank-c", "'utilisation'", "2 of", "finite")


@pytest.mark.parametrize("model", ["logistic", "scorecard"])
def test_fewer_rows_than_the_minimum_cohort(model: str, banks: dict[str, pd.DataFrame], tmp_path: Path) -> None:
    found = run(banks, tmp_path, at=BANKS, change=lambda t: t.groupby("label").head(1), run={"model": model, "holdout": 0.5})
    refused(found, COHORT, "over all banks", "minimum_cohort = 10")


def test_fewer_rows_than_a_larger_cohort_that_the_run_file_asks_for(banks: dict[str, pd.DataFrame], tmp_path: Path) -> None:
    refused(run(banks, tmp_path, privacy={"minimum_cohort": 5000}), COHORT, "over all banks", "minimum_cohort = 5000")


# -- the run file -------------------------------------------------------------------------------------------------------------------

RUN_FILES: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {
    "threshold at half": (
        {"privacy": {"threshold": 3}},
        ("threshold of 3 with 5 banks", "two thirds", "Set [privacy] threshold to 4 to 5"),
    ),
    "threshold above all": ({"privacy": {"threshold": 6}}, ("threshold of 6 with 5 banks", "Set [privacy] threshold to 4 to 5")),
    "threshold of none": ({"privacy": {"threshold": 0}}, ("[privacy] threshold", "whole number >= 1")),
    "threshold, and all must stay": ({"privacy": {"threshold": 4, "drop_outs": "stop"}}, ("drop_outs", "Leave out one")),
    "a key nearly right": ({"privacy": {"treshold": 4}}, ("'treshold'", "Did you mean 'threshold'?")),
    "a key of nothing": ({"select": {"p_maxx": 0.05}}, ("[select]", "'p_maxx'", "Did you mean 'p_max'?")),
    "a table of nothing": ({"selct": {"p_max": 0.05}}, ("'selct'", "Did you mean 'select'?")),
    "iv_min below 0": ({"select": {"iv_min": -1.0}, "run": {"model": "scorecard"}}, ("[select] iv_min", "a number >= 0")),
    "iv_min without bins": ({"select": {"iv_min": 0.02}}, ("[select] iv_min", "needs bins", 'model = "scorecard"')),
    "corr_max above 1": ({"select": {"corr_max": 1.5}}, ("[select] corr_max", "a number < 1")),
    "vif_max below 1": ({"select": {"vif_max": 0.5}}, ("[select] vif_max", "a number > 1")),
    "p_max of 0": ({"select": {"p_max": 0.0}}, ("[select] p_max", "a number > 0")),
    "p_max in words": ({"select": {"p_max": "small"}}, ("[select] p_max", "expected a number, got text")),
    "a word nearly right": ({"model": {"intercept": "per-bank"}}, ("'per-bank'", "Did you mean 'per bank'?")),
    "no patience": ({"run": {"patience": 0.0}}, ("[run] patience", "a number > 0")),
    "an alignment": ({"align": {"visibility": "book"}}, ("[align] visibility", "no firm is aligned", "Leave it out")),
    "a partner's cap": ({"privacy": {"max_score_reveals": 10}}, ("[privacy] max_score_reveals", "no partner served", "Leave it out")),
    "labels for partners": ({"privacy": {"label_disclosure": True}}, ("[privacy] label_disclosure", "Leave it out")),
}


@pytest.mark.parametrize("name", list(RUN_FILES))
def test_a_run_file_that_cannot_be_carried_out(name: str, banks: dict[str, pd.DataFrame], tmp_path: Path) -> None:
    changes, says = RUN_FILES[name]
    refused(run(banks, tmp_path, **changes), CONFIGURATION, *says)


def test_two_banks(banks: dict[str, pd.DataFrame], tmp_path: Path) -> None:
    found = run(banks, tmp_path, sections=lambda s: s.__delitem__(slice(2, None)))
    refused(found, CONFIGURATION, "2 [[party]] sections", "each would learn the other's numbers")


def test_a_bank_without_a_label_among_others(banks: dict[str, pd.DataFrame], tmp_path: Path) -> None:
    found = run(banks, tmp_path, sections=lambda s: s[4].pop("label"))
    refused(found, CONFIGURATION, "4 parties have a label", "give every party one")


def test_one_bank_twice(banks: dict[str, pd.DataFrame], tmp_path: Path) -> None:
    refused(run(banks, tmp_path, sections=lambda s: s[1].update(name="bank-a")), CONFIGURATION, "bank-a", "two parties have this name")


# -- bins by hand -------------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def binned(banks: dict[str, pd.DataFrame], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bins of a first run over the banks."""
    folder = tmp_path_factory.mktemp("binned")
    answer, out = run(banks, folder, run={"task": "binning", "model": "scorecard"})
    assert answer.code == 0, answer.err
    return out / "bins"


@pytest.mark.parametrize("other", ["edited at one bank", "given to four of five"])
def test_bins_by_hand_that_are_not_the_same_at_all_banks(other: str, binned: Path, banks: dict[str, pd.DataFrame], tmp_path: Path) -> None:
    bins = tmp_path / "bins"
    shutil.copytree(binned, bins)
    edited = bins / "bank-c.toml"
    if other == "edited at one bank":
        text = edited.read_text().replace("edges = [", "edges = [\n    -1e6,", 1)
        edited.write_text(text.replace("[columns.utilisation]\n", '[columns.utilisation]\nreason = "a trial"\n', 1))

    def give(sections: Sections) -> None:
        for section in sections:
            if other == "edited at one bank" or section["name"] != "bank-c":
                section["bins"] = str(bins / f"{section['name']}.toml")

    found = run(banks, tmp_path, sections=give, run={"model": "scorecard"})
    refused(found, CONFIGURATION, "bank-c was given other bins by hand", "same file in [[party]] bins")


# -- banks that fall silent ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("places", [{3: 9, 4: 9}, {3: 6, 4: 30}, {0: 12, 1: 20}])
def test_fewer_banks_than_the_threshold_end_the_run_with_one_reason(
    places: dict[int, int], banks: dict[str, pd.DataFrame], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lost(monkeypatch, places)
    found = run(banks, tmp_path)
    refused(
        found,
        LOST,
        BANKS[max(places, key=lambda place: (places[place], place))],
        "3 did, and 4 must (rule: threshold)",
        "Nothing was opened",
    )


# -- controls -----------------------------------------------------------------------------------------------------------------------


def test_control_the_unchanged_banks_run(banks: dict[str, pd.DataFrame], tmp_path: Path) -> None:
    answer, out = run(banks, tmp_path, sections=all_columns)
    assert answer.code == 0, answer.err
    assert result(out)["converged"]


@pytest.mark.slow
def test_a_selection_that_leaves_no_column_says_so(banks: dict[str, pd.DataFrame], tmp_path: Path) -> None:
    answer, out = run(banks, tmp_path, select={"p_max": 1e-12})
    assert answer.code == 0, answer.err
    assert any("every column was left out" in note for note in result(out)["notes"])
    assert "loosen [select]" in " ".join(answer.out.split())
