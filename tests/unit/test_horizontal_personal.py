"""A bank's own coefficients: the fit equals the pooled fit with a block of columns for each bank, and they do not leave the bank."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import expit

from federation.models.horizontal.newton import FitSettings, Newton, wald
from federation.models.horizontal.personal import Rows, sums
from federation.models.horizontal.plan import add_up

BANKS = 4


def drawn(seed: int, n: int = 2500, d: int = 4):
    random = np.random.default_rng(seed)
    bank = random.choice(BANKS, n, p=[0.5, 0.3, 0.15, 0.05])
    x = random.normal(size=(n, d))
    own = random.normal(size=(BANKS, d)) * 0.5
    z = x @ random.normal(size=d) + (x * own[bank]).sum(axis=1) + np.array([-2.0, -1.0, 0.0, -1.5])[bank]
    return x, (random.random(n) < expit(z)).astype(np.int8), random.uniform(0.5, 2.0, n), bank


def reference(x, y, w, ridge):
    """Newton's method on the pooled table in plain numpy: coefficients, and the inverse of the Hessian with and without the ridge."""
    theta = np.zeros(x.shape[1])
    for _ in range(60):
        p = expit(x @ theta)
        hessian = x.T @ (x * (w * p * (1 - p))[:, None])
        step = np.linalg.solve(hessian + np.diag(ridge), x.T @ (w * (p - y)) + ridge * theta)
        theta = theta - step
        if np.abs(step).max() < 1e-13:
            break
    return theta, hessian


def fitted(x, y, w, bank, C, **options):
    d = x.shape[1]
    names = tuple(f"x{j}" for j in range(d))
    settings = FitSettings(**options)
    plans = [Newton(Rows.of(x[bank == b], y[bank == b], w[bank == b]), names, np.full(d, 1 / C), settings) for b in range(BANKS)]
    return plans, add_up(plans)


@pytest.mark.parametrize("C", [1.0, np.inf])
def test_an_intercept_for_each_bank_equals_the_pooled_fit_with_bank_dummies(C):
    x, y, w, bank = drawn(1)
    plans, fits = fitted(x, y, w, bank, C, intercept="per bank")
    dummies = np.eye(BANKS)[bank]
    wanted, hessian = reference(np.column_stack([dummies, x]), y, w, np.concatenate([np.zeros(BANKS), np.full(4, 1 / C)]))
    assert fits[0].converged
    assert fits[0].iteration <= 8
    np.testing.assert_allclose(fits[0].theta, wanted[BANKS:], atol=1e-8, rtol=0)
    covariance = np.linalg.inv(hessian)
    np.testing.assert_allclose(wald(fits[0]).error, np.sqrt(np.diag(covariance))[BANKS:], rtol=1e-7)
    for b, (plan, fit) in enumerate(zip(plans, fits, strict=True)):
        assert fit.delta[0] == pytest.approx(wanted[b], abs=1e-8)
        np.testing.assert_allclose(plan.whole(fit), [wanted[b], *wanted[BANKS:]], atol=1e-8)
        assert plan.own_error(fit)[0] == pytest.approx(np.sqrt(covariance[b, b]), rel=1e-7)


@pytest.mark.parametrize("intercept", ["common", "per bank"])
@pytest.mark.parametrize("personal", [0.1, 5.0])
def test_own_slopes_equal_the_pooled_fit_with_a_block_of_columns_for_each_bank(intercept, personal):
    x, y, w, bank = drawn(2)
    plans, fits = fitted(x, y, w, bank, 2.0, intercept=intercept, personal_C=personal)
    blocks = np.concatenate([x * (bank == b)[:, None] for b in range(BANKS)], axis=1)
    first = np.ones((len(y), 1)) if intercept == "common" else np.eye(BANKS)[bank]
    k = first.shape[1]
    ridge = np.concatenate([np.zeros(k), np.full(4, 1 / 2.0), np.full(4 * BANKS, 1 / personal)])
    wanted, _ = reference(np.column_stack([first, x, blocks]), y, w, ridge)
    assert fits[0].converged
    for b, (plan, fit) in enumerate(zip(plans, fits, strict=True)):
        own = wanted[k : k + 4] + wanted[k + 4 + 4 * b : k + 8 + 4 * b]
        constant = wanted[0] if intercept == "common" else wanted[b]
        np.testing.assert_allclose(plan.whole(fit), [constant, *own], atol=1e-8)
        np.testing.assert_allclose(fit.theta[-4:], wanted[k : k + 4], atol=1e-8)


