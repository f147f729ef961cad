"""Six further scenarios from records to a result, each with what it has to show. Minutes each, so only in `make test-all`."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from tests.end_to_end.scenario_scene import drawn, matched, ran, refused, truth

pytestmark = pytest.mark.slow


def test_thin_file_is_refused_while_there_are_no_bads_and_while_there_are_few_and_works_later(tmp_path: Path) -> None:
    world = drawn("thin-file", tmp_path / "W", "--firms", 4_000)
    early, few = refused(world, "early"), refused(world, "few")
    assert early.code == 5 and "are good (rule: goods and bads)" in early.err
    assert few.code == 3 and "a tenth of the bads" in few.err
    for name in ("early", "few"):
        assert not (world / f"run-{name}" / "result.json").exists()
    found = ran(world, "late")
    assert found["converged"] and found["metrics"]["test"]["auc"] > 0.6
    known = pd.read_parquet(world / "bank-1" / "repayments-2023-05.parquet")
    assert known["days_past_due"].max() < 90 and len(known)


def test_in_a_recession_far_more_default_than_the_model_of_good_years_says(tmp_path: Path) -> None:
    world = drawn("recession", tmp_path / "W", "--firms", 6_000)
    found = ran(world, "banks_scorecard", "--pooled")
    assert found["pooled"]["max_difference"] < 1e-6
    before, after = (found["metrics"][split] for split in ("test", "out_of_time"))
    assert after["bads"] / after["n"] > 2 * before["bads"] / before["n"]
    assert after["log_loss"] > 1.5 * before["log_loss"]
    drift = found["banks"]["overall"]["global"]
    assert drift["out_of_time"]["psi"] > drift["test"]["psi"]
    scores = pd.concat([pd.read_parquet(path) for path in (world / "run-banks_scorecard" / "scores").glob("bank-*.parquet")])
    said = scores.loc[scores["split"] == "out_of_time", "probability"].mean()
    assert after["bads"] / after["n"] > 1.5 * said  # it promised far fewer
    macro = truth(world, "macro").set_index("month")["macro"]
    assert macro.iloc[:20].min() > 0 > macro.iloc[-1]


def test_a_platform_that_joins_brings_rows_that_the_first_does_not_know(tmp_path: Path) -> None:
    world = drawn("new-platform", tmp_path / "W", "--firms", 4_000)
    before, after, without = (ran(world, name, "--pooled") for name in ("before", "after", "after_without"))
    for found in (before, after, without):
        assert found["pooled"]["max_difference"] < 1e-6
    assert set(matched(before, "platform")) == {"platform-1"} and set(matched(after, "platform")) == {"platform-1", "platform-2"}
    assert sum(matched(after, "platform").values()) > sum(matched(without, "platform").values()) > 0
    assert after["metrics"]["train"]["n"] == without["metrics"]["train"]["n"]
    assert after["metrics"]["train"]["auc"] > without["metrics"]["train"]["auc"]
    assert pd.read_parquet(world / "platform-2" / "features.parquet", columns=["as_of"])["as_of"].min() > pd.Timestamp("2024-01-01")


def test_a_bureau_that_withdraws_takes_its_rows_with_it(tmp_path: Path) -> None:
    world = drawn("tax-withdraws", tmp_path / "W", "--firms", 4_000)
    both, dropped, after = (ran(world, name, "--pooled") for name in ("with_both", "dropped", "after"))
    for found in (both, dropped, after):
        assert found["pooled"]["max_difference"] < 1e-6
    assert set(matched(both, "tax")) == {"tax-1", "tax-2"}
    assert set(matched(dropped, "tax")) == set(matched(after, "tax")) == {"tax-2"}
    assert both["metrics"]["train"]["n"] == dropped["metrics"]["train"]["n"]
    assert both["metrics"]["train"]["auc"] > dropped["metrics"]["train"]["auc"]
    assert pd.read_parquet(world / "tax-1" / "features.parquet", columns=["as_of"])["as_of"].max() <= pd.Timestamp("2024-03-01")


def test_members_of_a_ring_have_a_higher_circular_score_the_less_so_the_better_hidden(tmp_path: Path) -> None:
    world = drawn("fraud-ring", tmp_path / "W", "--firms", 4_000)
    found = ran(world, "bank_tax", "--pooled")
    assert found["pooled"]["max_difference"] < 1e-6
    table = pd.read_parquet(world / "tax-1" / "features.parquet")
    rings = truth(world, "rings")
    hidden = rings[rings["kind"] == "circular"].groupby("id")["camouflage"].min()
    score = table.groupby("id")["circular_score_3m"].max().fillna(0.0)
    of_rings = score.reindex(hidden.index).fillna(0.0).groupby(hidden).mean()
    others = score[~score.index.isin(rings["id"])].mean()
    assert list(of_rings.index) == [0.0, 0.5, 1.0]
    assert of_rings[0.0] > of_rings[1.0] and of_rings[0.0] > 5 * others


def test_village_banks_on_ray_make_one_model_and_who_has_goods_alone_takes_no_part(tmp_path: Path) -> None:
    world = drawn("village-banks", tmp_path / "W", "--firms", 1_800, "--banks", 24)
    tables = {path.parent.name: pd.read_parquet(path) for path in world.glob("bank-*/logistic.parquet")}
    taking = {name for name, table in tables.items() if table["label"].nunique() == 2}
    assert len(tables) == 24 and 10 < len(taking) < 24
    assert f"{24 - len(taking)} of 24 banks" in (world / "logistic.toml").read_text()
    statistics = ran(world, "statistics", "--backend", "ray")
    assert {party["name"] for party in statistics["parties"]} == taking
    found = ran(world, "logistic", "--backend", "ray", "--pooled")
    assert found["converged"] and found["pooled"]["max_difference"] < 1e-6
    samples = [one for one in found["metrics"].values() if one]
    assert sum(one["bads"] for one in samples) == sum(tables[name]["label"].sum() for name in taking)
