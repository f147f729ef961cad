"""Quantiles over many banks: the ranks of the pooled table, never a value that fewer rows than the cohort share, few sums."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from federation.kernel import state as states
from federation.kernel.errors import ConfigurationError
from federation.models.horizontal import quantiles
from federation.models.horizontal.plan import add_up
from federation.models.horizontal.quantiles import PROBABILITIES, FindQuantiles, Quantiles, ordered_keys
from federation.models.table import Column

COHORT = 10


def plans_of(columns, bank, weight=None, cohort=COHORT, probabilities=PROBABILITIES):
    return [
        FindQuantiles(
            {name: Column(name, "numeric", values[bank == b]) for name, values in columns.items()},
            None if weight is None else weight[bank == b],
            cohort,
            probabilities,
        )
        for b in range(int(bank.max()) + 1)
    ]


def found(columns, bank, **kwargs):
    plans = plans_of(columns, bank, **kwargs)
    ended = add_up(plans)
    assert all(states.dump(state) == states.dump(ended[0]) for state in ended)
    return plans[0], ended[0]


def drawn(seed, n):
    random = np.random.default_rng(seed)
    turnover = np.exp(random.normal(20, 3, n))
    turnover[random.random(n) < 0.07] = np.nan
    columns = {
        "turnover": turnover,
        "small": random.normal(size=n) * 1e-12,
        "staff": np.where(random.random(n) < 0.4, 0, random.geometric(0.02, n)).astype(float),
        "date": (20_000_000 + random.integers(0, 20, n) * 10_000 + random.integers(1, 13, n) * 100 + random.integers(1, 29, n)).astype(
            float
        ),
        "flag": (random.random(n) < 0.3).astype(float),
        "offset": 1e9 + random.normal(size=n) * 1e-3,
    }
    return columns, random.choice(5, n, p=[0.5, 0.2, 0.15, 0.1, 0.05])


@pytest.mark.parametrize("n", [300, 20_000])
def test_each_value_has_the_rank_that_was_asked_for(n):
    columns, bank = drawn(1, n)
    plan, state = found(columns, bank)
    for name, values in columns.items():
        present = values[~np.isnan(values)]
        rows = len(present)
        released = plan.released(state, name)
        assert state.rows[name] == rows
        off = max(COHORT, quantiles.RESOLUTION * rows / 2)
        for p, value in zip(PROBABILITIES, released.values, strict=True):
            if value is not None:
                assert (present < value).sum() - off <= p * rows <= (present <= value).sum() + off
        assert (present <= released.low).sum() >= COHORT or released.low is None
        assert (present >= released.high).sum() >= COHORT or released.high is None
        if name in ("turnover", "small", "offset"):  # no ties: as near to the ends as two cohorts
            assert (present <= released.low).sum() < 3 * COHORT
            assert (present >= released.high).sum() < 3 * COHORT
        assert None not in released.values or n == 300 or name == "offset"  # whose rows are on neighbouring doubles


def test_a_value_that_many_rows_share_is_found_exactly():
    columns, bank = drawn(2, 20_000)
    for name in ("staff", "flag"):
        plan, state = found({name: columns[name]}, bank)
        exact = np.quantile(columns[name], PROBABILITIES, method="inverted_cdf")
        shared = np.array([(columns[name] == value).sum() >= 3 * COHORT for value in exact])
        assert shared.sum() >= 7
        np.testing.assert_array_equal(np.array(plan.released(state, name).values, float)[shared], exact[shared])
    assert plan.released(state, "flag").low == 0
    assert plan.released(state, "flag").high == 1


def test_weighted_ranks_are_those_of_the_weights():
    columns, bank = drawn(3, 20_000)
    w = np.random.default_rng(3).uniform(0, 5, len(bank)) * (columns["staff"] + 1)
    plan, state = found(columns, bank, weight=w)
    for name, values in columns.items():
        present = ~np.isnan(values)
        whole = w[present].sum()
        for p, value in zip(PROBABILITIES, plan.released(state, name).values, strict=True):
            if value is not None:
                assert w[present & (values < value)].sum() / whole - 3e-3 <= p <= w[present & (values <= value)].sum() / whole + 3e-3


def numbers():
    few = st.sampled_from([0.0, -1.0, 1.0, 2.0, 3.0, 60.0, 84.0])
    return st.lists(st.one_of(few, st.floats(-1e6, 1e6), st.floats(allow_nan=False, allow_infinity=False)), min_size=1, max_size=120)


def breaches(present, values, cohort):
    """Values with fewer rows than the cohort on a side, or with fewer between two of them; a single row at a border lies above it."""
    shown = sorted({value for value in values if value is not None})
    own = {value: int((present == value).sum()) for value in shown}
    shared = {value: count if count >= cohort else 0 for value, count in own.items()}
    at_ends = sum(not ((present < v).sum() + shared[v] >= cohort and (present >= v).sum() >= cohort) for v in shown)
    between = [((present >= a) & (present < b)).sum() - np.array([0, shared[a]]) for a, b in itertools.pairwise(shown)]
    return at_ends + sum(bool(((rows > 0) & (rows < cohort)).all()) for rows in between)  # a shared value may be there as a border, too


@settings(max_examples=150, deadline=None)
@given(numbers(), st.integers(2, 12))
def test_no_released_value_tells_of_fewer_rows_than_the_cohort(values, cohort):
    present = np.array(values)
    plan, state = found({"x": present}, np.arange(len(present)) % 3, cohort=cohort)
    released = plan.released(state, "x")
    shown = [released.low, *released.values, released.high]
    assert breaches(present, shown, cohort) == 0
    for value in shown:
        if value is not None and 0 < (present == value).sum() < cohort:
            assert int(ordered_keys(np.array([value]))[0]) % (1 << 7) == 0  # a border of cells, whatever the rows are
    if len(present) < 2 * cohort:
        assert shown == [None] * len(shown)


def test_control_plain_quantiles_and_extremes_do_tell_of_single_rows():
    present = np.random.default_rng(5).normal(size=200)
    plain = [present.min(), *np.quantile(present, PROBABILITIES, method="inverted_cdf"), present.max()]
    assert breaches(present, plain, COHORT) > 0
    assert all((present == value).any() for value in plain)


def test_no_cut_point_is_a_record_of_a_column_without_ties():
    columns, bank = drawn(6, 3000)
    plan, state = found(columns, bank)
    for name in ("turnover", "small", "offset"):
        released = plan.released(state, name)
        shown = [value for value in (released.low, *released.values, released.high) if value is not None]
        assert len(shown) >= 9
        assert not np.isin(shown, columns[name]).any()


@pytest.mark.parametrize(("count", "most"), [(1, 7), (6, 7), (300, 8), (1000, 11)])
def test_few_sums_of_bounded_length(count, most):
    random = np.random.default_rng(7)
    columns = {f"x{i}": np.round(np.exp(random.normal(10, 2, 90)), 2) for i in range(count)}
    plans = plans_of(columns, np.arange(90) % 3, cohort=2)
    now = [plan.begin() for plan in plans]
    sums = 0
    while not now[0].done:
        vectors = [plan.ask(state) for plan, state in zip(plans, now, strict=True)]
        assert len(vectors[0]) <= quantiles.LONGEST
        now = [plan.take(state, np.sum(vectors, axis=0), 3) for plan, state in zip(plans, now, strict=True)]
        sums += 1
    assert sums == now[0].sums <= most


def test_a_bank_that_leaves_after_any_sum_leaves_ranks_of_the_others_and_no_error():
    columns, bank = drawn(8, 4000)
    stay = bank < 4
    for last in range(1, 7):
        plans = plans_of(columns, bank)
        now = [plan.begin() for plan in plans]
        number = 0
        while not now[0].done:
            vectors = [plan.ask(state) for plan, state in zip(plans, now, strict=True)]
            now = [plan.take(state, np.sum(vectors, axis=0), len(plans)) for plan, state in zip(plans, now, strict=True)]
            now = [states.load(states.dump(state), Quantiles) for state in now]
            number += 1
            if number == last:
                plans, now = plans[:-1], now[:-1]
        for name, values in columns.items():
            left = values[stay & ~np.isnan(values)]
            for p, value in zip(PROBABILITIES, plans[0].released(now[0], name).values, strict=True):
                if value is not None:
                    assert (left < value).mean() - 0.04 <= p <= (left <= value).mean() + 0.04


def test_columns_without_values_and_probabilities_out_of_order():
    n = 90
    columns = {"gone": np.full(n, np.nan), "one": np.full(n, 7.5)}
    plan, state = found(columns, np.arange(n) % 3)
    assert plan.released(state, "gone").values == (None,) * len(PROBABILITIES)
    one = plan.released(state, "one")
    assert {one.low, *one.values, one.high} == {7.5}
    assert add_up([FindQuantiles({}, None, 10)])[0].done
    for wrong in ((0.0, 0.5), (0.5, 0.1), (0.5, 0.5), (float("nan"),)):
        with pytest.raises(ConfigurationError):
            FindQuantiles({}, None, 10, wrong)


def test_magnitudes_are_below_the_power_of_two():
    columns, bank = drawn(9, 500)
    _, state = found(columns, bank)
    for name, values in columns.items():
        most = np.nanmax(np.abs(values))
        assert most < 2.0 ** state.exponent[name] <= 4 * most