def test_the_ridge_of_own_slopes_leads_from_common_coefficients_to_each_banks_own():
    x, y, w, bank = drawn(3)
    _, common = fitted(x, y, w, bank, np.inf)
    plans, stiff = fitted(x, y, w, bank, np.inf, personal_C=1e-9)
    np.testing.assert_allclose(plans[0].whole(stiff[0]), common[0].theta, atol=1e-5)
    plans, loose = fitted(x, y, w, bank, 1.0, intercept="per bank", personal_C=1e7)
    for b, (plan, fit) in enumerate(zip(plans, loose, strict=True)):
        mine = bank == b
        alone, _ = reference(np.column_stack([np.ones(mine.sum()), x[mine]]), y[mine], w[mine], np.zeros(5))
        np.testing.assert_allclose(plan.whole(fit), alone, atol=1e-3)


def test_what_a_bank_adds_does_not_depend_on_its_own_intercept():
    """What leaves is a function of the common coefficients: neither where the inner iteration began nor the bank's own number is in it."""
    x, y, w, bank = drawn(4)
    plans, fits = fitted(x, y, w, bank, 1.0, intercept="per bank")
    plan, fit = plans[0], plans[0].begin()
    from_elsewhere = fit.__class__(fit.theta, fit.free, np.array([7.0]))  # another start of the inner iteration
    np.testing.assert_allclose(plan.ask(fit), plan.ask(from_elsewhere), rtol=1e-9, atol=1e-7)
    d = x.shape[1]
    assert len(plan.ask(fit)) == d + d * (d + 1) // 2 + 2  # no entry for a coefficient of its own
    assert fits[0].delta[0] != fits[1].delta[0]


def test_control_without_elimination_the_sums_do_depend_on_the_own_intercept():
    x, y, w, bank = drawn(4)
    rows = Rows.of(x[bank == 0], y[bank == 0], w[bank == 0])
    here, elsewhere = (sums(rows, np.array([own, 0, 0, 0, 0]))[0][1:] for own in (0.0, 7.0))
    assert np.abs(here - elsewhere).max() > 1.0


def test_a_bank_with_one_class_adds_nothing_and_the_rest_is_fitted():
    x, y, w, bank = drawn(5)
    y = np.where(bank == 3, 0, y).astype(np.int8)
    _, fits = fitted(x, y, w, bank, 1.0, intercept="per bank")
    rest = bank < 3
    wanted, _ = reference(np.column_stack([np.eye(3)[bank[rest]], x[rest]]), y[rest], w[rest], np.array([0, 0, 0, 1, 1, 1, 1.0]))
    assert fits[0].converged
    np.testing.assert_allclose(fits[3].theta, wanted[3:], atol=1e-8)
    assert np.isfinite(fits[3].delta).all()


def test_a_column_that_is_constant_within_each_bank_is_not_determined_beside_own_intercepts():
    x, y, w, bank = drawn(6)
    wide = np.column_stack([x, (bank - bank.mean()) / bank.std()])
    _, fits = fitted(wide, y, w, bank, np.inf, intercept="per bank")
    assert not fits[0].converged
    assert "'x4'" in fits[0].reason
    assert fitted(wide, y, w, bank, np.inf)[1][0].converged  # beside a common one it is
