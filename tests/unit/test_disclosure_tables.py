"""Cells, dominance, rounding and model size: what is withheld cannot be worked out, what is published adds up."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from federation.kernel.errors import AbortCode, ConfigurationError, PolicyRefusal
from privacy.disclosure.cells import interval, merged, small, withheld
from privacy.disclosure.dominance import Dominance, by_firm
from privacy.disclosure.model_size import require_rows
from privacy.disclosure.rounding import controlled, to_base

tables = arrays(np.int64, array_shapes(min_dims=1, max_dims=2, min_side=1, max_side=5), elements=st.integers(0, 40))


@given(arrays(np.int64, st.integers(1, 12), elements=st.integers(0, 30)), st.integers(1, 15))
def test_merged_groups_have_nobody_or_a_cohort_and_keep_the_order(counts, minimum):
    groups = merged(counts, minimum)
    assert [place for group in groups for place in group] == list(range(len(counts)))
    sizes = [int(counts[list(group)].sum()) for group in groups]
    assert len(groups) == 1 or not small(np.array(sizes), minimum).any()


def test_a_count_that_is_the_rest_to_its_total_is_not_left_alone():
    counts = np.array([4, 60, 30, 200])
    assert withheld(counts, 10).tolist() == [True, False, True, False], "30, the smallest that widens 4 to 0 .. 34"
    assert withheld(np.array([4, 3, 60, 2]), 10).sum() == 4, "4 + 3 + 2 are nine: one more is needed"
    assert not withheld(np.array([0, 10, 60]), 10).any()


def test_control_withholding_small_cells_alone_gives_them_away():
    counts = np.array([[4, 60, 30], [20, 30, 40], [50, 60, 70]])
    assert interval(counts, small(counts, 10), 0, 0) == (4, 4)
    low, high = interval(counts, withheld(counts, 10), 0, 0)
    assert high - low >= 10


@settings(max_examples=60, deadline=None)
@given(tables, st.integers(2, 8))
def test_every_withheld_small_cell_keeps_an_interval_as_wide_as_the_minimum(counts, minimum):
    mask = withheld(counts, minimum)
    assert mask[small(counts, minimum)].all()
    if not mask.all():
        table, hidden = np.atleast_2d(counts), np.atleast_2d(mask)
        for row, column in np.argwhere(small(table, minimum)):
            low, high = interval(table, hidden, row, column)
            assert low - 1e-6 <= table[row, column] <= high + 1e-6 and high - low >= minimum - 1e-6


def test_an_interval_is_that_of_trying_all_tables():
    table, mask = np.array([[2, 3, 9], [4, 1, 9]]), np.array([[True, True, False], [True, True, False]])
    found = {a for a, b, c, d in product(range(8), repeat=4) if (a + b, c + d, a + c, b + d) == (5, 5, 6, 4)}
    assert interval(table, mask, 0, 0) == (min(found), max(found))


@pytest.mark.parametrize(
    ("contributions", "rule"),
    [
        ([80, 10, 10], "(n, k)"),
        ([70, 24, 6], "p %"),
        ([50, 50], "p %"),
        ([9], "(n, k)"),
        ([40, 35, 25], None),
        ([0, 0], None),
        ([-80, 10, 10], "(n, k)"),
    ],
)
def test_dominance(contributions, rule):
    assert Dominance().broken(np.array(contributions, float)) == rule


@given(arrays(np.float64, st.integers(1, 30), elements=st.floats(0, 1e9)), st.floats(1, 50))
def test_a_total_that_passes_the_p_rule_tells_the_second_firm_nothing_closer_than_p(values, p):
    rule = Dominance(k=None, p=p)
    if rule.broken(values) is None and values.sum() > 0:
        largest, second = np.sort(np.append(values, 0.0))[::-1][:2]
        assert (values.sum() - second) - largest >= p / 100 * largest * (1 - 1e-9) - 1e-6


def test_dominance_is_of_firms_and_a_refusal_names_column_and_rule_and_no_value():
    firms = np.array([1, 1, 1, 2, 3, 4], np.uint64)
    values = np.array([30.0, 30.0, 31.0, 2.0, 3.0, 4.0])
    assert Dominance().broken(values) is None, "control: no row dominates"
    with pytest.raises(PolicyRefusal, match="'turnover'") as refused:
        Dominance().require("turnover", by_firm(values, firms))
    assert refused.value.code is AbortCode.DISCLOSURE and "91" not in str(refused.value)


@pytest.mark.parametrize("limits", [{"n": 0}, {"k": 0.0}, {"k": 101.0}, {"p": 0.0}])
def test_limits_that_are_none_are_refused(limits):
    with pytest.raises(ConfigurationError):
        Dominance(**limits)


@settings(max_examples=150, deadline=None)
@given(arrays(np.int64, array_shapes(min_dims=1, max_dims=2, min_side=1, max_side=7), elements=st.integers(-50, 500)), st.integers(1, 12))
def test_controlled_rounding_adds_up_and_moves_nothing_by_a_base(table, base):
    rounded = controlled(table, base)
    assert not (rounded % base).any()
    for axis in (None, *range(table.ndim)):
        moved = np.abs(rounded.sum(axis=axis) - table.sum(axis=axis))
        assert (moved < base).all()
    assert np.array_equal(rounded[table % base == 0], table[table % base == 0])
    assert np.array_equal(controlled(table, base), rounded)


def test_control_rounding_each_number_by_itself_does_not_add_up():
    table = np.array([[2, 2], [2, 2]])
    assert to_base(table, 5).sum() == 0 and to_base(table.sum(), 5) == 10
    assert controlled(table, 5).sum() in (5, 10)
    assert to_base(np.array([-8, -7, -3, 2, 3, 7, 8]), 5).tolist() == [-10, -5, -5, 0, 5, 5, 10]


def test_a_model_needs_rows_for_its_parameters():
    require_rows(12, 120)
    with pytest.raises(PolicyRefusal, match="12 parameters") as refused:
        require_rows(12, 119)
    assert refused.value.code is AbortCode.DISCLOSURE and "119" not in str(refused.value)
    with pytest.raises(ConfigurationError):
        to_base(np.array([1]), 0)
