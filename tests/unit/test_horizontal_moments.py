"""Moments and correlations over many banks equal those of the pooled table, whatever the unit, the offset and the weights."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from federation.kernel import state as states
from federation.kernel.errors import DataError
from federation.masked_sum import wide
from federation.models.horizontal.correlation import Correlate, Correlations
from federation.models.horizontal.moments import ColumnMoments, MeasureColumns
from federation.models.horizontal.plan import add_up
from federation.models.table import Column

LEVELS = {"region": ("north", "other", "south", "west")}


def drawn(seed, n=4000):
    random = np.random.default_rng(seed)
    size = random.normal(size=n)
    frame = pd.DataFrame(
        {
            "turnover": np.exp(25 + 3 * size),
            "staff": np.where(random.random(n) < 0.4, 0, random.geometric(0.02, n)).astype(float),
            "margin": size * 1e-11 + random.normal(size=n) * 1e-11,
            "offset": 1e9 + (size + random.normal(size=n)) * 1e-3,
            "same": 0.1,
            "loss": -np.exp(random.normal(3, 1, n)) - size,
        }
    )
    for name in ("turnover", "staff", "margin"):
        frame.loc[random.random(n) < 0.1, name] = np.nan
    frame["region"] = random.choice(["north", "south", "west", "other", "odd"], n).astype(object)
    frame.loc[random.random(n) < 0.05, "region"] = None
    return frame, random.choice(5, n, p=[0.5, 0.2, 0.15, 0.1, 0.05])


def columns_of(frame):
    out = {}
    for name in frame.columns:
        numeric = pd.api.types.is_numeric_dtype(frame[name])
        values = frame[name].to_numpy(float) if numeric else np.array([None if pd.isna(v) else v for v in frame[name]], object)
        out[name] = Column(name, "numeric" if numeric else "categorical", values)
    return out


class Limbs:
    """A plan whose vectors pass through the limbs of a masked sum: what is out of range or below the grid shows."""

    def __init__(self, plan):
        self.plan, self.kind = plan, plan.kind

    def begin(self):
        return self.plan.begin()

    def ask(self, state):
        vector = self.plan.ask(state)
        return None if vector is None else wide.decode(wide.encode(vector))

    def take(self, state, total, banks):
        return self.plan.take(state, total, banks)


def measured(frame, bank, weight=None, exponent=None):
    plans = [
        MeasureColumns(columns_of(frame[bank == b]), None if weight is None else weight[bank == b], LEVELS, exponent)
        for b in range(int(bank.max()) + 1)
    ]
    ended = add_up([Limbs(plan) for plan in plans])
    assert all(states.dump(state) == states.dump(ended[0]) for state in ended)
    return plans, ended[0]


@pytest.mark.parametrize("weighted", [False, True])
def test_moments_are_those_of_the_pooled_table(weighted):
    frame, bank = drawn(1)
    w = np.random.default_rng(1).uniform(0, 3e6, len(frame)) if weighted else None
    plans, state = measured(frame, bank, w)
    assert state.rows == len(frame)
    assert state.step == 4
    for name in plans[0].names:
        there = frame[name].notna().to_numpy()
        x, weight = frame[name].to_numpy()[there], None if w is None else w[there]
        number = plans[0].number(state, name)
        assert (number.count, number.missing) == (there.sum(), (~there).sum())
        assert number.weight == pytest.approx(there.sum() if weight is None else weight.sum(), rel=1e-12)
        assert number.mean == pytest.approx(np.average(x, weights=weight), rel=1e-12, abs=1e-9 * x.std())
        centred = x - x[0]  # numpy loses digits of a large offset, the plan does not
        if name == "same":
            assert number.constant
            assert number.variance == 0
        else:
            assert number.variance == pytest.approx(np.cov(centred, aweights=weight, ddof=1), rel=1e-9)
            if not weighted:
                assert number.variance == pytest.approx(pd.Series(centred).var(), rel=1e-9)
    counts, weights = state.levels["region"]
    named = [name for name in LEVELS["region"] if name != "other"]
    at = [(frame["region"] == name).to_numpy() for name in named]
    gone = frame["region"].isna().to_numpy()
    at += [~gone & ~np.logical_or.reduce(at), gone]
    assert list(counts) == [mask.sum() for mask in at]
    np.testing.assert_allclose(weights, [mask.sum() if w is None else w[mask].sum() for mask in at], rtol=1e-12)


def test_magnitudes_known_before_save_a_sum_and_change_nothing():
    frame, bank = drawn(2)
    plans, state = measured(frame, bank)
    known = dict(zip(plans[0].names, state.exponent.tolist(), strict=True))
    again, other = measured(frame, bank, exponent={name: value + 1 for name, value in known.items()})
    for name in plans[0].names:
        one, two = plans[0].number(state, name), again[0].number(other, name)
        assert (one.count, one.constant) == (two.count, two.constant)
        assert one.mean == pytest.approx(two.mean, rel=1e-15)
        assert one.variance == pytest.approx(two.variance, rel=1e-12)


@settings(max_examples=80, deadline=None)
@given(st.lists(st.floats(-1e15, 1e15), min_size=2, max_size=60), st.sampled_from([1.0, 1e-14, 1e120, 1e-120]), st.integers(0, 2**31))
def test_any_unit_gives_the_same_figures(values, unit, seed):
    x = np.where(np.abs(values) < 1e-6, 0.0, values) * unit  # squares of smaller ones are not doubles
    bank = np.random.default_rng(seed).integers(0, 3, len(x))
    bank[:3] = [0, 1, 2][: len(bank)]
    w = np.random.default_rng(seed + 1).uniform(0.1, 9, len(x))
    plans, state = measured(pd.DataFrame({"x": x}), bank, w)
    number = plans[0].number(state, "x")
    largest = np.abs(x).max()
    assert number.mean == pytest.approx(np.average(x, weights=w), rel=1e-9, abs=1e-13 * largest)
    scaled = (x - np.average(x, weights=w)) / (largest or 1.0)
    exact = np.cov(scaled, aweights=w, ddof=1)
    if not number.constant:
        assert number.variance / (largest or 1.0) / (largest or 1.0) == pytest.approx(exact, rel=1e-9, abs=1e-28)
    else:
        assert exact < 1e-26


def test_a_bank_that_leaves_leaves_the_figures_of_the_others():
    frame, bank = drawn(3)
    for last in range(1, 4):
        plans = [MeasureColumns(columns_of(frame[bank == b]), None, LEVELS) for b in range(5)]
        now = [plan.begin() for plan in plans]
        for number in range(4):
            if number == last:
                plans, now = plans[1:], now[1:]
            total = np.sum([plan.ask(state) for plan, state in zip(plans, now, strict=True)], axis=0)
            now = [plan.take(states.load(states.dump(s), ColumnMoments), total, len(plans)) for plan, s in zip(plans, now, strict=True)]
        rest = frame[bank > 0]
        for name in plans[0].names:
            found = plans[0].number(now[0], name)
            assert found.count == rest[name].notna().sum()
            assert found.mean == pytest.approx(rest[name].mean(), rel=1e-12)
            if name not in ("same", "offset"):
                assert found.variance == pytest.approx(rest[name].var(), rel=1e-9)


@pytest.mark.parametrize("weighted", [False, True])
def test_correlations_and_inflation_are_those_of_the_table_with_means_filled_in(weighted):
    frame, bank = drawn(4)
    w = np.random.default_rng(4).uniform(0, 100, len(frame)) if weighted else None
    plans, moments = measured(frame, bank, w)
    own = [Correlate(plan.columns, plan.weight, moments) for plan in plans]
    state = add_up([Limbs(plan) for plan in own])[0]
    state = states.load(states.dump(state), Correlations)
    names = list(own[0].names)
    filled = frame[names] - frame[names].median()
    weight = np.ones(len(frame)) if w is None else w
    for name in names:
        there = filled[name].notna()
        filled[name] = filled[name].fillna(np.average(filled[name][there], weights=weight[there]))
    varies = [name for name in names if name != "same"]
    covariance = np.cov(filled[varies].to_numpy().T, aweights=weight)
    deviation = np.sqrt(np.diag(covariance))
    exact = covariance / np.outer(deviation, deviation)
    places = [names.index(name) for name in varies]
    np.testing.assert_allclose(state.matrix[np.ix_(places, places)], exact, atol=1e-9)
    assert not state.matrix[names.index("same")].any()
    inflation = own[0].inflation(state)
    np.testing.assert_allclose([inflation[name] for name in varies], np.diag(np.linalg.inv(exact)), rtol=1e-9)
    both = frame[names].notna().to_numpy().astype(int)
    assert np.array_equal(state.both, both.T @ both)


def test_a_column_that_others_determine_has_infinite_inflation():
    frame, bank = drawn(5)
    frame = frame[["loss", "offset"]].assign(sum=frame["loss"] * 2 + (frame["offset"] - 1e9) * 300)
    plans, moments = measured(frame, bank)
    own = [Correlate(plan.columns, None, moments) for plan in plans]
    assert set(own[0].inflation(add_up(own)[0]).values()) == {np.inf}


def test_columns_without_values_rows_without_weight_and_levels_not_agreed():
    frame = pd.DataFrame({"gone": np.full(60, np.nan), "x": np.arange(60.0)})
    plans, state = measured(frame, np.arange(60) % 3, np.zeros(60))
    for name, count in (("gone", 0), ("x", 60)):
        number = plans[0].number(state, name)
        assert (number.count, number.mean, number.variance) == (count, None, None)
    assert add_up([Correlate({}, None, state)])[0].done
    with pytest.raises(DataError, match="levels"):
        MeasureColumns({"r": Column("r", "categorical", np.array(["a"], object))}, None, {})
