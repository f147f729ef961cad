"""Consent withdrawn during a run over banks: the rows are in no later sum, and what is found is what a table gives that loses them there.

Every sum that a bank opens is compared with plans over tables from which the rows were taken by hand at that sum, added up in plain; the end
also with the pooled references, which know no plan.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from federation.kernel.envelope import Envelope
from federation.kernel.errors import AbortCode, PeerAborted, PolicyRefusal
from federation.kernel.manifest import PrivacySettings, SampleSettings, SelectSettings
from federation.kernel.role import COORDINATOR
from federation.kernel.withdrawal import RESULTS
from federation.models.horizontal.bank import bank_of
from federation.models.horizontal.fewer_rows import over
from federation.models.horizontal.program import Adder, Bank, frequent_levels
from federation.models.horizontal.statistics import Measured, Statistics
from federation.models.horizontal.statistics_document import document
from federation.models.horizontal.train import Trained
from federation.models.horizontal.train_document import share_document
from federation.models.sample import draw_sample
from federation.models.table import Column, Table
from federation.models.training import Local
from simulations.pooled import Rows as PooledRows
from simulations.pooled import fit as pooled_fit
from simulations.reference import frame, rule
from tests.bank_case import BankCase, Opened, five, opened
from tests.post import Post

LEAVER = "bank1"
ROWS = (0, 7, 8, 30)
PRIVACY = PrivacySettings(withdrawal="continue")
TASKS: dict[str, dict[str, Any]] = {
    "statistics": {"task": "statistics", "privacy": PRIVACY},
    "binning": {"task": "binning", "model": "scorecard", "privacy": PRIVACY, "sample": SampleSettings(holdout=0.3)},
    "logistic": {"task": "train", "model": "logistic", "privacy": PRIVACY, "select": SelectSettings(p_max=0.2)},
    "scorecard": {"task": "train", "model": "scorecard", "privacy": PRIVACY},
}
EXACT = 1e-9


def weightless() -> dict[str, Table]:
    return five((90, 80, 60, 40, 30))


@dataclass
class Leaving:
    """A run over five banks in which rows of one withdraw just before it is given a batch."""

    task: str
    number: int
    rows: tuple[int, ...] = ROWS
    privacy: PrivacySettings = PRIVACY
    killed: Callable[[str, int], bool] = lambda _party, _number: False
    during: str = field(default="", init=False)
    stages: list[str] = field(default_factory=list, init=False)
    heard: list[Opened] = field(default_factory=list, init=False)

    def __post_init__(self) -> None:
        self.case = BankCase(weightless(), TASKS[self.task] | {"privacy": self.privacy})

    def play(self) -> Post:
        gone: NDArray[np.bool_] | None = None

        def delivers(post: Post, name: str, number: int, batch: tuple[Envelope, ...]) -> bytes:
            nonlocal gone
            if name != LEAVER:
                return post.parties[name].deliver(number, batch)
            if number == self.number:
                self.during = post.parties[name].stage
                gone = np.isin(np.arange(self.case.tables[LEAVER].rows), self.rows)
            reply = post.parties[name].deliver(number, batch)
            if not self.stages or self.stages[-1] != post.parties[name].stage:
                self.stages.append(post.parties[name].stage)
            return reply

        programs: dict[str, Any] = {name: (lambda bank=bank: bank) for name, bank in self.case.banks.items()}
        programs[LEAVER] = lambda: bank_of(self.case.manifest, LEAVER, Local(self.case.tables[LEAVER]))  # a new process has no plan
        self.heard = opened(self.case.banks["bank0"])
        post = Post(
            self.case.manifest, programs | {COORDINATOR: lambda: Adder(self.case.manifest)}, delivers=delivers, killed=self.killed,
            more={LEAVER: {"withdrawn": lambda: gone}},
        )  # fmt: skip
        post.play()
        return post


@cache
def batches(task: str) -> int:
    post = Leaving(task, -1).play()
    assert all(party.finished for party in post.parties.values()), {n: p.failure for n, p in post.parties.items()}
    return post.parties[LEAVER]._number + 1


def less(case: BankCase, rows: tuple[int, ...] = ROWS) -> Table:
    """By hand, not by the table's own method."""
    table = case.tables[LEAVER]
    stay = [row for row in range(table.rows) if row not in rows]
    columns = {name: Column(name, column.kind, column.values[stay]) for name, column in table.columns.items()}
    assert table.label is not None
    return Table(
        tuple(table.keys[row] for row in stay), tuple(table.firms[row] for row in stay), columns, table.commitment, None, table.label[stay]
    )


