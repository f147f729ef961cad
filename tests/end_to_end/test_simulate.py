"""`creditfed simulate` as a researcher runs it: what it leaves, that it equals the pooled fit, and what it refuses."""

from __future__ import annotations

import json
import re
import resource
import tomllib
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pandas as pd
import pytest
import tomli_w
from sklearn.linear_model import LogisticRegression

from server import result as results
from tests.end_to_end.scene import COLUMNS, World, creditfed, finish, logged, result, simulated, start
from tests.end_to_end.wiretap import wiretap

RUNS = ("logistic", "scorecard")
NUMBERS = {
    "bank": ["utilisation", "overdraft_days"],
    "platform": ["gmv_growth", "refund_rate"],
    "tax": ["void_share", "late_declarations_12m"],
}


def equals_pooled(document: dict[str, Any]) -> None:
    """Coefficients to 1e-6 in standardised units, AUC and KS of every sample to four decimals."""
    assert document["converged"], document.get("stop_reason")
    assert document["pooled"]["max_difference"] <= 1e-6
    for name, values in document["model"]["standardized"].items():
        assert values == pytest.approx(document["pooled"]["standardized"][name], abs=1e-6)
    for split, figures in document["metrics"].items():
        for figure in ("auc", "ks"):
            assert round(figures[figure], 4) == round(document["pooled"]["metrics"][split][figure], 4), (split, figure)


# -- what a run leaves ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", RUNS)
def test_federated_equals_pooled(name: str, request: pytest.FixtureRequest) -> None:
    equals_pooled(result(request.getfixturevalue(name)))


@pytest.mark.parametrize("name", RUNS)
def test_partners_are_worth_something(name: str, request: pytest.FixtureRequest) -> None:
    document = result(request.getfixturevalue(name))
    assert document["metrics"]["train"]["auc"] > document["pooled"]["label_party_alone"]["train"]["auc"] + 0.02


@pytest.mark.parametrize("name", [*RUNS, "binning"])
def test_result_follows_its_schema(name: str, request: pytest.FixtureRequest) -> None:
    document = result(request.getfixturevalue(name))
    found = results.parse(document)
    assert found.schema_version == results.SCHEMA_VERSION and found.manifest_hash and found.cost and found.parties
    assert [party.name for party in found.parties] == list(COLUMNS)
    told = msgspec.json.decode(msgspec.json.encode(found)) | {"schema_version": results.SCHEMA_VERSION}
    assert told == stated(document), "a key that the schema does not have"


def stated(value: Any) -> Any:
    """A document without its nulls, which a reader takes as keys that are not there."""
    if isinstance(value, dict):
        return {key: stated(part) for key, part in value.items() if part is not None}
    return [stated(part) for part in value] if isinstance(value, list) else value


@pytest.mark.parametrize("name", RUNS)
def test_scores_have_a_row_for_each_of_the_banks_loans(name: str, request: pytest.FixtureRequest, world: World) -> None:
    out = request.getfixturevalue(name)
    scores, bank = pd.read_parquet(out / "scores" / "bank.parquet"), world.tables["bank"]
    assert list(scores.columns) == ["id", "as_of", "split", "score", "probability", "points", "model_version"]
    assert sorted(scores.id) == sorted(bank.id)
    assert set(scores.split) == {"train", "test", "out_of_time"}
    late = scores.set_index("id").as_of.astype("datetime64[ns]") >= pd.Timestamp("2024-07-01")
    assert (late == (scores.set_index("id").split == "out_of_time")).all()
    assert scores.probability.to_numpy() == pytest.approx(1 / (1 + np.exp(-scores.score.to_numpy())), abs=1e-12)
    assert set(scores.model_version) == {result(out)["model_hash"][:16]}
    assert scores.points.notna().all() == (name == "scorecard")
    assert sorted(path.name for path in (out / "scores").iterdir()) == ["bank.parquet"], "nobody but the bank has scores"


@pytest.mark.parametrize("name", [*RUNS, "binning"])
def test_no_partys_files_tell_of_anothers_columns(name: str, request: pytest.FixtureRequest) -> None:
    out = request.getfixturevalue(name)
    for party in COLUMNS:
        others = [column for other, columns in COLUMNS.items() if other != party for column in columns]
        share = (out / "models" / f"{party}.json").read_text()
        kept = [path for path in (out / "parties" / party).rglob("*") if path.suffix in (".toml", ".json", ".jsonl")]
        told = ("validation.json", "manifest.json")  # what partners show at the end by partner_disclosure; the manifest names all columns
        home = [path.read_text(errors="replace") for path in kept if "approvals" not in path.parts and path.name not in told]
        assert all(column in share for column in COLUMNS[party])
        assert not [column for column in others for text in (share, *home) if column in text]


def test_control_the_joined_result_does_tell_of_all_columns(logistic: Path) -> None:
    text = (logistic / "result.json").read_text()
    assert all(column in text for columns in COLUMNS.values() for column in columns)
    assert any("simulation" in note for note in result(logistic)["notes"]), "and says that only a simulation puts them together"


