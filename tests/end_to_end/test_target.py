"""`creditfed simulate` with [target]: a scorecard over outcomes that the bank's own vault makes of its repayments, and every refusal."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import tomli_w

from federation.kernel.manifest import TargetSettings
from tests.end_to_end.scene import creditfed, result, simulated
from tests.repayment_oracle import Oracle
from tests.repayment_oracle import number as month_number
from tests.target_scene import MONTHS, TargetScene, make_target_scene


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> TargetScene:
    return make_target_scene(tmp_path_factory.mktemp("target"))


@pytest.fixture(scope="module")
def finished(scene: TargetScene) -> Path:
    out = scene.folder / "out"
    simulated(scene.run_file("run"), out, "--pooled")
    return out


def test_labels_are_those_of_plain_python_for_every_row_that_was_scored(scene: TargetScene, finished: Path) -> None:
    oracle = Oracle(scene.book.repayments, scene.book.loans, TargetSettings(performance_months=6))
    wanted = {(firm, month): oracle.row(firm, month_number(month)) for firm in scene.book.firms for month in MONTHS}
    scores = pd.read_parquet(finished / "scores" / "bank.parquet")
    keys = list(zip(scores["id"], scores["as_of"].astype(str).str[:7], strict=True))
    assert sorted(keys) == sorted(key for key, outcome in wanted.items() if outcome in ("good", "bad"))
    for split in ("train", "test", "out_of_time"):
        mine = [wanted[key] for key, name in zip(keys, scores["split"], strict=True) if name == split]
        figures = result(finished)["metrics"][split]
        assert (figures["goods"], figures["bads"]) == (mine.count("good"), mine.count("bad"))
    in_time = [month for (_, month), split in zip(keys, scores["split"], strict=True) if split in ("train", "test")]
    assert max(in_time) == "2022-04"  # six months later is October, from which rows are out of time


def test_it_equals_the_pooled_fit_and_partners_help(finished: Path) -> None:
    found = result(finished)
    assert found["converged"] and found["pooled"]["max_difference"] < 1e-6
    assert found["metrics"]["test"]["auc"] > found["pooled"]["label_party_alone"]["test"]["auc"]


def test_the_waterfall_adds_up_and_small_cells_stay_at_the_bank(finished: Path) -> None:
    exact = json.loads((finished / "parties" / "bank" / "results" / "target.json").read_text())
    rows = {
        kind: sum(step["rows"] for step in exact["waterfall"] if step["kind"] == kind)
        for kind in ("excluded", "outcome", "sample", "left out")
    }
    whole = exact["waterfall"][0]["rows"]
    assert whole == len(MONTHS) * 500 == rows["excluded"] + rows["outcome"]
    assert rows["outcome"] == rows["sample"] + rows["left out"]
    shown = result(finished)["target"]["bank"]
    assert shown == json.loads((finished / "models" / "bank.json").read_text())["target"]
    assert any(step["rows"] is None for step in shown["waterfall"])
    assert '"firms"' in json.dumps(exact["roll_rates"]) and '"firms"' not in json.dumps(shown)
    others = [path for path in finished.rglob("target.json") if path.parent.parent.name != "bank"]
    assert others == []
    assert "How outcomes were made" in (finished / "report.html").read_text()


def test_the_definition_is_in_the_manifest_that_everybody_signed(finished: Path) -> None:
    manifest = json.loads((finished / "coordinator" / "conduct.json").read_text())["manifest"]
    assert manifest["sample"]["target"]["performance_months"] == 6
    assert [party["repayments"] for party in manifest["parties"]] == [True, False, False]


@pytest.mark.slow
def test_the_model_hash_is_that_of_the_same_run_again_and_of_other_definitions_another(scene: TargetScene, finished: Path) -> None:
    first = result(finished)["model_hash"]
    rows = scene.book.repayments.sample(frac=1.0, random_state=5)
    rows.to_parquet(scene.folder / "shuffled.parquet", index=False)
    again = simulated(scene.run_file("again", bank={"repayments": "shuffled.parquet"}), scene.folder / "again")
    other = simulated(scene.run_file("other", target={"days_past_due": 60}), scene.folder / "other")
    assert again["model_hash"] == first != other["model_hash"]


@pytest.mark.slow
def test_each_bank_of_many_makes_its_own_outcomes(scene: TargetScene) -> None:
    firms = scene.book.firms
    parties: list[dict[str, Any]] = []
    table = pd.read_parquet(scene.folder / "bank.parquet")
    for number in range(3):
        mine = set(firms[number::3])
        table[table["id"].isin(mine)].to_parquet(scene.folder / f"bank-{number}.parquet", index=False)
        book = scene.book.repayments
        book[book["firm"].isin(mine)].to_parquet(scene.folder / f"repayments-{number}.parquet", index=False)
        parties.append({
            "name": f"bank-{number}", "role": "bank", "source": f"bank-{number}.parquet", "repayments": f"repayments-{number}.parquet",
            "loans": "loans.parquet",
        })  # fmt: skip
    document = {
        "run": {"model": "scorecard", "seed": 7},
        "sample": {"as_of": "as_of"},
        "target": {"performance_months": 6},
        "party": parties,
    }
    path = scene.folder / "banks.toml"
    path.write_text(tomli_w.dumps(document))
    found = simulated(path, scene.folder / "banks", "--pooled")
    assert set(found["target"]) == {"bank-0", "bank-1", "bank-2"}
    assert found["pooled"]["max_difference"] < 1e-6
    oracle = Oracle(scene.book.repayments, scene.book.loans, TargetSettings(performance_months=6))
    bads = sum(oracle.row(firm, month_number(month)) == "bad" for firm in firms for month in MONTHS)
    assert sum(split["bads"] for split in found["metrics"].values() if split) == bads


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "no target": ({"drop": ("target",)}, "repayments: nothing says what an outcome is"),
    "no repayments": ({"bank": {"repayments": None, "loans": None}}, "no party has a label"),
    "label": ({"bank": {"repayments": None, "loans": None, "label": "own_0"}}, "[target] makes outcomes of repayments"),
    "both": ({"bank": {"label": "own_0"}}, "both label and repayments"),
    "loans alone": ({"bank": {"repayments": None, "label": "own_0"}, "drop": ("target",)}, "loans: goes with repayments"),
    "no dates": ({"drop": ("sample",)}, "outcomes need the month of each row"),
    "no file": ({"bank": {"repayments": "nowhere.parquet"}}, "does not exist"),
    "unknown key": ({"target": {"days_past_deu": 90}}, "Did you mean 'days_past_due'?"),
    "unknown word": ({"target": {"rule": "evr"}}, "Did you mean 'ever'?"),
    "range": ({"target": {"performance_months": 0}}, "performance_months"),
    "gray above bad": ({"target": {"days_past_due": 30, "indeterminate_from": 60}}, "is above days_past_due"),
    "month": ({"target": {"observe_from": "2021-7"}}, "is not a month"),
    "no observation": ({"target": {"observe_from": "2030-01"}}, "no month of the label party's rows is one of its observation months"),
    "long window": ({"target": {"performance_months": 40}}, "longer than the data: the repayment table has 36 months, 2021-01 to 2023-12"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_does_not_go_together_is_refused_in_words(scene: TargetScene, case: str, tmp_path: Path) -> None:
    changes, words = REFUSED[case]
    answer = creditfed("simulate", scene.run_file("refused", **changes), "--out", tmp_path)
    assert answer.code != 0 and words in answer.err.replace("\n", " "), answer.err
    assert not any(firm in answer.err for firm in scene.book.firms)
