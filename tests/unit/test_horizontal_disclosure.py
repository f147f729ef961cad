"""What statistics over many banks must not tell by arithmetic on released figures, and a bank's own stability against all banks."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import msgspec
import numpy as np
import pandas as pd
import pytest
from scipy.special import rel_entr

from federation.models.horizontal import own_stability, statistics_document
from federation.models.horizontal.own_stability import level_cells, number_cells
from federation.models.horizontal.plan import add_up
from federation.models.horizontal.statistics import Statistics
from federation.models.horizontal.statistics_document import common, document, share_lines
from federation.models.table import Column, Table
from tests.bank_case import settled

SBA = Path(__file__).parents[3] / "shared" / "data" / "sba_horizontal_sample"
COHORT = 10
LEVELS = ("north", "rare", "south")


def table_of(frame):
    columns = {}
    for name in frame.columns.drop(["id", "as_of", "label"], errors="ignore"):
        if pd.api.types.is_numeric_dtype(frame[name]):
            columns[name] = Column(name, "numeric", frame[name].to_numpy(np.float64))
        else:
            columns[name] = Column(name, "categorical", np.array([None if pd.isna(v) else str(v) for v in frame[name]], object))
    ids = tuple(f"f{i}" for i in frame.index)
    return Table(ids, ids, columns, b"", None, frame["label"].to_numpy(np.int8))


def measured(frame, bank, levels=LEVELS, cohort=COHORT):
    categories = {name: levels for name in frame.columns.drop("label") if not pd.api.types.is_numeric_dtype(frame[name])}
    made = settled(minimum_cohort=cohort)
    plans = [Statistics(table_of(frame[bank == b]), made, categories) for b in range(int(bank.max()) + 1)]
    ended = add_up(plans)
    assert all(share_lines(plan, state) == share_lines(plans[0], ended[0]) for plan, state in zip(plans, ended, strict=True))
    return plans, ended


def released(frame, bank, **kwargs):
    plans, ended = measured(frame, bank, **kwargs)
    return {part["name"]: part for part in common(plans[0], ended[0])["columns"]} | {"": common(plans[0], ended[0])}


def drawn(seed, n=2000):
    random = np.random.default_rng(seed)
    frame = pd.DataFrame({"size": random.normal(size=n), "staff": random.geometric(0.05, n).astype(float)})
    frame["flag"] = (random.random(n) < 0.3).astype(float)
    frame["label"] = (random.random(n) < 0.2).astype(int)
    return frame, random.choice(4, n, p=[0.5, 0.3, 0.15, 0.05])


# -- few rows that differ -----------------------------------------------------------------------------------------------------------


def times_count(part):
    """The attack: how many rows have a flag."""
    return None if part["mean"] is None else part["mean"] * part["count"]


@pytest.mark.parametrize("marked", [1, 3, 9])
def test_a_flag_that_few_rows_have_is_not_told_by_its_mean(marked):
    frame, bank = drawn(1)
    frame["few"] = (np.arange(len(frame)) < marked).astype(float)
    frame["few_lack"] = 1 - frame["few"]
    found = released(frame, bank)
    for name in ("few", "few_lack"):
        for key in ("mean", "variance", "deviation", "vif", "constant"):
            assert found[name][key] is None
        assert "differ" in found[name]["withheld"]["mean"]
        assert name not in found[""]["correlation"]["columns"]
        assert times_count(found[name]) is None
    assert times_count(found["flag"]) == pytest.approx(frame["flag"].sum(), rel=1e-9)  # many rows have it


def test_control_without_the_rule_the_mean_tells_how_many_rows_have_the_flag(monkeypatch):
    frame, bank = drawn(1)
    frame["few"] = (np.arange(len(frame)) < 3).astype(float)
    monkeypatch.setattr(statistics_document, "_few", lambda number, found, minimum: "")
    assert times_count(released(frame, bank)["few"]) == pytest.approx(3)


def test_a_flag_that_a_cohort_has_is_released_and_so_is_a_constant():
    frame, bank = drawn(2)
    frame["just"] = (np.arange(len(frame)) < COHORT).astype(float)
    frame["same"] = 7.0
    found = released(frame, bank)
    assert times_count(found["just"]) == pytest.approx(COHORT, rel=1e-9)
    assert (found["same"]["mean"], found["same"]["variance"]) == (7.0, 0.0)


def test_few_rows_on_either_side_of_one_value_are_not_told_together():
    frame, bank = drawn(3)
    place = np.arange(len(frame))
    frame["both"] = np.select([place < 6, place < 12], [-1.0, 1.0], 0.0)
    assert released(frame, bank)["both"]["variance"] is None


# -- the count that a mean was divided by -------------------------------------------------------------------------------------------


def possible_counts(part, rows, off):
    """The attack: counts by which the mean of whole numbers gives a whole number, where the mean shown is off by so much at most."""
    return [n for n in range(rows - COHORT + 1, rows) if abs(part["mean"] * n - round(part["mean"] * n)) <= off * n]


@pytest.mark.parametrize("seed", range(5))
def test_a_withheld_count_is_not_told_by_the_digits_of_a_mean(seed, monkeypatch):
    frame, bank = drawn(seed, 1999)
    gone = 1 + seed
    frame.loc[frame.index[:gone], ["flag", "staff"]] = np.nan
    found = released(frame, bank)
    for name in ("flag", "staff"):
        part, x = found[name], frame[name].dropna()
        assert part["count"] is None
        assert part["missing"] is None
        assert "digits" in part["withheld"]
        off = 10 ** np.ceil(np.log10(x.std() / np.sqrt(len(x)))) / 2
        assert abs(part["mean"] - x.mean()) <= off
        assert possible_counts(part, len(frame), off) == list(range(len(frame) - COHORT + 1, len(frame)))
        place = found[""]["correlation"]["columns"].index(name)
        assert all(round(value, 2) == value for value in found[""]["correlation"]["matrix"][place])
    assert found["size"]["mean"] == pytest.approx(frame["size"].mean(), rel=1e-9)
    # control: with all digits the only count that fits is the true one
    monkeypatch.setattr(statistics_document, "_rounded", lambda value, error: float(value))
    whole = released(frame, bank)
    assert possible_counts(whole["staff"], len(frame), 1e-9) == [len(frame) - gone]


def test_the_last_digits_of_an_inverse_are_not_in_the_hash(monkeypatch):
    frame, bank = drawn(6)
    frame["twin"] = frame["size"] + 1e-6 * frame["staff"]
    plans, ended = measured(frame, bank)
    before, exact = share_lines(plans[0], ended[0]), statistics_document.variance_inflation
    noisy = lambda kept, matrix: {name: value * (1 + 1e-6) for name, value in exact(kept, matrix).items()}  # noqa: E731  # another machine
    monkeypatch.setattr(statistics_document, "variance_inflation", noisy)
    assert share_lines(plans[0], ended[0]) == before
    matrix = ended[0].correlations.matrix * (1 - 1e-6)  # control: correlations are
    ended[0] = msgspec.structs.replace(ended[0], correlations=msgspec.structs.replace(ended[0].correlations, matrix=matrix))
    assert share_lines(plans[0], ended[0]) != before


def test_rounded_correlations_are_all_that_inflation_is_made_of():
    frame, bank = drawn(6)
    frame["twin"] = frame["size"] + 0.5 * frame["staff"] / 20
    frame.loc[frame.index[:4], "staff"] = np.nan
    result = released(frame, bank)
    names, matrix = result[""]["correlation"]["columns"], np.array(result[""]["correlation"]["matrix"])
    np.testing.assert_allclose([result[name]["vif"] for name in names], np.diag(np.linalg.inv(matrix)), rtol=1e-9)


@pytest.mark.parametrize("bads", [0, 1, 9, 1991, 2000])
def test_few_rows_of_one_class_or_none_are_not_told(bads):
    frame, bank = drawn(7)
    frame["label"] = (np.arange(len(frame)) < bads).astype(int)
    whole = released(frame, bank)[""]
    assert whole["bads"] is None
    assert "bads" in whole["withheld"]
    frame["label"] = (np.arange(len(frame)) < COHORT).astype(int)  # control
    assert released(frame, bank)[""]["bads"] == COHORT


# -- levels -------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("rare", "missing"), list(itertools.product([0, 1, 9, 12], [0, 1, 9, 12])))
def test_no_small_level_is_the_difference_of_what_is_shown(rare, missing):
    frame, bank = drawn(8, 500)
    region = np.where(np.arange(500) % 2, "north", "south").astype(object)
    region[:rare], region[rare : rare + missing] = "rare", None
    frame["region"] = region
    found = released(frame, bank)
    rows = [level["rows"] for level in found["region"]["levels"]]
    assert sum(rows) == found[""]["rows"]  # nothing is left out that a difference could give
    assert min(rows) >= COHORT


# -- own ----------------------------------------------------------------------------------------------------------------------------


def test_cells_of_all_banks_are_the_sums_of_the_cells_of_each():
    frame, bank = drawn(9)
    frame.loc[frame.index[::7], "size"] = np.nan
    frame["region"] = np.where(np.arange(len(frame)) % 3, "north", "elsewhere").astype(object)
    frame.loc[frame.index[:40], "region"] = None
    plans, ended = measured(frame, bank)
    for name, cells in (("size", number_cells), ("staff", number_cells), ("flag", number_cells), ("region", level_cells)):
        found = [cells(plan, state, name) for plan, state in zip(plans, ended, strict=True)]
        np.testing.assert_array_equal(found[0][0], np.sum([mine for _, mine in found], axis=0))
        assert found[0][0].sum() == len(frame)


def test_stability_is_that_of_the_rows_and_tells_who_is_different():
    frame, bank = drawn(10)
    frame.loc[bank == 2, "size"] += 1.5
    frame["region"] = np.where((np.arange(len(frame)) % 2 == 0) | (bank == 2), "north", "south").astype(object)
    plans, ended = measured(frame, bank)
    own = [document(plan, state)["own"]["psi"] for plan, state in zip(plans, ended, strict=True)]
    assert own[2]["size"] > 0.5
    assert own[2]["region"] > 0.2
    assert max(abs(part["staff"]) for part in own[:3]) < 0.1
    assert max(abs(part["flag"]) for part in own) < 0.1
    expected, actual = (
        np.array([(part == level).mean() for level in ("north", "south")]) for part in (frame["region"], frame["region"][bank == 0])
    )
    assert own[0]["region"] == pytest.approx(float(rel_entr(actual, expected).sum() + rel_entr(expected, actual).sum()), rel=1e-9)


def test_stability_is_this_banks_alone_and_a_small_bank_has_none():
    frame, bank = drawn(11)
    bank[bank == 3] = 2
    bank[:4] = 3
    plans, ended = measured(frame, bank)
    assert "psi" not in json.dumps(common(plans[0], ended[0]))
    assert not any("psi" in line for line in share_lines(plans[0], ended[0]))
    assert set(document(plans[3], ended[3])["own"]) == {"reason"}
    assert set(own_stability.own_stability(plans[3], ended[3]).values()) == {None}
    assert None not in document(plans[0], ended[0])["own"]["psi"].values()  # control


@pytest.mark.skipif(not SBA.exists(), reason="needs ../shared/data/sba_horizontal_sample")
def test_eight_real_banks():
    frames = [pd.read_parquet(path).drop(columns=["id", "as_of"]) for path in sorted(SBA.glob("*.parquet"))]
    frame = pd.concat(frames, ignore_index=True)
    bank = np.repeat(np.arange(len(frames)), [len(one) for one in frames])
    plans, ended = measured(frame, bank, levels=tuple(sorted(frame["state"].value_counts().loc[lambda c: c >= COHORT].index)))
    for plan, state in zip(plans, ended, strict=True):
        result = json.loads(json.dumps(document(plan, state), allow_nan=False))
        assert len(result["own"]["psi"]) == len(plan.columns)
        assert result["own"]["psi"]["state"] > 0.2  # each of these banks is somewhere
    for part in common(plans[0], ended[0])["columns"]:
        x = frame[part["name"]].dropna()
        if part["kind"] == "numeric" and part["mean"] is not None:
            common_value = x.value_counts().iloc[0]
            assert x.min() == x.max() or len(x) - common_value >= COHORT
            assert part["mean"] == pytest.approx(x.mean(), rel=1e-9)


@pytest.mark.parametrize("last", range(1, 7))
def test_a_bank_that_leaves_between_sums_leaves_no_cell_below_zero(last):
    frame, bank = drawn(12)
    frame["region"] = np.where(np.arange(len(frame)) % 3, "north", "south").astype(object)
    made = settled(minimum_cohort=COHORT)
    plans = [Statistics(table_of(frame[bank == b]), made, {"region": LEVELS}) for b in range(4)]
    now, number = [plan.begin() for plan in plans], 0
    while not now[0].done:
        if number == last:
            plans, now = plans[1:], now[1:]
        total = sum(plan.ask(state) for plan, state in zip(plans, now, strict=True))
        now, number = [plan.take(state, total, len(plans)) for plan, state in zip(plans, now, strict=True)], number + 1
    for name in ("size", "staff", "flag"):
        assert number_cells(plans[0], now[0], name)[0].min() >= 0
    assert all(np.isfinite(value) and value >= 0 for value in document(plans[0], now[0])["own"]["psi"].values())
