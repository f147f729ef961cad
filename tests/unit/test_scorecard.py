"""Points: what the tables say is what a firm gets, to the integer, whoever adds it up."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from federation.kernel.errors import ConfigurationError, DataError
from federation.kernel.manifest import ScorecardSettings
from federation.models.bins import OWN, Bins
from federation.models.encoding import Encoding, Numeric, Woe
from federation.models.scorecard import Reason, factor, offset, points_table, probability, unrounded
from federation.models.table import Column

SCALE = ScorecardSettings()


def bins(name: str, *edges: float) -> Bins:
    return Bins(column=name, kind="numeric", edges=edges, joined=(OWN,))


def numeric(name: str, values: list[float]) -> Column:
    return Column(name, "numeric", np.array(values, np.float64))


OWN_SIDE = Encoding((Woe("age", bins("age", 2.0, 5.0), (-0.8, 0.1, 0.9, -0.2, 0.0)),))
PARTNER = Encoding((Woe("gmv", bins("gmv", 10.0), (-1.1, 0.6, -0.3, 0.25)), Woe("jobs", bins("jobs", 3.0), (-0.4, 0.5, 0.0, -0.1))))
ROWS = {"age": numeric("age", [1.0, 3.0, 9.0, math.nan])}
PARTNER_ROWS = {"gmv": numeric("gmv", [50.0, 1.0, math.nan]), "jobs": numeric("jobs", [5.0, 1.0, 5.0])}


def test_the_scale_puts_base_points_at_base_odds_and_doubles_odds_every_pdo() -> None:
    assert unrounded(SCALE, np.array([-math.log(50)]))[0] == pytest.approx(600)
    assert unrounded(SCALE, np.array([-math.log(100)]))[0] == pytest.approx(620)
    assert probability(SCALE, np.array([600.0]))[0] == pytest.approx(1 / 51)
    assert probability(SCALE, np.array([580.0]))[0] == pytest.approx(1 / 26)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(-2, 2), min_size=3, max_size=3), st.floats(-5, 5))
def test_the_published_score_is_the_sum_of_the_parties_whole_points_and_near_the_model(theta: list[float], intercept: float) -> None:
    bank = points_table("bank", OWN_SIDE, np.array(theta[:1]), SCALE, intercept)
    platform = points_table("platform", PARTNER, np.array(theta[1:]), SCALE)
    own = bank.points(ROWS)
    assert own.dtype == np.int64 and platform.base == 0
    partner = np.append(platform.points(PARTNER_ROWS), platform.absent)
    z = intercept + OWN_SIDE.design(ROWS) @ theta[:1]
    z = z + np.append(PARTNER.design(PARTNER_ROWS) @ theta[1:], PARTNER.absent_row @ theta[1:])
    assert (np.abs(own + partner - unrounded(SCALE, z)) <= 0.5 * 4 + 1e-9).all(), "three characteristics and the base"
    by_table = bank.base + np.array([dict(enumerate(bank.characteristics[0].points))[c] for c in bank.codes(ROWS)[:, 0]])
    assert (own == by_table).all()


def test_safer_evidence_has_more_points_and_neutral_evidence_none() -> None:
    table = points_table("bank", OWN_SIDE, np.array([-1.0]), SCALE, -2.0)
    assert table.characteristics[0].points == (-23, 3, 26, -6, 0)
    assert table.base == round(offset(SCALE) + 2 * factor(SCALE))


def test_a_standardised_design_gives_the_same_points() -> None:
    moments = np.array([0.3]), np.array([0.5])
    standardised = OWN_SIDE.fitted(*moments)
    plain = points_table("bank", OWN_SIDE, np.array([-1.0]), SCALE, -2.0)
    other = points_table("bank", standardised, np.array([-0.5]), SCALE, -2.0 - 0.3)
    assert np.abs(plain.points(ROWS) - other.points(ROWS)).max() <= 1
    exact = [t.base + np.array(t.characteristics[0].exact) for t in (plain, other)]
    assert np.abs(exact[0] - exact[1]).max() <= 1, "only the base is rounded here"


def test_reasons_are_the_largest_shortfalls_and_nothing_that_costs_nothing() -> None:
    table = points_table("platform", PARTNER, np.array([-1.0, -1.0]), SCALE)
    best, worst, gone = table.reasons(PARTNER_ROWS)
    assert best == ()
    assert worst == (Reason("gmv", "(-inf, 10)", 49), Reason("jobs", "(-inf, 3)", 26))
    assert gone == (Reason("gmv", "missing", 26),)
    assert table.reasons(PARTNER_ROWS, most=1)[1] == worst[:1]
    assert [r.shortfall for r in table.reasons(PARTNER_ROWS, against="neutral")[1]] == [32, 12]


def test_only_bins_have_points_and_a_missing_column_is_named() -> None:
    with pytest.raises(ConfigurationError, match="'x'"):
        points_table("bank", Encoding((Numeric("x"),)), np.array([1.0]), SCALE)
    with pytest.raises(DataError, match="'jobs'"):
        points_table("platform", PARTNER, np.array([-1.0, -1.0]), SCALE).points({"gmv": PARTNER_ROWS["gmv"]})
