"""Weight of evidence, information value and stability, against the textbook's numbers and a plain recomputation."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from federation.kernel.errors import DataError
from federation.models.woe import WoeTable, information_value, stability, tabulate, weight_of_evidence

COUNTS = st.lists(st.tuples(st.integers(0, 500), st.integers(0, 500)), min_size=1, max_size=8)


def test_the_textbook_values_where_no_bin_is_empty() -> None:
    goods, bads = np.array([90, 300, 610]), np.array([40, 35, 25])
    expected = np.log((goods / 1000) / (bads / 100))
    assert np.allclose(weight_of_evidence(goods, bads), expected, rtol=0, atol=1e-15)
    assert weight_of_evidence(goods, bads, 0.5)[0] < 0 < weight_of_evidence(goods, bads, 0.5)[2], "higher is safer"
    assert abs(information_value(goods, bads) - ((goods / 1000 - bads / 100) * expected).sum()) < 1e-15


def test_only_a_bin_with_one_class_is_smoothed() -> None:
    goods, bads = np.array([20, 980]), np.array([0, 100])
    woe = weight_of_evidence(goods, bads, 0.5)
    assert woe[0] == pytest.approx(np.log((20.5 / 1000) / (0.5 / 100)))
    assert woe[1] == pytest.approx(np.log(0.98))
    assert weight_of_evidence(np.array([20, 980, 0]), np.array([0, 100, 0]), 0.5)[2] == 0, "no training row: neutral"


def test_one_class_alone_has_no_weight_of_evidence() -> None:
    with pytest.raises(DataError):
        weight_of_evidence(np.array([5, 5]), np.array([0, 0]))


@given(COUNTS)
def test_information_value_is_never_negative_and_blind_to_the_order_of_bins(counts: list[tuple[int, int]]) -> None:
    goods, bads = np.array(counts).T
    assume(goods.sum() and bads.sum())
    value = information_value(goods, bads)
    assert value >= 0 and np.isfinite(value)
    assert np.isclose(value, information_value(goods[::-1], bads[::-1]))
    assert np.isclose(value, information_value(bads, goods)), "symmetric in the classes"


@given(COUNTS)
def test_stability_is_zero_for_the_same_shares_alone(counts: list[tuple[int, int]]) -> None:
    expected, actual = np.array(counts).T
    assume(expected.sum() and actual.sum())
    assert stability(expected, expected * 3) == pytest.approx(0, abs=1e-12)
    assert stability(expected, actual) >= 0


def test_stability_of_a_known_shift() -> None:
    assert stability(np.array([500, 500]), np.array([300, 200])) == pytest.approx(0.1 * np.log(1.2) - 0.1 * np.log(0.8))


def table() -> WoeTable:
    rows, goods, bads = np.array([100, 60, 4]), np.array([80.0, 50.0, 0.0]), np.array([20.0, 10.0, 0.0])
    return tabulate("x", ("a", "b", "absent"), rows, goods, bads, 0.5, hidden=2)


def test_a_table_adds_up_and_says_what_was_not_released() -> None:
    a, b, absent = table().rows
    assert (a.goods, a.bads, a.bad_rate) == (80.0, 20.0, 0.2)
    assert a.share == 100 / 164 and absent.share == 4 / 164
    assert absent.goods is None and absent.bads is None and absent.bad_rate is None and absent.woe == 0
    assert table().iv == pytest.approx(information_value(np.array([80, 50]), np.array([20, 10])))
    assert table().values == (a.woe, b.woe, 0.0)
