"""Stepwise selection from totals: what goes, why, and that all banks decide alike and as a pooled reference does."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import expit
from scipy.stats import chi2

from federation.kernel.manifest import SelectSettings
from federation.models.horizontal.newton import FitSettings
from federation.models.horizontal.personal import Rows
from federation.models.horizontal.plan import add_up
from federation.models.horizontal.selection import Dropped, Feature, Select, screen, variance_inflation


def drawn(seed: int, n: int = 4000):
    """Six columns: two strong, one copy of the first with noise, one weak, two of noise."""
    random = np.random.default_rng(seed)
    a, b, e, f = random.normal(size=(4, n))
    x = np.column_stack([a, b, a + 0.2 * random.normal(size=n), 0.5 * e + 0.5 * b + 0.7 * f, e, random.normal(size=n)])
    x = (x - x.mean(axis=0)) / x.std(axis=0)
    y = (random.random(n) < expit(0.9 * a - 0.7 * b + 0.15 * e - 1)).astype(np.int8)
    return x, y, random.choice(3, n, p=[0.6, 0.3, 0.1])


def single(d):
    return tuple(Feature(f"x{j}", (j,)) for j in range(d))


def correlation(x, y):
    return np.corrcoef(np.column_stack([x, y]).T)


def plans(x, y, bank, kept, log=(), **kwargs):
    d = x.shape[1]
    names = tuple(f"x{j}" for j in range(d))
    ones = np.ones(len(y))
    return [
        Select(Rows.of(x[bank == b], y[bank == b], ones[bank == b]), names, np.zeros(d), np.zeros(d, np.int8), kept, log, **kwargs)
        for b in range(3)
    ]


def reference_fit(x, y):
    whole = np.column_stack([np.ones(len(y)), x])
    theta = np.zeros(whole.shape[1])
    for _ in range(50):
        p = expit(whole @ theta)
        covariance = np.linalg.inv(whole.T @ (whole * (p * (1 - p))[:, None]))
        theta = theta - covariance @ (whole.T @ (p - y))
    return theta, covariance


def test_each_rule_drops_the_column_it_should_and_says_why():
    x, y, _ = drawn(1)
    r = correlation(x, y)
    iv = {"x0": 0.5, "x1": 0.4, "x2": 0.45, "x3": 0.05, "x4": 0.021, "x5": 0.001}
    kept, log = screen(single(6), r, iv, SelectSettings(iv_min=0.02, corr_max=0.9))
    assert [c.name for c in kept] == ["x0", "x1", "x3", "x4"]
    assert [(step.column, step.rule, step.beside) for step in log] == [("x5", "iv_min", ""), ("x2", "corr_max", "x0")]
    assert log[1].value == pytest.approx(abs(r[0, 2]))
    assert "information value 0.001, iv_min = 0.02" in log[0].reason
    assert screen(single(6), r, iv, SelectSettings())[0] == list(single(6))


def test_variance_inflation_is_that_of_regressions_on_the_other_columns():
    x, y, _ = drawn(2)
    found = variance_inflation(single(6), correlation(x, y))
    for j in range(6):
        rest = np.column_stack([np.ones(len(y)), np.delete(x, j, axis=1)])
        left = x[:, j] - rest @ np.linalg.lstsq(rest, x[:, j], rcond=None)[0]
        assert found[f"x{j}"] == pytest.approx(x[:, j].var() / left.var(), rel=1e-9)
    group = (Feature("a", (0, 1)), Feature("b", (2, 3)), Feature("c", (4, 5)))
    r = np.corrcoef(x.T)
    det = np.linalg.det
    wanted = (det(r[:2, :2]) * det(r[2:, 2:]) / det(r)) ** 0.5
    assert variance_inflation(group, correlation(x, y))["a"] == pytest.approx(wanted, rel=1e-9)


def test_collinear_columns_have_infinite_inflation_and_go_one_by_one():
    x, y, _ = drawn(3)
    wide = np.column_stack([x[:, :2], x[:, 0] + x[:, 1], x[:, 5]])
    kept, log = screen(single(4), correlation(wide, y), {}, SelectSettings(vif_max=5))
    assert [step.column for step in log] == ["x0"]
    assert log[0].value == np.inf
    assert [c.name for c in kept] == ["x1", "x2", "x3"]


def test_backward_elimination_equals_the_pooled_one_step_by_step():
    x, y, bank = drawn(4)
    states = add_up(plans(x, y, bank, single(6), p_max=0.01))
    names, log = list(range(6)), []
    while True:
        theta, covariance = reference_fit(x[:, names], y)
        p = chi2.sf(theta[1:] ** 2 / np.diag(covariance)[1:], 1)
        if p.max() <= 0.01:
            break
        log.append((f"x{names[int(p.argmax())]}", p.max()))
        del names[int(p.argmax())]
    for state in states:
        assert [step.column for step in state.log] == [name for name, _ in log]
        np.testing.assert_allclose([step.value for step in state.log], [p for _, p in log], rtol=1e-6)
        assert [c.name for c in state.kept] == [f"x{j}" for j in names]
        np.testing.assert_allclose(state.fit.theta, theta, atol=1e-8)
    assert len(log) >= 2
    assert states[0].fits == len(log) + 1
    assert states[0].sums <= 8 + 5 * len(log)  # each refit begins where the quadratic model ends


def test_levels_of_one_column_stay_or_go_together():
    random = np.random.default_rng(5)
    n = 3000
    level = random.integers(0, 4, n)
    dummies = np.eye(4)[level][:, 1:]
    noise = np.eye(3)[random.integers(0, 3, n)][:, 1:]
    x = np.column_stack([dummies, noise, random.normal(size=n)])
    x = (x - x.mean(axis=0)) / x.std(axis=0)
    y = (random.random(n) < expit(np.array([0, 0, 0, 1.0])[level] - 1)).astype(np.int8)
    kept = (Feature("level", (0, 1, 2)), Feature("noise", (3, 4)), Feature("number", (5,)))
    state = add_up(plans(x, y, random.integers(0, 3, n), kept, p_max=0.01))[0]
    assert [c.name for c in state.kept] == ["level"]  # though two of its three levels say nothing
    assert {step.column for step in state.log} == {"noise", "number"}


def test_without_p_max_it_is_one_fit_and_the_log_is_kept():
    x, y, bank = drawn(6)
    before = (Dropped("z", "iv_min", 0.0, 0.02),)
    state = add_up(plans(x, y, bank, single(6), before))[0]
    assert state.fits == 1
    assert state.log == before
    assert state.fit.converged


def test_a_collinear_column_is_dropped_with_p_max_and_the_rest_converges():
    x, y, bank = drawn(7)
    wide = np.column_stack([x[:, :2], x[:, 0] - x[:, 1]])
    state = add_up(plans(wide, y, bank, single(3), p_max=0.05))[0]
    assert [step.column for step in state.log] == ["x2"]
    assert state.fit.converged


def test_with_an_intercept_for_each_bank_and_everything_dropped():
    _, y, bank = drawn(8)
    noise = np.random.default_rng(9).normal(size=(len(y), 2))
    state = add_up(plans(noise, y, bank, single(2), p_max=1e-9, settings=FitSettings(intercept="per bank")))[0]
    assert state.kept == ()
    assert state.done
    assert state.fit.delta[0] == pytest.approx(np.log(y[bank == 0].mean() / (1 - y[bank == 0].mean())), abs=1e-8)


def test_separated_classes_end_selection_with_the_reason():
    x, _, bank = drawn(10)
    state = add_up(plans(x, (x[:, 5] > 0).astype(np.int8), bank, single(6), p_max=0.05))[0]
    assert state.done
    assert state.log == ()
    assert "separated" in state.fit.reason
