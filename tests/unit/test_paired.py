"""Gains of AUC and KS between two models: as scikit-learn has them, with intervals that hold zero for noise and do not for a cause."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score, roc_curve

from federation.kernel.errors import DataError
from federation.models.paired import Change, gain
from server.report_sources import NOTHING, WORSE, cost_per_point, to_drop, words
from server.result import SourceFacts

SEED = 20_260_802


def drawn(rows: int = 3_000, firms: int = 3_000):
    """A cause, a second cause, and dice; outcomes of the first two."""
    print(f"seed {SEED}")
    rng = np.random.default_rng(SEED)
    first, second, dice = rng.standard_normal((3, rows))
    label = rng.random(rows) < 1 / (1 + np.exp(2.0 - first - second))
    return [f"firm-{place % firms}" for place in range(rows)], label.astype(int), first, second, dice, np.ones(rows)


def test_the_figures_are_scikit_learns() -> None:
    firms, label, first, second, _, weight = drawn()
    weight = weight + np.arange(len(weight)) % 3
    found = gain(firms, label, first + second, first, weight, 1, resamples=50)
    for score, auc, ks in ((first + second, found.auc.with_it, found.ks.with_it), (first, found.auc.without, found.ks.without)):
        assert auc == pytest.approx(roc_auc_score(label, score, sample_weight=weight), abs=1e-12)
        false, true, _ = roc_curve(label, score, sample_weight=weight, drop_intermediate=False)
        assert ks == pytest.approx(np.max(true - false), abs=1e-12)
    assert found.auc.gain == found.auc.with_it - found.auc.without and (found.rows, found.firms) == (3_000, 3_000)


def test_dice_show_no_gain_and_a_cause_does() -> None:
    firms, label, first, second, dice, weight = drawn()
    useless = gain(firms, label, first + second + 0.05 * dice, first + second, weight, 1).auc
    strong = gain(firms, label, first + second + 0.05 * dice, first + 0.05 * dice, weight, 1).auc
    assert useless.low < 0 < useless.high and words(useless, 2.0) == f"{NOTHING} and costs 2,000 CNY for 1,000 firms"
    assert 0 < strong.low < strong.gain < strong.high and words(strong, 2.0).startswith("adds ")


def test_control_without_pairing_the_same_gain_is_lost_in_noise() -> None:
    firms, label, first, second, _, weight = drawn(800, 800)
    paired = gain(firms, label, first + 1.0 * second, first + 0.2 * second, weight, 1, resamples=300).auc
    rng = np.random.default_rng(SEED)
    apart = [
        roc_auc_score(label[a], (first + second)[a]) - roc_auc_score(label[b], (first + 0.2 * second)[b])
        for a, b in (rng.integers(0, 800, (2, 800)) for _ in range(300))
    ]
    low, high = np.percentile(apart, [2.5, 97.5])
    assert paired.low > 0 > low and paired.high - paired.low < 0.5 * (high - low)


def test_rows_of_one_firm_count_together() -> None:
    """The same rows as many times over tell nothing more: the interval stays as wide; drawn row by row it would shrink."""
    firms, label, first, second, _, weight = drawn(600, 600)
    once = gain(firms, label, first + second, first, weight, 1).auc
    often = gain(firms * 9, np.tile(label, 9), np.tile(first + second, 9), np.tile(first, 9), np.tile(weight, 9), 1).auc
    rows = gain([f"{firm}-{at}" for at in range(9) for firm in firms], np.tile(label, 9), np.tile(first + second, 9), np.tile(first, 9),
                np.tile(weight, 9), 1).auc  # fmt: skip
    assert often.high - often.low == pytest.approx(once.high - once.low, rel=0.15)
    assert rows.high - rows.low < 0.5 * (once.high - once.low)  # control


def test_the_seed_decides_and_the_order_of_rows_does_not() -> None:
    firms, label, first, second, _, weight = drawn(500, 500)
    order = np.random.default_rng(SEED).permutation(500)
    mixed = gain([firms[at] for at in order], label[order], (first + second)[order], first[order], weight[order], 3, resamples=100)
    assert mixed == gain(firms, label, first + second, first, weight, 3, resamples=100)
    assert mixed != gain(firms, label, first + second, first, weight, 4, resamples=100)


def test_one_class_is_refused() -> None:
    with pytest.raises(DataError, match="no goods or no bads"):
        gain(["a", "b"], [0, 0], [0.1, 0.2], [0.2, 0.1], [1.0, 1.0], 1)


def test_words_cost_and_what_is_dropped() -> None:
    clear, unsure, worse = Change(0.8, 0.78, 0.01, 0.03), Change(0.8, 0.799, -0.004, 0.006), Change(0.7, 0.72, -0.03, -0.01)
    assert words(clear, 0.8) == "adds 2.0 points of AUC, at least 1.0 at 95 %"
    assert words(unsure, None) == NOTHING and words(worse, 5.0) == WORSE
    assert "leak" in words(Change(0.95, 0.7, 0.2, 0.3), None)
    assert cost_per_point(clear, 0.8) == pytest.approx(400.0)
    assert cost_per_point(unsure, 0.8) is None and cost_per_point(clear, None) is None
    assert not to_drop(SourceFacts(auc_interval=(-0.004, 0.006)), 0.005) and to_drop(SourceFacts(auc_interval=(-0.004, 0.006)), 0.007)
    assert not to_drop(SourceFacts(), 0.5)
