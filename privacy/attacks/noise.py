"""Attacks on noise: is a row in a sum, and what is a label, as told by totals and counts with noise.

Membership: an attacker that knows all other rows sees a total and says "in" above a threshold. Under (epsilon, delta), for every threshold and
both ways round, P(in | it is) <= exp(epsilon) P(in | it is not) + delta (Wasserman and Zhou 2010). Labels: a partner reads them off the answer
to a crafted column (`privacy.attacks.binning`); of labels told by randomised response it has no more than exp(epsilon) / (1 + exp(epsilon))
right.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Reals = NDArray[np.float64]


def excess(present: Reals, absent: Reals, epsilon: float, delta: float) -> float:
    """By how many standard errors the best threshold beats the bound. present, absent: (n,) totals less what the others put in, with the row
    and without it. Above 5 the bound is broken.
    """
    worst = -math.inf
    for signed in (1.0, -1.0):
        for there, gone in ((present, absent), (absent, present)):
            for threshold in np.unique(np.concatenate([signed * there, signed * gone])):
                hit, false = float((signed * there >= threshold).mean()), float((signed * gone >= threshold).mean())
                error = math.sqrt(
                    hit * (1 - hit) / len(there) + math.exp(2 * epsilon) * false * (1 - false) / len(gone) + 1 / len(there) ** 2
                )
                worst = max(worst, (hit - math.exp(epsilon) * false - delta) / error)
    return worst


def right_at_most(epsilon: float) -> float:
    """The share of labels that a reader of turned labels can have right."""
    return 1 / (1 + math.exp(-epsilon))
