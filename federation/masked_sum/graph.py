"""Who shares masks with whom when members are many: the k-regular graph of Bell et al. 2020 (CCS, "Secure single-server aggregation with
(poly)logarithmic overhead", section 3).

Members stand on a ring in an order drawn from a seed that nobody could choose (`session.draw_lots`), and each is joined to the k/2 before and
the k/2 after it. A member and its k neighbours hold the shares of its secrets, t of k + 1 open one. k is the least even number such that,
by the exact hypergeometric tails and a union bound over all members, with a tenth of the members in league with the coordinator and a tenth
lost at random,

    P[some member has 2t - (k + 1) or more neighbours in league]    < 2^-40    then nobody can be made to give up both secrets of one member
    P[some member has fewer than t neighbours left]                 < 2^-20    then the sum cannot be opened and the run ends

with t the least above two thirds of k + 1. Lost at random, the survivors stay connected but for a chance far below both: k/2 next to each other
would have to go, twice. A coordinator that chooses who is lost can cut a group off and open the sum over it alone; but everyone goes on only
where t of its k + 1 do, and by the first bound fewer than 2t - (k + 1) of these are in league, so a group has k + 2 - t honest members or more.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from federation.kernel import suite

IN_LEAGUE, LOST = 0.1, 0.1
SECURITY, CORRECTNESS = 40, 20
"""Negative base-two logarithms of the two probabilities."""


@dataclass(frozen=True)
class Graph:
    """near: of each member the k + 1 who hold its shares, itself among them; threshold: how many of them open one."""

    near: Mapping[str, frozenset[str]]
    threshold: int


@lru_cache(maxsize=64)
def degree(count: int) -> tuple[int, int]:
    """The degree k and the threshold t for so many members. Source: Bell et al. 2020, theorem 3.10's events, tails exact."""
    from scipy.stats import hypergeom  # late: scipy.stats takes half a second to import, and few parties need no graph

    league, lost = int(np.ceil(IN_LEAGUE * count)), int(np.ceil(LOST * count))
    for k in range(16, count - 1, 2):
        holders = k + 1
        threshold = 2 * holders // 3 + 1
        forced = hypergeom.sf(2 * threshold - holders - 1, count - 1, league, k)
        stuck = hypergeom.sf(holders - threshold - 1, count - 1, lost, k)
        if forced * count < 2.0**-SECURITY and stuck * count < 2.0**-CORRECTNESS:
            return k, threshold
    return count - 1, 2 * count // 3 + 1


@lru_cache(maxsize=8)
def ring(members: tuple[str, ...], seed: bytes) -> Graph:
    """The graph of these members from a seed of 32 bytes: everybody computes the same."""
    k, threshold = degree(len(members))
    draw = np.random.Generator(np.random.Philox(int.from_bytes(suite.digest("graph", seed)[:16], "little")))
    order = [members[place] for place in draw.permutation(len(members))]
    half, count = k // 2, len(members)
    near = {
        name: frozenset(order[(place + step) % count] for step in range(-half, half + 1)) if k < count - 1 else frozenset(members)
        for place, name in enumerate(order)
    }
    return Graph(near, threshold)
