"""Newton's method over many banks: equal to scikit-learn and to a plain pooled reference, and it says so when there is no optimum."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize
from scipy.special import expit
from scipy.stats import norm
from sklearn.linear_model import LogisticRegression

from federation.kernel import state as states
from federation.models.horizontal.bounded import bounded_minimum, dependent_columns
from federation.models.horizontal.newton import FitSettings, Newton, NewtonFit, wald
from federation.models.horizontal.personal import Rows
from federation.models.horizontal.plan import add_up


def drawn(seed: int, n: int = 3000, d: int = 6):
    random = np.random.default_rng(seed)
    x = random.normal(size=(n, d)) + 0.5 * random.normal(size=(n, 1))
    x = (x - x.mean(axis=0)) / x.std(axis=0)
    y = (random.random(n) < expit(x @ random.normal(size=d) - 1.2)).astype(np.int8)
    return x, y, random.uniform(0.5, 2.0, n), random.choice(5, n, p=[0.5, 0.2, 0.15, 0.1, 0.05])


def plans(x, y, w, bank, C, **kwargs):
    d = x.shape[1]
    names = tuple(f"x{j}" for j in range(d))
    return [Newton(Rows.of(x[bank == b], y[bank == b], w[bank == b]), names, np.full(d, 1 / C), **kwargs) for b in np.unique(bank)]


def scikit(x, y, w, C):
    model = LogisticRegression(C=min(C, 1e25), solver="newton-cholesky", tol=1e-12, max_iter=1000).fit(x, y, w)
    return np.concatenate([model.intercept_, model.coef_[0]])


@pytest.mark.parametrize("C", [0.01, 1.0, np.inf])
def test_equals_scikit_learn_on_the_pooled_table_in_at_most_eight_sums(C):
    x, y, w, bank = drawn(1)
    fits = add_up(plans(x, y, w, bank, C))
    for fit in fits:
        assert fit.converged
        assert fit.iteration <= 8
        np.testing.assert_allclose(fit.theta, scikit(x, y, w, C), atol=1e-9, rtol=0)
        assert np.array_equal(fit.theta, fits[0].theta)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from([0.1, 10.0, np.inf]))
def test_how_rows_are_divided_among_banks_changes_nothing(seed, C):
    x, y, w, bank = drawn(seed, 400, 3)
    one = add_up(plans(x, y, w, np.zeros(len(y), int), C))[0]
    many = add_up(plans(x, y, w, bank, C))[0]
    np.testing.assert_allclose(many.theta, one.theta, atol=1e-8, rtol=0)
    assert one.reason == many.reason


def test_standard_errors_and_p_values_are_those_of_the_unpenalised_information():
    x, y, w, bank = drawn(2)
    for C in (1.0, np.inf):
        fit = add_up(plans(x, y, w, bank, C))[0]
        whole = np.column_stack([np.ones(len(y)), x])
        p = expit(whole @ scikit(x, y, w, C))
        covariance = np.linalg.inv(whole.T @ (whole * (w * p * (1 - p))[:, None]))
        found = wald(fit)
        np.testing.assert_allclose(found.error, np.sqrt(np.diag(covariance)), rtol=1e-8)
        np.testing.assert_allclose(found.z, fit.theta / np.sqrt(np.diag(covariance)), rtol=1e-7)
        np.testing.assert_allclose(found.p, 2 * norm.sf(np.abs(found.z)), rtol=1e-9, atol=0)


def test_a_bank_that_drops_out_takes_its_rows_along_and_no_sum_is_taken_again():
    x, y, w, bank = drawn(3)
    for last_round in range(1, 5):
        everyone = plans(x, y, w, bank, 1.0)
        now = [plan.begin() for plan in everyone]
        sums = 0
        while (vectors := [plan.ask(state) for plan, state in zip(everyone, now, strict=True)])[0] is not None:
            total = np.sum(vectors, axis=0)
            now = [plan.take(state, total, len(everyone)) for plan, state in zip(everyone, now, strict=True)]
            sums += 1
            if sums == last_round:
                everyone, now = everyone[:-1], now[:-1]
        stay = bank < 4
        assert now[0].converged
        assert now[0].iteration == sums <= 8
        np.testing.assert_allclose(now[0].theta, scikit(x[stay], y[stay], w[stay], 1.0), atol=1e-9, rtol=0)


def test_the_step_is_halved_when_the_loss_rose():
    random = np.random.default_rng(4)
    x = random.normal(size=(300, 1))
    y = (random.random(300) < expit(3 * x[:, 0])).astype(np.int8)
    w = np.ones(300)
    far = plans(x, y, w, np.arange(300) % 2, np.inf, start=np.array([0.0, -6.0]))  # a full step from here overshoots
    now = [plan.begin() for plan in far]
    halved = 0
    while (vectors := [plan.ask(state) for plan, state in zip(far, now, strict=True)])[0] is not None:
        now = [plan.take(state, np.sum(vectors, axis=0), 2) for plan, state in zip(far, now, strict=True)]
        halved = max(halved, now[0].halvings)
    assert halved >= 1
    assert now[0].converged
    np.testing.assert_allclose(now[0].theta, scikit(x, y, w, np.inf), atol=1e-8, rtol=0)


def test_control_without_halving_the_same_start_does_not_converge(monkeypatch):
    random = np.random.default_rng(4)
    x = random.normal(size=(300, 1))
    y = (random.random(300) < expit(3 * x[:, 0])).astype(np.int8)
    monkeypatch.setattr("federation.models.horizontal.newton.ROSE", np.inf)
    fit = add_up(plans(x, y, np.ones(300), np.arange(300) % 2, np.inf, start=np.array([0.0, -6.0])))[0]
    assert not fit.converged


def test_signs_are_kept_and_the_optimum_is_that_of_the_bounded_problem():
    for seed in range(5):
        x, y, w, bank = drawn(10 + seed, 800, 5)
        signs = np.array([-1, 1, 0, -1, 1], np.int8)
        fit = add_up(plans(x, y, w, bank, 2.0, signs=signs))[0]
        assert fit.converged
        assert fit.iteration <= 9
        assert (signs * fit.theta[1:] >= 0).all()

        def objective(t, x=x, y=y, w=w):
            z = t[0] + x @ t[1:]
            p = expit(z)
            gradient = np.concatenate([[w @ (p - y)], x.T @ (w * (p - y)) + t[1:] / 2.0])
            return w @ (np.logaddexp(0, z) - y * z) + t[1:] @ t[1:] / 4.0, gradient

        value, gradient = objective(fit.theta)
        held = (signs != 0) & (fit.theta[1:] == 0)
        assert np.abs(gradient[1:][~held]).max() < 1e-7
        assert (signs[held] * gradient[1:][held] >= -1e-7).all()
        bounds = [(None, None), *((0, None) if s > 0 else (None, 0) if s < 0 else (None, None) for s in signs)]
        other = minimize(objective, np.zeros(6), jac=True, bounds=bounds, method="L-BFGS-B", options={"ftol": 1e-15, "gtol": 1e-9})
        assert value <= other.fun + 1e-9


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 12))
def test_bounded_minimum_meets_the_conditions_of_optimality(seed, p):
    random = np.random.default_rng(seed)
    root = random.normal(size=(p, p + 3))
    hessian, gradient, theta = root @ root.T, random.normal(size=p) * 5, random.normal(size=p)
    signs, free = random.integers(-1, 2, p).astype(np.int8), random.random(p) < 0.9
    found = bounded_minimum(hessian, gradient, theta, signs, free)
    slope = gradient + hessian @ (found - theta)
    assert (found[~free] == 0).all()
    assert (signs * found >= 0).all()
    inside = free & ((signs == 0) | (found != 0))
    size = 1e-7 * (1 + np.abs(hessian).max() * (1 + np.abs(found).max()))
    assert np.abs(slope[inside]).max(initial=0) < size
    assert (signs[free & ~inside] * slope[free & ~inside] > -size).all()


def test_collinear_and_constant_columns_without_a_ridge_are_named_and_fixed_at_zero():
    x, y, w, bank = drawn(5, 1000, 3)
    wide = np.column_stack([x, x[:, 0] - x[:, 1], np.zeros(len(y))])
    fit = add_up(plans(wide, y, w, bank, np.inf))[0]
    assert fit.done
    assert not fit.converged
    assert "'x3'" in fit.reason
    assert "'x4'" in fit.reason
    assert "'x0'" not in fit.reason
    np.testing.assert_allclose(fit.theta, [*scikit(x, y, w, np.inf), 0, 0], atol=1e-8)
    assert np.isnan(wald(fit).error[4:]).all()
    assert add_up(plans(wide, y, w, bank, 1.0))[0].converged  # a ridge determines them


def test_separated_classes_end_with_a_reason_and_never_as_converged():
    random = np.random.default_rng(6)
    x = random.normal(size=(500, 3))
    y = (x[:, 1] > 0).astype(np.int8)
    fit = add_up(plans(x, y, np.ones(500), np.arange(500) % 3, np.inf))[0]
    assert not fit.converged
    assert "separated" in fit.reason
    assert np.isnan(wald(fit).error).all()
    rare = np.zeros((2000, 2))
    rare[:, 0] = random.normal(size=2000)
    rare[:12, 1] = 1.0
    bad = (random.random(2000) < 0.2).astype(np.int8)
    bad[:12] = 1  # a level with bads only
    rare[:, 1] = (rare[:, 1] - rare[:, 1].mean()) / rare[:, 1].std()
    fit = add_up(plans(rare, bad, np.ones(2000), np.arange(2000) % 3, np.inf))[0]
    assert not fit.converged
    assert "'x1'" in fit.reason
    assert add_up(plans(rare, bad, np.ones(2000), np.arange(2000) % 3, 1.0))[0].converged


def test_almost_separated_classes_still_converge():
    random = np.random.default_rng(7)
    x = random.normal(size=(3000, 2))
    y = (random.random(3000) < expit(12 * x[:, 0])).astype(np.int8)
    fit = add_up(plans(x, y, np.ones(3000), np.arange(3000) % 3, np.inf))[0]
    assert fit.converged, fit.reason
    np.testing.assert_allclose(fit.theta, scikit(x, y, np.ones(3000), np.inf), atol=1e-7)


def test_too_few_iterations_say_so():
    x, y, w, bank = drawn(8)
    fit = add_up(plans(x, y, w, bank, 1.0, settings=FitSettings(max_iterations=2)))[0]
    assert fit.done
    assert "max_iterations" in fit.reason
    assert fit.iteration == 2


def test_one_class_never_counts_as_converged():
    x, _, w, bank = drawn(9, 300, 2)
    for C in (1.0, np.inf):
        assert not add_up(plans(x, np.zeros(300, np.int8), w, bank, C))[0].converged


def test_no_columns_and_banks_without_rows():
    x, y, w, bank = drawn(10, 500, 2)
    fit = add_up(plans(x[:, :0], y, w, bank, 1.0))[0]
    assert fit.theta[0] == pytest.approx(np.log((w @ y) / (w @ (1 - y))), abs=1e-9)
    empty = Newton(Rows.of(np.zeros((0, 2)), np.zeros(0, np.int8), np.zeros(0)), ("x0", "x1"), np.ones(2))
    fit = add_up([*plans(x, y, w, bank, 1.0), empty])[0]
    np.testing.assert_allclose(fit.theta, scikit(x, y, w, 1.0), atol=1e-9)


def test_a_state_survives_being_stored_between_any_two_sums():
    x, y, w, bank = drawn(11, 500, 3)
    straight = add_up(plans(x, y, w, bank, 1.0))[0]
    now = [plan.begin() for plan in plans(x, y, w, bank, 1.0)]
    while True:
        fresh = plans(x, y, w, bank, 1.0)  # a new process: nothing but the stored bytes
        now = [states.load(states.dump(state), NewtonFit) for state in now]
        vectors = [plan.ask(state) for plan, state in zip(fresh, now, strict=True)]
        if vectors[0] is None:
            break
        now = [plan.take(state, np.sum(vectors, axis=0), len(fresh)) for plan, state in zip(fresh, now, strict=True)]
    assert np.array_equal(now[0].theta, straight.theta)


def test_dependent_columns():
    random = np.random.default_rng(12)
    a = random.normal(size=(50, 4))
    whole = np.column_stack([a[:, :2], a[:, 0] + 2 * a[:, 1], a[:, 2:], np.zeros(50), a.sum(axis=1)])
    assert dependent_columns(whole.T @ whole).tolist() == [False, False, True, False, False, True, True]
