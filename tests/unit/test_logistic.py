"""The logistic fit equals scikit-learn's on the pooled table, through the real programs and envelopes, whatever the run asks for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from federation.kernel.errors import DataError, PolicyRefusal
from federation.kernel.manifest import AlignSettings, SampleSettings
from federation.models import sides
from federation.models.table import Column
from tests.pooled_case import Firms, Played, PooledCase, changed, table

EXACT = 1e-6
"""DESIGN, promise 1: standardised coefficients."""


def equal(firms: Firms, case: Mapping[str, Any] | None = None, **model: Any) -> Played:
    played = PooledCase(firms.draw(), model, **(case or {})).play()
    assert played.finished, played.failures
    assert played.reason == ""
    print(f"{firms}: {played.error:.1e} off the pooled fit, scores {played.score_error:.1e}, {played.fit().iteration} iterations")
    assert played.error <= EXACT
    assert played.score_error <= 20 * EXACT  # a score adds up coefficients times standardised values
    return played


@pytest.mark.parametrize(
    ("correlation", "C"),
    [(0.0, 0.1), (0.5, 1.0), (0.5, None), *(pytest.param(*rest, marks=pytest.mark.slow) for rest in ((0.5, 0.1), (0.0, 1.0), (0.0, None)))],
)
def test_it_equals_the_pooled_fit(correlation: float, C: float | None) -> None:
    """Three ridges, each with one of two correlations: 3 of 6 pairs in the quick tests."""
    equal(Firms(correlation=correlation), C=C)


@pytest.mark.parametrize("partners", [1, pytest.param(3, marks=pytest.mark.slow), 4])
def test_it_equals_the_pooled_fit_with_one_partner_and_with_four(partners: int) -> None:
    """2 of 3 in the quick tests."""
    equal(Firms(rows=900, columns=2, partners=partners, seed=2))


def test_every_firm_known_to_every_party() -> None:
    equal(Firms(present=1.0, beyond=0, correlation=0.5, seed=3))


def test_a_partner_that_knows_few_firms() -> None:
    equal(Firms(present=0.1, seed=4))


@pytest.mark.parametrize("C", [1.0, pytest.param(None, marks=pytest.mark.slow)])
def test_weights_count(C: float | None) -> None:
    """1 of 2 in the quick tests."""
    weighted = equal(Firms(weighted=True, seed=5), C=C)
    plain = PooledCase(Firms(seed=5).draw(), {"C": C}).play()
    assert abs(weighted.reference.standardized_intercept - plain.reference.standardized_intercept) > 0.1  # they change the answer


def test_the_ridge_on_the_columns_own_units() -> None:
    played = equal(Firms(seed=6), standardize=False, C=0.01)
    other = PooledCase(Firms(seed=6).draw(), {"standardize": True, "C": 0.01}).play()
    assert abs(played.fit("tax").theta - other.fit("tax").theta).max() > 1e-3  # it is another problem


@pytest.mark.parametrize(
    ("missing", "levels"),
    [
        ("mean", False), ("zero", False), ("indicator", True),
        *(pytest.param(*rest, marks=pytest.mark.slow) for rest in (("mean", True), ("zero", True), ("indicator", False))),
    ],
)  # fmt: skip
def test_missing_values_and_levels(missing: str, levels: bool) -> None:
    """Each way to fill, with levels and without: 3 of 6 pairs in the quick tests."""
    equal(Firms(missing=0.2, levels=levels, seed=7), missing=missing)


def test_missing_values_that_the_run_forbids_end_it() -> None:
    played = PooledCase(Firms(rows=300, missing=0.2).draw(), {"missing": "error"}).play()
    assert any(isinstance(failure, DataError) and "missing" in str(failure) for failure in played.failures.values())
    assert equal(Firms(rows=300, missing=0.0), missing="error").finished


@pytest.mark.parametrize("visibility", ["hidden", "book", "intersection"])
def test_every_visibility(visibility: Any) -> None:
    played = equal(Firms(rows=500, columns=2, seed=8), {"align": AlignSettings(visibility=visibility)})
    in_universe = len(played.joined.key)
    assert (in_universe < 500) == (visibility == "intersection")


def test_a_column_of_tiny_and_one_of_huge_numbers() -> None:
    tables = Firms(seed=9).draw()
    for name, unit in (("platform", 1e-9), ("tax", 1e9)):
        tables[name] = changed(tables[name], **{column: 3 + unit * part.values for column, part in tables[name].columns.items()})
    tables["tax"] = changed(tables["tax"], heavy=np.exp(3 * np.random.default_rng(9).standard_normal(tables["tax"].rows)))
    played = PooledCase(tables).play()
    assert played.error <= EXACT


def test_a_constant_column_weighs_nothing_under_a_ridge() -> None:
    tables = Firms(seed=10).draw()
    tables = {name: changed(table, **{f"{name}_constant": np.full(table.rows, 7.0)}) for name, table in tables.items()}
    played = PooledCase(tables).play()
    assert played.error <= EXACT
    assert played.shares["bank"]["standardized"]["bank_constant"] == 0


def decided() -> PooledCase:
    """Firms whose scores go far beyond where a polynomial could stand for the sigmoid."""
    return PooledCase(Firms(rows=900, columns=2, strength=2.5, seed=13).draw(), {"C": 1.0, "max_iterations": 25})


def test_scores_of_any_size_are_exact_no_polynomial_stands_for_the_sigmoid() -> None:
    played = decided().play()
    final = played.state("bank").final
    assert final is not None and np.abs(final).max() > 8
    assert played.finished and played.error <= EXACT


def test_control_a_taylor_sigmoid_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sides, "expit", lambda x: 0.5 + x / 4 - x**3 / 48)
    played = decided().play()
    assert not played.finished or played.error > EXACT


# -- scorecards -------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("signs", [pytest.param("free", marks=pytest.mark.slow), "woe"])
def test_a_scorecard_equals_the_pooled_scorecard(signs: str) -> None:
    """1 of 2 in the quick tests; the next test has one with free signs."""
    firms = Firms(rows=4000, columns=3, levels=True, missing=0.1, strength=0.25, seed=12)
    played = PooledCase(
        firms.draw(), {"C": None, "missing": "bin", "signs": signs}, {"max_released_counts": 400}, {"model": "scorecard"}
    ).play()
    assert played.finished, played.failures
    assert played.reason == ""
    assert played.error <= EXACT
    points, final = played.state("bank").points, played.state("bank").final
    assert points is not None
    assert final is not None
    assert np.corrcoef(points, final)[0, 1] < -0.99  # more points are safer


def test_with_sign_constraints_no_weight_of_evidence_turns_and_control_free_some_do() -> None:
    """Twelve columns that say nearly the same: without constraints some coefficients turn."""
    firms = Firms(rows=3000, columns=4, correlation=0.85, strength=0.15, seed=11)
    found = {}
    for signs in ("free", "woe"):
        played = PooledCase(
            firms.draw(), {"C": None, "missing": "bin", "signs": signs}, {"max_released_counts": 400, "max_score_reveals": 200},
            {"model": "scorecard"},
        ).play()  # fmt: skip
        assert played.finished, played.failures
        assert played.error <= EXACT
        found[signs] = np.array([value for share in played.shares.values() for value in share["standardized"].values()])
    assert (found["free"] > 0).any()
    assert (found["woe"] <= 0).all()
    assert (found["woe"] == 0).any()


# -- columns that do not determine the coefficients -------------------------------------------------------------------------------


@pytest.mark.parametrize("owner", ["bank", "tax"])
def test_collinear_columns_of_one_party_are_named_without_a_ridge_and_control_with_one_they_pass(owner: str) -> None:
    tables = Firms(rows=600, seed=13).draw()
    first, second = (tables[owner].columns[f"{owner}{j}"].values for j in (0, 1))
    tables[owner] = changed(tables[owner], both=first + 2 * second)
    played = PooledCase(tables, {"C": None}).play()
    failure = played.failures[owner]
    assert isinstance(failure, DataError)
    assert "'both'" in str(failure)
    assert PooledCase(tables, {"C": 1.0}).play().error <= EXACT


def test_a_constant_column_is_named_without_a_ridge() -> None:
    tables = Firms(rows=600, seed=14).draw()
    tables["platform"] = changed(tables["platform"], flat=np.full(tables["platform"].rows, 1.0))
    failure = PooledCase(tables, {"C": None}).play().failures["platform"]
    assert isinstance(failure, DataError)
    assert "'flat'" in str(failure)


def test_columns_that_say_only_whom_the_partner_knows_are_left_out_with_a_note() -> None:
    """Hundreds of rare levels: one bin for all firms that the platform knows, and one for the others."""
    tables, rng = Firms(rows=2000, present=0.6, strength=0.3, seed=22).draw(), np.random.default_rng(22)
    platform = tables["platform"]
    levels = {n: Column(n, "categorical", rng.integers(0, 500, platform.rows).astype(str).astype(object)) for n in ("town", "street")}
    tables["platform"] = table(np.array(platform.keys, object), {**platform.columns, **levels})
    played = PooledCase(tables, {"C": None, "missing": "bin"}, {"max_released_counts": 400}, {"model": "scorecard"}).play()
    assert played.finished, played.failures
    assert played.error <= EXACT
    assert {"town", "street"}.isdisjoint(played.shares["platform"]["standardized"])
    assert sum("left out" in note for note in played.shares["platform"]["notes"]) == 2


def shared(noise: float) -> PooledCase:
    """The tax bureau's first column is the platform's, but for some noise."""
    tables = Firms(rows=1200, present=1.0, beyond=0, seed=15).draw()
    copied = tables["platform"].columns["platform0"].values + noise * np.random.default_rng(15).standard_normal(tables["tax"].rows)
    tables["tax"] = changed(tables["tax"], tax0=copied)
    return PooledCase(tables, {"C": None}, {"max_score_reveals": 100})


def test_collinear_columns_across_parties_are_found_without_a_ridge() -> None:
    played = shared(noise=0.0).play()
    assert played.finished, played.failures
    assert "not determined" in played.reason
    assert "collinear across parties" in played.reason
    assert played.shares["bank"]["converged"] is False


def test_control_nearly_the_same_columns_converge() -> None:
    played = shared(noise=1.0).play()
    assert played.finished, played.failures
    assert played.reason == ""
    assert played.error <= EXACT
    assert played.shares["bank"]["converged"] is True


def test_collinear_columns_across_parties_pass_with_a_ridge() -> None:
    case = shared(noise=0.0)
    case.model = {"C": 1.0}
    assert case.play().error <= EXACT


# -- caps -------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cap", [3, 6])
def test_the_cap_on_score_reveals_ends_the_fit_and_says_so(cap: int) -> None:
    played = PooledCase(Firms(seed=16).draw(), privacy={"max_score_reveals": cap}).play()
    assert played.finished, played.failures
    assert f"cap of {cap} score vectors" in played.reason
    assert played.shares["bank"]["converged"] is False
    seen = [envelope for envelope in played.post.passed if envelope.kind == "partial_scores/total"]
    assert len(seen) == cap  # those of the fit and the final one


@pytest.mark.parametrize("C", [pytest.param(1.0, marks=pytest.mark.slow), None])
def test_no_run_shows_more_score_vectors_than_its_cap(C: float | None) -> None:
    """Whatever the cap meets: the fit, which takes ten, the check of uniqueness (without a ridge), or the end. 4 of 8 in the quick tests."""
    for cap in (10, 11, 12, 13):
        played = PooledCase(Firms(rows=300, columns=2, seed=17).draw(), {"C": C}, {"max_score_reveals": cap}).play()
        assert played.finished, played.failures
        seen = sum(envelope.kind == "partial_scores/total" for envelope in played.post.passed)
        print(f"cap {cap}: {seen} score vectors, {played.reason or 'converged'}")
        assert seen <= cap


def test_the_limit_of_iterations_ends_the_fit_and_says_so() -> None:
    played = PooledCase(Firms(seed=16).draw(), {"max_iterations": 4}).play()
    assert played.finished, played.failures
    assert played.fit().iteration == 4
    assert "4 iterations" in played.reason


# -- reproducibility and refusals -------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_positions_do_not_change_the_model() -> None:
    hashes = {PooledCase(Firms(rows=600, seed=18).draw(), seed=seed).play().state("bank").model_hash for seed in (1, 2)}
    assert len(hashes) == 1
    other = PooledCase(Firms(rows=600, seed=19).draw()).play().state("bank").model_hash
    assert other not in hashes  # other data


def test_every_party_ends_with_one_model_hash() -> None:
    played = PooledCase(Firms(rows=300).draw()).play()
    assert len({party.state.model_hash for party in played.parties.values()}) == 1


def test_one_class_in_training_is_refused_before_anything_of_the_model_is_sent() -> None:
    tables = Firms(rows=200).draw()
    bank = tables["bank"]
    assert bank.label is not None
    bank.label[:] = 0
    played = PooledCase(tables).play()
    assert isinstance(played.failures["bank"], DataError)
    assert not any(envelope.protocol in ("training", "logistic", "encrypted_linear") for envelope in played.post.passed)


def test_a_partner_with_fewer_training_firms_than_the_minimum_cohort_refuses() -> None:
    played = PooledCase(Firms(rows=400, present=0.02, beyond=0, seed=20).draw(), privacy={"minimum_cohort": 30}).play()
    assert any(isinstance(failure, PolicyRefusal) for failure in played.failures.values())
    assert not any(envelope.protocol == "logistic" for envelope in played.post.passed)


def test_no_row_is_held_out_with_a_holdout_of_zero() -> None:
    case = {"others": {"sample": SampleSettings(holdout=0.0)}}
    assert equal(Firms(rows=400, seed=21), case).joined.train.all()
