"""Cells, dominance, rounding and model size: what is withheld cannot be worked out, what is published adds up."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from federation.kernel.errors import AbortCode, ConfigurationError, PolicyRefusal
from privacy.disclosure.dominance import Dominance, by_firm
from privacy.disclosure.model_size import require_rows
from privacy.disclosure.rounding import to_base

tables = arrays(np.int64, array_shapes(min_dims=1, max_dims=2, min_side=1, max_side=5), elements=st.integers(0, 40))


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


def test_a_model_needs_rows_for_its_parameters():
    require_rows(12, 120, 10.0)
    with pytest.raises(PolicyRefusal, match="12 parameters") as refused:
        require_rows(12, 119, 10.0)
    assert refused.value.code is AbortCode.DISCLOSURE and "119" not in str(refused.value)
    with pytest.raises(ConfigurationError):
        to_base(np.array([1]), 0)
