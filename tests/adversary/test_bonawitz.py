"""Known attacks on masked sums with drop-outs: each breaks a weakened copy exactly and gets nothing out of ours.

The attacker is the coordinator with one or more members in league, who hold the group mask and tell and sign what it likes: so what stands
in its way is the protection concerned, and not the mask that hides the sum from a coordinator alone.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from federation.kernel import suite
from federation.kernel.codec import Message
from federation.kernel.errors import LocalError, PolicyRefusal
from federation.kernel.role import COORDINATOR, Role, Run
from federation.kernel.secret import Secret
from federation.masked_sum import bonawitz
from federation.masked_sum.bonawitz import Circle, Roster, Shares, sum_member
from federation.masked_sum.fixed_point import FixedPoint, Integers
from privacy.attacks import bonawitz as attack
from privacy.attacks.bonawitz import Loot, ServerKeys, ServersCircle
from tests.bonawitz_scene import BANKS, CIRCLE, SPY, TARGET, Scene, views, without
from tests.hall import REFUSED, WAITS, Hall

# -- overlapping lists of active and dead -------------------------------------------------------------------------------------------


def test_control_lists_that_overlap_open_one_member() -> None:
    """Flower's members give both shares of whoever is on both lists."""
    scene = Scene(CIRCLE, "disjoint lists")
    scene.play(lambda run, loot, league: attack.ask_by_lists(run, loot, BANKS, (TARGET,)))
    assert scene.loot.both() == [TARGET]
    np.testing.assert_array_equal(scene.read(TARGET), scene.truth(TARGET))


OVERLAPS: dict[str, tuple[str, ...]] = {
    "a member twice": (*BANKS, TARGET),
    "a member twice in its place": (*BANKS[:4], TARGET, BANKS[4]),
    "in another order": (TARGET, *without(TARGET)),
    "a name of nobody": (*BANKS, "bank9"),
    "the coordinator": (*BANKS, COORDINATOR),
    "fewer than the threshold": BANKS[:3],
    "nobody": (),
}


def test_lists_that_overlap_get_nothing_from_our_members() -> None:
    """One list says it all: who is not on it is dead. A list that is not members in order, each once, is refused by everyone."""
    scene = Scene(CIRCLE)
    results = scene.play(lambda run, loot, league: attack.ask_by_lists(run, loot, BANKS, (TARGET,)))
    assert all(results[name] == REFUSED for name in BANKS)
    assert scene.loot.both() == []
    for name, told in OVERLAPS.items():
        scene = Scene(CIRCLE)
        results = scene.play(views(dict.fromkeys(BANKS, told)))
        assert all(results[bank] == REFUSED for bank in BANKS), name
        assert released(scene.hall) == {}
        assert scene.read(TARGET) is None


def released(hall: Hall) -> dict[str, set[str]]:
    """Of whom members released a share, and of which secrets."""
    out: dict[str, set[str]] = {}
    for delivery in hall.sent:
        if isinstance(delivery.message, bonawitz.Unmask):
            for name in delivery.message.seeds:
                out.setdefault(name, set()).add("seed")
            for name in delivery.message.keys:
                out.setdefault(name, set()).add("key")
    return out


# -- split views of the survivors ---------------------------------------------------------------------------------------------------

SPLIT = {BANKS[0]: without(TARGET), BANKS[1]: without(TARGET), BANKS[2]: BANKS, TARGET: BANKS}


def test_control_split_views_open_one_member_under_a_threshold_of_a_majority() -> None:
    """3 of 5 and one in league: both views have signatures enough, and both secrets of one member shares enough."""
    scene = Scene(ServersCircle(BANKS, 3), "threshold")
    scene.play(views(SPLIT))
    assert scene.loot.both() == [TARGET]
    np.testing.assert_array_equal(scene.read(TARGET), scene.truth(TARGET))


def test_that_threshold_is_refused() -> None:
    with pytest.raises(PolicyRefusal, match="threshold"):
        Circle(BANKS, 3)


