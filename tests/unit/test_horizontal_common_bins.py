"""Bins over many banks: one pooled table gives the same ones, counts are exact, and no cut tells of fewer firms than the cohort."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from federation.kernel import state as states
from federation.kernel.errors import ConfigurationError, DataError
from federation.kernel.manifest import BinningSettings
from federation.models.bins import Bins, cut, frequent_levels
from federation.models.horizontal.common_bins import CommonBins, FindBins
from federation.models.horizontal.plan import add_up
from federation.models.horizontal.quantiles import ordered_keys, value_of
from federation.models.sample import Sample
from federation.models.table import Column, Table
from federation.models.woe import weight_of_evidence
from tests.bank_case import settled

REGIONS = ("north", "south", "west", "east", "rare")


def columns_of(random, n):
    turnover = np.exp(random.normal(12, 2, n))
    turnover[random.random(n) < 0.07] = np.nan
    staff = np.where(random.random(n) < 0.4, 0, random.geometric(0.1, n)).astype(np.float64)
    small = random.normal(size=n) * 1e-9
    code = np.where(random.random(n) < 0.05, -99.0, random.normal(size=n))
    region = random.choice([*REGIONS, "unheard of"], n, p=[0.4, 0.3, 0.2, 0.07, 0.02, 0.01]).astype(object)
    region[random.random(n) < 0.05] = None
    values = {"turnover": turnover, "staff": staff, "small": small, "code": code}
    out = {name: Column(name, "numeric", value) for name, value in values.items()}
    return out | {"region": Column("region", "categorical", region)}


def drawn(seed, n=3000, weighted=False):
    random = np.random.default_rng(seed)
    columns = columns_of(random, n)
    y = (random.random(n) < np.where(columns["staff"].values > 3, 0.35, 0.15)).astype(np.int8)
    w = random.uniform(0.5, 2, n) if weighted else np.ones(n)
    return columns, y, w, random.random(n) < 0.7, random.choice(4, n, p=[0.6, 0.25, 0.1, 0.05])


def plan_of(columns, y, w, train, rows, settings=None, minimum=10, bins=None):
    mine = {name: Column(name, column.kind, column.values[rows]) for name, column in columns.items()}
    ids = tuple(f"f{i}" for i in np.flatnonzero(rows))
    table = Table(ids, ids, mine, b"", None, y[rows], w[rows])
    sample = Sample(train[rows], ~train[rows], np.zeros(int(rows.sum()), bool))
    made = settled(binning=settings or BinningSettings(special=(-99.0,)), minimum_cohort=minimum)
    return FindBins(table, sample, np.where(train, w, 0.0)[rows], {"region": REGIONS}, made, bins or {})


def found(data, banks=4, **kwargs):
    columns, y, w, train, bank = data
    states_ = add_up([plan_of(columns, y, w, train, bank % banks == b, **kwargs) for b in range(banks)])
    assert all(states.dump(state) == states.dump(states_[0]) for state in states_)
    return states_[0]


@given(st.lists(st.floats(allow_nan=False), min_size=1, max_size=30))
def test_keys_are_in_the_order_of_the_numbers_and_lead_back_to_them(values):
    keys = [int(key) for key in ordered_keys(np.array(values))]
    assert [value_of(key) for key in keys] == values
    for a, b in zip(range(len(values)), range(1, len(values)), strict=False):
        assert (keys[a] < keys[b]) == (values[a] < values[b])
        assert (keys[a] == keys[b]) == (values[a] == values[b])


@pytest.mark.parametrize("weighted", [False, True])
def test_one_pooled_table_has_the_same_bins_and_the_counts_are_those_of_its_rows(weighted):
    data = drawn(1, weighted=weighted)
    many, one = found(data), found(data, banks=1)
    assert [part.bins for part in many.encoding.columns] == [part.bins for part in one.encoding.columns]
    columns, y, w, train, _ = data
    for part, table in zip(many.encoding.columns, many.tables, strict=True):
        codes = part.bins.codes(columns[part.column])[train]
        bad, weight = y[train] == 1, w[train]
        rows, goods, bads = (np.bincount(codes, v, part.bins.size) for v in (np.ones(len(codes)), weight * ~bad, weight * bad))
        assert [row.rows for row in table.rows] == rows.tolist()
        np.testing.assert_allclose([row.goods for row in table.rows], goods, rtol=1e-12, atol=0)
        np.testing.assert_allclose([row.bads for row in table.rows], bads, rtol=1e-12, atol=0)
        np.testing.assert_allclose(part.values, weight_of_evidence(goods, bads), atol=1e-12)
        if not weighted:
            assert [row.goods for row in table.rows] == goods.tolist()


def test_cut_points_are_nearly_those_of_exact_quantiles_and_special_values_have_their_bin():
    data = drawn(2, 20_000)
    state = found(data)
    columns = data[0]
    for part in state.encoding.columns:
        bins = part.bins
        if bins.kind == "numeric":
            exact = cut(columns[part.column], 6, 0.05, (-99.0,))
            assert bins.special == exact.special
            assert len(bins.edges) == len(exact.edges)
            values = columns[part.column].values
            values = np.sort(values[~np.isnan(values) & (values != -99.0)])
            rank, wanted = (np.searchsorted(values, np.array(edges)) / len(values) for edges in (bins.edges, exact.edges))
            assert np.abs(rank - wanted).max() < 0.02
        else:
            levels = frequent_levels(columns["region"].values, 6, 0.05)
            assert {level for group in bins.groups for level in group} == set(levels)
    staff = next(part.bins for part in state.encoding.columns if part.column == "staff")
    assert 0 < staff.edges[0] <= 1  # zero has an interval of its own


def test_every_bin_has_the_cohort_or_no_row():
    for seed in range(5):
        state = found(drawn(10 + seed, 150), minimum=20)
        for table in state.tables:
            assert all(row.rows == 0 or row.rows >= 20 for row in table.rows)


def test_few_sums_whatever_the_unit():
    data = drawn(3, 20_000)
    assert found(data).sums <= 7
    columns = {name: data[0][name] for name in ("turnover", "small")}
    scaled = {name: Column(name, "numeric", column.values * 1024.0) for name, column in columns.items()}
    plain, large = found((columns, *data[1:])), found((scaled, *data[1:]))
    for a, b in zip(plain.tables, large.tables, strict=True):
        assert np.abs(np.array([row.rows for row in a.rows]) - [row.rows for row in b.rows]).max() < 0.03 * 20_000


def test_a_bank_that_leaves_after_any_sum_leaves_counts_of_the_others():
    columns, y, w, train, bank = drawn(4)
    for last in range(1, found((columns, y, w, train, bank)).sums):
        plans = [plan_of(columns, y, w, train, bank == b) for b in range(4)]
        now = [plan.begin() for plan in plans]
        for number in range(100):
            if now[0].done:
                break
            vectors = [plan.ask(state) for plan, state in zip(plans, now, strict=True)]
            now = [plan.take(state, np.sum(vectors, axis=0), len(plans)) for plan, state in zip(plans, now, strict=True)]
            now = [states.load(states.dump(state), CommonBins) for state in now]
            if number + 1 == last:
                plans, now = plans[:-1], now[:-1]
        rows = int((train & (bank < 3)).sum())
        assert all(sum(row.rows for row in table.rows) == rows for table in now[0].tables)


def test_hand_edited_bins_are_used_as_they_are():
    data = drawn(5)
    given_bins = {"staff": Bins(column="staff", kind="numeric", edges=(1.0, 5.0))}
    state = found(data, bins=given_bins)
    assert next(part.bins for part in state.encoding.columns if part.column == "staff").edges == (1.0, 5.0)
    with pytest.raises(ConfigurationError):
        found(data, bins={"nothing": Bins(column="nothing", kind="numeric")})


def test_one_class_and_unknown_levels_stop_every_bank_alike():
    columns, y, w, train, bank = drawn(6, 300)
    with pytest.raises(DataError, match="one class"):
        found((columns, np.zeros_like(y), w, train, bank))
    plan = plan_of(columns, y, w, train, bank == 0)
    plan.levels = {}
    with pytest.raises(DataError, match="levels"):
        plan.begin()


def test_columns_without_values_and_banks_without_rows():
    random = np.random.default_rng(7)
    n = 400
    columns = {"gone": Column("gone", "numeric", np.full(n, np.nan)), "x": Column("x", "numeric", random.normal(size=n))}
    y, bank = (random.random(n) < 0.3).astype(np.int8), np.where(np.arange(n) < n, 0, 1)
    plans = [plan_of(columns, y, np.ones(n), np.ones(n, bool), bank == b) for b in range(2)]
    state = add_up(plans)[0]
    gone = next(part for part in state.encoding.columns if part.column == "gone")
    assert gone.bins.edges == ()
    assert all(math.isfinite(value) for value in gone.values)


# -- equal to pooled where many rows share a value, or are close together -----------------------------------------------------------


def parted(values, banks=3, max_bins=6, min_share=0.05, minimum=1):
    """Codes of one numeric column by the bins of its rows over some banks, and by the exact quantiles of all rows together."""
    n = len(values)
    columns = {"x": Column("x", "numeric", np.array(values, np.float64))}
    y, train, bank = (np.arange(n) % 2).astype(np.int8), np.ones(n, bool), np.arange(n) % banks
    rules = BinningSettings(max_bins=max_bins, min_share=min_share)
    state = found((columns, y, np.ones(n), train, bank), banks=banks, settings=rules, minimum=minimum)
    return state.encoding.columns[0].bins.codes(columns["x"]), cut(columns["x"], max_bins, min_share).codes(columns["x"]), state


def spread(low, count):
    """Doubles next to each other."""
    out = [low]
    for _ in range(count - 1):
        out.append(float(np.nextafter(out[-1], math.inf)))
    return out


TIGHT = [*spread(1e6, 4), *spread(-0.1, 3), -1e9, -1.0, 0.0, 5e-324, 1e-300, 0.3, 0.1 + 0.2, 1.0, 2.0, 20_240_101.0, 20_240_102.0, 1e300]


@settings(deadline=None)
@given(st.lists(st.sampled_from(TIGHT), min_size=4, max_size=48), st.integers(2, 8))
def test_few_rows_are_parted_just_as_by_exact_quantiles_however_close_they_lie(values, max_bins):
    """With up to 50 rows and no cohort every value is counted apart, so that the two rules are one."""
    ours, exact, _ = parted(values, max_bins=max_bins)
    assert ours.tolist() == exact.tolist()


@pytest.mark.parametrize("count", [2, 3, 5])
def test_many_rows_on_neighbouring_doubles_are_cut_between_them(count):
    values = np.repeat(spread(1e6, count), 400)
    ours, exact, state = parted(values, minimum=10)
    assert ours.tolist() == exact.tolist()
    assert len(set(ours.tolist())) == count
    assert state.sums <= 11


def test_days_of_one_year_written_as_numbers_have_as_many_bins_as_exact_quantiles():
    random = np.random.default_rng(20)
    days = np.datetime64("2024-01-01") + random.integers(0, 366, 4000).astype("timedelta64[D]")
    values = [float(str(day).replace("-", "")) for day in days]
    ours, exact, _ = parted(values, minimum=10)
    shares = [np.bincount(codes, minlength=8) / len(values) for codes in (ours, exact)]
    assert len(set(ours.tolist())) == len(set(exact.tolist())) == 6
    assert np.abs(np.cumsum(shares[0]) - np.cumsum(shares[1])).max() < 0.02


def test_a_value_that_many_rows_share_is_parted_from_the_rows_around_it():
    """Half of all rows at one value in the midst of a cluster a millionth wide."""
    random = np.random.default_rng(21)
    values = np.where(random.random(5000) < 0.5, 1e6, 1e6 + random.normal(size=5000) * 0.1)
    ours, exact, _ = parted(values, minimum=10)
    assert len(set(ours.tolist())) == len(set(exact.tolist()))
    rank = [np.sort(np.bincount(codes))[::-1] for codes in (ours, exact)]
    assert np.abs(rank[0] - rank[1]).max() <= 0.02 * len(values)


def test_a_hundred_columns_of_counts_take_few_and_short_sums():
    random = np.random.default_rng(22)
    n = 2000
    columns = {f"c{i}": Column(f"c{i}", "numeric", random.poisson(4, n).astype(np.float64)) for i in range(100)}
    y, bank = (random.random(n) < 0.3).astype(np.int8), random.integers(0, 3, n)
    plans = [plan_of(columns, y, np.ones(n), np.ones(n, bool), bank == b) for b in range(3)]
    lengths, ask = [], FindBins.ask

    def counted(plan, state):
        vector = ask(plan, state)
        lengths.append(0 if vector is None else len(vector))
        return vector

    FindBins.ask = counted
    try:
        state = add_up(plans)[0]
    finally:
        FindBins.ask = ask
    print(f"{state.sums} sums, the longest of {max(lengths):,} numbers")
    assert state.sums <= 5
    assert max(lengths) <= 100 * (4096 + 2)


@pytest.mark.parametrize("seed", range(4))
def test_cut_points_are_short_and_few_rows_change_sides_for_it(seed):
    """At most 4 digits each for 5,000 rows of a smooth column, and no interval is off by more than 3 % of all rows."""
    random = np.random.default_rng(30 + seed)
    for values in (random.random(5000), np.exp(random.normal(12, 2, 5000)), random.normal(size=5000) * 1e-6):
        ours, exact, state = parted(values, minimum=10)
        digits = [min(d for d in range(1, 18) if float(f"{edge:.{d}g}") == edge) for edge in state.bins["x"].edges]
        assert max(digits) <= 4, digits
        shares = [np.bincount(codes, minlength=7) / len(values) for codes in (ours, exact)]
        assert np.abs(shares[0] - shares[1]).max() < 0.03


# -- a level that is called "other" -------------------------------------------------------------------------------------------------


def grouped(rows, levels, max_bins=6, min_share=0.05, minimum=1):
    """Groups of a column over two banks, and of all its rows together."""
    values = np.array([level for level, count in rows.items() for _ in range(count)], object)
    column, n = Column("kind", "categorical", values), len(values)
    y, bank = (np.arange(n) % 2).astype(np.int8), np.arange(n) % 3
    made = settled(max_bins=max_bins, min_share=min_share, minimum_cohort=minimum)
    plans = []
    for b in range(3):
        mine, ids = bank == b, tuple(f"f{i}" for i in np.flatnonzero(bank == b))
        table = Table(ids, ids, {"kind": Column("kind", "categorical", values[mine])}, b"", None, y[mine], np.ones(int(mine.sum())))
        sample = Sample(np.ones(len(ids), bool), np.zeros(len(ids), bool), np.zeros(len(ids), bool))
        plans.append(FindBins(table, sample, np.ones(len(ids)), {"kind": levels}, made))
    part, *_ = add_up(plans)[0].encoding.columns
    return part.bins.groups, cut(column, max_bins, min_share).groups


@pytest.mark.parametrize("rare", [0, 5])
@pytest.mark.parametrize("named", [0, 30, 900])
def test_a_level_called_other_counts_with_all_others_as_in_the_pooled_table(named, rare):
    rows = {"north": 40, "south": 60, "other": named, "rare": rare}
    levels = tuple(sorted(level for level, count in rows.items() if count >= 10))
    ours, pooled = grouped(rows, levels)
    assert ours == pooled


@settings(deadline=None)
@given(st.dictionaries(st.sampled_from(["a", "b", "c", "other", "d"]), st.integers(1, 60), min_size=1), st.integers(2, 6))
def test_whatever_the_levels_and_their_rows_groups_are_those_of_the_pooled_table(rows, max_bins):
    if sum(rows.values()) < 4:
        return
    ours, pooled = grouped(rows, tuple(sorted(rows)), max_bins=max_bins)
    assert ours == pooled
