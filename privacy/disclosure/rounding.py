"""Published numbers on a grid of multiples of a base (Hundepool et al. 2012, chapter 5, deterministic rounding): a repeated question averages
nothing out, and totals, rounded by themselves, need not add up.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from federation.kernel.errors import ConfigurationError

Counts = NDArray[np.int64]


def to_base(counts: Counts, base: int) -> Counts:
    """Each number to its nearest multiple of the base, halves of an even base away from zero. Raises ConfigurationError for a base below 1."""
    if base < 1:
        raise ConfigurationError("rounding", "a base below 1", "Use a whole number such as 3, 5 or 10.")
    return np.asarray(np.sign(counts) * ((np.abs(counts) + base // 2) // base) * base, np.int64)