def test_no_split_view_gets_a_share_of_both_kinds_from_our_members() -> None:
    """Every way to show or not show one member as a survivor to each of the four others and to itself; one or two in league: 0 of N."""
    tried = 0
    for spies in ((SPY,), (BANKS[2], SPY)):
        for shown in itertools.product([True, False], repeat=5 - len(spies)):
            honest = without(*spies)
            split = {name: BANKS if here else without(TARGET) for name, here in zip(honest, shown, strict=True)}
            scene = Scene(CIRCLE, spies=spies)
            results = scene.play(views(split))
            assert scene.loot.both() == []
            assert scene.read(TARGET) is None
            assert all(len(kinds) == 1 for kinds in released(scene.hall).values())
            assert all(results[name] in (REFUSED, WAITS) for name in honest)
            tried += 1
    print(f"split views: 0 members opened of {tried}")
    assert tried == 24


SEVEN = tuple(f"bank{place}" for place in range(7))
LOST = {  # each of three is said to be lost to three honest members, none of whom is told that more than two are
    "bank0": ("bank1", "bank2"),
    "bank1": ("bank0", "bank2"),
    "bank2": ("bank0", "bank1"),
    "bank3": ("bank0", "bank1"),
    "bank4": ("bank2",),
}
SPLIT_SEVEN = {name: without(*lost, of=SEVEN) for name, lost in LOST.items()}
LEAGUE = SEVEN[5:]


def test_control_without_the_agreement_split_views_open_the_sum_of_two_under_our_threshold() -> None:
    """No member's secrets are both had, and yet the sum is over fewer than threshold less those in league: what the agreement is for."""
    scene = Scene(Circle(SEVEN, 5), "agreement", LEAGUE)
    scene.play(views(SPLIT_SEVEN, agreement=False))
    assert scene.loot.both() == []
    np.testing.assert_array_equal(scene.read("bank3", "bank4"), scene.truth("bank3", "bank4"))


def test_with_the_agreement_the_same_views_release_nothing() -> None:
    scene = Scene(Circle(SEVEN, 5), spies=LEAGUE)
    results = scene.play(views(SPLIT_SEVEN))
    assert [results[name] for name in LOST] == [REFUSED] * 5
    assert released(scene.hall) == {}
    assert scene.read("bank3", "bank4") is None


def test_our_members_open_a_sum_over_no_fewer_than_the_threshold() -> None:
    """The most that the coordinator and two in league have of seven, by saying that two are lost: the sum over three."""
    scene = Scene(Circle(SEVEN, 5), spies=LEAGUE)
    left = SEVEN[2:]
    scene.play(views(dict.fromkeys(left, left)))
    np.testing.assert_array_equal(scene.read("bank2", "bank3", "bank4"), scene.truth("bank2", "bank3", "bank4"))
    for size in (1, 2):
        for names in itertools.combinations(SEVEN[:5], size):
            assert scene.read(*names) is None


# -- a second set of survivors ------------------------------------------------------------------------------------------------------


def twice(run: Run, loot: Loot, league: dict[str, Run]) -> Role[None]:
    """Once with the target and, when the shares are in, once without it."""
    yield from attack.ask(run, loot, dict.fromkeys(BANKS, BANKS), league)
    rest = without(TARGET)
    yield from attack.ask(run, loot, dict.fromkeys(rest, rest), league, again=" again")


def test_control_a_second_survivor_set_opens_one_member() -> None:
    scene = Scene(CIRCLE, "one survivor set")
    scene.play(twice)
    assert TARGET in scene.loot.both()
    np.testing.assert_array_equal(scene.read(TARGET), scene.truth(TARGET))


def test_our_members_refuse_a_second_survivor_set() -> None:
    scene = Scene(CIRCLE)
    results = scene.play(twice)
    assert all(results[name] == REFUSED for name in without(TARGET))
    assert scene.loot.both() == []
    assert all(kinds == {"seed"} for kinds in released(scene.hall).values())
    assert scene.read(TARGET) is None


