"""The pooled reference against scikit-learn's own pipeline, hand-worked numbers and its optimality conditions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit
from sklearn.linear_model import LogisticRegression  # type: ignore[import-untyped, unused-ignore]

from federation.kernel.errors import ConfigurationError, DataError
from simulations.pooled import Rows, fit

if TYPE_CHECKING:
    from numpy.typing import NDArray

NUMERIC = {"kind": "numeric", "missing": "mean"}


def world(seed: int, count: int = 1500) -> tuple[Rows, dict[str, pd.DataFrame]]:
    """A bank with two columns and no gaps; a platform that knows two thirds, with missing cells, an outsider and a category."""
    random = np.random.default_rng(seed)
    key = np.array([f"firm-{number:05d}" for number in random.permutation(count)])
    x = random.normal(size=(count, 3)) * [1.0, 40.0, 0.01] + [0.0, 300.0, 5.0]
    industry = random.choice(np.array(["retail", "it", "mill", "rare"], object), count, p=[0.5, 0.3, 0.15, 0.05])
    z = -1 + x[:, 0] - 0.02 * (x[:, 1] - 300) + 80 * (x[:, 2] - 5) + 0.7 * (industry == "retail")
    rows = Rows(key, (random.random(count) < expit(z)).astype(float), random.choice([0.5, 1.0, 2.0], count), random.random(count) < 0.7)
    platform = pd.DataFrame({"gmv": x[:, 2], "industry": industry}, index=key)
    platform.loc[random.random(count) < 0.1, "gmv"] = np.nan
    platform.loc[random.random(count) < 0.05, "industry"] = None
    known = platform.loc[random.random(count) < 0.66]
    outsider = pd.DataFrame({"gmv": [1e6], "industry": ["it"]}, index=["stranger"])
    shuffled = pd.concat([known, outsider]).sample(frac=1, random_state=seed)
    return rows, {"bank": pd.DataFrame({"a": x[:, 0], "b": x[:, 1]}, index=key), "platform": shuffled}


RULES: dict[str, dict[str, dict[str, Any]]] = {
    "bank": {"a": NUMERIC, "b": NUMERIC},
    "platform": {
        "gmv": NUMERIC,
        "industry": {"kind": "levels", "levels": ["retail", "it", "mill"], "reference": "retail", "other": True, "missing": True},
    },
}


@pytest.mark.parametrize("penalty", [0.1, 1.0, None])
def test_equals_scikit_learn_on_a_table_filled_by_hand(penalty: float | None) -> None:
    rows, tables = world(1)
    joined = tables["platform"].reindex(rows.key)
    design = pd.DataFrame({"a": tables["bank"]["a"], "b": tables["bank"]["b"], "gmv": joined["gmv"]}, index=rows.key)
    present = rows.key[np.isin(rows.key, tables["platform"].index)]
    for name, hit in {
        "industry=it": joined["industry"] == "it",
        "industry=mill": joined["industry"] == "mill",
        "industry=other": joined["industry"] == "rare",
        "industry is missing": joined["industry"].isna(),
    }.items():
        design[name] = hit.astype(float).where(joined.index.isin(present))
    train = rows.train
    for name in map(str, design.columns):
        known = train & design[name].notna().to_numpy()
        design[name] = design[name].fillna(np.average(design[name][known], weights=rows.weight[known]))
    values = design.to_numpy()
    mean = np.average(values[train], axis=0, weights=rows.weight[train])
    scale = np.sqrt(np.average((values[train] - mean) ** 2, axis=0, weights=rows.weight[train]))
    x = (values - mean) / scale
    model = LogisticRegression(C=np.inf if penalty is None else penalty, solver="lbfgs", tol=1e-10, max_iter=10_000)
    model.fit(x[train], rows.label[train], sample_weight=rows.weight[train])

    got = fit(rows, tables, RULES, penalty)
    found = np.array([*got.standardized["bank"].values(), *got.standardized["platform"].values()])
    assert [*got.standardized["bank"], *got.standardized["platform"]] == list(design.columns)
    np.testing.assert_allclose(found, model.coef_[0], atol=2e-5)
    np.testing.assert_allclose(got.scores, model.decision_function(x), atol=1e-4)
    assert got.gradient < 1e-12
    assert got.polish < 1e-6
    raw = np.array([*got.coefficients["bank"].values(), *got.coefficients["platform"].values()])
    np.testing.assert_allclose(got.intercept + values @ raw, got.scores, atol=1e-9)


def test_an_absent_row_scores_as_the_average_firm_of_that_party() -> None:
    rows, tables = world(2)
    got = fit(rows, tables, RULES, 1.0)
    absent = ~np.isin(rows.key, tables["platform"].index)
    own = tables["bank"].loc[rows.key[absent]]
    bank = sum(got.coefficients["bank"][name] * own[name].to_numpy() for name in ("a", "b"))
    rest = got.scores[absent] - got.intercept - bank
    assert np.ptp(rest) < 1e-9


def test_order_of_rows_and_strangers_change_nothing() -> None:
    rows, tables = world(3)
    first = fit(rows, tables, RULES, 1.0)
    order = np.random.default_rng(4).permutation(len(rows.key))
    moved = Rows(rows.key[order], rows.label[order], rows.weight[order], rows.train[order])
    second = fit(moved, {"bank": tables["bank"], "platform": tables["platform"].drop("stranger")}, RULES, 1.0)
    np.testing.assert_allclose(second.scores, first.scores[order], atol=1e-10)


def test_rows_outside_training_do_not_touch_the_model() -> None:
    rows, tables = world(5)
    first = fit(rows, tables, RULES, 1.0)
    other = Rows(rows.key, np.where(rows.train, rows.label, 1 - rows.label), np.where(rows.train, rows.weight, 9.0), rows.train)
    spoiled = {"bank": tables["bank"].copy(), "platform": tables["platform"]}
    spoiled["bank"].loc[rows.key[~rows.train], "a"] = 1e6
    assert fit(other, spoiled, RULES, 1.0).coefficients == first.coefficients


def test_weights_act_as_repeated_rows() -> None:
    rows, tables = world(6, 400)
    times = np.random.default_rng(7).integers(1, 4, 400)
    weighted = Rows(rows.key, rows.label, times.astype(float), rows.train)
    key = np.array([f"{name}#{copy}" for name, count in zip(rows.key, times, strict=True) for copy in range(count)])
    repeat: NDArray[Any] = np.repeat(np.arange(400), times)
    repeated = Rows(key, rows.label[repeat], np.ones(len(key)), rows.train[repeat])
    copies = {}
    for party, table in tables.items():
        known = np.isin(rows.key[repeat], table.index)
        copies[party] = table.loc[rows.key[repeat][known]].set_axis(key[known])
    one, other = fit(weighted, tables, RULES, 1.0), fit(repeated, copies, RULES, 1.0)
    for party, columns in one.standardized.items():
        assert columns == pytest.approx(other.standardized[party], abs=1e-10)


def small() -> tuple[Rows, dict[str, pd.DataFrame]]:
    """Eight rows, the last unknown to the party and the one before with a missing cell."""
    key = np.array(list("abcdefgh"))
    rows = Rows(key, np.array([0, 1, 0, 1, 0, 1, 1, 0.0]), np.ones(8), np.ones(8, bool))
    return rows, {"p": pd.DataFrame({"x": [1.0, 2.0, 3.0, 4.0, 5.0, -9.0, np.nan]}, index=key[:7])}


@pytest.mark.parametrize(
    ("missing", "column", "gone", "absent"), [("mean", 1, 1.0, 1.0), ("zero", 1, 0.0, 6 / 7), ("indicator", 2, 1.0, 1.0)]
)
def test_rules_for_missing_and_absent_cells(missing: str, column: int, gone: float, absent: float) -> None:
    rows, tables = small()
    got = fit(rows, tables, {"p": {"x": {"kind": "numeric", "missing": missing}}}, 1.0)
    slope = got.coefficients["p"]["x"]
    extra = got.coefficients["p"].get("x is missing", 0.0)
    assert len(got.coefficients["p"]) == column
    assert got.scores[6] == pytest.approx(got.intercept + slope * gone + extra)
    assert got.scores[7] == pytest.approx(got.intercept + slope * absent + extra / 7)


def test_missing_where_it_is_forbidden_is_refused_with_a_count_and_no_value() -> None:
    rows, tables = small()
    with pytest.raises(DataError, match="1 values are missing"):
        fit(rows, tables, {"p": {"x": {"kind": "numeric", "missing": "error"}}})


def test_an_unknown_rule_is_refused() -> None:
    rows, tables = small()
    for rule in ({"kind": "magic"}, {"kind": "numeric", "missing": "median"}, {"kind": "woe", "edgs": [1.0]}):
        with pytest.raises(ConfigurationError):
            fit(rows, tables, {"p": {"x": rule}})


def test_weight_of_evidence_by_hand() -> None:
    rows, tables = small()
    rule = {"kind": "woe", "edges": [3.0], "special": [-9.0], "joined": [0, -1]}
    got = fit(rows, tables, {"p": {"x": rule}}, None)
    counts = got.bins["p"]["x"]
    # [.., 3) with -9 joined: a good; b, f bad.  [3, ..): c, e good; d bad.  missing: g bad.  absent: h good
    assert counts.goods.tolist() == [1, 2, 0, 1]
    assert counts.bads.tolist() == [2, 1, 1, 0]
    expected = np.log([(1 / 4) / (2 / 4), (2 / 4) / (1 / 4), (0.5 / 4) / (1.5 / 4), (1.5 / 4) / (0.5 / 4)])
    np.testing.assert_allclose(counts.woe, expected)
    slope = got.coefficients["p"]["x"]
    np.testing.assert_allclose(got.scores, got.intercept + slope * expected[[0, 0, 1, 1, 1, 0, 2, 3]])
    assert slope < 0  # higher WOE is safer


def test_an_edge_belongs_to_the_interval_on_its_right() -> None:
    """Positive control: with the edge a hair above the value, the value falls to the left."""
    rows, tables = small()
    at, above = (fit(rows, tables, {"p": {"x": {"kind": "woe", "edges": [edge]}}}, 1.0).bins["p"]["x"] for edge in (3.0, 3.0000001))
    assert at.rows.tolist() == [3, 3, 1, 1]
    assert above.rows.tolist() == [4, 2, 1, 1]


def test_groups_of_levels_take_unnamed_levels_in_other() -> None:
    rows, tables = world(8)
    rule = {"kind": "woe", "groups": [["retail", "it"], ["mill"], []], "other": 2}
    counts = fit(rows, tables, {"platform": {"industry": rule}}, None).bins["platform"]["industry"]
    joined = tables["platform"].reindex(rows.key)["industry"][rows.train]
    assert counts.rows[2] == (joined == "rare").sum() > 0
    assert counts.rows.sum() == rows.train.sum()


def test_a_hidden_absent_bin_is_neutral_and_counts_in_no_total() -> None:
    rows, tables = world(9)
    rule = {"kind": "woe", "edges": [5.0]}
    shown = fit(rows, tables, {"platform": {"gmv": rule}}, None).bins["platform"]["gmv"]
    hidden = fit(rows, tables, {"platform": {"gmv": rule | {"absent_hidden": True}}}, None).bins["platform"]["gmv"]
    assert hidden.woe[-1] == 0.0
    assert hidden.goods[-1] == 0.0
    assert shown.goods[-1] > 0
    assert hidden.goods[:-1].tolist() == shown.goods[:-1].tolist()


def test_signs_hold_and_the_answer_is_optimal_under_them() -> None:
    rows, tables = world(10)
    free = fit(rows, tables, RULES, 1.0)
    assert free.standardized["bank"]["a"] > 0.5  # control: without the bound this coefficient is clearly positive
    bound = {"bank": {"a": NUMERIC | {"sign": -1}, "b": NUMERIC | {"sign": -1}}, "platform": {"gmv": NUMERIC | {"sign": 1}}}
    got = fit(rows, tables, bound, 1.0)
    assert got.standardized["bank"]["a"] == 0.0
    assert got.standardized["bank"]["b"] < 0.0 < got.standardized["platform"]["gmv"]
    without = fit(rows, tables, {"bank": {"b": NUMERIC}, "platform": {"gmv": NUMERIC}}, 1.0)
    assert got.standardized["bank"]["b"] == pytest.approx(without.standardized["bank"]["b"], abs=1e-9)
    assert got.gradient < 1e-12


def test_without_standardisation_the_ridge_lies_on_raw_coefficients() -> None:
    rows, tables = world(11)
    got = fit(rows, tables, RULES, 0.01, standardize=False)
    scaled = {party: table.copy() for party, table in tables.items()}
    scaled["bank"]["b"] /= 40
    other = fit(rows, scaled, RULES, 0.01, standardize=False)
    assert got.gradient < 1e-12
    assert other.coefficients["bank"]["b"] / 40 != pytest.approx(got.coefficients["bank"]["b"], rel=1e-2)
    same = fit(rows, scaled, RULES, 0.01)  # control: standardised, the unit does not matter
    assert same.coefficients["bank"]["b"] / 40 == pytest.approx(fit(rows, tables, RULES, 0.01).coefficients["bank"]["b"], rel=1e-9)


def test_a_constant_column_gets_no_coefficient() -> None:
    rows, tables = world(12)
    tables["bank"]["same"] = 7.0
    got = fit(rows, tables, {"bank": {"a": NUMERIC, "same": NUMERIC}}, None)
    assert got.coefficients["bank"]["same"] == 0.0
    assert got.gradient < 1e-12
