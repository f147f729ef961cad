"""One bank, and a market, from raw records to a result: `creditfed world generate --scenario`, then `creditfed simulate` of every run file."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pandas as pd
import pytest

from tests.end_to_end.scenario_scene import drawn, owed, ran
from tests.end_to_end.scene import creditfed

BANDS = [100_000, 500_000]


@pytest.fixture(scope="module")
def one_bank(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return drawn("one-bank", tmp_path_factory.mktemp("one-bank"), "--firms", 3_000)


@pytest.fixture(scope="module")
def market(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return drawn("market", tmp_path_factory.mktemp("market"), "--firms", 1_200)


def test_one_bank_trains_on_what_the_real_adapters_made_and_equals_the_pooled_fit(one_bank: Path) -> None:
    found = ran(one_bank, "bank_tax_platform", "--pooled")
    assert found["converged"] and found["pooled"]["max_difference"] < 1e-6
    assert found["metrics"]["train"]["auc"] > found["pooled"]["label_party_alone"]["train"]["auc"] > 0.7
    assert {party["name"] for party in found["parties"]} == {"bank-1", "platform-1", "tax-1"}
    assert found["target"]["bank-1"]["waterfall"]
    known = {party["name"]: party["matched"] for party in found["parties"]}
    assert 0 < known["platform-1"] < known["tax-1"] <= known["bank-1"]  # not every borrower sells on the platform


@pytest.mark.slow
def test_the_model_of_one_bank_ranks_firms_that_it_has_not_seen(tmp_path: Path) -> None:
    """With fewer firms the held-out bads are too few to say so."""
    found = ran(drawn("one-bank", tmp_path / "world", "--firms", 5_000), "bank_tax_platform", "--pooled")
    assert found["metrics"]["test"]["auc"] > 0.6 and found["pooled"]["max_difference"] < 1e-6


def test_with_fewer_firms_the_cap_on_counts_holds_and_the_file_says_what_went(one_bank: Path) -> None:
    text = (one_bank / "bank_tax_platform.toml").read_text()
    document = tomllib.loads(text)
    assert "released counts for each partner" in text
    assert not {"label_disclosure", "max_released_counts"} & set(document.get("privacy", {}))
    assert document["binning"]["max_bins"] < 6


def test_windows_of_twelve_months_are_whole_for_firms_that_are_old_enough(one_bank: Path) -> None:
    columns = ["declarations_late_12m", "margin_12m", "sales_growth_3m_on_year"]
    missing = pd.read_parquet(one_bank / "tax-1" / "features.parquet", columns=["as_of", *columns]).set_index("as_of").isna()
    by_month = missing.groupby("as_of").mean()
    assert (by_month < 0.5).all(axis=None), by_month.to_dict()  # in an economy that began too late they are all missing
    short = ("features", "build", one_bank / "tax-1" / "mapping.toml", "--as-of", "2023-07", "--out", one_bank / "early.parquet")
    assert creditfed(*short).code == 0
    assert pd.read_parquet(one_bank / "early.parquet", columns=columns).isna().all(axis=None)


def test_feature_tables_are_those_of_the_command(one_bank: Path, tmp_path: Path) -> None:
    out = tmp_path / "features.parquet"
    answer = creditfed("features", "build", one_bank / "platform-1" / "mapping.toml", "--as-of", "2025-01", "--out", out)
    assert answer.code == 0, answer.err
    whole = pd.read_parquet(one_bank / "platform-1" / "features.parquet")
    mine = whole[whole["as_of"] == "2025-01-01"].sort_values("id", ignore_index=True)
    pd.testing.assert_frame_equal(mine, pd.read_parquet(out).sort_values("id", ignore_index=True))


def test_five_banks_of_a_market_fit_one_scorecard(market: Path) -> None:
    found = ran(market, "banks_scorecard", "--pooled")
    assert found["converged"] and found["pooled"]["max_difference"] < 1e-6
    assert set(found["target"]) == {f"bank-{number}" for number in range(1, 6)}


def test_the_multi_lender_check_of_a_market_counts_what_the_banks_books_say(market: Path) -> None:
    ran(market, "multi_lender")
    answer = pd.read_parquet(market / "run-multi_lender" / "checks" / "bank-1.parquet").set_index("id")
    visits = pd.read_parquet(market / "bank-1" / "visits.parquet")
    asked = set(visits.loc[visits["date"].astype("datetime64[s]") >= "2024-07-01", "firm"])
    assert set(answer.index) == asked and len(asked) > 50
    books = [owed(market, f"bank-{number}") for number in range(2, 6)]
    lenders = pd.Series({firm: sum(firm in book.index for book in books) for firm in asked})
    assert (answer["lenders"] == lenders.reindex(answer.index)).all()
    assert lenders.sum() > 0
    large = pd.Series({firm: sum(book.get(firm, 0.0) >= BANDS[1] for book in books) for firm in asked})
    assert (answer["500000 and more"] == large.reindex(answer.index)).all()


@pytest.mark.slow
def test_a_bank_of_a_market_with_three_platforms_and_four_bureaus(tmp_path: Path) -> None:
    world = drawn("market", tmp_path / "market", "--firms", 4_000)
    found = ran(world, "bank-1", "--pooled")
    assert len(found["parties"]) == 8 and found["pooled"]["max_difference"] < 1e-6
    assert found["metrics"]["train"]["auc"] > found["pooled"]["label_party_alone"]["train"]["auc"]


def test_records_alone_are_written_where_they_are_asked_for(tmp_path: Path) -> None:
    words = ("world", "generate", "--scenario", "one-bank", "--firms", 300, "--months", 2, "--out", tmp_path / "raw", "--raw-only")
    assert creditfed(*words).code == 0
    assert not list((tmp_path / "raw").glob("*.toml")) and not list((tmp_path / "raw").rglob("features.parquet"))
    assert (tmp_path / "raw" / "bank-1" / "mapping.toml").exists()


def test_an_option_that_leaves_a_run_without_a_party_is_refused_before_anything_is_drawn(tmp_path: Path) -> None:
    answer = creditfed("world", "generate", "--scenario", "one-bank", "--firms", 300, "--taxes", 0, "--out", tmp_path / "none")
    assert answer.code == 2 and "tax-1" in answer.err and "--raw-only" in answer.err
    assert not (tmp_path / "none").exists()
