"""What follows a converged fit: signs by block pivoting, and a second start that finds out whether the solution is the only one."""

from __future__ import annotations

from collections import Counter

import msgspec
import numpy as np
import pytest
from scipy.optimize import lsq_linear

from federation.models.course import Fit, Limits, after_count, if_revealable, jumped
from federation.models.design import Block
from federation.models.restarts import SHIFT, _pivot, _pivoted, _shift
from tests.pooled_case import Firms, PooledCase
from tests.rooms import Room


def fit_of(theta: list[float], free: list[bool] | None = None, reveals: int = 0) -> Fit:
    d = len(theta)
    history = np.ones((3, d))
    return Fit(np.array(theta), np.array(free or [True] * d), history, history, reveals=reveals, move=np.ones(d), gradient=np.ones(d))


def block_of(signs: list[int]) -> Block:
    d = len(signs)
    return Block(np.eye(d), np.zeros(d), np.zeros(d), np.array(signs, np.int8), np.eye(d), np.arange(d), d)


LIMITS = Limits(1e-7, 50, 40, unpenalised=True, signed=True)


def test_coefficients_of_the_wrong_sign_are_fixed_and_those_that_pull_inwards_freed() -> None:
    block = block_of([0, -1, -1, -1, -1, 1])
    fit = fit_of([-2.0, 0.5, -0.5, 0.0, 0.0, -1.0], [True, True, True, False, False, True])
    gradient = np.array([9.0, 0.0, 0.0, 1.0, -1.0, 0.0])  # of a loss: minus it is the pull
    wrong, inwards = _pivot(block, fit, gradient)
    assert wrong.tolist() == [False, True, False, False, False, True]
    assert inwards.tolist() == [False, False, False, True, False, False]  # must be <= 0, and the loss falls as it falls
    after = _pivoted(fit, wrong, inwards)
    assert after.free.tolist() == [True, False, True, True, False, False]
    assert len(after.steps) == 0  # another problem: its history teaches nothing
    assert after.move is None


def test_pivoting_ends_where_a_bounded_least_squares_does() -> None:
    """The rule itself, on a quadratic, against scipy: 40 of 40 problems."""
    for seed in range(40):
        rng = np.random.default_rng(seed)
        a, b = rng.standard_normal((60, 6)), rng.standard_normal(60)
        block, fit = block_of([-1] * 6), fit_of([0.0] * 6)
        for _ in range(30):
            free = np.flatnonzero(fit.free)
            theta = np.zeros(6)
            theta[free] = np.linalg.lstsq(a[:, free], b, rcond=None)[0]
            fit = msgspec.structs.replace(fit, theta=theta)
            wrong, inwards = _pivot(block, fit, a.T @ (a @ theta - b))
            if not (wrong | inwards).any():
                break
            fit = _pivoted(fit, wrong, inwards)
        assert np.allclose(fit.theta, lsq_linear(a, b, bounds=(-np.inf, 0), tol=1e-14).x, atol=1e-6)


@pytest.mark.parametrize(("reveals", "mode"), [(0, "descend"), (37, "descend"), (38, "done"), (39, "done")])
def test_a_restart_that_the_cap_has_no_room_for_is_not_begun(reveals: int, mode: str) -> None:
    after = if_revealable(fit_of([0.0], reveals=reveals), LIMITS, "the signs of the coefficients")
    assert after.mode == mode
    assert ("max_score_reveals" in after.reason) == (mode == "done")


def test_settled_signs_go_on_to_the_second_start_only_without_a_ridge() -> None:
    assert after_count(fit_of([0.0]), LIMITS, 0).mode == "shake"
    assert after_count(fit_of([0.0]), with_ridge(LIMITS), 0).mode == "done"
    assert after_count(fit_of([0.0]), LIMITS, 2).mode == "descend"


def with_ridge(limits: Limits) -> Limits:
    return Limits(limits.tolerance, limits.iterations, limits.reveals, unpenalised=False, signed=limits.signed)


def test_a_jump_moves_the_coefficients_and_teaches_the_history_nothing() -> None:
    before = fit_of([1.0, 2.0])
    after = jumped(before, np.array([0.25, -1.0]))
    assert after.theta.tolist() == [1.25, 1.0]
    assert after.move is None
    assert np.array_equal(after.steps, before.steps)


def test_the_shift_is_the_runs_own_differs_between_parties_and_leaves_intercept_and_fixed_ones() -> None:
    fit = fit_of([0.0] * 200, [True] * 199 + [False])
    first, again = (_shift(Room(("bank", "tax")).run("tax"), fit, intercept=False) for _ in range(2))
    other = _shift(Room(("bank", "tax")).run("bank"), fit, intercept=True)
    assert np.array_equal(first, again)
    assert not np.array_equal(first[1:-1], other[1:-1])
    assert other[0] == 0
    assert first[-1] == other[-1] == 0
    assert first.std() == pytest.approx(SHIFT, rel=0.2)


def test_in_these_stages_the_members_exchange_a_masked_count_and_nothing_else_of_their_coefficients() -> None:
    firms = Firms(rows=500, columns=3, correlation=0.8, strength=0.15, seed=3)
    model = {"C": None, "missing": "bin", "signs": "woe"}
    played = PooledCase(firms.draw(), model, {"max_released_counts": 400, "max_score_reveals": 200}, {"model": "scorecard"}).play()
    assert played.finished, played.failures
    kinds: dict[str, Counter[str]] = {}
    for envelope in played.post.passed:
        stage = envelope.step.split(":")[0]
        if stage.startswith("fit"):
            kinds.setdefault(stage, Counter())[envelope.kind] += 1
    restarts = [count for count in kinds.values() if count["masked_sum/input"] and not count["logistic/verdict"]]
    assert len(restarts) >= 3  # signs, the second start's comparison, and at least one change of sides
    for count in restarts:
        allowed = {
            "masked_sum/input", "masked_sum/total", "logistic/grid", "logistic/next", "encrypted_linear/encrypted",
            "encrypted_linear/answers", "encrypted_linear/totals", "partial_scores/masked", "partial_scores/total",
        }  # fmt: skip
        assert set(count) <= allowed
        assert count["masked_sum/input"] == 3
        assert count["partial_scores/total"] <= 1
