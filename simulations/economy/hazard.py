"""From the cash formula (`traits`) to missed instalments, and to the probability of default within twelve months.

A loan with k unpaid instalments misses the next one with probability q p_k, q = 0.85 (a firm pays some banks first), p_k = expit(a +
index + effect_k + 0.3 (lenders - 1)), effect_0 = 0 and effect_k = 2 + min(k, 3) / 2. Otherwise it pays, and with probability 0.5 all that is
behind, too. At four unpaid instalments the oldest is more than 90 days past due: default.

The probability of default is that of this chain over twelve months, where each trait is expected to return by its persistence, x_{t+j} ~
N(r^j x, 1 - r^2j), months are taken as independent given that, and the mean of expit over the normal is expit(m / sqrt(1 + pi v / 8))
(MacKay, Neural Computation 4, 1992). It is thus close to the truth, not the truth itself: outcomes are drawn month by month.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from simulations.economy.traits import PERSISTENCE, WEIGHTS

Reals = NDArray[np.float64]
MISSES: Final = 0.85
CATCHES_UP: Final = 0.5
LENDERS: Final = 0.3
DEFAULT_AT: Final = 4
"""Unpaid instalments."""


def effect(arrears: NDArray[np.int64] | Reals) -> Reals:
    """What arrears add to the log odds of a shortfall, (n,)."""
    return np.where(arrears > 0, 2.0 + np.minimum(arrears, 3) / 2, 0.0)


def probability(intercept: float, fixed: Reals, traits: dict[str, Reals], lenders: Reals | float = 0.0, months: int = 12) -> Reals:
    """Of default within so many months for a loan in order, (n,). fixed: the index without its traits' part, (n,)."""
    states = np.zeros((DEFAULT_AT + 1, len(fixed)))
    states[0] = 1.0
    for ahead in range(1, months + 1):
        mean = np.asarray(intercept + fixed + LENDERS * lenders)
        variance = 0.0
        for name, weight in WEIGHTS.items():
            keep = PERSISTENCE[name] ** ahead
            mean = mean + weight * keep * traits[name]
            variance += weight**2 * (1 - keep**2)
        scale = np.sqrt(1 + np.pi * variance / 8)
        after = np.zeros_like(states)
        after[DEFAULT_AT] = states[DEFAULT_AT]
        for unpaid in range(DEFAULT_AT):
            missed = MISSES * expit((mean + (2.0 + min(unpaid, 3) / 2 if unpaid else 0.0)) / scale)
            after[unpaid + 1] += states[unpaid] * missed
            caught = (1 - missed) * (CATCHES_UP if unpaid else 0.0)
            after[0] += states[unpaid] * caught
            after[unpaid] += states[unpaid] * (1 - missed - caught)
        states = after
    return np.asarray(states[DEFAULT_AT])
