"""A run's handle: no label serves twice, keys and draws are bound to session, stage and path, and both sides of a pair hold the same key."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as some
from scipy.stats import chisquare

from federation.kernel import suite
from federation.kernel.codec import Message
from federation.kernel.errors import LocalError
from federation.kernel.role import COORDINATOR, Randomness, Received, Run
from federation.kernel.secret import Secret
from tests.rooms import Room

NAMES = ("bank", "platform", "tax")
SEED = Secret(suite.digest("test_role", 1))


class Word(Message, frozen=True, tag="test/word"):
    """A message."""


def run(me: str = "bank", *, stage: str = "fit 1", session: bytes = bytes(32), path: tuple[str, ...] = ()) -> Run:
    made = Room(NAMES, session, stage).run(me)
    for name in path:
        made = made.within(name)
    return made


USES: dict[str, Callable[[Run], object]] = {
    "random": lambda r: r.random("a"),
    "pair": lambda r: r.pair_key("tax", "a"),
    "group": lambda r: r.group_key("a"),
    "effect": lambda r: r.effect("a", lambda: b""),
    "step": lambda r: next(r.step("a")),
}


@pytest.mark.parametrize("use", USES)
def test_no_label_serves_twice_in_one_stage(use: str) -> None:
    here = run()
    USES[use](here)
    with pytest.raises(LocalError, match="used twice"):
        USES[use](here)
    USES[use](here.within("deeper"))  # control: another path has labels of its own
    with pytest.raises(LocalError, match="used twice"):
        USES[use](here.within("deeper"))
    USES[use](run(stage="fit 2"))


def test_one_label_may_serve_each_use_once_and_they_are_unrelated() -> None:
    here = run()
    drawn = {
        here.random("a").bytes(32),
        here.pair_key("tax", "a").reveal(),
        here.pair_key("platform", "a").reveal(),
        here.group_key("a").reveal(),
    }
    assert len(drawn) == 4


PLACES = [
    {},
    {"stage": "fit 2"},
    {"session": b"\1" * 32},
    {"path": ("x",)},
    {"path": ("x", "y")},
    {"path": ("y", "x")},
    {"path": ("x/y",)},
]


@pytest.mark.parametrize("use", ["random", "pair", "group"])
def test_another_path_stage_or_session_gives_another_key(use: str) -> None:
    def key(place: dict[str, object], label: str = "a") -> bytes:
        here = run(**place)  # type: ignore[arg-type]
        if use == "random":
            return here.random(label).bytes(32)
        return (here.pair_key("tax", label) if use == "pair" else here.group_key(label)).reveal()

    distinct = PLACES[:-1]  # "x/y" is the path of ("x", "y"): one address, so one key, and `_claim` lets it serve once
    assert len({key(place) for place in distinct}) == len(distinct)
    assert key(PLACES[-1]) == key({"path": ("x", "y")})
    assert key({}) == key({})
    assert key({}) != key({}, "b")


def test_a_path_that_reads_like_another_cannot_reuse_its_labels() -> None:
    here = run()
    here.within("x").within("y").random("a")
    with pytest.raises(LocalError):
        here.within("x/y").random("a")


def test_both_sides_of_a_pair_hold_one_key_and_a_third_does_not() -> None:
    bank, tax, platform = run("bank"), run("tax"), run("platform")
    shared = bank.pair_key("tax", "mask")
    assert shared == tax.pair_key("bank", "mask")
    assert shared not in (bank.pair_key("platform", "mask"), platform.pair_key("bank", "mask"), platform.pair_key("tax", "mask"))


def test_a_key_bound_to_broadcasts_differs_where_two_were_shown_different_ones() -> None:
    def keys(name: str, peer: str, said: bytes) -> tuple[Secret, Secret]:
        here = run(name)
        seen = Run(replace(here._context, view=lambda: said))
        return seen.pair_key(peer, "a"), seen.pair_key(peer, "b", shown=True)

    (plain, bound), (also, same), (control, other) = keys("bank", "tax", b"x"), keys("tax", "bank", b"x"), keys("tax", "bank", b"y")
    assert plain == also == control
    assert bound == same != other


def test_members_share_the_group_key_and_other_members_another() -> None:
    assert run("bank").group_key("a") == run("tax").group_key("a")
    assert run("bank").group_key("a", ("bank", "tax")) != run("bank").group_key("a")
    assert run("bank").group_key("a", ("bank", "tax")) != run("bank").group_key("a", ("bank", "platform"))
    assert run(COORDINATOR).group_key("a") != run("bank").group_key("a")
    with pytest.raises(KeyError):
        run(COORDINATOR).pair_key("bank", "a")


def test_model_randomness_is_public_and_the_same_in_every_session_and_party() -> None:
    one, other = run("bank", session=b"\1" * 32), run("tax", session=b"\2" * 32)
    assert np.array_equal(one.model_random("split").random(5), other.model_random("split").random(5))
    assert not np.array_equal(one.model_random("split").random(5), one.model_random("batch").random(5))


def test_secret_randomness_is_reproduced_by_a_replay_alone() -> None:
    draws = [run().random("a").bytes(40) for _ in range(2)]
    assert draws[0] == draws[1]
    assert run("tax").random("a").bytes(40) != draws[0]


@settings(max_examples=100, deadline=None, derandomize=True)
@given(some.lists(some.integers(0, 9), max_size=8))
def test_however_it_is_cut_the_stream_is_one_stream(cuts: list[int]) -> None:
    whole = Randomness(SEED).words(sum(cuts))
    stream = Randomness(SEED)
    assert np.array_equal(np.concatenate([stream.words(cut) for cut in cuts] or [whole]), whole)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(some.integers(1, 1 << 70))
def test_below_stays_below(bound: int) -> None:
    stream = Randomness(SEED)
    assert all(0 <= stream.below(bound) < bound for _ in range(5))


@pytest.mark.parametrize("bound", [2, 3, 5, 6, 7])
def test_below_is_uniform(bound: int) -> None:
    stream, draws = Randomness(SEED), 7000
    counts = np.bincount([stream.below(bound) for _ in range(draws)], minlength=bound)
    p = chisquare(counts).pvalue
    print(f"seed 1: {draws} draws below {bound}, chi-square p = {p:.3f}")
    assert p > 1e-4


def test_permutations_are_uniform_and_control_a_sort_of_few_bits_is_not() -> None:
    every = {order: place for place, order in enumerate(permutations(range(4)))}
    stream, draws = Randomness(SEED), 12_000
    counts, coarse = np.zeros(len(every)), np.zeros(len(every))
    for _ in range(draws):
        counts[every[tuple(stream.permutation(4).tolist())]] += 1
        coarse[every[tuple(np.argsort(stream.words(4) % np.uint64(4), kind="stable").tolist())]] += 1  # ties stay in order
    fair, unfair = chisquare(counts).pvalue, chisquare(coarse).pvalue
    print(f"seed 1: {draws} permutations of 4, chi-square p = {fair:.3f}; control {unfair:.1e}")
    assert fair > 1e-4
    assert unfair < 1e-10


def test_a_permutation_is_drawn_again_where_two_words_are_equal(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = [np.array([5, 5, 1], np.uint64), np.array([2, 9, 1], np.uint64)]
    monkeypatch.setattr(Randomness, "words", lambda *_: answers.pop(0))
    assert Randomness(SEED).permutation(3).tolist() == [2, 0, 1]
    assert not answers


@pytest.mark.parametrize("count", [0, 1, 2, 1000])
def test_a_permutation_has_every_place_once(count: int) -> None:
    assert sorted(Randomness(SEED).permutation(count).tolist()) == list(range(count))


def test_a_message_of_another_kind_than_the_driver_checked_is_a_bug_and_said_to_be() -> None:
    class Other(Message, frozen=True, tag="test/other"):
        """Another."""

    received = Received({"bank": Word()})
    assert received.of("bank", Word) == Word()
    with pytest.raises(LocalError, match="bug"):
        received.of("bank", Other)
