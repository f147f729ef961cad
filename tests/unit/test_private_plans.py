"""Plans with noise: what a row adds is bounded, a schedule says all that is spent, and figures come close to those without noise."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from federation.kernel.errors import AbortCode, ConfigurationError, LocalError, PolicyRefusal
from federation.kernel.loss import Stated
from federation.kernel.manifest import BankSettings, BinningSettings, PrivacySettings, SampleSettings, SelectSettings
from federation.models.horizontal.bank import bank_of
from federation.models.horizontal.noise import Noise, Release, clipped, costs, honest_of, threshold_of, with_noise
from federation.models.horizontal.plan import add_up
from federation.models.horizontal.private_binning import SCHEDULE as BINNING
from federation.models.horizontal.private_losses import reserved, sums
from federation.models.horizontal.private_rules import require_private
from federation.models.horizontal.private_statistics import SCHEDULE as STATISTICS
from federation.models.horizontal.private_statistics import PrivateStatistics, common
from federation.models.horizontal.private_train import SCHEDULE as TRAINING
from federation.models.horizontal.statistics import Statistics
from federation.models.horizontal.statistics_document import common as exactly
from federation.models.training import Local
from federation.noise import accounting
from tests.bank_case import bank_manifest, bank_table, settled
from tests.post import manifest
from tests.rooms import Room

NAMES = tuple(f"bank{place}" for place in range(5))
NOISE = Noise(1.0, 1e-6, accounting.rho_of(1.0, 1e-6), 3)


def banks(rows: int = 400, *, categorical: bool = False) -> dict[str, Any]:
    return {name: bank_table(place, rows, categorical=categorical) for place, name in enumerate(NAMES)}


def stated(epsilon: float | None = 1.0, **changes: Any) -> Any:
    noise = {} if epsilon is None else {"epsilon": epsilon, "delta": 1e-6}
    return bank_manifest(banks(), privacy=PrivacySettings(**noise), **({"task": "statistics"} | changes))


@pytest.mark.parametrize("schedule", [STATISTICS, BINNING, TRAINING])
def test_the_schedule_is_the_whole_allowance(schedule: Any) -> None:
    assert math.fsum(share for _, share in schedule) == pytest.approx(1.0, abs=1e-12)
    assert len({name for name, _ in schedule}) == len(schedule)
    assert accounting.epsilon_of(accounting.composed(rho for _, rho in costs(NOISE, schedule)), NOISE.delta) <= 1.0 + 1e-9


@pytest.mark.parametrize("epsilon", [0.1, 1.0, 8.0, 100.0])
@pytest.mark.parametrize("square", [1, 15, 400])
def test_a_release_costs_no_more_than_its_part(epsilon: float, square: int) -> None:
    noise = Noise(epsilon, 1e-6, accounting.rho_of(epsilon, 1e-6), 3)
    for release in (noise.counts(0.1, square), noise.reals(0.1, math.sqrt(square) * 1.3)):
        assert accounting.cost(release.square, release.variance, 3, 1 << 20) <= 0.1 * noise.rho * (1 + 1e-9)
        assert release.variance >= accounting.FEWEST


def test_no_row_adds_more_than_the_release_says() -> None:
    release = NOISE.reals(0.1, 2.0)
    rng = np.random.default_rng(1)
    rows = rng.standard_normal((2_000, 7)) * rng.lognormal(0, 2, (2_000, 1))
    rows[0], rows[1], rows[2] = 1e6, 0.0, 2.0 / math.sqrt(7)  # huge, nothing, just the norm, which rounding may exceed
    short = 0
    for row in rows:
        total, beyond = clipped(row[None], release)
        steps = [int(value) for value in np.ldexp(total, release.bits)]
        assert sum(step * step for step in steps) <= release.square
        if not beyond:
            assert np.abs(total - row).max() <= 2.0**-release.bits / 2
        short += beyond
    assert short == clipped(rows, release)[1]
    assert 200 < short < 1_800


def test_clipping_before_rounding_would_not_do() -> None:
    """The control: a row shortened to the norm and then rounded is longer than the norm."""
    release, row = Release(bits=2, square=100, variance=accounting.FEWEST), np.full(8, 5.0)
    before = np.rint(np.ldexp(row * (2.5 / float(np.linalg.norm(row))), 2))
    assert (before**2).sum() == 128
    total, _ = clipped(row[None], release)
    assert (np.ldexp(total, 2) ** 2).sum() <= release.square


# -- before anything is sent --------------------------------------------------------------------------------------------------------


class Endless:
    """A plan that takes one sum more than it said."""

    schedule = (("one", 0.5), ("two", 0.5))

    def release(self, _state: Any) -> Release:
        return NOISE.counts(0.5, 1)


def test_the_run_stops_before_it_would_exceed_its_epsilon() -> None:
    room, vector = Room(NAMES), np.array([3.0, 4.0])
    for number in (0, 1):
        room.stage = f"sum {number}"
        with_noise(room.run("bank0"), NOISE, Endless(), None, vector, number)
    with pytest.raises(PolicyRefusal, match=r"sum 3 is not among the 2 that share epsilon = 1, delta = 1e-06") as caught:
        with_noise(room.run("bank0"), NOISE, Endless(), None, vector, 2)
    assert caught.value.code == AbortCode.BUDGET


def test_a_sum_that_costs_more_than_its_part_is_refused() -> None:
    class Dear(Endless):
        def release(self, _state: Any) -> Release:
            return NOISE.counts(0.6, 1)

    class Overdrawn(Endless):
        schedule = (("one", 0.5), ("two", 0.6))

    for plan, text in ((Dear(), "'one' would cost more than its part"), (Overdrawn(), "share epsilon")):
        with pytest.raises(PolicyRefusal, match=text) as caught:
            with_noise(Room(NAMES).run("bank0"), NOISE, plan, None, np.array([1.0]), 0)
        assert caught.value.code == AbortCode.BUDGET


def test_a_plan_without_noise_is_refused_in_a_run_that_states_epsilon() -> None:
    plan = Statistics(banks()["bank0"], settled(), {})
    with pytest.raises(PolicyRefusal, match="a sum without noise"):
        with_noise(Room(NAMES).run("bank0"), NOISE, plan, plan.begin(), np.array([1.0]), 0)


def test_numbers_off_the_grid_are_a_bug() -> None:
    with pytest.raises(LocalError, match="not on the grid"):
        with_noise(Room(NAMES).run("bank0"), NOISE, Endless(), None, np.array([0.3]), 0)


def test_noise_is_drawn_once_and_differs_between_banks_sums_and_sessions() -> None:
    room, vector = Room(NAMES), np.zeros(50)

    def drawn(name: str, stage: str, session: bytes = b"s".ljust(32, b"\0")) -> Any:
        room.stage, room.session = stage, session
        return with_noise(room.run(name), NOISE, Endless(), None, vector, 0)

    first = drawn("bank0", "sum 0")
    assert (drawn("bank0", "sum 0") == first).all()
    others = [drawn("bank1", "sum 0"), drawn("bank0", "sum 1"), Room(NAMES, session=b"t" * 32)]
    assert all((other != first).any() for other in others[:2])
    fresh = with_noise(Room(NAMES, session=b"t" * 32).run("bank0"), NOISE, Endless(), None, vector, 0)
    assert (fresh != first).any()
    room.stage = "sum 0"
    room.session = b"t" * 32  # an effect that is stored is used, whatever a second draw would give
    room.shelves["bank0"].effects = {key: bytes(400) for key in room.shelves["bank0"].effects}
    assert (drawn("bank0", "sum 0") == 0).all()


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"task": "train", "model": "logistic"}, "plain columns have no bound on what one row adds to a gradient"),
        ({"sample": SampleSettings(weighted=True)}, "weights have no declared bound"),
        ({"task": "train", "model": "scorecard", "banks": BankSettings(intercept="per bank")}, "each bank's own intercept"),
        ({"task": "train", "model": "scorecard", "banks": BankSettings(personal_C=1.0)}, "own slopes"),
        ({"task": "train", "model": "scorecard", "select": SelectSettings(p_max=0.05)}, "Select by iv_min, which costs nothing"),
        ({"task": "train", "model": "scorecard", "select": SelectSettings(corr_max=0.7)}, "takes sums without a bound"),
        ({"task": "train", "model": "scorecard", "select": SelectSettings(vif_max=5.0)}, "takes sums without a bound"),
    ],
)  # fmt: skip
def test_what_cannot_have_noise_is_refused_with_what_to_do(changes: dict[str, Any], text: str) -> None:
    with pytest.raises(ConfigurationError, match="epsilon") as caught:
        require_private(stated(**changes))
    assert text in str(caught.value)
    assert caught.value.action
    require_private(stated(None, **changes))  # the control: without epsilon it may be had


@pytest.mark.parametrize(("task", "model"), [("statistics", "logistic"), ("binning", "scorecard"), ("train", "scorecard")])
def test_levels_of_categorical_columns_are_not_told(task: str, model: str) -> None:
    tables = banks(categorical=True)
    stated_ = bank_manifest(tables, task=task, model=model, privacy=PrivacySettings(epsilon=1.0, delta=1e-6))
    with pytest.raises(ConfigurationError, match="'region': is categorical, and levels are told without noise"):
        bank_of(stated_, "bank0", Local(tables["bank0"])).make({"region": ()}).begin()


def test_the_threshold_of_noise_is_the_threshold_of_sums() -> None:
    assert threshold_of(stated()) == 4
    assert threshold_of(stated(banks=BankSettings(threshold=5))) == 5
    assert threshold_of(stated(banks=BankSettings(drop_outs="stop"))) == 5
    found = Noise.of(stated())
    assert found is not None and found.honest == 3
    assert Noise.of(stated(None)) is None


def test_above_64_banks_only_the_honest_of_a_stretch_of_the_ring_count() -> None:
    table = bank_table(0, 20, categorical=False)
    many = {f"b{place}": table for place in range(100)}
    assert honest_of(bank_manifest(many)) == 12  # as the contract of masked sums says; 67 - 10 would be too many
    assert honest_of(bank_manifest(many, banks=BankSettings(drop_outs="stop"))) == 90


# -- what a ledger reserves, and what people are told ---------------------------------------------------------------------------------


@pytest.mark.parametrize(("task", "model"), [("statistics", "logistic"), ("binning", "scorecard"), ("train", "scorecard")])
def test_what_is_reserved_is_what_the_manifest_states_and_the_sums_that_people_see_come_to_no_more(task: str, model: str) -> None:
    of = stated(2.0, task=task, model=model)
    assert reserved(of) == (Stated(2.0, 1e-6),)
    named = sums(of)
    assert len({name for name, _ in named}) == len(named) > 3
    assert accounting.epsilon_of(accounting.composed(rho for _, rho in named), 1e-6) == pytest.approx(2.0, rel=1e-6)


def test_runs_without_noise_reserve_none_and_turned_labels_their_epsilon() -> None:
    assert reserved(stated(None)) == () and sums(stated(None)) == []
    parties = manifest("bank", "platform", "tax", privacy=PrivacySettings(label_noise=2.0))
    assert reserved(parties) == (Stated(2.0),) and sums(parties) == []


# -- figures ------------------------------------------------------------------------------------------------------------------------


def test_statistics_with_little_noise_are_close_to_those_without() -> None:
    tables = list(banks(2_000).values())
    noise = Noise(100.0, 1e-3, accounting.rho_of(100.0, 1e-3), 3)
    plans = [PrivateStatistics(table, settled(), noise) for table in tables]
    found = common(plans[0], add_up(plans)[0])
    exact = [Statistics(table, settled(), {}) for table in tables]
    right = exactly(exact[0], add_up(exact)[0])
    assert (found["rows"], found["bads"]) == (right["rows"], right["bads"])
    for mine, theirs in zip(found["columns"], right["columns"], strict=True):
        assert (mine["count"], mine["missing"]) == (theirs["count"], theirs["missing"])
        assert mine["mean"] == pytest.approx(theirs["mean"], rel=0.02, abs=0.02)
        assert mine["deviation"] == pytest.approx(theirs["deviation"], rel=0.05)


def test_the_number_of_sums_says_nothing_of_the_rows() -> None:
    for rows in (60, 3_000):
        tables = banks(rows)
        stated_ = bank_manifest(
            tables,
            task="binning",
            model="scorecard",
            privacy=PrivacySettings(epsilon=50.0, delta=1e-3),
            binning=BinningSettings(max_bins=3),
        )
        plans = [bank_of(stated_, name, Local(table)).make({}) for name, table in tables.items()]
        assert len(add_up(plans)[0].banks) == len(BINNING)
