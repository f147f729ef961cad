"""`creditfed sources`: what each source adds is what scikit-learn finds on the joined table; dice add nothing and causes do; what adds too little goes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import tomli_w
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.preprocessing import StandardScaler

from clients.roles.records.features import build
from simulations.economy.other_sources import other_sources
from simulations.world import generate
from tests.end_to_end.scene import creditfed, logged, result
from tests.unit.report_page import Page

SEED = 20_260_803
OF = {"bank": ["utilisation", "overdraft_days"], "tax": ["void_share", "late_declarations_12m"], "dice": ["dice_1", "dice_2"]}


def write(folder: Path, firms: int = 1_500) -> dict[str, pd.DataFrame]:
    """Bank, platform, tax bureau (which has dice, too) and a court."""
    print(f"world of {firms} firms, seed {SEED}")
    world, rng = generate(firms, SEED), np.random.default_rng(SEED)
    truth, months = world.truth, np.arange("2019-01", "2022-01", dtype="datetime64[M]")
    traits = (truth[name].to_numpy() for name in ("honesty", "liquidity", "health"))
    court = build({"court": [other_sources(rng, truth["id"].to_numpy(object), *traits, months)["court"]]}, [np.datetime64("2022-01")])
    dice = {f"dice_{at}": rng.standard_normal(len(world.tax)) for at in (1, 2)}
    tables = {"bank": world.bank, "platform": world.platform, "tax": world.tax.assign(**dice), "court": court.drop(columns="as_of")}
    for name, table in tables.items():
        table.to_parquet(folder / f"{name}.parquet", index=False)
    return tables


def party(name: str, include: list[str], **more: Any) -> dict[str, Any]:
    return {"name": name, "role": name, "source": f"{name}.parquet", "include": include, **more}


BANK = party("bank", OF["bank"], label="label")
TAX = party("tax", [*OF["tax"], *OF["dice"]], sources={"dice": ["dice_*"]}, costs={"dice": 0.8, "tax": 1.5}, taken="2021-12-31")
PLATFORM = party("platform", ["gmv_growth", "refund_rate"], taken="2021-12-31")
COURT = party("court", ["court_judgments_12m", "court_enforcements_open"], costs={"court": 0.5}, taken="2022-01-01")


def run_file(folder: Path, parties: list[dict[str, Any]], **tables: Any) -> Path:
    run = {"task": "train", "model": "logistic", "seed": 5, "holdout": 0.4} | tables.pop("run", {})
    path = folder / "run.toml"
    path.write_text(tomli_w.dumps({"run": run, "sample": {"as_of": "as_of"}, **tables, "party": parties}))
    return path


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, pd.DataFrame]]:
    folder = tmp_path_factory.mktemp("sources")
    return folder, write(folder)


@pytest.fixture(scope="module")
def weighed(tables: tuple[Path, dict[str, pd.DataFrame]]) -> Path:
    folder, _ = tables
    path = run_file(folder, [BANK, TAX], privacy={"single_partner_disclosure": True})
    answer = creditfed("sources", path, "--out", folder / "weighed")
    assert answer.code == 0, answer.err
    return folder / "weighed"


def found(out: Path) -> dict[str, dict[str, Any]]:
    return {source["name"]: source for source in result(out)["sources"]["found"]}


def pooled_auc(tables: dict[str, pd.DataFrame], columns: list[str], split: pd.Series) -> float:
    """Left join, training means where nothing is known, standardised, scikit-learn with C = 1; AUC on the test rows."""
    tax = tables["tax"].set_index("id")[[*OF["tax"], *OF["dice"]]]
    bank = tables["bank"].set_index("id").join(tax).loc[split.index]
    train, x = (split == "train").to_numpy(), bank[columns].to_numpy(float)
    x = np.where(np.isnan(x), np.nanmean(x[train], axis=0), x)
    x = StandardScaler().fit(x[train]).transform(x)
    label = bank["label"].to_numpy()
    model = LogisticRegression(C=1.0, tol=1e-12, max_iter=2_000, solver="newton-cholesky").fit(x[train], label[train])
    return float(roc_auc_score(label[~train], model.decision_function(x[~train])))


@pytest.mark.slow
def test_each_difference_is_the_one_of_the_joined_table(weighed: Path, tables: tuple[Path, dict[str, pd.DataFrame]]) -> None:
    scores = pd.read_parquet(weighed / "full" / "scores" / "bank.parquet").set_index("id")["split"]
    every = [name for names in OF.values() for name in names]
    whole = pooled_auc(tables[1], every, scores)
    for name, source in found(weighed).items():
        without = pooled_auc(tables[1], [column for column in every if column not in OF[name]], scores)
        assert source["auc_with"] == pytest.approx(whole, abs=1e-5) and source["auc_without"] == pytest.approx(without, abs=1e-5)
        assert source["auc_gain"] == pytest.approx(whole - without, abs=2e-5)
        other = next(one for one in OF if one != name)
        wrong = pooled_auc(tables[1], [column for column in every if column not in OF[other]], scores)
        assert abs(source["auc_without"] - wrong) > 1e-4  # control: without another source it is another figure


@pytest.mark.slow
def test_a_cause_is_shown_and_dice_are_not(weighed: Path) -> None:
    sources = found(weighed)
    assert sources["tax"]["auc_interval"][0] > 0
    low, high = sources["dice"]["auc_interval"]
    assert low < 0 < high
    assert sources["dice"]["verdict"] == "adds nothing that this sample can show and costs 800 CNY for 1,000 firms"
    assert sources["dice"]["cost_per_point"] is None
    assert sources["tax"]["cost_per_point"] == pytest.approx(1_500 / (100 * sources["tax"]["auc_gain"]))
    assert 0.6 < sources["tax"]["coverage"] < 0.9 and sources["bank"]["coverage"] == 1.0


@pytest.mark.slow
def test_every_run_is_approved_and_its_manifest_says_without_what(weighed: Path) -> None:
    for name, columns in {"bank": ["void_share", "late_declarations_12m", "dice_1", "dice_2"], "dice": [*OF["bank"], *OF["tax"]]}.items():
        folder = weighed / f"without-{name}"
        conduct = json.loads((folder / "coordinator" / "conduct.json").read_bytes())
        assert conduct["manifest"]["select"]["drop_sources"] == [name]
        assert [column["name"] for one in conduct["manifest"]["parties"] for column in one["columns"]] == columns
        for institution in ("bank", "tax"):
            kinds = {entry.kind for entry in logged(folder, institution)}
            assert {"approval", "signature", "end"} <= kinds


@pytest.mark.slow
def test_the_report_has_the_table_in_words(weighed: Path) -> None:
    text = Page((weighed / "report.html").read_text()).text
    for words in (
        "What each source adds",
        "dice",
        "adds nothing that this sample can show",
        "CNY per 1,000 firms and AUC point",
        "Coverage",
    ):
        assert words in text


@pytest.mark.slow
def test_a_cost_of_a_source_that_the_party_has_not_is_refused(tables: tuple[Path, dict[str, pd.DataFrame]], weighed: Path) -> None:
    folder, _ = tables
    wrong = TAX | {"costs": {"dise": 0.8}}
    del wrong["sources"]
    path = run_file(folder, [BANK, wrong], privacy={"single_partner_disclosure": True})
    answer = creditfed("sources", path, "--out", folder / "wrong")
    assert answer.code == 2 and "no source 'dise'" in answer.err


@pytest.mark.slow
def test_what_adds_too_little_goes_and_the_model_is_fitted_without(tables: tuple[Path, dict[str, pd.DataFrame]]) -> None:
    folder, _ = tables
    path = run_file(
        folder,
        [BANK, PLATFORM, TAX, COURT],
        run={"model": "scorecard"},
        binning={"max_bins": 2},
        select={"source_auc_min": 0.03},
        privacy={"label_disclosure": True},
    )
    answer = creditfed("sources", path, "--out", folder / "dropped")
    assert answer.code == 0, answer.err
    document, sources = result(folder / "dropped"), found(folder / "dropped")
    dropped = {name for name, source in sources.items() if source["auc_interval"][1] < 0.03}
    assert "dice" in dropped and "platform" not in dropped
    assert set(document["sources"]["dropped"]) == dropped and document["sources"]["folder"] == "final"
    left = {column["name"] for one in document["parties"] for column in one["columns"]}
    assert not left & set(OF["dice"]) and "gmv_growth" in left
    assert document["sources"]["final_auc_interval"][0] < 0.03


@pytest.mark.slow
def test_where_one_partner_would_be_left_it_is_not_measured_and_with_none_left_the_bank_is_alone(
    tables: tuple[Path, dict[str, pd.DataFrame]],
) -> None:
    folder, frames = tables
    strict = creditfed("sources", run_file(folder, [BANK, PLATFORM, COURT]), "--out", folder / "strict")
    assert strict.code == 0, strict.err
    sources = found(folder / "strict")
    assert sources["platform"]["auc_gain"] is None and sources["platform"]["verdict"].startswith("not measured")
    assert sources["bank"]["auc_gain"] is not None and not (folder / "strict" / "without-platform").exists()
    plain = TAX | {"include": OF["tax"]}
    del plain["sources"], plain["costs"]
    alone = creditfed("sources", run_file(folder, [BANK, plain], privacy={"single_partner_disclosure": True}), "--out", folder / "alone")
    assert alone.code == 0, alone.err
    split = pd.read_parquet(folder / "alone" / "full" / "scores" / "bank.parquet").set_index("id")["split"]
    assert found(folder / "alone")["tax"]["auc_without"] == pytest.approx(pooled_auc(frames, OF["bank"], split), abs=1e-5)
    assert not (folder / "alone" / "without-tax").exists()


def test_over_many_banks_it_is_refused(tables: tuple[Path, dict[str, pd.DataFrame]]) -> None:
    folder, _ = tables
    banks = [BANK | {"name": f"bank-{at}"} for at in (1, 2, 3)]
    answer = creditfed("sources", run_file(folder, banks), "--out", folder / "banks")
    assert answer.code == 2 and "over many banks" in answer.err