@pytest.mark.parametrize("name", [*RUNS, "binning"])
def test_logs_and_report(name: str, request: pytest.FixtureRequest) -> None:
    out = request.getfixturevalue(name)
    for party in COLUMNS:
        last = logged(out, party)[-1]
        assert last.kind == "end" and last.facts["manifest"] == result(out)["manifest_hash"]
    page = (out / "report.html").read_text()
    assert "<html" in page and all(party in page for party in COLUMNS)
    assert not foreign_resources(page)


def foreign_resources(page: str) -> list[str]:
    """Whatever a browser would fetch."""
    links = re.findall(r"""<(?:script|img|link|iframe|source|use)[^>]*?(?:src|href)\s*=\s*["']?(?!data:|#)[^"'>\s]+""", page)
    return links + re.findall(r"""url\(\s*["']?(?!data:|#)[^)]+\)|@import[^;]+;""", page)


def test_control_a_page_that_fetches_something_is_noticed() -> None:
    assert foreign_resources('<script src="https://example.org/x.js"></script>') and foreign_resources("<style>@import 'x.css';</style>")


def test_report_can_be_written_again(logistic: Path) -> None:
    page = (logistic / "report.html").read_text()
    (logistic / "report.html").unlink()
    assert creditfed("report", logistic).code == 0
    assert (logistic / "report.html").read_text() == page


# -- exactness, seen from outside -----------------------------------------------------------------------------------------------


def test_numbers_equal_a_scikit_learn_fit_written_here(world: World) -> None:
    """Left join, means and deviations over the training rows, absent and missing at the mean: ten lines that share nothing with the program."""
    out = world.folder / "numbers"
    changes = {f"party_{party}": {"include": columns} for party, columns in NUMBERS.items()}
    document = simulated(world.run_file("numbers", **changes, model={"C": 0.5}), out)
    scores = pd.read_parquet(out / "scores" / "bank.parquet").set_index("id")
    joined = world.tables["bank"].set_index("id").loc[scores.index]
    columns = []
    for party, names in NUMBERS.items():
        table = world.tables[party].set_index("id").reindex(scores.index)[names]
        known = scores.index.isin(world.tables[party].id)
        train = (scores.split == "train").to_numpy()
        filled = table.fillna(table[train & known].mean())
        columns.append(((filled - filled[train].mean()) / filled[train].std(ddof=0)).to_numpy())
    x, y = np.hstack(columns), joined.label.to_numpy()
    fitted = LogisticRegression(C=0.5, solver="newton-cholesky", tol=1e-12).fit(x[train], y[train])
    found = [value for party in NUMBERS for value in document["model"]["standardized"][party].values()]
    assert found == pytest.approx(fitted.coef_[0], abs=1e-6)
    assert scores.score.to_numpy() == pytest.approx(x @ fitted.coef_[0] + fitted.intercept_[0], abs=1e-5)


def test_published_points_are_the_sum_of_the_parties_tables(scorecard: Path, world: World) -> None:
    scores = pd.read_parquet(scorecard / "scores" / "bank.parquet").set_index("id")
    total = np.zeros(len(scores), np.int64)
    for party in COLUMNS:
        share = json.loads((scorecard / "models" / f"{party}.json").read_text())["points"]
        table = world.tables[party].set_index("id").reindex(scores.index)
        known = scores.index.isin(world.tables[party].id)
        total += share["base"] + sum(points_of(part, table[part["bins"]["column"]], known) for part in share["characteristics"])
    assert (total == scores.points.to_numpy().astype(np.int64)).all()
    assert (np.diff(scores.sort_values("points").groupby("points").probability.mean()) < 0).mean() > 0.95, "more points are safer"


def points_of(part: dict[str, Any], values: pd.Series, known: Any) -> Any:
    """A characteristic's points by its published table: intervals closed on the left, a bin for missing, the last for absent."""
    bins, points = part["bins"], np.array(part["points"])
    assert bins["joined"] == [-1] and not bins["special"]
    missing = len(points) - 2
    if bins["kind"] == "numeric":
        codes = np.searchsorted(bins["edges"], values.to_numpy(float), side="right")
    else:
        levels = {level: place for place, group in enumerate(bins["groups"]) for level in group}
        codes = np.array([levels.get(value, bins["other"]) for value in values])
    return points[np.where(known, np.where(values.isna(), missing, codes), len(points) - 1)]


# -- visibility, two parties ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("visibility", [pytest.param("book", marks=pytest.mark.slow), "intersection"])
def test_other_visibilities_equal_their_pooled_fit(visibility: str, world: World) -> None:
    """1 of 2 in the quick tests; tests/unit/test_logistic.py has all three visibilities."""
    out = world.folder / visibility
    document = simulated(world.run_file(visibility, align={"visibility": visibility}), out, "--pooled")
    equals_pooled(document)
    sets = [set(world.tables[party].id) for party in COLUMNS]
    universe = len(sets[0]) if visibility == "book" else len(sets[0] & sets[1] & sets[2])
    assert document["alignment"] == {"visibility": visibility, "universe": universe}


