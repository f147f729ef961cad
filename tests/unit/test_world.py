"""A world is the same for the same seed, its files run as they are, and its causes are those it says."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.compose import make_column_transformer  # type: ignore[import-untyped, unused-ignore]
from sklearn.impute import SimpleImputer  # type: ignore[import-untyped, unused-ignore]
from sklearn.linear_model import LogisticRegression  # type: ignore[import-untyped, unused-ignore]
from sklearn.metrics import roc_auc_score  # type: ignore[import-untyped, unused-ignore]
from sklearn.model_selection import cross_val_predict  # type: ignore[import-untyped, unused-ignore]
from sklearn.pipeline import make_pipeline  # type: ignore[import-untyped, unused-ignore]
from sklearn.preprocessing import OneHotEncoder, StandardScaler  # type: ignore[import-untyped, unused-ignore]

from clients.party_config import PartyConfig
from clients.vault import describe_table
from federation.align.uscc import check_character, normalise
from federation.kernel.errors import ConfigurationError
from federation.models.bins import cut
from federation.models.table import Column
from server.run_file import load
from simulations.world import World, generate, most_bins, write

SEED = 7


@pytest.fixture(scope="module")
def world() -> World:
    return generate(firms=20_000, seed=SEED)


def tables(world: World) -> dict[str, pd.DataFrame]:
    return {name: getattr(world, name) for name in ("bank", "platform", "tax", "truth")}


def held_out_auc(features: pd.DataFrame, label: pd.Series[int]) -> float:
    """The AUC of a pooled logistic regression, each third of the rows scored by the model of the other two."""
    numbers = [name for name in features if pd.api.types.is_numeric_dtype(features[name])]
    levels = [name for name in features if name not in numbers]
    text = features.copy()
    for name in levels:
        text[name] = text[name].astype(object).where(text[name].notna(), "missing")
    columns = make_column_transformer(
        (make_pipeline(SimpleImputer(), StandardScaler()), numbers), (OneHotEncoder(handle_unknown="ignore"), levels)
    )
    model = make_pipeline(columns, LogisticRegression(max_iter=1000))
    scores = cross_val_predict(model, text, label, cv=3, method="predict_proba")
    return float(roc_auc_score(label, scores[:, 1]))


def test_the_same_seed_draws_the_same_world_and_another_does_not() -> None:
    one, same, other = generate(400, 1), generate(400, 1), generate(400, 2)
    for name, table in tables(one).items():
        pd.testing.assert_frame_equal(table, tables(same)[name])
        assert not table.equals(tables(other)[name])


def test_every_id_is_a_valid_distinct_credit_code(world: World) -> None:
    for table in tables(world).values():
        assert normalise(table["id"].tolist(), "uscc") == table["id"].tolist()  # raises on invalid and on repeated ids
    assert all(check_character(code[:17]) == code[17] for code in world.bank["id"][:200])


def test_coverage_is_partial_and_partners_hold_strangers(world: World) -> None:
    bank = set(world.bank["id"])
    for partner in (world.platform, world.tax):
        assert 0.7 < len(bank & set(partner["id"])) / len(bank) < 0.8
        assert len(set(partner["id"]) - bank) == 2500
    assert not (set(world.platform["id"]) - bank) & (set(world.tax["id"]) - bank)


def test_shares_missing_cells_and_dates_are_as_described(world: World) -> None:
    assert 0.10 < world.bank["label"].mean() < 0.15
    assert world.bank["as_of"].min() >= pd.Timestamp("2022-01-01")
    assert world.bank["as_of"].max() < pd.Timestamp("2025-01-01")
    for table in (world.bank, world.platform, world.tax):
        assert 6 <= len(table.columns) - 1 - ("label" in table) - ("as_of" in table) <= 9
        assert 0 < table.isna().to_numpy().mean() < 0.05
        assert (table.dtypes == "str").sum() >= 3  # id and at least two categories
        numbers = table.select_dtypes("number").to_numpy(np.float64)
        assert not np.isinf(numbers).any()


def test_together_the_institutions_know_clearly_more_than_the_bank_alone(world: World) -> None:
    bank = world.bank
    own = bank.drop(columns=["id", "as_of", "label"])
    joined = bank.merge(world.platform, on="id", how="left").merge(world.tax, on="id", how="left").drop(columns=["id", "as_of", "label"])
    alone, pooled = held_out_auc(own, bank["label"]), held_out_auc(joined, bank["label"])
    traits = bank[["id"]].merge(world.truth, on="id", how="left")
    ideal = held_out_auc(traits[["health", "liquidity", "honesty", "industry", "region"]], bank["label"])
    print(f"seed {SEED}: AUC of the bank {alone:.3f}, of all {pooled:.3f}, of a model on the hidden traits {ideal:.3f}")
    assert 0.65 < alone < 0.70
    assert 0.74 < pooled < 0.80
    assert pooled - alone > 0.05
    assert ideal > pooled
    assert roc_auc_score(bank["label"], traits["probability"]) > ideal - 0.01


def test_control_the_order_of_rows_says_nothing_about_the_label(world: World) -> None:
    assert abs(roc_auc_score(world.bank["label"], np.arange(len(world.bank))) - 0.5) < 0.02


def test_a_world_is_written_with_run_files_that_load_and_tables_the_vault_takes(tmp_path: Path) -> None:
    write(generate(4_000, SEED), tmp_path)
    for model in ("scorecard", "logistic"):
        found = load(tmp_path / f"{model}.toml")
        assert (found.run.model, found.sample.as_of) == (model, "as_of")
        for party in found.parties:
            facts = describe_table(PartyConfig.from_dict(found.node_section(party.name), tmp_path))
            assert facts.id_kind == "uscc"
            assert facts.notes == ()
            assert not {"id", "label", "as_of"} & {column.name for column in facts.columns}
    as_csv = describe_table(PartyConfig.from_dict({"name": "p", "role": "platform", "source": "platform.csv"}, tmp_path))
    assert as_csv.columns == describe_table(PartyConfig.from_dict(found.node_section("platform"), tmp_path)).columns
    assert set(pd.read_parquet(tmp_path / "truth.parquet").columns) >= {"health", "liquidity", "honesty", "probability"}


@pytest.mark.parametrize(("firms", "seed"), [(400, 7), (2_000, 7), (3_000, 1), (4_000, 2), (5_000, 7), (8_000, 3)])
def test_no_scorecard_is_written_that_asks_for_more_counts_than_the_bads_allow(firms: int, seed: int, tmp_path: Path) -> None:
    world = generate(firms, seed)
    write(world, tmp_path)
    load(tmp_path / "logistic.toml")
    if not (tmp_path / "scorecard.toml").exists():
        assert most_bins(world) < 2
        return
    assert firms >= 3_000
    found = load(tmp_path / "scorecard.toml")
    early = world.bank["as_of"] < pd.Timestamp("2024-07-01")
    bads = int(world.bank["label"][early].sum())
    for table in (world.platform, world.tax):
        asked = 0
        for name in table.columns.drop("id"):
            numeric = pd.api.types.is_numeric_dtype(table[name])
            values = table[name] if numeric else table[name].astype(object).where(table[name].notna(), None)
            cells = cut(
                Column(name, "numeric" if numeric else "categorical", values.to_numpy()), found.binning.max_bins, found.binning.min_share
            )
            asked += (len(cells.groups) or len(cells.edges) + 1) + int(table[name].isna().any())
        assert asked <= bads * 0.7 / 10


def test_twenty_thousand_firms_take_less_than_five_seconds() -> None:
    started = time.perf_counter()
    generate(20_000, SEED)
    assert time.perf_counter() - started < 5


def test_impossible_worlds_are_refused(tmp_path: Path) -> None:
    impossible: list[dict[str, Any]] = [{"firms": 10}, {"coverage": 0.0}, {"bad_rate": 1.0}]
    for wrong in impossible:
        with pytest.raises(ConfigurationError):
            generate(**wrong)
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigurationError):
        write(generate(200, SEED), tmp_path / "file")
