"""Metrics equal scikit-learn's on weighted and tied samples, are defined on one class, and their intervals cover."""

from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.special import expit
from scipy.stats import ks_2samp
from sklearn.metrics import brier_score_loss, log_loss, roc_auc_score, roc_curve  # type: ignore[import-untyped, unused-ignore]

from federation.kernel.errors import DataError
from federation.models.metrics import CURVE_POINTS, NAMES, Sample, curves, measure

Floats = NDArray[np.float64]


def draw(seed: int, rows: int, steps: int = 0) -> tuple[Floats, Floats, Floats, Floats]:
    """label, score, probability, weight; with `steps` the scores take few values, so that most rows are tied."""
    random = np.random.default_rng(seed)
    score = random.normal(-1.0, 1.2, rows)
    if steps:
        score = np.round(score * steps) / steps
    label = (random.random(rows) < expit(score)).astype(float)
    label[:2] = 0.0, 1.0
    return label, score, expit(score), random.choice([0.0, 0.5, 1.0, 3.25], rows, p=[0.1, 0.4, 0.4, 0.1])


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), rows=st.integers(2, 300), steps=st.sampled_from([0, 1, 4]))
def test_every_figure_equals_scikit_learn_with_weights_and_ties(seed: int, rows: int, steps: int) -> None:
    label, score, probability, weight = draw(seed, rows, steps)
    weight[:2] = 1.0
    got = measure(Sample.of(label, score, probability, weight))
    false_positive, true_positive, _ = roc_curve(label, score, sample_weight=weight, drop_intermediate=False)
    auc = roc_auc_score(label, score, sample_weight=weight)
    expected = {
        "auc": auc,
        "ks": np.max(np.abs(true_positive - false_positive)),
        "gini": 2 * auc - 1,
        "brier": brier_score_loss(label, probability, sample_weight=weight),
        "log_loss": log_loss(label, probability, sample_weight=weight),
    }
    for name in NAMES:
        assert getattr(got, name).value == pytest.approx(expected[name], abs=1e-12), name
    assert got.n == rows


def test_ks_equals_the_two_sample_statistic() -> None:
    label, score, _, _ = draw(5, 400, 3)
    assert measure(Sample.of(label, score)).ks.value == pytest.approx(ks_2samp(score[label == 1], score[label == 0]).statistic, abs=1e-12)


def test_order_of_tied_rows_does_not_matter() -> None:
    label, score, probability, weight = draw(6, 500, 1)
    shuffled = np.random.default_rng(7).permutation(len(label))
    first = measure(Sample.of(label, score, probability, weight))
    second = measure(Sample.of(label[shuffled], score[shuffled], probability[shuffled], weight[shuffled]))
    for name in NAMES:
        assert getattr(first, name).value == pytest.approx(getattr(second, name).value, abs=1e-12)


@pytest.mark.parametrize(("only", "reason"), [(0.0, "no bads in this sample"), (1.0, "no goods in this sample")])
def test_one_class_has_reasons_instead_of_figures(only: float, reason: str) -> None:
    got = measure(Sample.of(np.full(20, only), np.arange(20.0), np.full(20, 0.3)), np.random.default_rng(1))
    for name in ("auc", "ks", "gini"):
        assert getattr(got, name).value is None
        assert getattr(got, name).reason == reason
        assert getattr(got, name).interval is None
    assert got.brier.value == pytest.approx((only - 0.3) ** 2)
    assert got.log_loss.value == pytest.approx(-np.log(0.3 if only else 0.7))
    drawn = curves(Sample.of(np.full(20, only), np.arange(20.0), np.full(20, 0.3)))
    assert drawn.roc is None
    assert drawn.ks is None
    assert len(drawn.calibration) == 1


def test_empty_and_weightless_samples_raise_nothing() -> None:
    for sample in (Sample.of([], [], []), Sample.of([0, 1], [0.1, 0.2], [0.1, 0.2], [0, 0])):
        got = measure(sample, np.random.default_rng(1))
        assert all(getattr(got, name).value is None and getattr(got, name).reason for name in NAMES)
        assert curves(sample).roc is None


def test_without_probabilities_only_the_ranking_is_measured() -> None:
    got = measure(Sample.of([0, 1, 0, 1], [1, 2, 3, 4]))
    assert got.auc.value == pytest.approx(0.75)
    assert got.brier.value is None
    assert got.brier.reason == "no probabilities were given"