def expected(scene: Leaving, stage: str) -> tuple[list[NDArray[np.float64]], list[Any]]:
    """The totals of every sum, and the last states, where the bank's table is another from this stage on."""
    case = scene.case
    fewer = less(case, scene.rows)
    tables = {"whole": case.tables, "less": {**case.tables, LEAVER: fewer}}
    named = tables["less" if stage == "levels" else "whole"]
    said = [frequent_levels(table, case.manifest.privacy.minimum_cohort) for table in named.values()]
    levels = {column: tuple(sorted({level for mine in said for level in mine[column]})) for column in said[0]}
    plans = {which: {n: bank_of(case.manifest, n, Local(t)).make(levels) for n, t in of.items()} for which, of in tables.items()}
    leaver = plans["less"][LEAVER]
    if hasattr(leaver, "sample"):  # a bank's rows stay on the side that they were on, and so does everybody else
        stay = ~np.isin(np.arange(case.tables[LEAVER].rows), scene.rows)
        whole = draw_sample(case.tables[LEAVER], case.manifest.sample)
        assert np.array_equal(leaver.sample.train, whole.train[stay])
    first = 0 if stage == "levels" else int(stage.split()[1]) if stage.startswith("sum") else 10**6
    states = [plan.begin() for plan in plans["less" if first == 0 else "whole"].values()]
    totals: list[NDArray[np.float64]] = []
    while True:
        now = list(plans["less" if len(totals) >= first else "whole"].values())
        asked = [plan.ask(state) for plan, state in zip(now, states, strict=True)]
        if asked[0] is None:
            return totals, states
        total = np.sum(asked, axis=0)  # type: ignore[arg-type]  # all or none
        totals.append(total)
        states = [plan.take(state, total, len(now)) for plan, state in zip(now, states, strict=True)]


def following(scene: Leaving) -> str:
    stage = scene.during
    if stage.startswith("sum"):
        later = f"sum {int(stage.split()[1]) + 1}"
        return later if later in scene.stages else RESULTS
    return "sum 0" if stage == "levels" else "levels"


def holds(task: str, number: int) -> str:
    scene = Leaving(task, number)
    post = scene.play()
    assert all(party.finished and party.failure is None for party in post.parties.values()), {n: p.failure for n, p in post.parties.items()}
    (entry,) = post.parties[LEAVER].withdrawals
    assert (entry.stage, entry.rows) == (following(scene), len(ROWS))
    totals, states = expected(scene, entry.stage)
    for place, (wanted, found) in enumerate(zip(totals, scene.heard, strict=False)):
        same = found.total.shape == wanted.shape and np.allclose(found.total, wanted, rtol=EXACT, atol=EXACT)
        assert same, f"sum {place} is not the oracle's: batch {number}, {entry.stage}"
    assert len(totals) == len(scene.heard)
    mine, wanted_state = scene.case.state(post, "bank0"), states[0]
    assert type(mine) is type(wanted_state)
    assert len({party.state.model_hash for party in post.parties.values()}) == 1
    return entry.stage


@pytest.mark.parametrize(("task", "number"), [("statistics", 17), ("binning", 14), ("logistic", 20), ("scorecard", 40)])
def test_no_sum_after_the_stage_has_anything_of_the_rows(task: str, number: int) -> None:
    stage = holds(task, number)
    print(f"{task}: withdrawn before batch {number}, gone from {stage} on")


