"""What a total tells of the firm that makes up most of it (Hundepool et al. 2012, chapter 4): honest arithmetic on what a run makes clear.

value     of a column's total over banks whoever knows all firms but one has that one exactly; the second largest firm, which knows itself
          alone, has it to within what all others put in
outcome   of a column times residuals (the gradient of a fit), the column's holder divides by the largest firm's value: the quotient is that
          firm's residual, but for what the others put in, and its sign is the outcome
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Reals = NDArray[np.float64]


def largest_by_the_second(total: float, values: Reals) -> float:
    """What the second largest firm takes the largest to be: all that it did not put in itself. values: (n,), of which it knows its own."""
    return total - float(np.sort(np.abs(values))[-2])


def outcome_of_the_largest(values: Reals, gradient: float) -> int:
    """The largest firm's outcome, 1 for bad, by the holder of values (n,): gradient is the sum of values times (outcome - probability)."""
    return int(gradient / values[np.abs(values).argmax()] > 0)
