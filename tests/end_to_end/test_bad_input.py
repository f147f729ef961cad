"""What a user can get wrong: one clear message, the exit code that goes with it, no value of the data in it, and nothing half-written."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import tomli_w

from tests.end_to_end.scene import COLUMNS, Answer, World, creditfed, finish, result, start

CONFIGURATION, COHORT, DATA = 2, 3, 5
Change = Callable[[dict[str, pd.DataFrame]], None]
CANARY = 73_519.25
"""A number that stands in no message."""


def run(world: World, folder: Path, change: Change | None = None, **changes: Any) -> tuple[Answer, Path]:
    """The command on a copy of the world with changed tables or a changed run file."""
    tables = {name: table.copy() for name, table in world.tables.items()}
    if change is not None:
        change(tables)
    for name, table in tables.items():
        table.to_parquet(folder / f"{name}.parquet", index=False)
    run_file = World(folder, tables).run_file("run", **changes)
    return creditfed("simulate", run_file, "--out", folder / "out"), folder / "out"


def refused(answer: Answer, out: Path, code: int, *says: str) -> None:
    """The exit code; each of `says` in one short message; no traceback and no value; nothing that looks like a result."""
    assert answer.code == code, (answer.code, answer.err)
    assert [text for text in says if text not in answer.err] == [], answer.err
    message = "\n".join(line for line in answer.err.strip().splitlines() if not line.startswith("Estimate:"))
    assert message and len(message.splitlines()) <= 2 and len(message) < 700, message
    assert "Traceback" not in message and str(CANARY) not in message and not re.search(r"91\d{6}[0-9A-Z]{10}", message), message
    for left in ("result.json", "report.html", "scores", "models", "audit", "bins", "curves.json"):
        assert not (out / left).exists(), left
    assert not list(out.rglob("*.partial")) if out.is_dir() else True


# -- the run file -----------------------------------------------------------------------------------------------------------------


def test_a_run_file_that_is_not_there(tmp_path: Path) -> None:
    refused(
        creditfed("simulate", tmp_path / "none.toml", "--out", tmp_path / "out"),
        tmp_path / "out",
        CONFIGURATION,
        "none.toml",
        "no such file",
    )


def test_a_run_file_that_is_not_toml(tmp_path: Path) -> None:
    (tmp_path / "run.toml").write_text("[run\ntask = train")
    refused(creditfed("simulate", tmp_path / "run.toml", "--out", tmp_path / "out"), tmp_path / "out", CONFIGURATION, "run.toml", "line 1")


def test_a_source_that_is_not_there(world: World, tmp_path: Path) -> None:
    refused(*run(world, tmp_path, party_tax={"source": "taxes.parquet"}), CONFIGURATION, "tax source", "taxes.parquet", "does not exist")


@pytest.mark.parametrize(
    ("changes", "unknown", "nearest"),
    [
        ({"run": {"hold_out": 0.3}}, "hold_out", "holdout"),
        ({"model": {"max_iteration": 3}}, "max_iteration", "max_iterations"),
        ({"privacy": {"min_cohort": 3}}, "min_cohort", "minimum_cohort"),
        ({"party_tax": {"exclud": []}}, "exclud", "exclude"),
        ({"modell": {"C": 1.0}}, "modell", "model"),
        ({"align": {"visibility": "hiden"}}, "hiden", "hidden"),
        ({"run": {"model": "scorcard"}}, "scorcard", "scorecard"),
    ],
)
def test_an_unknown_key_or_word_suggests_the_nearest(world: World, tmp_path: Path, changes: Any, unknown: str, nearest: str) -> None:
    refused(*run(world, tmp_path, **changes), CONFIGURATION, repr(unknown), f"Did you mean {nearest!r}?")


def test_no_label(world: World, tmp_path: Path) -> None:
    run_file = world.run_file("no-label")
    document = tomllib.loads(run_file.read_text())
    del document["party"][0]["label"]
    run_file.write_text(tomli_w.dumps(document))
    refused(creditfed("simulate", run_file, "--out", tmp_path / "out"), tmp_path / "out", CONFIGURATION, "no party has a label")


def test_a_label_column_that_is_not_there(world: World, tmp_path: Path) -> None:
    refused(*run(world, tmp_path, party_bank={"label": "default"}), DATA, "bank", "'default'")


def test_two_parties_with_one_name(world: World, tmp_path: Path) -> None:
    refused(*run(world, tmp_path, party_platform={"name": "tax"}), CONFIGURATION, "tax", "two parties have this name")


def test_an_unknown_role(world: World, tmp_path: Path) -> None:
    refused(*run(world, tmp_path, party_tax={"role": "taxes"}), CONFIGURATION, "role", "Did you mean 'tax'?")


@pytest.mark.parametrize("words", [("simulate",), ("simulate", "x.toml"), ("simulat",), ("simulate", "x.toml", "--out", "y", "--pool")])
def test_bad_usage(words: tuple[str, ...], tmp_path: Path) -> None:
    answer = creditfed(*words)
    assert answer.code == CONFIGURATION and "Usage" in answer.err and "Traceback" not in answer.err
    assert not Path("y").exists()


@pytest.mark.parametrize("option", [("--backend", "cloud"), ("--journal", "paper")])
def test_a_back_end_or_journal_that_does_not_exist(option: tuple[str, str], world: World, tmp_path: Path) -> None:
    answer = creditfed("simulate", world.run_file("options"), "--out", tmp_path / "out", *option)
    refused(answer, tmp_path / "out", CONFIGURATION, option[1])


@pytest.mark.parametrize("place", ["file", "under a file"])
def test_an_output_folder_that_cannot_be_written(place: str, world: World, tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file")
    out = tmp_path / "taken" if place == "file" else tmp_path / "taken" / "out"
    refused(creditfed("simulate", world.run_file("unwritable"), "--out", out), out, CONFIGURATION, "cannot be written")
    assert (tmp_path / "taken").read_text() == "a file"


def test_report_of_a_folder_without_a_result(tmp_path: Path) -> None:
    refused(creditfed("report", tmp_path), tmp_path, CONFIGURATION, "no result.json")


# -- the data ---------------------------------------------------------------------------------------------------------------------


def put(party: str, column: str, value: Any, rows: int | slice = 3) -> Change:
    """Write a value into the first rows of a column, or into all of them."""

    def change(tables: dict[str, pd.DataFrame]) -> None:
        table = tables[party]
        if not isinstance(value, str):
            table[column] = table[column].astype(float)
        table.loc[table.index[: rows if isinstance(rows, int) else None], column] = value

    return change


def repeat_an_id(tables: dict[str, pd.DataFrame]) -> None:
    tables["platform"] = pd.concat([tables["platform"], tables["platform"].iloc[:2]])


def empty(tables: dict[str, pd.DataFrame]) -> None:
    tables["tax"] = tables["tax"].iloc[:0]


def spoil_ids(tables: dict[str, pd.DataFrame]) -> None:
    ids = tables["tax"].id
    tables["tax"].loc[ids.index[:2], "id"] = [text[:-1] + ("0" if text[-1] != "0" else "1") for text in ids.iloc[:2]]


def nobody_in_common(tables: dict[str, pd.DataFrame]) -> None:
    for party in ("platform", "tax"):
        tables[party] = tables[party][~tables[party].id.isin(tables["bank"].id)]


@dataclass(frozen=True)
class Case:
    """A change and what the message must say."""

    change: Change
    says: tuple[str, ...]


CASES = {
    "label not 0 or 1": Case(put("bank", "label", 2), ("bank", "'label'", "3 of", "0 or 1")),
    "missing label": Case(put("bank", "label", np.nan), ("bank", "'label'", "3 of")),
    "one class": Case(put("bank", "label", 0, slice(None)), ("bank", "'label'")),
    "duplicate ids": Case(repeat_an_id, ("platform", "'id'")),
    "no rows": Case(empty, ("tax", "no rows")),
    "infinite": Case(put("tax", "void_share", np.inf), ("tax", "'void_share'", "3 of", "finite")),
    "bad ids": Case(spoil_ids, ("tax", "'id'")),
}


@pytest.mark.parametrize("name", list(CASES))
def test_data_that_break_a_rule(name: str, world: World, tmp_path: Path) -> None:
    refused(*run(world, tmp_path, CASES[name].change), DATA, *CASES[name].says)


def test_text_in_a_column_declared_numeric(world: World, tmp_path: Path) -> None:
    def change(tables: dict[str, pd.DataFrame]) -> None:
        tables["tax"]["void_share"] = tables["tax"]["void_share"].astype(str)
        tables["tax"].loc[tables["tax"].index[0], "void_share"] = f"about {CANARY}"

    refused(*run(world, tmp_path, change, party_tax={"types": {"void_share": "numeric"}}), DATA, "tax", "'void_share'", "number")


@pytest.mark.parametrize("content", [b"", b"id,void_share\n", b"\x00\xff\xfe not a table"])
def test_a_file_that_is_empty_or_no_table(content: bytes, world: World, tmp_path: Path) -> None:
    (tmp_path / "tax.csv").write_bytes(content)
    refused(*run(world, tmp_path, party_tax={"source": "tax.csv", "include": []}), DATA, "tax")


def test_a_column_that_is_not_there(world: World, tmp_path: Path) -> None:
    answer, out = run(world, tmp_path, party_tax={"include": ["void_shares"]})
    refused(answer, out, DATA, "tax", "void_shares", "void_share'")


@pytest.mark.parametrize(
    ("visibility", "code"), [*(pytest.param(name, DATA, marks=pytest.mark.slow) for name in ("book", "intersection")), ("hidden", COHORT)]
)
def test_nobody_in_common(visibility: str, code: int, world: World, tmp_path: Path) -> None:
    refused(*run(world, tmp_path, nobody_in_common, align={"visibility": visibility}), code)


# -- columns that say nothing of their own ------------------------------------------------------------------------------------------


def constant(tables: dict[str, pd.DataFrame]) -> None:
    tables["tax"]["void_share"] = CANARY


def collinear_within(tables: dict[str, pd.DataFrame]) -> None:
    tables["tax"]["void_share"] = 3.0 * tables["tax"]["late_declarations_12m"] - 1.0


def collinear_across(tables: dict[str, pd.DataFrame]) -> None:
    """Two parties with the same number for each of the bank's firms, and no other firm, so that nobody is absent."""
    ids = tables["bank"].id
    for party, column, factor in (("platform", "refund_rate", 1.0), ("tax", "void_share", -2.0)):
        table = tables[party].drop_duplicates("id").set_index("id").reindex(ids).reset_index()
        table[column] = factor * np.sin(np.arange(len(ids)) * 1.7)
        tables[party] = table


