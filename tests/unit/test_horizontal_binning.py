"""Binning over many banks: counts, weights of evidence and stability of the pooled table; no bin below the cohort in what is released."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from federation.kernel import state as states
from federation.kernel.manifest import BinningSettings
from federation.models.bins import Bins
from federation.models.horizontal.bin_counts import BinCounts, CountBins, common, document, share_lines, woe_parts
from federation.models.horizontal.plan import add_up
from federation.models.horizontal.program import frequent_levels
from federation.models.sample import Sample
from federation.models.table import Column, Table
from federation.models.woe import information_value, stability, weight_of_evidence
from tests.bank_case import settled

SBA = Path(__file__).parents[3] / "shared" / "data" / "sba_horizontal_sample"
SPLITS = ("train", "test", "out_of_time")


def drawn(seed, n=4000):
    random = np.random.default_rng(seed)
    split = random.choice(3, n, p=[0.6, 0.25, 0.15])
    frame = pd.DataFrame(
        {
            "turnover": np.exp(random.normal(15 + 0.5 * (split == 2), 2, n)),
            "staff": np.where(random.random(n) < 0.4, 0, random.geometric(0.1, n)).astype(float),
            "code": np.where(random.random(n) < 0.06, -99.0, random.normal(size=n)),
            "region": random.choice(["north", "south", "west", "odd"], n, p=[0.5, 0.3, 0.199, 0.001]).astype(object),
            "weight": random.uniform(0.5, 2, n),
            "split": split,
        }
    )
    frame["label"] = (random.random(n) < np.where(frame["staff"] > 3, 0.35, 0.15)).astype(int)
    frame.loc[random.random(n) < 0.08, "turnover"] = np.nan
    frame.loc[random.random(n) < 0.04, "region"] = None
    return frame, random.choice(4, n, p=[0.55, 0.25, 0.15, 0.05])


def plan_of(frame, levels, *, weighted=False, minimum=10, given=None, settings=None):
    names = [name for name in frame.columns if name not in ("label", "weight", "split", "id", "as_of")]
    columns = {}
    for name in names:
        numeric = pd.api.types.is_numeric_dtype(frame[name])
        values = frame[name].to_numpy(float) if numeric else np.array([None if pd.isna(v) else v for v in frame[name]], object)
        columns[name] = Column(name, "numeric" if numeric else "categorical", values)
    ids = tuple(f"f{i}" for i in frame.index)
    table = Table(ids, ids, columns, b"", None, frame["label"].to_numpy(np.int8), frame["weight"].to_numpy() if weighted else None)
    split = frame["split"].to_numpy()
    made = settled(binning=settings or BinningSettings(special=(-99.0,)), minimum_cohort=minimum)
    return CountBins(table, Sample(split == 0, split == 1, split == 2), levels or frequent_levels(table, minimum), made, given or {})


LEVELS = {"region": ("north", "south", "west")}


def found(frame, bank, levels=None, **kwargs):
    plans = [plan_of(frame[bank == b], levels or LEVELS, **kwargs) for b in range(int(bank.max()) + 1)]
    ended = add_up(plans)
    assert all(states.dump(state) == states.dump(ended[0]) for state in ended)
    return plans, ended[0]


@pytest.mark.parametrize("weighted", [False, True])
def test_counts_evidence_and_stability_are_those_of_the_pooled_table(weighted):
    frame, bank = drawn(1)
    plans, state = found(frame, bank, weighted=weighted)
    pooled = plan_of(frame, LEVELS, weighted=weighted)
    result = json.loads(json.dumps(document(plans[1], state), allow_nan=False))
    w = frame["weight"].to_numpy() if weighted else np.ones(len(frame))
    bad, split = frame["label"].to_numpy() == 1, frame["split"].to_numpy()
    for part, table in zip(woe_parts(state), state.tables, strict=True):
        codes, size = part.bins.codes(pooled.table.columns[part.column]), part.bins.size
        train = split == 0
        rows, goods, bads = (np.bincount(codes[train], v[train], size) for v in (np.ones(len(w)), w * ~bad, w * bad))
        assert [row.rows for row in table.rows] == rows.tolist()
        np.testing.assert_allclose([row.goods for row in table.rows], goods, rtol=1e-12)
        np.testing.assert_allclose(part.values, weight_of_evidence(goods, bads), atol=1e-12)
        assert result["iv"][part.column] == pytest.approx(information_value(goods, bads), rel=1e-9)
        of = [np.bincount(codes[split == s], w[split == s], size) for s in range(3)]
        for place, name in ((1, "test"), (2, "out_of_time")):
            assert result["stability"][part.column][name]["value"] == pytest.approx(stability(of[0], of[place]), rel=1e-9)
        mine = train & (bank == 1)
        exact = stability(of[0], np.bincount(codes[mine], w[mine], size))
        assert result["own"]["stability"][part.column]["value"] == pytest.approx(exact, rel=1e-9)
    assert result["stability"]["turnover"]["out_of_time"]["value"] > 5 * result["stability"]["turnover"]["test"]["value"]
    assert result["rows"] == (split == 0).sum()


def test_all_banks_end_with_one_encoding_and_one_bank_alone_with_that_of_its_table():
    frame, bank = drawn(2)
    plans, state = found(frame, bank)
    (alone,) = add_up([plan_of(frame, LEVELS)])
    assert [part.bins for part in woe_parts(state)] == [part.bins for part in woe_parts(alone)]
    assert share_lines(plans[0], state) == share_lines(plan_of(frame, LEVELS), alone)
    assert state.sums <= 8


def test_special_values_and_missing_have_bins_and_hand_edited_bins_stay():
    frame, bank = drawn(3)
    given = {"staff": Bins(column="staff", kind="numeric", edges=(1.0, 4.0))}
    _, state = found(frame, bank, given=given)
    parts = {part.column: part.bins for part in woe_parts(state)}
    assert parts["staff"].edges == (1.0, 4.0)
    assert parts["code"].special == (-99.0,)
    rows = {row.label: row.rows for table in state.tables if table.column == "code" for row in table.rows}
    assert rows["= -99"] == ((frame["code"] == -99) & (frame["split"] == 0)).sum()
    rows = {row.label: row.rows for table in state.tables if table.column == "turnover" for row in table.rows}
    assert rows["missing"] == (frame["turnover"].isna() & (frame["split"] == 0)).sum()


# -- what must not be released ------------------------------------------------------------------------------------------------------


def small(result, minimum):
    return [row["rows"] for table in result["tables"] for row in table["bins"] if 0 < row["rows"] < minimum]


def test_no_bin_below_the_cohort_is_released_and_no_count_of_a_later_split():
    for seed in range(6):
        frame, bank = drawn(10 + seed, 300)
        plans, state = found(frame, bank, minimum=20)
        result = document(plans[0], state)
        assert small(result, 20) == []
        assert set(result["own"]) == {"stability"}
        assert all(set(psi) == {"value", "reason"} for later in result["stability"].values() for psi in later.values())
        assert "splits" not in json.dumps(result)


def test_control_bins_that_are_not_merged_have_fewer_rows_than_the_cohort():
    frame, bank = drawn(10, 300)
    plans, state = found(frame, bank, minimum=1)
    assert small(common(plans[0], state), 20)


def test_a_side_with_fewer_rows_than_the_cohort_has_no_stability():
    frame, bank = drawn(4)
    frame.loc[(frame["split"] == 2).to_numpy().nonzero()[0][:-6], "split"] = 1
    bank[np.flatnonzero(bank == 3)[4:]] = 0
    plans, state = found(frame, bank)
    stable = plans[0].stability(state)["staff"]
    assert stable["out_of_time"].value is None
    assert "fewer than 10" in stable["out_of_time"].reason
    assert stable["test"].value is not None
    assert plans[3].own_stability(state)["staff"].value is None
    assert plans[0].own_stability(state)["staff"].value is not None
    weakened = copy.copy(plans[0])
    weakened.manifest = settled(binning=plans[0].manifest.binning, minimum_cohort=1)
    assert weakened.stability(state)["staff"]["out_of_time"].value is not None  # the control


def test_a_run_without_out_of_time_rows():
    frame, bank = drawn(5)
    frame["split"] = frame["split"].clip(upper=1)
    plans, state = found(frame, bank)
    assert plans[0].stability(state)["staff"]["out_of_time"].reason == "no rows"


def test_a_bank_that_leaves_after_any_sum_and_a_restart_before_every_sum():
    frame, bank = drawn(6, 1500)
    sums = found(frame, bank)[1].sums
    for last in (None, *range(1, sums)):
        parts = [frame[bank == b] for b in range(4)]
        now = [plan_of(part, LEVELS).begin() for part in parts]
        number = 0
        while not now[0].done:
            if number == last:
                parts, now = parts[:-1], now[:-1]
            vectors = [plan_of(part, LEVELS).ask(state) for part, state in zip(parts, now, strict=True)]
            now = [plan_of(part, LEVELS).take(s, sum(vectors), len(parts)) for part, s in zip(parts, now, strict=True)]
            now, number = [states.load(states.dump(state), BinCounts) for state in now], number + 1
        assert all(states.dump(state) == states.dump(now[0]) for state in now)
        plan = plan_of(parts[0], LEVELS)
        assert plan.stability(now[0])["staff"]["test"].value is not None
        if last is None:
            assert share_lines(plan, now[0]) == share_lines(plan, found(frame, bank)[1])


@pytest.mark.skipif(not SBA.exists(), reason="needs ../shared/data/sba_horizontal_sample")
def test_eight_real_banks():
    frames = [pd.read_parquet(path) for path in sorted(SBA.glob("*.parquet"))]
    frame = pd.concat(frames, ignore_index=True)
    bank = np.repeat(np.arange(len(frames)), [len(one) for one in frames])
    late = frame["as_of"].to_numpy() >= "2008-01-01"
    frame["split"] = np.where(late, 2, np.random.default_rng(1).random(len(frame)) < 0.3)
    names = frame.select_dtypes(exclude="number").columns.drop(["id", "as_of"])
    levels = {name: tuple(sorted(frame[name].value_counts().loc[lambda n: n >= 10].index)) for name in names}
    plans, state = found(frame, bank, levels, settings=BinningSettings(monotone="auto"))
    result = json.loads(json.dumps(document(plans[0], state), allow_nan=False))
    assert small(result, 10) == []
    train = frame["split"] == 0
    bad = frame["label"].to_numpy() == 1
    whole = plan_of(frame, levels).table.columns
    for part, table in zip(woe_parts(state), state.tables, strict=True):
        codes = part.bins.codes(whole[part.column])
        bads = np.bincount(codes[train & bad], minlength=part.bins.size)
        goods = np.bincount(codes[train & ~bad], minlength=part.bins.size)
        assert [(row.goods, row.bads) for row in table.rows] == list(zip(goods, bads, strict=True))
    assert max(result["iv"].values()) > 0.1
    assert all(later["test"]["value"] < 0.05 for later in result["stability"].values())
