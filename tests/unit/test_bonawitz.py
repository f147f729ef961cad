"""The masked sum with drop-outs: the exact sum of whoever's input came, or a clean end; never a wrong sum."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from federation.kernel.errors import ConfigurationError, LostParty, PolicyRefusal
from federation.kernel.role import COORDINATOR
from federation.masked_sum.bonawitz import Circle, least_threshold, sum_coordinator, sum_member
from federation.masked_sum.fixed_point import FixedPoint
from tests.rooms import Room

PLACES = 5
"""Advert, input, seen, unmask, and the hearing of the total."""
STAYS = PLACES


def names(count: int) -> tuple[str, ...]:
    return tuple(f"bank{place:02d}" for place in range(count))


def played(count: int, gone: dict[str, int], threshold: int | None = None, length: int = 3, session: int = 0):
    """What each party returned, and the inputs."""
    members = names(count)
    circle = Circle(members, threshold or least_threshold(count))
    encoding = FixedPoint(2.0**30, count, 0)
    inputs = {name: np.arange(length, dtype=np.int64) * (7 + place) - 1000 * place for place, name in enumerate(members)}
    room = Room(members, session=session.to_bytes(32, "little"), gone={name: place for name, place in gone.items() if place < PLACES})
    roles = {name: sum_member(room.run(name), inputs[name], encoding, circle) for name in members}
    roles[COORDINATOR] = sum_coordinator(room.run(COORDINATOR), circle, 100)
    return room.play(roles), inputs, circle


def judge(count: int, gone: dict[str, int], session: int = 0) -> str:
    """ "summed" or "ended", after checking that it is the one or the other that it had to be."""
    members = names(count)
    place = {name: gone.get(name, STAYS) for name in members}
    answering = [sum(place[name] > step for name in members) for step in range(4)]  # who sends advert, input, seen, unmask
    must_end = min(answering) < least_threshold(count)
    try:
        out, inputs, _ = played(count, gone, session=session)
    except LostParty:
        assert must_end, "a run that could have gone on ended"
        return "ended"
    assert not must_end, "a sum was opened below the threshold"
    survivors = tuple(name for name in members if place[name] >= 2)
    want = np.sum([inputs[name] for name in survivors], axis=0)
    for name in members:
        if place[name] >= PLACES - 1 and name in out:
            total, told = out[name]
            assert told == survivors
            np.testing.assert_array_equal(total, want)
    return "summed"


def test_everyone_stays() -> None:
    assert judge(5, {}) == "summed"


def test_no_drop_out_pattern_of_five_gives_a_wrong_sum() -> None:
    """Every member is lost at one of five places or stays: 6^5 patterns, of which a sample runs here and all in `make test-all`."""
    patterns = list(itertools.product(range(PLACES + 1), repeat=5))
    few = [pattern for pattern in patterns if sum(place < STAYS for place in pattern) <= 1]
    rng = np.random.default_rng(4)
    chosen = few + [patterns[i] for i in rng.choice(len(patterns), 150, replace=False)]
    found = [judge(5, dict(zip(names(5), pattern, strict=True))) for pattern in chosen]
    print(f"seed 4: 0 wrong sums of {len(found)}; {found.count('summed')} summed, {found.count('ended')} ended")
    assert found.count("summed") >= len(few)


@pytest.mark.slow
def test_all_7776_patterns_of_five() -> None:
    patterns = list(itertools.product(range(PLACES + 1), repeat=5))
    found = [judge(5, dict(zip(names(5), pattern, strict=True))) for pattern in patterns]
    print(f"0 wrong sums of {len(found)}; {found.count('summed')} summed, {found.count('ended')} ended")
    assert len(found) == 7776


@pytest.mark.slow
def test_ten_thousand_random_patterns_up_to_sixty_four() -> None:
    rng = np.random.default_rng(11)
    found = []
    for session in range(10_000):
        count = int(np.clip(np.round(5 * 2 ** (rng.random() ** 3 * 3.678)), 5, 64))  # mostly small, since cost grows as its square
        share = rng.choice([0.05, 0.2, 0.4])
        gone = {name: int(rng.integers(0, PLACES)) for name in names(count) if rng.random() < share}
        found.append(judge(count, gone, session))
    print(f"seed 11: 0 wrong sums of {len(found)}; {found.count('summed')} summed, {found.count('ended')} ended")


def test_a_threshold_of_two_thirds_or_less_is_refused() -> None:
    for count in range(3, 65):
        least = least_threshold(count)
        assert 3 * least > 2 * count >= 3 * (least - 1)
        Circle(names(count), least)
        with pytest.raises(PolicyRefusal, match="threshold"):
            Circle(names(count), least - 1)
        with pytest.raises(PolicyRefusal):
            Circle(names(count), count + 1)


def test_a_threshold_of_one_is_refused() -> None:
    with pytest.raises(PolicyRefusal):
        Circle(names(8), 1)


def test_two_members_are_refused() -> None:
    with pytest.raises(PolicyRefusal):
        Circle(names(2), 2)


def test_the_threshold_does_not_fall_with_the_members() -> None:
    circle = Circle(names(8), 6)
    assert circle.without(names(6)).threshold == 6
    with pytest.raises(PolicyRefusal):
        Circle(names(3), 2, started=8)
    with pytest.raises(ConfigurationError):
        Circle((*names(3), names(3)[0]), 3)