@pytest.mark.parametrize(
    "arguments",
    [([0, 2], [1, 2]), ([0, 1], [1, float("nan")]), ([0, 1], [1, 2, 3]), ([0, 1], [1, 2], [0.2, 1.5]), ([0, 1], [1, 2], None, [1, -1])],
)
def test_bad_input_is_refused_without_showing_it(arguments: tuple[object, ...]) -> None:
    with pytest.raises(DataError) as refused:
        Sample.of(*arguments)  # type: ignore[arg-type]
    assert "1.5" not in str(refused.value)
    assert "nan" not in str(refused.value)


def test_intervals_repeat_with_the_seed_and_hold_the_figure() -> None:
    label, score, probability, weight = draw(11, 2000)
    sample = Sample.of(label, score, probability, weight)
    first, second, other = (measure(sample, np.random.default_rng(seed)) for seed in (3, 3, 4))
    assert first == second
    assert first != other
    for name in NAMES:
        metric = getattr(first, name)
        assert metric.interval[0] < metric.value < metric.interval[1], name


def test_intervals_cover_the_truth_about_as_often_as_they_say() -> None:
    seed, worlds = 20, 120
    label, score, _, _ = draw(seed, 400_000)
    truth = measure(Sample.of(label, score)).auc.value
    assert truth is not None
    random, covered = np.random.default_rng(seed), 0
    for _ in range(worlds):
        rows = random.integers(0, len(label), 400)
        low, high = measure(Sample.of(label[rows], score[rows]), random).auc.interval or (0.0, 0.0)
        covered += low <= truth <= high
    print(f"seed {seed}: {covered} of {worlds} intervals hold the AUC {truth:.4f}")
    assert 0.88 * worlds <= covered  # 95 % nominal; three standard errors below


def test_the_bootstrap_weights_rows_as_repeating_them_would() -> None:
    """Control for the weighting: a resample's multiplicities must act exactly like repeated rows."""
    label, score, probability, weight = draw(8, 200, 2)
    times = np.random.default_rng(9).integers(0, 4, 200)
    times[:2] = 1
    repeated = measure(Sample.of(*(np.repeat(column, times) for column in (label, score, probability, weight + 1))))
    weighted = measure(Sample.of(label, score, probability, (weight + 1) * times))
    for name in NAMES:
        assert getattr(repeated, name).value == pytest.approx(getattr(weighted, name).value, abs=1e-12)


def test_forty_thousand_rows_take_under_two_seconds() -> None:
    label, score, probability, weight = draw(12, 40_000)
    begun = time.process_time()
    measure(Sample.of(label, score, probability, weight), np.random.default_rng(1))
    spent = time.process_time() - begun
    print(f"200 resamples of 40,000 rows: {spent:.2f} CPU-s")
    assert spent < 2.0


def test_curves_are_short_monotone_and_agree_with_the_figures() -> None:
    label, score, probability, weight = draw(13, 30_000)
    sample = Sample.of(label, score, probability, weight)
    drawn, got = curves(sample), measure(sample)
    assert drawn.roc is not None
    assert drawn.ks is not None
    assert drawn.histogram is not None
    for line in (drawn.roc.x, drawn.roc.y, drawn.ks.population, drawn.ks.goods, drawn.ks.bads):
        assert len(line) <= CURVE_POINTS
        assert np.all(np.diff(line) >= 0)
        assert line[0] == pytest.approx(0.0, abs=1e-12)
        assert line[-1] == pytest.approx(1.0)
    assert np.trapezoid(drawn.roc.y, drawn.roc.x) == pytest.approx(got.auc.value, abs=1e-3)
    assert drawn.ks.ks == pytest.approx(got.ks.value, abs=1e-12)
    assert np.max(np.abs(np.subtract(drawn.ks.goods, drawn.ks.bads))) == pytest.approx(got.ks.value, abs=1e-12)
    assert sum(drawn.histogram.goods) == pytest.approx(1.0)
    assert sum(drawn.histogram.bads) == pytest.approx(1.0)


def test_calibration_deciles_hold_every_row_once_and_never_split_a_tie() -> None:
    label, _, probability, weight = draw(14, 3000, 2)
    points = curves(Sample.of(label, probability, probability, weight + 0.5)).calibration
    assert sum(point.n for point in points) == 3000
    assert [point.predicted for point in points] == sorted(point.predicted for point in points)
    assert len({point.predicted for point in points}) == len(points)
    assert all(point.low <= point.observed <= point.high for point in points)
    held = sum(point.low <= point.predicted <= point.high for point in points)
    print(f"seed 14: {held} of {len(points)} deciles hold the true rate")
    assert held >= len(points) - 2
