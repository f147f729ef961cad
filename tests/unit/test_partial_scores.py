"""Partial scores to a label party: exact sums at its own positions, in its own order, and refusals before anything is sent."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from federation.kernel.errors import ConfigurationError, LocalError, PolicyRefusal
from federation.kernel.role import COORDINATOR, Role, Run
from federation.masked_sum.fixed_point import FixedPoint
from federation.masked_sum.partial_scores import receive_scores, route_scores, send_scores
from federation.models.scores import SCORE_CLIP, Consortium
from tests.rooms import Room
from tests.staged import staged

BANKS = ("bank-a", "bank-b")
PARTNERS = ("platform", "tax", "court", "registry")
GRID = FixedPoint(2.0**15, len(PARTNERS), 40)


def play(
    scores: dict[str, NDArray[Any]], positions: NDArray[np.int64], extra: dict[str, NDArray[Any]] | None = None, **options: Any
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """What the label party bank-a holds afterwards."""
    features, universe = tuple(scores), len(next(iter(scores.values())))
    extra = extra or {name: np.zeros(0) for name in features}
    extras = len(next(iter(extra.values())))
    room = Room((*BANKS, *features))
    roles: dict[str, Any] = {f: send_scores(room.run(f), BANKS[0], scores[f], GRID, features, extra[f], **options) for f in features}
    roles[BANKS[0]] = receive_scores(room.run(BANKS[0]), features, positions, universe, GRID, extras, **options)
    roles[COORDINATOR] = route_scores(room.run(COORDINATOR), BANKS[0], features, positions, universe, extras)
    result: tuple[NDArray[np.float64], NDArray[np.float64]] = room.play(roles)[BANKS[0]]
    return result


@settings(max_examples=40, deadline=None, derandomize=True)
@given(st.data())
def test_scores_and_extras_are_the_exact_sums_on_the_grid(data: st.DataObject) -> None:
    universe, extras = data.draw(st.integers(1, 12)), data.draw(st.integers(0, 3))
    features = PARTNERS[: data.draw(st.integers(2, 4))]
    order = data.draw(st.permutations(range(universe)))
    positions = np.array(order[: data.draw(st.integers(0, universe))], np.int64)
    number = st.floats(-(2.0**15), 2.0**15) | st.sampled_from([-(2.0**15), 2.0**15, 0.0])
    draw = {f: np.array([data.draw(number) for _ in range(universe + extras)]) for f in features}
    grid = {f: [int(x) for x in GRID.encode(draw[f])] for f in features}
    exact = GRID.decode(np.array([sum(column) for column in zip(*grid.values(), strict=True)], np.int64))
    scores, extra = play({f: draw[f][:universe] for f in features}, positions, {f: draw[f][universe:] for f in features})
    assert np.array_equal(scores, exact[:universe][positions])
    assert np.array_equal(extra, exact[universe:])


def test_extras_may_have_a_grid_of_their_own() -> None:
    wide = FixedPoint(1e9, 4, 8)
    extra = {f: np.array([9e8]) for f in PARTNERS}
    _, total = play({f: np.zeros(3) for f in PARTNERS}, np.array([1]), extra, extra_encoding=wide)
    assert total.tolist() == [3.6e9]


def test_a_single_feature_party_is_refused_unless_the_run_accepts_it() -> None:
    scores = {PARTNERS[0]: np.array([1.0, 2.0, 3.0])}
    room = Room((BANKS[0], PARTNERS[0]))
    with pytest.raises(PolicyRefusal):
        next(send_scores(room.run(PARTNERS[0]), BANKS[0], scores[PARTNERS[0]], GRID, PARTNERS[:1]))
    with pytest.raises(PolicyRefusal):
        next(receive_scores(room.run(BANKS[0]), PARTNERS[:1], np.array([0]), 3, GRID))
    total, _ = play(scores, np.array([2, 0]), single_partner=True)
    assert total.tolist() == [3.0, 1.0]


@pytest.mark.parametrize("beyond", [SCORE_CLIP * 1.01, np.inf, np.nan], ids=["beyond the clip", "infinite", "no number"])
def test_a_fit_that_grows_without_bound_says_what_to_do_before_anything_is_sent(beyond: float) -> None:
    run, group = Room((BANKS[0], *PARTNERS)).run(PARTNERS[0]), Consortium(BANKS[0], PARTNERS, (BANKS[0], *PARTNERS))
    with pytest.raises(LocalError, match=r"C = 1\.0") as caught:
        next(group.send(run, np.array([0.0, beyond])))
    assert str(beyond) not in str(caught.value) and "Nothing was sent" in str(caught.value)
    with pytest.raises(LocalError, match=r"C = 1\.0"):
        next(group.send(run, np.zeros(2), np.array([group.scalars.clip * 1.01])))
    next(group.send(run, np.array([0.0, SCORE_CLIP])))  # as far as it goes


def test_parties_in_the_wrong_place_are_refused() -> None:
    def send(label: str, features: tuple[str, ...]) -> Role[None]:
        return send_scores(Room((*BANKS, *PARTNERS)).run(PARTNERS[0]), label, np.zeros(2), GRID, features)

    for label, features in (
        (PARTNERS[0], PARTNERS), (BANKS[0], PARTNERS[1:]), (BANKS[0], (*PARTNERS, PARTNERS[0])), (BANKS[0], (*PARTNERS, "fifth")),
        (BANKS[0], (PARTNERS[0], COORDINATOR)), (COORDINATOR, PARTNERS),
    ):  # fmt: skip
        with pytest.raises(ConfigurationError):
            next(send(label, features))
    with pytest.raises(ConfigurationError):
        next(receive_scores(Room((*BANKS, *PARTNERS)).run(BANKS[0]), (*PARTNERS[:2], BANKS[0]), np.array([0]), 2, GRID))


def test_positions_that_are_no_rows_are_refused() -> None:
    for positions in ([0, 0], [-1], [5], [[1]], [0.5]):
        with pytest.raises(LocalError, match="positions"):
            next(receive_scores(Room((*BANKS, *PARTNERS)).run(BANKS[0]), PARTNERS, np.array(positions), 5, GRID))
        with pytest.raises(LocalError, match="positions"):
            next(route_scores(Room((*BANKS, *PARTNERS)).run(COORDINATOR), BANKS[0], PARTNERS, np.array(positions), 5))


def test_a_score_beyond_the_clip_is_refused_and_never_shown() -> None:
    with pytest.raises(LocalError, match="1 of 2") as caught:
        next(send_scores(Room((*BANKS, *PARTNERS)).run(PARTNERS[0]), BANKS[0], np.array([1.0, 54321.9]), GRID, PARTNERS))
    assert "54321" not in str(caught.value)


def _timed(name: str, role: Role[Any], seconds: dict[str, float]) -> Role[Any]:
    received: Any = None
    while True:
        start = time.perf_counter()
        try:
            step = role.send(received)
        except StopIteration as end:
            seconds[name] = seconds.get(name, 0.0) + time.perf_counter() - start
            return end.value
        seconds[name] = seconds.get(name, 0.0) + time.perf_counter() - start
        received = yield step


def test_a_hundred_thousand_positions_take_under_50_ms_per_party() -> None:
    universe, features = 100_000, PARTNERS[:3]
    rng = np.random.default_rng(6)
    positions = rng.permutation(universe)[:30_000]
    scores = {f: rng.normal(0, 3, universe) for f in features}
    best: dict[str, float] = {}
    for _ in range(5):
        room, seconds = Room((BANKS[0], *features)), {}  # type: tuple[Room, dict[str, float]]
        roles: dict[str, Any] = {f: send_scores(room.run(f), BANKS[0], scores[f], GRID, features) for f in features}
        roles[BANKS[0]] = receive_scores(room.run(BANKS[0]), features, positions, universe, GRID)
        roles[COORDINATOR] = route_scores(room.run(COORDINATOR), BANKS[0], features, positions, universe)
        room.play({name: _timed(name, role, seconds) for name, role in roles.items()})
        best = {name: min(value, best.get(name, value)) for name, value in seconds.items()}
    print({name: f"{1000 * value:.1f} ms" for name, value in best.items()})
    assert max(best.values()) < 0.05


# -- two label parties, through envelopes and crashes -----------------------------------------------------------------------------


def _exchanged(me: str, run: Run, _: int) -> Role[list[float]]:
    """Every bank gets the partners' scores at its own positions."""
    features, positions = PARTNERS[:2], {BANKS[0]: np.array([4, 1]), BANKS[1]: np.array([0, 4, 2])}
    if me in BANKS:
        scores, _ = yield from receive_scores(run, features, positions[me], 5, GRID)
        return scores.tolist()
    for bank in BANKS:
        if me == COORDINATOR:
            yield from route_scores(run, bank, features, positions[bank], 5)
        else:
            yield from send_scores(run, bank, np.arange(5.0) * (1 + features.index(me)), GRID, features)
    return []


@pytest.mark.parametrize("killed", [False, True])
def test_two_banks_get_their_own_rows_through_envelopes_and_crashes(killed: bool) -> None:
    parties = staged(_exchanged, *BANKS, *PARTNERS[:2], killed=lambda party, number: killed).play()
    assert {n: p.failure for n, p in parties.items()} == dict.fromkeys(parties)
    assert parties[BANKS[0]].state.each == ((12.0, 3.0),)
    assert parties[BANKS[1]].state.each == ((0.0, 12.0, 6.0),)