NUMBERS = {
    "party_bank": {"include": ["utilisation", "overdraft_days"]},
    "party_platform": {"include": ["gmv_growth", "refund_rate"]},
    "party_tax": {"include": ["void_share", "late_declarations_12m"]},
}


@pytest.mark.parametrize("change", [constant, *(pytest.param(c, marks=pytest.mark.slow) for c in (collinear_within, collinear_across))])
def test_a_ridge_handles_columns_that_say_nothing_of_their_own(change: Change, world: World, tmp_path: Path) -> None:
    """1 of 3 in the quick tests; tests/unit/test_logistic.py has all three."""
    answer, out = run(world, tmp_path, change, **NUMBERS)
    assert answer.code == 0, answer.err
    document = result(out)
    assert document["converged"]
    if change is constant:
        assert abs(document["model"]["standardized"]["tax"]["void_share"]) < 1e-9


@pytest.mark.parametrize("change", [constant, pytest.param(collinear_within, marks=pytest.mark.slow)])
def test_without_a_ridge_the_party_that_can_see_it_says_so(change: Change, world: World, tmp_path: Path) -> None:
    answer, out = run(world, tmp_path, change, model={"C": float("inf")}, **NUMBERS)
    refused(answer, out, DATA, "tax", "void_share" if change is constant else "column 'late_declarations_12m'", "C = inf")