@pytest.mark.slow
@pytest.mark.parametrize("task", list(TASKS))
def test_between_any_two_messages_it_takes_effect_at_the_next_sum(task: str) -> None:
    found = [holds(task, number) for number in range(1, batches(task))]
    print(f"{task}: {len(found)} moments, 0 with a sum that is not the oracle's; stages {list(dict.fromkeys(found))}")


def test_control_a_bank_that_ignores_the_withdrawal_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Bank, "without", lambda _self, state, _gone: state)
    with pytest.raises(AssertionError, match="not the oracle's"):
        holds("logistic", 20)


def test_statistics_are_those_of_the_rows_that_were_there_at_the_last_sums() -> None:
    """Against numpy: figures of the last sum are of the rows that are left, whenever they went."""
    scene = Leaving("statistics", 17)
    post = scene.play()
    bank = scene.case.banks["bank0"]
    plan, state = bank.plan(post.parties["bank0"].state), scene.case.state(post, "bank0")
    assert isinstance(state, Measured)
    assert isinstance(plan, Statistics)
    found = {column["name"]: column for column in document(plan, state)["columns"]}
    for name in ("size", "debt"):
        values = np.concatenate([t.columns[name].values for t in {**scene.case.tables, LEAVER: less(scene.case)}.values()])
        whole = np.concatenate([t.columns[name].values for t in scene.case.tables.values()])
        assert found[name]["mean"] == pytest.approx(values.mean(), rel=1e-9)
        assert found[name]["mean"] != pytest.approx(whole.mean(), rel=1e-6)  # control


def test_a_model_is_the_pooled_fit_of_the_rows_that_are_left() -> None:
    scene = Leaving("logistic", 2)
    scene.case = BankCase(weightless(), TASKS["logistic"] | {"select": SelectSettings()})
    post = scene.play()
    (entry,) = post.parties[LEAVER].withdrawals
    assert entry.stage in ("levels", "sum 0")
    bank = scene.case.banks["bank0"]
    plan, state = bank.plan(post.parties["bank0"].state), scene.case.state(post, "bank0")
    assert isinstance(state, Trained)
    share = share_document(plan, state, "bank0")  # type: ignore[arg-type]  # a training plan
    for fewer, tolerance in ((True, 1e-8), (False, -1.0)):
        tables = {**scene.case.tables, **({LEAVER: less(scene.case)} if fewer else {})}
        train = np.concatenate([draw_sample(table, scene.case.manifest.sample).train for table in tables.values()])
        labels = np.concatenate([table.label for table in tables.values() if table.label is not None])
        keys = np.concatenate([np.array(table.keys, object) for table in tables.values()])
        rows = PooledRows(keys, labels.astype(float), np.ones(len(labels)), train)
        rules = {part["column"]: rule(part, scene.case.manifest, {"tables": []}) for part in share["encoding"]["columns"]}
        joined = pooled_fit(rows, {"all": pd.concat([frame(table) for table in tables.values()])}, {"all": rules}, 1.0)
        error = max(abs(joined.standardized["all"][n] - value) for n, value in share["fits"]["global"]["standardized"].items())
        assert error <= tolerance if fewer else error > 1e-3, error


def test_killed_before_every_batch_the_sum_keeps_the_answer_that_it_began_with() -> None:
    alive, stormy = Leaving("binning", 14), Leaving("binning", 14, killed=lambda name, _number: name == LEAVER)
    posts = [scene.play() for scene in (alive, stormy)]
    assert all(party.finished for post in posts for party in post.parties.values())
    assert [(e.header(), e.body) for e in posts[0].passed] == [(e.header(), e.body) for e in posts[1].passed]
    assert posts[0].parties[LEAVER].withdrawals == posts[1].parties[LEAVER].withdrawals


