"""More than 64 members: a coordinator in league with a tenth of them surrounds nobody, and cuts off no small group."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import hypergeom

from federation.kernel import suite
from federation.masked_sum.graph import IN_LEAGUE, SECURITY, degree, ring
from privacy.attacks import bonawitz as attack

SEED = 20_251_125
DRAWS = 200


@pytest.mark.parametrize("count", [65, 128, 500])
def test_on_a_graph_that_nobody_chose_a_tenth_in_league_surrounds_nobody(count: int) -> None:
    """With both secrets of one member the league would need 2t - (k + 1) of its neighbours; a group cut off has k + 2 - t honest members."""
    members = tuple(f"b{place}" for place in range(count))
    k, threshold = degree(count)
    league_size, rng = int(np.ceil(IN_LEAGUE * count)), np.random.default_rng(SEED)
    most, smallest = 0, count
    for draw in range(DRAWS):
        graph = ring(members, suite.digest("draw", str(SEED), str(draw)))
        league = frozenset(rng.choice(np.array(members), league_size, replace=False).tolist())
        most = max(most, *attack.in_league_nearby(graph, league).values())
        smallest = min(smallest, attack.smallest_cut(graph, league))
    print(
        f"seed {SEED}: {count} members, k = {k}, t = {threshold}: at most {most} in league nearby in {DRAWS} draws, {2 * threshold - k - 1} needed"
    )
    print(f"smallest group that could be cut off {smallest}, at least {k + 2 - threshold} but for a chance of 2^-{SECURITY}")
    assert most < 2 * threshold - (k + 1)
    assert smallest >= k + 2 - threshold
    assert hypergeom.sf(2 * threshold - k - 2, count - 1, league_size, k) * count < 2.0**-SECURITY


def test_control_on_a_graph_of_its_own_choice_a_coordinators_league_surrounds_a_member() -> None:
    """A tenth of 500 is enough for one neighbourhood: that nobody chooses who sits where is what stands in the way."""
    count = 500
    members = tuple(f"b{place}" for place in range(count))
    k, threshold = degree(count)
    league = frozenset(members[: int(np.ceil(IN_LEAGUE * count))])
    graph = attack.seated(members, league, k, threshold)
    assert max(attack.in_league_nearby(graph, league).values()) >= 2 * threshold - (k + 1)
