"""Totals with noise, through masks: the stated noise is there whoever is lost, a sum without it never opens, and a row stays as hidden as stated."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest

from federation.kernel.manifest import BinningSettings, Manifest, PrivacySettings
from federation.kernel.role import COORDINATOR
from federation.models.horizontal import program
from federation.models.horizontal.bank import bank_of
from federation.models.horizontal.noise import Noise, Release, with_noise
from federation.models.horizontal.private_statistics import SCHEDULE as STATISTICS
from federation.models.horizontal.program import Adder, Bank
from federation.models.training import Local
from federation.noise import accounting
from privacy.attacks import noise as attack
from tests.bank_case import BankCase, bank_table, opened
from tests.post import Post
from tests.rooms import Room

FIVE = tuple(f"bank{place}" for place in range(5))
STATED = PrivacySettings(epsilon=1.0, delta=1e-6)


def tables(rows: int = 300) -> dict[str, Any]:
    return {name: bank_table(place, rows, categorical=False) for place, name in enumerate(FIVE)}


def case(make: Callable[..., Bank[Any]] = bank_of, **changes: Any) -> BankCase:
    return BankCase(tables(), {"task": "statistics", "privacy": STATED} | changes, make=make)


def without_noise(manifest: Manifest, me: str, local: Local) -> Bank[Any]:
    """A weakened copy: it makes the plan of a run with epsilon, and adds nothing."""
    bank = bank_of(manifest, me, local)
    bank.noise = None
    return bank


def differences(here: BankCase, dies: dict[str, str] | None = None) -> tuple[list[Any], list[int]]:
    """Of each sum what the total has beyond the survivors' own numbers, and how many banks were in it."""
    heard = {name: opened(bank) for name, bank in here.banks.items()}
    post = here.play(dies)
    staying = [name for name in FIVE if name not in (dies or {})]
    assert all(post.parties[name].finished for name in staying)
    beyond, counts = [], []
    for number, first in enumerate(heard[staying[0]]):
        inside = [name for name in FIVE if len(heard[name]) > number]
        beyond.append(first.total - sum(heard[name][number].own for name in inside))
        counts.append(first.banks)
        assert len(inside) == first.banks
    return beyond, counts


@pytest.mark.parametrize("lost", [{}, {"bank3": "sum 0"}, {"bank1": "sum 2"}])
def test_every_total_has_its_noise_with_and_without_a_lost_bank(lost: dict[str, str]) -> None:
    here = case()
    plan = here.banks["bank0"].make({})
    beyond, counts = differences(here, lost)
    noise = Noise.of(here.manifest)
    assert noise is not None and len(beyond) == len(STATISTICS)
    release = noise.counts(STATISTICS[0][1], 2 + len(plan.columns))
    assert beyond[0].std() == pytest.approx(release.spread(counts[0]), rel=0.05)  # 8,197 numbers
    for sum_ in beyond:
        assert (sum_ != 0).any()
    assert counts == [5 - any(int(stage[4:]) <= number for stage in lost.values()) for number in range(len(beyond))]


def test_control_a_copy_that_adds_no_noise_opens_exact_totals() -> None:
    beyond, _ = differences(case(without_noise))
    assert all((np.abs(sum_) < 1e-9).all() for sum_ in beyond)


def test_one_bank_that_keeps_its_noise_to_itself_is_what_the_league_is_for() -> None:
    """With the fewest banks there and one of them in league the total still has the stated variance: at least s, and at most 5 % more."""
    noise = Noise.of(case().manifest)
    assert noise is not None
    share, square, numbers = 0.5, 4, 60_000
    release = noise.counts(share, square)

    class Plan:
        schedule = (("one", share),)

        def release(self, _state: Any) -> Release:
            return release

    room = Room(FIVE)
    drawn = [with_noise(room.run(name), noise, Plan(), None, np.zeros(numbers), 0) for name in FIVE]
    stated = square / (2 * share * noise.rho)
    honest = sum(drawn[:3])  # four of five stay, and one of the four tells the reader its own
    assert stated * 0.97 < honest.var() < stated * 1.05
    assert sum(drawn[:2]).var() < stated * 0.75  # the control: two in league are one too many for this noise
    print(f"stated variance {stated:.1f}; of three banks {honest.var():.1f}, of all five {sum(drawn).var():.1f}")


# -- is a row in it -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("epsilon", [0.5, 1.0, 2.0])
def test_membership_is_told_no_better_than_stated_and_control_without_noise_it_is_told(epsilon: float) -> None:
    """Each number is an attack of its own: a count of which the attacker knows all but the one row; the whole epsilon is spent on it."""
    delta, trials = 1e-6, 60_000
    noise = Noise(epsilon, delta, accounting.rho_of(epsilon, delta), 3)
    release = noise.counts(1.0, 1)

    class Plan:
        schedule = (("one", 1.0),)

        def release(self, _state: Any) -> Release:
            return release

    room = Room(FIVE)
    own = np.concatenate([np.ones(trials), np.zeros(trials)])  # of the first bank: the row is there, or not
    total = sum(with_noise(room.run(name), noise, Plan(), None, own if name == FIVE[0] else 0 * own, 0) for name in FIVE[:3])
    found = attack.excess(total[:trials], total[trials:], epsilon, delta)
    assert found < 5
    assert attack.excess(own[:trials], own[trials:], epsilon, delta) > 100
    quiet = own + (total - own) / 6  # another control: with a sixth of the noise the bound breaks
    assert attack.excess(quiet[:trials], quiet[trials:], epsilon, delta) > 5
    print(f"epsilon {epsilon}: best threshold {found:.1f} standard errors beyond the bound (5 would break it), {2 * trials:,} trials")


# -- killed -------------------------------------------------------------------------------------------------------------------------


def posted(killed: Callable[[str, int], bool] = lambda _party, _number: False) -> Post:
    """The run with epsilon; a killed bank is built anew, its program too."""
    settings = {"model": "scorecard", "binning": BinningSettings(max_bins=3), "privacy": PrivacySettings(epsilon=60.0, delta=1e-3)}
    here = BankCase(tables(60), {"task": "binning"} | settings)
    programs: dict[str, Any] = {name: partial(bank_of, here.manifest, name, Local(table)) for name, table in here.tables.items()}
    post = Post(here.manifest, programs | {COORDINATOR: lambda: Adder(here.manifest)}, killed=killed)
    post.play()
    return post


def sent(post: Post) -> list[tuple[str, str, bytes]]:
    assert all(party.finished and party.failure is None for party in post.parties.values()), {n: p.failure for n, p in post.parties.items()}
    return [(e.sender, e.kind, e.body) for e in post.passed]


def test_a_bank_killed_before_every_batch_sends_the_same_bytes_with_the_same_noise() -> None:
    assert sent(posted(lambda _party, _number: True)) == sent(posted())


def test_control_noise_that_is_drawn_anew_makes_other_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = iter(range(10**6))

    def anew(run: Any, noise: Any, plan: Any, state: Any, vector: Any, number: int) -> Any:
        seed = hashlib.sha256(str(next(calls)).encode()).digest()[0]
        return vector + np.ldexp(np.float64(seed), -plan.release(state).bits)

    monkeypatch.setattr(program, "with_noise", anew)
    once = posted()
    calls = iter(range(10**6))
    again = posted(lambda _party, _number: True)
    assert [(e.sender, e.kind, e.body) for e in once.passed] != [(e.sender, e.kind, e.body) for e in again.passed]