def test_a_step_done_twice_is_refused_at_its_first_key() -> None:
    """The same place of the session again, in the same process: no second input under the first one's masks."""
    run = Hall(BANKS).run(BANKS[0])
    encoding = FixedPoint(1000, 5, 0)
    next(sum_member(run, np.arange(3), encoding, CIRCLE))
    with pytest.raises(LocalError, match="used twice"):
        next(sum_member(run, np.arange(3) + 1, encoding, CIRCLE))


# -- a threshold of one -------------------------------------------------------------------------------------------------------------


def nothing(_run: Run, _loot: Loot, _league: dict[str, Run]) -> Role[None]:
    """Ask for no share at all."""
    yield from ()


def test_control_a_threshold_of_one_opens_everyone_to_one_member_in_league() -> None:
    """One share is the secret: inputs are read before anything is asked for."""
    scene = Scene(ServersCircle(BANKS, 1), "threshold")
    scene.play(nothing)
    for name in without(SPY):
        np.testing.assert_array_equal(scene.read(name), scene.truth(name))


def test_ours_refuses_that_threshold_and_no_message_carries_one() -> None:
    for count in range(3, 65):
        for threshold in (1, 2, 2 * count // 3):
            with pytest.raises(PolicyRefusal):
                Circle(tuple(f"bank{place}" for place in range(count)), threshold)
    fields = {f for kind in (bonawitz.Advert, Roster, bonawitz.Survivors, bonawitz.Agreement) for f in kind.__struct_fields__}
    assert fields == {"key", "length", "names", "signatures"}


def test_under_our_threshold_the_shares_of_members_in_league_open_nobody() -> None:
    for spies in ((SPY,), BANKS[3:], BANKS[2:]):
        scene = Scene(CIRCLE, spies=spies)
        scene.play(nothing)
        assert all(scene.read(name) is None for name in without(*spies))


# -- exchanged keys -----------------------------------------------------------------------------------------------------------------

FAKE = {name: Secret(suite.digest("fake", name)) for name in BANKS}


def handed(scene: Scene) -> Callable[[str], Message]:
    """To each member its own true key, and false ones of all others."""

    def roster(name: str) -> Message:
        keys = {other: suite.agreement_public(FAKE[other]) for other in BANKS}
        return ServerKeys(keys | {name: scene.loot.keys[name]})

    return roster


def taken(scene: Scene, target: str) -> Integers | None:
    """The target's integers, where its peers' keys are the coordinator's."""
    scene.loot.known = {name: FAKE[name] for name in BANKS if name != target}
    return scene.read(target)


def test_control_keys_that_the_coordinator_hands_out_open_everyone() -> None:
    scene = Scene(CIRCLE, "certified keys")
    scene.play(views(dict.fromkeys(BANKS, BANKS)), handed(scene))
    for name in without(SPY):
        np.testing.assert_array_equal(taken(scene, name), scene.truth(name))


def test_our_members_take_keys_from_each_other_alone() -> None:
    """Keys in the roster are refused; with the true roster the members' masks are under keys that the coordinator never had."""
    scene = Scene(CIRCLE)
    results = scene.play(nothing, handed(scene))
    assert [results[name] for name in BANKS] == [REFUSED] * 5
    assert scene.loot.inputs == {}
    scene = Scene(CIRCLE)
    scene.play(views(dict.fromkeys(BANKS, BANKS)))
    for name in without(SPY):
        guess = taken(scene, name)
        assert guess is not None
        assert not (guess == scene.truth(name)).any()


def test_a_low_order_key_is_refused() -> None:
    """The one key that would make a pair's mask known to all."""
    for low in (bytes(32), (1).to_bytes(32, "little")):
        scene = Scene(CIRCLE)

        def forged(delivery: Any, low: bytes = low) -> list[Any]:
            message = delivery.message
            if isinstance(message, Shares) and delivery.sender == SPY:
                message = Shares(low, message.key_share, message.seed_share)
            return [type(delivery)(delivery.sender, delivery.recipient, delivery.address, delivery.step, message, 0)]

        scene.hall.post = forged
        results = scene.play(nothing)
        assert all(results[name] == REFUSED for name in without(SPY))
        assert set(scene.loot.inputs) <= {SPY}
