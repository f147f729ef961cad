"""Values outside the range that the dictionary calls plausible: counted and told, never refused, for the range is a sign and no rule."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from privacy.dictionary.entries import Feature

_ROUNDING = 1e-9
"""Of a bound: a share that is 1 but for its last bit is no violation."""


def outside(feature: Feature, values: NDArray[np.float64]) -> int:
    """How many of a numeric feature's values, NaN for missing, lie outside its range."""
    low, high = feature.range
    low, high = (
        low - _ROUNDING * abs(low) - _ROUNDING if np.isfinite(low) else low,
        high + _ROUNDING * abs(high) if np.isfinite(high) else high,
    )
    return int(((values < low) | (values > high)).sum())