@pytest.mark.parametrize("number", [2, 20])
def test_where_the_manifest_says_abort_every_bank_ends(number: int) -> None:
    post = Leaving("logistic", number, privacy=PrivacySettings()).play()
    failure = post.parties[LEAVER].failure
    assert isinstance(failure, PolicyRefusal)
    assert failure.code is AbortCode.CONSENT
    others = [party.failure for name, party in post.parties.items() if name != LEAVER]
    assert all(isinstance(error, PeerAborted) and error.reason is AbortCode.CONSENT for error in others)


@pytest.mark.parametrize("task", ["statistics", "logistic"])
def test_too_few_rows_over_all_banks_end_the_run_at_all_of_them(task: str) -> None:
    many = tuple(range(78))
    privacy = PrivacySettings(withdrawal="continue", minimum_cohort=250 if task == "statistics" else 190)
    scene = Leaving(task, 14, many, privacy)
    post = scene.play()
    failures = [party.failure for party in post.parties.values()]
    refused = [error for error in failures if isinstance(error, PolicyRefusal)]
    assert refused
    assert all(error.code is AbortCode.COHORT for error in refused)
    assert all(error is not None for error in failures)
    assert "after withdrawals of consent only" in str(refused[0])
    print(refused[0])
    assert not any(party.finished for party in post.parties.values())
    fewer = Leaving(task, 14, many[:4], privacy).play()
    assert all(party.finished for party in fewer.parties.values()), {n: p.failure for n, p in fewer.parties.items()}  # control


def test_a_bank_none_of_whose_rows_is_left_ends_the_run() -> None:
    post = Leaving("statistics", 14, tuple(range(80))).play()
    failure = post.parties[LEAVER].failure
    assert isinstance(failure, PolicyRefusal)
    assert "only 0 of its rows are left" in str(failure)


def test_a_banks_own_scores_are_without_the_rows_even_where_they_go_last() -> None:
    scene = Leaving("scorecard", batches("scorecard") - 1)
    post = scene.play()
    assert [entry.stage for entry in post.parties[LEAVER].withdrawals] == [RESULTS]
    bank = bank_of(scene.case.manifest, LEAVER, Local(scene.case.tables[LEAVER]))
    assert bank.present(post.parties[LEAVER].state).rows == scene.case.tables[LEAVER].rows - len(ROWS)
    assert bank.plan(post.parties[LEAVER].state).table.rows == scene.case.tables[LEAVER].rows - len(ROWS)  # type: ignore[attr-defined]


@pytest.mark.parametrize("task", ["statistics", "scorecard"])
def test_a_run_with_noise_goes_on_without_the_rows_too(task: str) -> None:
    """The vector before noise is that of a plan over the table without the rows; the sums, which have noise, keep their schedule."""
    privacy = PrivacySettings(withdrawal="continue", epsilon=4.0, delta=1e-6)
    scene = Leaving(task, 14, privacy=privacy)
    scene.case = BankCase(five((90, 80, 60, 40, 30), categorical=False), TASKS[task] | {"privacy": privacy})
    post = scene.play()
    assert all(party.finished and party.failure is None for party in post.parties.values()), {n: p.failure for n, p in post.parties.items()}
    assert len({party.state.model_hash for party in post.parties.values()}) == 1
    rows = np.isin(np.arange(scene.case.tables[LEAVER].rows), ROWS)
    plans = [bank_of(scene.case.manifest, LEAVER, Local(table)).make({}) for table in (scene.case.tables[LEAVER], less(scene.case))]
    fewer, wanted = over(plans[0], ~rows, LEAVER), plans[1]
    np.testing.assert_array_equal(fewer.ask(fewer.begin()), wanted.ask(wanted.begin()))
    assert not np.array_equal(plans[0].ask(plans[0].begin()), wanted.ask(wanted.begin()))  # type: ignore[arg-type]  # control
