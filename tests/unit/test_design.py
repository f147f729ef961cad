"""Residuals that are corrected by and by, blocks of the design, and what is refused of them."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from federation.encrypted_linear.packing import Columns
from federation.encrypted_linear.parameters import HALF
from federation.encrypted_linear.products import Transforms
from federation.kernel.codec import Message
from federation.kernel.errors import DataError, PeerError
from federation.models.design import FINEST, Block, Grid, Held, held_sums, increment, require_full_rank, residual_bits
from tests.rooms import Delivery, Room

BITS = 20


def test_each_correction_makes_both_sides_more_precise_and_control_sent_anew_they_are_not() -> None:
    rng = np.random.default_rng(1)
    target, sent, errors = rng.standard_normal(500), np.zeros(500), []
    for _ in range(4):
        change, exponent = increment(target, sent, BITS)
        sent = sent + np.ldexp(change.astype(float), -exponent)
        errors.append(float(np.abs(sent - target).max()))
    assert errors[0] <= 2.0**-BITS * 4
    for before, after in pairwise(errors):
        assert after <= before * 2.0 ** -(BITS - 1) or after <= 2.0**-FINEST
    anew, exponent = increment(target, np.zeros(500), BITS)
    assert np.abs(np.ldexp(anew.astype(float), -exponent) - target).max() == errors[0]


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=40), st.integers(10, 40))
@settings(max_examples=100, deadline=None)
def test_integers_stay_within_the_declared_bits_and_are_rounded_to_the_nearest(values: list[float], bits: int) -> None:
    residual = np.array(values)
    change, exponent = increment(residual, np.zeros(len(residual)), bits)
    assert np.abs(change).max() <= 2**bits
    assert exponent <= FINEST
    assert np.abs(np.ldexp(change.astype(float), -exponent) - residual).max() <= 2.0 ** -(exponent + 1) * (1 + 1e-9)


def test_nothing_to_correct_is_zeros() -> None:
    change, exponent = increment(np.ones(3), np.ones(3), BITS)
    assert not change.any()
    assert exponent == FINEST


@pytest.mark.parametrize("universe", [1, 10, 8192, 100_000, 20_000_000])
def test_columns_rows_and_residuals_fit_a_plaintext(universe: int) -> None:
    bits = residual_bits(universe)
    rows = min(universe, 5000)
    columns = Columns.quantised(np.random.default_rng(2).standard_normal((rows, 2)), bits)
    totals = np.abs(columns.integers).sum(axis=0) << bits
    assert bits >= 10
    assert columns.answers == 2  # one answer for each column
    assert (totals < HALF).all()


def test_the_sums_follow_the_owners_corrections_exactly() -> None:
    room, rng = Room(("bank", "platform")), np.random.default_rng(3)
    x, change = rng.standard_normal((300, 2)), rng.integers(-(2**BITS), 2**BITS, 300)
    columns = Columns.quantised(x, BITS)
    held = Held(Transforms(columns), np.arange(300), 300, 1.0)

    def owner() -> object:
        from federation.encrypted_linear.protocol import own

        run = room.run("bank")
        yield from run.step("grid", {"platform": Grid(30)})
        yield from own(run, {"platform": columns.answers}, change, BITS)

    before = np.array([5.0, -7.0])
    got = room.play({"bank": owner(), "platform": held_sums(room.run("platform"), "bank", held, before)})["platform"]  # type: ignore[dict-item]
    assert got == pytest.approx(before + columns.rounded().T @ np.ldexp(change.astype(float), -30), rel=1e-12)


@pytest.mark.parametrize("exponent", [FINEST + 1, -FINEST - 1, 2**40])
def test_a_grid_out_of_range_is_the_owners_fault(exponent: int) -> None:
    room = Room(("bank", "platform"), post=lambda d: hostile(d, exponent))
    held = Held(Transforms(Columns.whole(np.ones((3, 1), np.int64), 1)), np.arange(3), 3, 1.0)

    def owner() -> object:
        yield from room.run("bank").step("grid", {"platform": Grid(1)})

    with pytest.raises(PeerError, match="grid out of range"):
        room.play({"bank": owner(), "platform": held_sums(room.run("platform"), "bank", held, np.zeros(1))})  # type: ignore[dict-item]


def hostile(delivery: Delivery, exponent: int) -> Message:
    return Grid(exponent) if isinstance(delivery.message, Grid) else delivery.message


def block(universe: int = 6) -> Block:
    x = np.random.default_rng(4).standard_normal((4, 3))
    return Block(x, np.zeros(3), np.array([0.1, 0.2, 0.3]), np.zeros(3, np.int8), x.T @ x / 4, np.array([5, 0, 2, 3]), universe)


def test_the_inverse_is_over_the_free_coefficients_alone() -> None:
    mine, free = block(), np.array([True, False, True])
    inverse = mine.inverse(free)
    part = (mine.curvature + np.diag(mine.penalty))[np.ix_([0, 2], [0, 2])]
    assert np.allclose(inverse[np.ix_([0, 2], [0, 2])] @ part, np.eye(2), atol=1e-6)
    assert not inverse[1].any()
    assert not inverse[:, 1].any()
    assert np.array_equal(inverse, inverse.T)


def test_the_inverse_is_defined_for_a_column_of_zeros_without_a_ridge() -> None:
    zero = Block(np.zeros((4, 1)), np.zeros(1), np.zeros(1), np.zeros(1, np.int8), np.zeros((1, 1)), np.arange(4), 4)
    assert np.isfinite(zero.inverse(np.ones(1, bool))).all()


def test_a_vector_over_own_rows_lies_at_their_positions() -> None:
    assert block().placed(np.array([1, 2, 3, 4])).tolist() == [2, 0, 3, 4, 0, 1]


def test_scores_lie_at_their_positions_and_absent_elsewhere() -> None:
    held = Held(Transforms(Columns.whole(np.ones((6, 1), np.int64), 1)), np.array([5, 0]), 6, 1.0)
    assert held.spread(np.array([1.5, 2.5]), -1.0).tolist() == [2.5, -1, -1, -1, -1, 1.5]


def test_columns_that_depend_on_those_before_them_are_named() -> None:
    x = np.random.default_rng(5).standard_normal((200, 3))
    require_full_rank("tax", x, ("a", "b", "c"))
    nearly = np.column_stack([x, x @ [1, 2, 3] + 1e-3 * np.random.default_rng(6).standard_normal(200)])
    require_full_rank("tax", nearly, ("a", "b", "c", "near"))
    with pytest.raises(DataError, match="'sum' is a combination"):
        require_full_rank("tax", np.column_stack([x, x @ [1, 2, 3]]), ("a", "b", "c", "sum"))
    with pytest.raises(DataError, match="'flat' is constant"):
        require_full_rank("tax", np.column_stack([x[:, :2], np.zeros(200)]), ("a", "b", "flat"))
    with pytest.raises(DataError, match="combination"):
        require_full_rank("tax", x[:2], ("a", "b", "c"))  # more columns than rows