def test_hidden_is_the_default_and_its_universe_is_the_union(logistic: Path, world: World) -> None:
    union = set().union(*(world.tables[party].id for party in COLUMNS))
    assert result(logistic)["alignment"] == {"visibility": "hidden", "universe": len(union)}


def test_one_feature_party_is_refused_unless_it_accepts(world: World) -> None:
    refused = creditfed("simulate", world.run_file("pair", parties=("bank", "tax")), "--out", world.folder / "pair")
    assert refused.code == 2 and "single_partner_disclosure = true" in refused.err and "Traceback" not in refused.err
    assert not (world.folder / "pair" / "result.json").exists()


@pytest.mark.parametrize("model", ["logistic", pytest.param("scorecard", marks=pytest.mark.slow)])
def test_one_feature_party_that_accepts_equals_pooled(model: str, world: World) -> None:
    """1 of 2 models in the quick tests."""
    accepted = world.run_file(f"pair-{model}", model, parties=("bank", "tax"), privacy={"single_partner_disclosure": True})
    equals_pooled(simulated(accepted, world.folder / f"pair-{model}", "--pooled"))


# -- bins edited by hand --------------------------------------------------------------------------------------------------------


def edited(binning: Path, folder: Path, reason: str | None) -> Path:
    """The tax bureau's bins with the first two intervals of a column merged."""
    document = tomllib.loads((binning / "bins" / "tax.toml").read_text())
    column = document["columns"]["void_share"]
    assert len(column["edges"]) == 2
    column["edges"] = column["edges"][1:]
    if reason is not None:
        column["reason"] = reason
    folder.mkdir(exist_ok=True)
    (folder / "tax.toml").write_text(tomli_w.dumps(document))
    (folder / "tax.digest").write_text((binning / "bins" / "tax.digest").read_text())
    return folder / "tax.toml"


def test_edited_bins_are_refitted_on_the_former_alignment(binning: Path, world: World) -> None:
    reason = "void invoices below two per cent are noise"
    bins = edited(binning, world.folder / "edits", reason)
    run_file = world.run_file("refit", "scorecard", align={"from": str(binning)}, party_tax={"bins": str(bins)})
    with wiretap() as tap:
        document = simulated(run_file, world.folder / "refit", "--pooled")
    equals_pooled(document)
    protocols = {envelope.protocol for envelope in tap.envelopes()}
    assert "partial_scores" in protocols and not [name for name in protocols if name.startswith("align")], "nothing was aligned again"
    assert "align" not in document["cost"]["seconds"]
    table = document["model"]["bins"]["tax"]["void_share"]
    assert len(table) == 4, "two intervals, missing, absent"
    (edit,) = [entry for entry in logged(world.folder / "refit", "tax") if entry.facts.get("change") == "bins edited"]
    assert edit.facts["column"] == "void_share" and edit.facts["reason"] == reason
    assert not [entry for entry in logged(world.folder / "refit", "bank") if entry.facts.get("change") == "bins edited"]


def test_control_a_run_without_from_does_align(world: World) -> None:
    with wiretap() as tap:
        simulated(world.run_file("anew", "scorecard", "binning"), world.folder / "anew")
    assert "align" in {envelope.protocol for envelope in tap.envelopes()}


def test_an_edit_without_a_reason_is_refused(binning: Path, world: World) -> None:
    bins = edited(binning, world.folder / "unexplained", None)
    run_file = world.run_file("unexplained", "scorecard", align={"from": str(binning)}, party_tax={"bins": str(bins)})
    answer = creditfed("simulate", run_file, "--out", world.folder / "unexplained-out")
    assert answer.code == 2 and "void_share" in answer.err and "without a reason" in answer.err and "Traceback" not in answer.err
    assert not (world.folder / "unexplained-out" / "result.json").exists()


# -- help -----------------------------------------------------------------------------------------------------------------------

COMMANDS = {
    (): ("Start here", "creditfed simulate world/scorecard.toml", "Exit codes"),
    ("simulate",): ("RUN.toml", "--journal", "resume", "result.json"),
    ("world",): ("generate",),
    ("world", "generate"): ("--firms", "logistic.toml"),
    ("report",): ("report.html", "DIR"),
}


@pytest.mark.parametrize("words", list(COMMANDS), ids=" ".join)
def test_help_answers_at_once_and_teaches(words: tuple[str, ...]) -> None:
    seconds = []
    for _ in range(3):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        answer = finish(start(*words, "--help", COLUMNS="120"))
        after = resource.getrusage(resource.RUSAGE_CHILDREN)  # processor time: other work on the machine does not make the command slow
        seconds.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    assert answer.code == 0 and not answer.err
    assert [text for text in COMMANDS[words] if text not in answer.out] == []
    assert sorted(seconds)[1] < 0.5, seconds
