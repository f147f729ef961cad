"""The exact step against scipy's one-dimensional minimisers."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.special import expit, log1p

from federation.models.line_search import Penalty, exact_step, log_loss

Reals = NDArray[np.float64]
MOST = 1e6
"""The longest step."""
CLOSE = 2e-7
"""Of the step; the loss is flat there, so that it is off by the square."""


def line(seed: int, rows: int, size: float, ridge: float) -> tuple[Reals, Reals, Reals, Reals, Penalty]:
    rng = np.random.default_rng(seed)
    change = size * rng.standard_normal(rows)
    z = rng.standard_normal(rows)
    y = (rng.random(rows) < expit(z + change)).astype(float)
    w = rng.uniform(0, 2, rows) * (rng.random(rows) < 0.7)
    return z, change, y, w / w.sum(), Penalty(1.0, ridge * rng.standard_normal(), ridge)


def slope(a: float, z: Reals, change: Reals, y: Reals, w: Reals, penalty: Penalty) -> float:
    return float((w * change) @ (expit(z + a * change) - y)) + penalty.slope + a * penalty.curve


@given(st.integers(0, 2**32 - 1), st.sampled_from([1e-8, 1e-3, 0.3, 1.0, 20.0]), st.sampled_from([0.0, 1e-9, 0.1]))
@settings(max_examples=80, deadline=None)
def test_the_step_is_where_the_slope_is_zero(seed: int, size: float, ridge: float) -> None:
    given_line = line(seed, 400, size, ridge * size**2)
    found = exact_step(*given_line)
    if slope(0.0, *given_line) >= 0:
        assert found == 0
        return
    high = 1.0
    while slope(high, *given_line) < 0 and high < MOST:
        high = min(4 * high, MOST)
    wanted = MOST if slope(high, *given_line) < 0 else brentq(slope, 0, high, args=given_line, xtol=1e-15, rtol=1e-14)
    assert found == pytest.approx(wanted, rel=CLOSE)


def test_a_direction_uphill_is_not_taken() -> None:
    z, change, y, w, _ = line(1, 300, 0.5, 0.0)
    assert exact_step(z, change, y, w, Penalty()) > 0
    assert exact_step(z, -change, y, w, Penalty()) == 0
    assert exact_step(z, change, y, w, Penalty(slope=9.0, curve=1.0)) == 0  # the ridge outweighs the loss


def test_rows_without_weight_do_not_count() -> None:
    z, change, y, w, penalty = line(2, 300, 0.5, 0.1)
    spoiled = change.copy()
    spoiled[w == 0] = 1e9
    assert exact_step(z, spoiled, y, w, penalty) == exact_step(z, change, y, w, penalty)


def test_a_separating_direction_ends_at_the_bound_and_not_in_an_endless_loop() -> None:
    y = np.array([0.0, 1.0])
    assert exact_step(np.zeros(2), np.array([-1.0, 1.0]), y, np.full(2, 0.5), Penalty()) > 20


def test_no_change_at_all_gives_no_step() -> None:
    assert exact_step(np.zeros(3), np.zeros(3), np.array([0.0, 1, 0]), np.full(3, 1 / 3), Penalty()) == 0


def test_the_loss_is_the_logarithm_of_the_likelihood_also_far_out() -> None:
    z, y, w = np.array([-2.0, 0.5, 3.0]), np.array([0.0, 1, 0]), np.array([1.0, 2, 0.5])
    assert log_loss(z, y, w) == pytest.approx(float(w @ log1p(np.exp(np.where(y == 1, -z, z)))))
    assert log_loss(np.array([-900.0, 900.0]), np.array([1.0, 0.0]), np.ones(2)) == pytest.approx(1800)
