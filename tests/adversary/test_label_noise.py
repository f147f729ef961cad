"""Labels turned over before a partner's counts are taken: what crafted columns and many counts then tell, and what it costs an honest partner."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from federation.encrypted_linear.packing import Columns as Packed
from federation.encrypted_linear.products import Transforms
from federation.kernel.errors import PolicyRefusal
from federation.kernel.manifest import PrivacySettings
from federation.models.label_noise import chance, turned, unbiased, unbiased_share
from privacy.attacks import binning as attack
from privacy.attacks.noise import right_at_most
from server.run_file import load
from tests.adversary.test_binning import Market, right
from tests.rooms import Room
from tests.unit.test_binning import World, hold, own, rules_of
from tests.unit.test_run_file import document, refused, write

SEED = 20_240_612


def crafted_reading(epsilon: float | None, firms: int = 5_600, bits: int = 56) -> float:
    """The share of labels that a partner reads off answers to columns of powers of two, each of 56 firms."""
    rng = np.random.default_rng(SEED)
    y = rng.random(firms) < 0.3
    columns = np.zeros((firms, firms // bits), np.int64)
    for number in range(firms // bits):
        columns[number * bits : (number + 1) * bits, number] = attack.crafted_column(bits, bits)
    room = Room(("bank", "platform"))
    told = turned(room.run("bank"), y, epsilon).astype(np.int64)
    room = Room(("bank", "platform"))
    transforms = Transforms(Packed(columns, np.zeros(columns.shape[1], np.int64), 0))
    answers = room.play({
        "bank": own(room.run("bank"), {"platform": columns.shape[1]}, told, 0),
        "platform": hold(room.run("platform"), "bank", transforms),
    })["platform"]  # fmt: skip
    read = np.concatenate([attack.read_crafted(answer, bits) for answer in answers])
    return float((read == y).mean())


@pytest.mark.parametrize("epsilon", [0.5, 1.0, 2.0])
def test_crafted_columns_read_no_more_labels_than_stated_and_control_without_noise_all(epsilon: float) -> None:
    bound, firms = right_at_most(epsilon), 5_600
    assert crafted_reading(epsilon) <= bound + 5 * math.sqrt(bound * (1 - bound) / firms)
    assert crafted_reading(None) == 1.0


def test_solving_for_the_labels_from_a_hundred_counts_fails_with_noise_and_control_without_it_gives_all() -> None:
    """123 firms, 100 counts without a cap: all labels, until labels are turned over."""
    markets = [Market(SEED, columns=20, bins=5, privacy=PrivacySettings(label_disclosure=True, label_noise=noise)) for noise in (1.0, None)]
    noisy, plain = (right(market) for market in markets)
    assert plain == 123
    bound = right_at_most(1.0)
    assert noisy <= 123 * bound + 4 * math.sqrt(123 * bound * (1 - bound))


def test_all_partners_are_told_of_the_same_turned_labels_and_a_replay_of_no_others() -> None:
    y = np.random.default_rng(SEED).random(4_000) < 0.2
    room = Room(("bank", "platform"))
    first = turned(room.run("bank"), y, 1.0)
    assert (turned(room.run("bank"), y, 1.0) == first).all()
    other = turned(Room(("bank", "platform"), session=b"o" * 32).run("bank"), y, 1.0)
    assert (other != first).any()
    assert abs((first != y).mean() - chance(1.0)) < 0.04


def test_an_honest_partners_weights_of_evidence_are_unbiased() -> None:
    world = World(firms=3_000)
    asked = rules_of(PrivacySettings(label_disclosure=True, label_noise=2.0), max_bins=3)
    exact = rules_of(PrivacySettings(label_disclosure=True), max_bins=3)
    (label, noisy), (_, right_) = world.play(asked), World(firms=3_000).play(exact)
    for mine, theirs in zip(noisy.tables, right_.tables, strict=True):
        for row, other in zip(mine.rows, theirs.rows, strict=True):
            if other.bads is not None and other.rows:
                deviation = math.sqrt(other.rows * chance(2.0) * (1 - chance(2.0))) / (1 - 2 * chance(2.0))
                assert abs((row.bads or 0.0) - other.bads) <= 5 * deviation
                assert row.rows == other.rows
                assert math.isfinite(row.woe)
    assert label.tables  # the bank's own bins are of its true labels


def test_a_weighted_run_cannot_have_label_noise() -> None:
    world = World(weighted=True)
    with pytest.raises(PolicyRefusal, match="label noise in a weighted run"):
        world.play(rules_of(PrivacySettings(label_disclosure=True, label_noise=1.0), max_bins=3))


def test_label_noise_where_there_are_no_counts_or_weights_is_refused_with_what_to_do(tmp_path: Path) -> None:
    noise = {"privacy": {"label_noise": 1.0}}
    assert 'Leave it out, or use model = "scorecard"' in refused(tmp_path, document() | noise)
    scorecard = document() | noise
    scorecard["run"] = scorecard["run"] | {"model": "scorecard"}
    assert "Leave out [sample] weight, or label_noise." in refused(tmp_path, scorecard | {"sample": {"weight": "w"}})
    assert load(write(tmp_path, scorecard)).privacy.label_noise == 1.0


def test_counts_stay_between_nothing_and_everything() -> None:
    counts = np.array([[1_000, 990, 10], [1_000, 10, 990], [0, 0, 0], [40, 40, 0]])
    out = unbiased(counts, 0.5)
    assert (out[:, 1:] >= 0).all()
    assert (out[:, 1:].sum(axis=1) == counts[:, 1:].sum(axis=1)).all()
    assert (out[[0, 1, 3], 1:] > 0).all()
    assert unbiased(counts, None) is counts
    assert 0 < unbiased_share(0.1, 1_000, 0.5) < 1
    assert unbiased_share(0.2, 1_000, None) == 0.2
