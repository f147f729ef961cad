"""The grids that columns and vectors are rounded to: they fit, are as fine as one answer admits, and packing loses nothing."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from federation.encrypted_linear.packing import (
    SPREAD_BITS,
    Columns,
    centred,
    column_blocks,
    l1_norm,
    quantise,
    split,
    vector_blocks,
)
from federation.encrypted_linear.parameters import (
    DEGREE,
    HALF,
    PLAIN_MODULUS,
)

QUICK = settings(max_examples=60, deadline=None, derandomize=True)


@QUICK
@given(st.lists(st.floats(-1e300, 1e300), min_size=1, max_size=40), st.integers(0, 40))
def test_a_column_of_any_finite_numbers_gets_a_grid_that_fits(values: list[float], bits: int) -> None:
    column = np.array(values)
    integers, exponent = quantise(column, bits)
    assert len(split(integers, bits)) <= 2
    with np.errstate(under="ignore", over="ignore"):
        error = np.abs(np.ldexp(integers.astype(np.float64), -exponent) - column)
        assert (error <= np.ldexp(0.5, -exponent)).all()


@pytest.mark.parametrize("rows", [1, 1000, 100_000])
@pytest.mark.parametrize("bits", [1, 10, 21])
def test_whole_numbers_that_fit_stay_as_they_are(rows: int, bits: int) -> None:
    column = np.random.default_rng(3).integers(-50, 50, rows).astype(np.float64)
    integers, exponent = quantise(column, bits)
    assert exponent == 0
    assert np.array_equal(integers, column)
    large, exponent = quantise(np.full(rows, 2.0**36), bits)
    assert exponent == 0
    assert (large == 1 << 36).all()


def test_a_standardised_column_takes_one_answer_and_a_column_far_from_zero_two() -> None:
    rng = np.random.default_rng(4)
    near, far = rng.normal(0, 1, 100_000), rng.normal(1e6, 1, 100_000)
    columns = Columns.quantised(np.column_stack([near, far, np.round(near * 4) / 4]), 21)
    assert columns.limbs == (1, 2, 1)
    for place, column in ((0, near), (1, far)):
        step = 2.0 ** -float(columns.exponents[place])
        assert column.std() / step >= 1 << SPREAD_BITS
        assert np.abs(columns.rounded()[:, place] - column).max() <= step / 2


def test_the_grid_is_the_finest_that_one_answer_admits() -> None:
    column = np.random.default_rng(5).normal(0, 1, 50_000)
    integers, exponent = quantise(column, 21)
    assert l1_norm(integers) << 21 < HALF
    finer = np.rint(np.ldexp(column, exponent + 1)).astype(np.int64)
    assert l1_norm(finer) << 21 >= HALF


@QUICK
@given(st.integers(-HALF, HALF - 1))
def test_residues_come_back_centred(value: int) -> None:
    assert centred(np.array([value % PLAIN_MODULUS], np.uint64)).tolist() == [value]


def test_packing_puts_the_inner_product_at_the_last_coefficient() -> None:
    rng = np.random.default_rng(6)
    x, r = rng.integers(-9, 10, DEGREE + 5), rng.integers(-9, 10, DEGREE + 5)
    total = 0
    for a, b in zip(centred(column_blocks(x)), centred(vector_blocks(r)), strict=True):
        full = np.rint(np.convolve(a.astype(np.float64), b.astype(np.float64)))
        total += int(full[DEGREE - 1])  # nothing wraps onto this coefficient: the product has degree 2N - 2
    assert total == int(x @ r)
