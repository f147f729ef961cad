"""Weights beyond their bound, as Flower's SecAgg+ takes them: a weakened copy gives a wrong mean in silence, ours adds exactly or refuses."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from flwr.common.secure_aggregation.quantization import dequantize, quantize

from federation.kernel.errors import ConfigurationError, LocalError
from federation.kernel.role import COORDINATOR
from federation.masked_sum import wide
from federation.masked_sum.bonawitz import Circle, sum_coordinator, sum_member
from federation.masked_sum.fixed_point import FixedPoint
from privacy.attacks import bonawitz as attack
from tests.bonawitz_scene import BANKS, CIRCLE, SEED
from tests.hall import Hall

ROWS = (8_000, 20_000, 45_000, 90_000, 120_000)


def silos() -> tuple[list[np.ndarray[Any, Any]], np.ndarray[Any, Any]]:
    rng = np.random.default_rng(SEED)
    vectors = [rng.uniform(-1, 1, 50) for _ in ROWS]
    return vectors, np.average(vectors, axis=0, weights=ROWS)


def test_control_weights_beyond_the_bound_give_a_wrong_mean_in_silence() -> None:
    vectors, truth = silos()
    mean = attack.bounded_weight_mean(vectors, ROWS)
    wrong = np.abs(mean - truth)
    print(f"seed {SEED}: wrong by up to {wrong.max():.3g} where numbers lie in [-1, 1]; {np.mean(wrong > 0.01):.0%} by more than 0.01")
    assert wrong.max() > 0.1
    small = [count // 200 for count in ROWS]  # within the bound the copy is right
    near = attack.bounded_weight_mean(vectors, small)
    np.testing.assert_allclose(near, np.average(vectors, axis=0, weights=small), atol=1e-3)


def test_the_copy_rounds_and_clips_as_flower_does() -> None:
    rng = np.random.default_rng(SEED)
    vector = rng.uniform(-20, 20, 200)
    words = np.rint((np.clip(vector, -8, 8) + 8) * ((1 << 22) / 16)).astype(np.int64)
    flowers = quantize([vector], 8.0, 1 << 22)[0]
    assert np.abs(words - flowers).max() <= 1  # Flower's rounding is random
    np.testing.assert_allclose(words * (16 / (1 << 22)) - 8, dequantize([words], 8.0, 1 << 22)[0])


def test_ours_adds_the_same_weights_exactly() -> None:
    vectors, truth = silos()
    banks = tuple(f"bank{place}" for place in range(len(ROWS)))
    circle, encoding, hall = Circle(banks, 4), wide.limbs(len(banks)), Hall(banks)
    inputs = {n: wide.encode(np.append(v * count, count)) for n, v, count in zip(banks, vectors, ROWS, strict=True)}
    roles: dict[str, Any] = {name: sum_member(hall.run(name), inputs[name], encoding, circle) for name in banks}
    results = hall.play(roles | {COORDINATOR: sum_coordinator(hall.run(COORDINATOR), circle, 1000)})
    for name in banks:
        total = wide.decode(results[name][0])
        assert total[-1] == sum(ROWS)
        np.testing.assert_allclose(total[:-1] / total[-1], truth, rtol=0, atol=1e-15)


def test_what_could_overflow_is_refused_before_anything_is_sent() -> None:
    with pytest.raises(ConfigurationError, match="does not fit"):
        FixedPoint(120_000 * 2.0**40, 5, 22)  # at construction
    with pytest.raises(LocalError, match="beyond the clip"):
        FixedPoint(1000, 5, 22).encode(np.array([8_000.0]))  # a weight above the bound is an error, not a line in a log
    with pytest.raises(LocalError, match="beyond the range"):
        wide.encode(np.array([2.0**61]))
    over = sum_member(Hall(BANKS).run(BANKS[0]), np.array([1001]), FixedPoint(1000, 5, 0), CIRCLE)
    with pytest.raises(LocalError, match="beyond the clip"):
        next(over)


@pytest.mark.parametrize("count", [3, 5, 8, 33, 64])
def test_the_largest_inputs_of_all_members_still_add_up(count: int) -> None:
    """At the bound itself, of either sign, for the finest grid that fits."""
    for clip in (1.0, 120_000.0, 2.0**50):
        encoding = FixedPoint(clip, count)
        banks = tuple(f"bank{place:02d}" for place in range(count))
        for sign in (1, -1):
            covers = np.full(2, sign * encoding.largest, np.int64)
            shifted = np.sum([(covers << np.int64(encoding.shift)).view(np.uint64) for _ in banks], axis=0, dtype=np.uint64)
            assert (shifted.view(np.int64) >> np.int64(encoding.shift)).tolist() == [sign * encoding.largest * count] * 2
