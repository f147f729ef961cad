"""Statistics over many banks: those of the pooled table, and nothing that would tell of fewer rows than the cohort."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from federation.kernel import state as states
from federation.kernel.errors import AbortCode, DataError, PolicyRefusal
from federation.models.horizontal import statistics_document
from federation.models.horizontal.plan import add_up
from federation.models.horizontal.program import frequent_levels
from federation.models.horizontal.statistics import Measured, Statistics
from federation.models.horizontal.statistics_document import common, document, own, share_lines
from federation.models.table import Column, Table
from tests.bank_case import settled

SBA = Path(__file__).parents[3] / "shared" / "data" / "sba_horizontal_sample"
COHORT = 10


def table_of(frame):
    columns = {}
    for name in frame.columns.drop(["id", "label", "weight", "as_of"], errors="ignore"):
        if pd.api.types.is_numeric_dtype(frame[name]):
            columns[name] = Column(name, "numeric", frame[name].to_numpy(np.float64))
        else:
            columns[name] = Column(name, "categorical", np.array([None if pd.isna(v) else str(v) for v in frame[name]], object))
    ids = tuple(f"f{i}" for i in frame.index)
    weight = frame["weight"].to_numpy(float) if "weight" in frame else None
    return Table(ids, ids, columns, b"", None, frame["label"].to_numpy(np.int8), weight)


def drawn(seed, n=3000):
    random = np.random.default_rng(seed)
    size = random.normal(size=n)
    frame = pd.DataFrame(
        {
            "turnover": np.exp(18 + 2 * size),
            "staff": np.where(random.random(n) < 0.4, 0, random.geometric(0.05, n)).astype(float),
            "code": np.where(random.random(n) < 0.1, -99.0, size + random.normal(size=n)),
            "same": 4.0,
            "region": random.choice(["north", "south", "west"], n).astype(object),
            "label": (random.random(n) < 0.2).astype(int),
            "weight": random.uniform(0.5, 4, n),
        }
    )
    frame.loc[random.random(n) < 0.1, "turnover"] = np.nan
    frame.loc[random.random(n) < 0.04, "region"] = None
    return frame, random.choice(4, n, p=[0.55, 0.25, 0.15, 0.05])


def plans_of(frame, bank, **settings):
    tables = [table_of(frame[bank == b]) for b in range(int(bank.max()) + 1)]
    found = [frequent_levels(table, COHORT) for table in tables]
    levels = {name: tuple(sorted({level for one in found for level in one[name]})) for name in found[0]}
    return [Statistics(table, settled(minimum_cohort=COHORT, **settings), levels) for table in tables]


def measured(frame, bank, **settings):
    plans = plans_of(frame, bank, **settings)
    ended = add_up(plans)
    assert all(share_lines(plan, state) == share_lines(plans[0], ended[0]) for plan, state in zip(plans, ended, strict=True))
    return plans[0], ended[0]


def column(result, name):
    return next(part for part in result["columns"] if part["name"] == name)


@pytest.mark.parametrize("weighted", [False, True])
def test_the_document_is_that_of_the_pooled_table(weighted):
    frame, bank = drawn(1)
    plan, state = measured(frame, bank, weighted=weighted, special=(-99.0,))
    result = json.loads(json.dumps(document(plan, state), allow_nan=False))
    pooled = frame.assign(code=frame["code"].replace(-99.0, np.nan))
    w = frame["weight"] if weighted else pd.Series(1.0, frame.index)
    assert (result["rows"], result["bads"], result["weighted"]) == (len(frame), frame["label"].sum(), weighted)
    assert result["weight"] == pytest.approx(w.sum(), rel=1e-12)
    assert state.sums == result["sums"] <= 8
    for name in ("turnover", "staff", "code", "same"):
        found, x = column(result, name), pooled[name].dropna()
        assert (found["count"], found["missing"]) == (len(x), pooled[name].isna().sum())
        assert found["mean"] == pytest.approx(np.average(x, weights=w[x.index]), rel=1e-9)
        assert found["variance"] == pytest.approx(np.cov(x, aweights=w[x.index]), rel=1e-9, abs=1e-20)
        exact = np.quantile(x, [entry["probability"] for entry in found["quantiles"]], method="inverted_cdf", weights=w[x.index])
        for entry, value in zip(found["quantiles"], exact, strict=True):
            assert entry["value"] is None or abs((x <= entry["value"]).mean() - (x <= value).mean()) < 0.01
        assert found["low"] >= x.min()
        assert found["high"] <= x.max()
    region = {level["label"]: level for level in column(result, "region")["levels"]}
    assert region["missing"]["rows"] == frame["region"].isna().sum()
    for name in ("north", "south", "west"):
        assert region[name]["rows"] == (frame["region"] == name).sum()
        assert region[name]["weight"] == pytest.approx(w[frame["region"] == name].sum(), rel=1e-9)
    names = result["correlation"]["columns"]
    assert names == ["turnover", "staff", "code"]
    assert column(result, "same")["withheld"] == {"vif": "one value throughout"}
    filled = pooled[names].apply(lambda x: x.fillna(np.average(x.dropna(), weights=w[x.dropna().index])))
    covariance = np.cov(filled.to_numpy().T, aweights=w)
    exact = covariance / np.sqrt(np.outer(np.diag(covariance), np.diag(covariance)))
    np.testing.assert_allclose(result["correlation"]["matrix"], exact, atol=1e-9)
    np.testing.assert_allclose([column(result, name)["vif"] for name in names], np.diag(np.linalg.inv(exact)), rtol=1e-9)
    assert result["own"]["rows"] == (bank == 0).sum()


# -- what must not be released ------------------------------------------------------------------------------------------------------


def secretive(seed=2):
    """A table with few of everything: 4 missing, 6 present, 3 rows of a level, pairs that meet in 5 rows, 7 bads."""
    frame, bank = drawn(seed, 1200)
    random = np.random.default_rng(seed)
    frame["few_missing"] = random.normal(size=len(frame))
    frame.loc[frame.index[:4], "few_missing"] = np.nan
    frame["few_present"] = np.nan
    frame.loc[frame.index[:6], "few_present"] = random.normal(size=6)
    frame["early"], frame["late"] = random.normal(size=(2, len(frame)))
    frame.loc[frame.index[600:], "early"] = np.nan
    frame.loc[frame.index[:595], "late"] = np.nan
    frame["region"] = random.choice(["north", "south"], len(frame)).astype(object)
    frame.loc[frame.index[:3], "region"] = "rare"
    frame.loc[frame.index[3:8], "region"] = None
    frame["label"] = (np.arange(len(frame)) < 7).astype(int)
    return frame, bank


def small_counts(result):
    """Released counts between one and the cohort."""
    counts = [result["rows"], result["bads"]] + [part.get(key) for part in result["columns"] for key in ("count", "missing")]
    counts += [level["rows"] for part in result["columns"] for level in part.get("levels", [])]
    return [count for count in counts if count is not None and 0 < count < COHORT]


def test_few_rows_are_withheld_with_a_reason_and_with_what_would_give_them_away():
    frame, bank = secretive()
    plan, state = measured(frame, bank)
    result = common(plan, state)
    assert small_counts(result) == []
    assert result["bads"] is None
    assert "bads" in result["withheld"]
    missing, present = column(result, "few_missing"), column(result, "few_present")
    for key in ("count", "missing"):  # one gives the other away
        assert missing[key] is None
        assert present[key] is None
        assert "fewer than 10" in missing["withheld"][key]
    assert missing["mean"] is not None
    for key in ("mean", "variance", "deviation", "low", "high", "vif", "constant"):
        assert present[key] is None
    assert {"mean", "variance", "low", "quantiles", "vif"} <= set(present["withheld"])
    assert {entry["value"] for entry in present["quantiles"]} == {None}
    labels = [level["label"] for level in column(result, "region")["levels"]]
    assert "missing" not in labels
    assert "rare" not in labels
    assert sum(level["rows"] for level in column(result, "region")["levels"]) == len(frame)
    names = result["correlation"]["columns"]
    assert "few_present" not in names
    matrix = result["correlation"]["matrix"]
    early, late = names.index("early"), names.index("late")
    assert matrix[early][late] is None
    assert matrix[late][early] is None
    assert matrix[early][early] == 1
    assert result["correlation"]["withheld"]
    for name in ("early", "late"):  # from all other correlations and these two inflations it could be worked out
        assert column(result, name)["vif"] is None
        assert "meets another column" in column(result, name)["withheld"]["vif"]
    assert column(result, "turnover")["vif"] > 1


def test_every_none_has_a_reason():
    for frame, bank in (drawn(3, 1500), secretive(3), drawn(3, 40)):
        plan, state = measured(frame, bank)
        for part in common(plan, state)["columns"]:
            gone = {key for key, value in part.items() if value is None} - {"constant"}
            gone |= {"quantiles"} if any(entry["value"] is None for entry in part.get("quantiles", [])) else set()
            assert gone <= set(part["withheld"])


def test_control_without_the_cohort_the_same_document_tells_of_single_rows():
    frame, bank = secretive()
    plan, state = measured(frame, bank)
    weakened = copy.copy(plan)
    weakened.manifest = settled(minimum_cohort=1)
    assert sorted(small_counts(common(weakened, state))) == [3, 4, 5, 6, 7]  # "rare", missing, missing region, present, bads
    assert small_counts(common(plan, state)) == []


def test_no_extreme_of_a_column_is_released():
    frame, bank = drawn(4)
    plan, state = measured(frame, bank)
    text = json.dumps(document(plan, state))
    for name in ("turnover", "staff", "code"):
        x = frame[name].dropna().sort_values()
        for value in (*x[:3], *x[-3:]):
            if (x == value).sum() < COHORT:
                assert f": {value!r}" not in text
    found = column(common(plan, state), "turnover")
    x = frame["turnover"].dropna()
    assert (x < found["low"]).sum() >= COHORT
    assert (x > found["high"]).sum() >= COHORT


def test_the_hash_lines_hold_nothing_withheld_and_nothing_of_one_bank():
    frame, bank = secretive()
    plan, state = measured(frame, bank)
    lines = share_lines(plan, state)
    assert not any("own" in line.split("/") for line in lines)
    for name, keys in (("few_missing", ("count", "missing")), ("few_present", ("count", "mean", "low"))):
        place = next(i for i, part in enumerate(common(plan, state)["columns"]) if part["name"] == name)
        assert all(f"/columns/{place}/{key} None" in lines for key in keys)


# -- runs ---------------------------------------------------------------------------------------------------------------------------


def test_too_few_rows_over_all_banks_stop_every_bank_and_a_small_bank_has_no_own_part():
    frame, _ = drawn(5, 60)
    with pytest.raises(PolicyRefusal) as refused:
        measured(frame[:9], np.arange(9) % 3)
    assert refused.value.code == AbortCode.COHORT
    bank = np.where(np.arange(60) < 55, np.arange(60) % 2, 2)
    plan = plans_of(frame, bank)[2]
    assert "rows" not in own(plan)
    assert "this bank alone" in own(plan)["reason"]


def test_a_restart_after_every_sum_and_a_bank_that_leaves():
    frame, bank = drawn(6, 1500)
    whole = share_lines(*measured(frame, bank))
    for last in (None, 1, 2, 4, 5, 6):
        now = [plan.begin() for plan in plans_of(frame, bank)]
        plans, number = plans_of(frame, bank), 0
        while not now[0].done:
            if number == last:
                plans, now = plans[1:], now[1:]
            vectors = [plan.ask(state) for plan, state in zip(plans, now, strict=True)]
            again = plans_of(frame, bank)[-len(plans) :]
            now = [plan.take(states.load(states.dump(s), Measured), sum(vectors), len(plans)) for plan, s in zip(again, now, strict=True)]
            plans, number = again, number + 1
        lines = [share_lines(plan, states.load(states.dump(s), Measured)) for plan, s in zip(plans, now, strict=True)]
        assert all(one == lines[0] for one in lines)
        if last is None:
            assert lines[0] == whole
        elif last <= 4:
            rest = frame[bank > 0]
            found = column(common(plans[0], now[0]), "turnover")
            assert found["count"] == rest["turnover"].notna().sum()
            assert found["mean"] == pytest.approx(rest["turnover"].mean(), rel=1e-9)


def test_a_table_of_levels_only_and_one_of_numbers_only():
    frame, bank = drawn(7, 400)
    plan, state = measured(frame[["region", "label"]], bank)
    assert [part["name"] for part in common(plan, state)["columns"]] == ["region"]
    assert common(plan, state)["correlation"] == {"columns": [], "matrix": [], "withheld": ""}
    plan, state = measured(frame[["staff", "label"]], bank)
    assert column(common(plan, state), "staff")["vif"] == 1


def test_a_bank_without_weights_in_a_weighted_run_is_told_so():
    frame, bank = drawn(8, 100)
    with pytest.raises(DataError, match="weights"):
        plans_of(frame.drop(columns="weight"), bank, weighted=True)


@pytest.mark.skipif(not SBA.exists(), reason="needs ../shared/data/sba_horizontal_sample")
def test_eight_real_banks():
    frames = [pd.read_parquet(path) for path in sorted(SBA.glob("*.parquet"))]
    frame = pd.concat(frames, ignore_index=True)
    bank = np.repeat(np.arange(len(frames)), [len(one) for one in frames])
    plan, state = measured(frame, bank)
    result = json.loads(json.dumps(document(plan, state), allow_nan=False))
    assert state.sums <= 8
    assert small_counts(result) == []
    numeric = [part for part in result["columns"] if part["kind"] == "numeric"]
    for part in numeric:
        x = frame[part["name"]].dropna()
        if part["count"] is not None:
            assert part["count"] == len(x)
        assert part["mean"] == pytest.approx(x.mean(), rel=1e-9)
        assert part["variance"] == pytest.approx(x.var(), rel=1e-9)
        for entry in part["quantiles"]:
            exact = np.quantile(x, entry["probability"], method="inverted_cdf")
            assert (
                entry["value"] is None
                or (x < entry["value"]).mean() - 0.005 <= entry["probability"] <= (x <= entry["value"]).mean() + 0.005
            )
            if (x == exact).mean() > 0.02 and entry["value"] is not None:
                assert entry["value"] == exact
    names = result["correlation"]["columns"]
    assert len(names) >= 12
    exact = frame[names].fillna(frame[names].mean()).corr().to_numpy()
    shown = np.array(result["correlation"]["matrix"], float)
    np.testing.assert_allclose(shown[~np.isnan(shown)], exact[~np.isnan(shown)], atol=1e-9)
    states_ = {level["label"]: level["rows"] for level in column(result, "state")["levels"]}
    counts = frame["state"].value_counts()
    assert all(states_[name] == count for name, count in counts.items() if name in states_)
    assert sum(states_.values()) == len(frame)
    assert statistics_document.own(plan)["rows"] == len(frames[0])
