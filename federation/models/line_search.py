"""The exact line search of a logistic loss along a known change of scores: one dimension, convex, at the label party alone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit


def log_loss(z: NDArray[np.float64], y: NDArray[np.float64], w: NDArray[np.float64]) -> float:
    """sum_i w_i log(1 + exp(-z_i)) for bads (y = 1) and log(1 + exp(z_i)) for goods; not divided by the weight."""
    return float(w @ (np.logaddexp(0.0, z) - y * z))


@dataclass(frozen=True)
class Penalty:
    """The ridge along the line: (value + 2 a slope + a^2 curve) / 2 at step a."""

    value: float = 0.0
    slope: float = 0.0
    curve: float = 0.0


def exact_step(
    z: NDArray[np.float64], change: NDArray[np.float64], y: NDArray[np.float64], w: NDArray[np.float64], penalty: Penalty
) -> float:
    """The minimiser a >= 0 of sum_i w_i loss(z_i + a change_i) + penalty(a), by safeguarded Newton; arrays (n,), weights normalised to sum 1.

    0 when the direction does not descend at once (rounding at the optimum).
    """
    used = w > 0  # rows outside training weigh nothing
    z, change, y, w = z[used], change[used], y[used], w[used]

    def slope_and_curve(a: float) -> tuple[float, float]:
        p = expit(z + a * change)
        weighted = w * change
        return float(weighted @ (p - y)) + penalty.slope + a * penalty.curve, float((weighted * change) @ (p * (1 - p))) + penalty.curve

    low, high = 0.0, np.inf
    slope, curve = slope_and_curve(0.0)
    if slope >= 0 or curve <= 0:
        return 0.0
    a = -slope / curve
    for _ in range(60):
        slope, curve = slope_and_curve(a)
        if slope > 0:
            high = a
        else:
            low = a
        move = -slope / curve if curve > 0 else np.inf
        following = a + move
        if not low < following < high:
            following = (low + high) / 2 if np.isfinite(high) else 4 * a
        if abs(following - a) <= 1e-7 * a or following > 1e6:  # Newton squares the error: this move was the last that matters
            return float(min(following, 1e6))
        a = following
    return float(a)