@pytest.mark.slow
def test_without_a_ridge_collinear_columns_of_two_parties_end_without_convergence_and_a_reason(world: World, tmp_path: Path) -> None:
    answer, out = run(world, tmp_path, collinear_across, model={"C": float("inf")}, privacy={"max_score_reveals": 200}, **NUMBERS)
    assert answer.code == 0, answer.err
    document = result(out)
    assert document["converged"] is False and "collinear across parties" in document["stop_reason"]
    assert "NOT converged" in answer.out


@pytest.mark.slow
def test_control_without_a_ridge_independent_columns_do_converge(world: World, tmp_path: Path) -> None:
    answer, out = run(world, tmp_path, model={"C": float("inf")}, **NUMBERS)
    assert answer.code == 0 and result(out)["converged"], answer.err


def test_control_the_unchanged_world_runs(world: World, tmp_path: Path) -> None:
    answer, out = run(world, tmp_path)
    assert answer.code == 0 and (out / "result.json").exists()
    assert list(COLUMNS) == [party["name"] for party in result(out)["parties"]]


@pytest.mark.slow
def test_the_message_is_the_same_in_a_process_of_its_own(tmp_path: Path) -> None:
    """What the other tests see in this process is what a shell sees."""
    answer = finish(start("simulate", tmp_path / "none.toml", "--out", tmp_path / "out"))
    assert answer == creditfed("simulate", tmp_path / "none.toml", "--out", tmp_path / "out")
