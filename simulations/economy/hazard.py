"""From the cash formula (`traits`) to missed instalments, and to the probability of default within twelve months.

A loan with k unpaid instalments misses the next one with probability q p_k, q = 0.85 (a firm pays some banks first), p_k = expit(a +
index + effect_k + 0.3 (lenders - 1)), effect_0 = 0 and effect_k = 2 + min(k, 3) / 2. Otherwise it pays, and with probability 0.5 all that is
behind, too. With two or more unpaid it is restructured with probability 0.04, which sets k to 0. At four the oldest is more than 90 days past
due: default. A firm that closes in order pays off with probability 0.95; a firm that closes otherwise defaults.

The probability of default is the mean, over 64 paths of the traits' noise that all firms share, of this chain over twelve months, macro, shocks,
lenders and age held as they are. Of `paths` alone it is off by some per cent of itself; outcomes are drawn month by month.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from simulations.economy.randomness import Streams
from simulations.economy.traits import OWN, PERSISTENCE, PULL, WEIGHTS

Reals = NDArray[np.float64]
MISSES: Final = 0.85
CATCHES_UP: Final = 0.5
RESTRUCTURED: Final = 0.04
PAYS_OFF: Final = 0.95
LENDERS: Final = 0.3
DEFAULT_AT: Final = 4
"""Unpaid instalments."""
HORIZON: Final = 12
PATHS: Final = 64


def effect(arrears: NDArray[np.int64] | int) -> Reals:
    """What arrears add to the log odds of a shortfall, (n,)."""
    return np.where(np.asarray(arrears) > 0, 2.0 + np.minimum(arrears, 3) / 2, 0.0)


def paths(streams: Streams) -> Reals:
    """The traits' part of the index by noise alone, (PATHS, HORIZON)."""
    noise = streams.of("pilot", 1).standard_normal((HORIZON, 3, PATHS // 2))
    noise = np.concatenate([noise, -noise], axis=2)
    health, own, honesty = np.zeros((3, PATHS))
    found = np.empty((PATHS, HORIZON))
    for ahead in range(HORIZON):
        health = _moved("health", health, noise[ahead, 0])
        own = _moved("liquidity", own, noise[ahead, 1])
        honesty = _moved("honesty", honesty, noise[ahead, 2])
        found[:, ahead] = _index(health, own, honesty)
    return found


def probability(fixed: Reals, traits: tuple[Reals, Reals, Reals], closing: Reals, noise: Reals) -> Reals:
    """Of default within twelve months of a new loan, (n,). fixed: a and the index without its traits' part; traits: health, liquidity, honesty;
    closing: of the firm, a month; noise: of `paths`.
    """
    health, liquidity, honesty = traits
    own = (liquidity - PULL * health) / OWN
    states = np.zeros((DEFAULT_AT + 1, len(fixed), noise.shape[0]))
    states[0] = 1.0
    gone = closing[:, None]
    for ahead in range(HORIZON):
        health, own, honesty = _moved("health", health), _moved("liquidity", own), _moved("honesty", honesty)
        odds = (fixed + _index(health, own, honesty))[:, None] + noise[None, :, ahead]
        after = np.zeros_like(states)
        after[DEFAULT_AT] = states[DEFAULT_AT] + gone * ((1 - PAYS_OFF) * states[0] + states[1:DEFAULT_AT].sum(axis=0))
        for unpaid in range(DEFAULT_AT):
            here = states[unpaid] * (1 - gone)
            missed = MISSES * expit(odds + float(effect(unpaid)))
            eased = here * missed * (RESTRUCTURED if 1 <= unpaid < DEFAULT_AT - 1 else 0.0)
            caught = here * (1 - missed) * (CATCHES_UP if unpaid else 1.0)
            after[unpaid + 1] += here * missed - eased
            after[0] += caught + eased
            after[unpaid] += here * (1 - missed) - caught
        states = after
    return np.asarray(states[DEFAULT_AT].mean(axis=1))


def _index(health: Reals, own: Reals, honesty: Reals) -> Reals:
    liquidity = PULL * health + OWN * own
    return WEIGHTS["health"] * health + WEIGHTS["liquidity"] * liquidity + WEIGHTS["honesty"] * honesty


def _moved(name: str, value: Reals, noise: Reals | float = 0.0) -> Reals:
    keep = PERSISTENCE[name]
    return np.asarray(keep * value + np.sqrt(1 - keep**2) * noise)
