"""Consent withdrawn during a run across parties: from the next stage on the rows are as if they had never been there, or the run ends.

What must not happen: a sum, a score, a metric or a model that a withdrawn row still has part in after the stage in which it was withdrawn.
"""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import pytest
from scipy.special import expit

from federation.align.universe import Universe
from federation.kernel.envelope import Envelope
from federation.kernel.errors import LocalError
from federation.kernel.withdrawal import Withdrawals, packed
from federation.models.outcome import label_outcome
from federation.models.training import Coordinator, FeatureParty, LabelParty
from server.result import Withdrawn
from server.withdrawals import notes
from server.withdrawals import withdrawals as stated
from tests.pooled_case import Played, PooledCase
from tests.post import Post
from tests.withdrawing import CASES, EXACT, ROWS, Consent, Withdrawing, calm, errors, joined, oracle, small, stage_after, withdrawn

EITHER = ["bank", pytest.param("platform", marks=pytest.mark.slow)]
"""Both parties; the second when there is time."""


def holds(name: str, party: str, number: int) -> str:
    """The run equals its oracle; the stage from which it does."""
    scene, played = withdrawn(name, party, number)
    assert played.finished, (number, played.failures)
    (entry,) = played.parties[party].withdrawals
    assert (entry.stage, entry.rows) == (stage_after(scene), len(ROWS)), "the rows went at another stage than the next"
    assert played.reason == ""
    error, score_error = errors(played, oracle(scene.case, calm(name), entry.stage, party, ROWS))
    assert error <= EXACT, (number, entry.stage, error)
    assert score_error <= 20 * EXACT, (number, entry.stage, score_error)
    return entry.stage


@pytest.mark.parametrize(
    ("name", "party", "number"),
    [("logistic", "bank", 1), ("scorecard", "bank", 18), ("scorecard", "platform", 4), ("logistic", "platform", 18)],
)
def test_from_the_next_stage_on_the_run_is_that_of_a_table_without_the_rows(name: str, party: str, number: int) -> None:
    holds(name, party, number)


@pytest.mark.slow
@pytest.mark.parametrize("name", list(CASES))
@pytest.mark.parametrize("party", ["bank", "platform"])
def test_between_any_two_messages_it_takes_effect_at_the_next_stage(name: str, party: str) -> None:
    batches = calm(name).parties[party]._number + 1
    found = [holds(name, party, number) for number in range(1, batches)]
    print(f"{name}, {party}: {len(found)} moments, 0 with another model or score than the oracle's; stages {list(dict.fromkeys(found))}")


@pytest.mark.parametrize("party", ["bank", "platform"])
def test_control_a_program_that_ignores_the_withdrawal_is_caught_by_the_oracle(monkeypatch: pytest.MonkeyPatch, party: str) -> None:
    kind = LabelParty if party == "bank" else FeatureParty
    monkeypatch.setattr(kind, "without", lambda _self, state, _gone: state)
    scene, played = withdrawn("logistic", party, 18)
    wanted = oracle(scene.case, calm("logistic"), played.parties[party].withdrawals[0].stage, party, ROWS)
    if party == "bank":
        with pytest.raises(AssertionError, match="other rows"):
            errors(played, wanted)
        wanted.scores = dict.fromkeys(scene.case.tables["bank"].keys, 0.0)
    assert errors(played, wanted)[0] > 1000 * EXACT


@pytest.mark.parametrize("party", EITHER)
def test_no_sum_of_a_later_iteration_has_any_part_of_the_rows(party: str) -> None:
    """X'r of every feature party, iteration by iteration, against residuals of the table that is left: not only the end is right."""
    ends: dict[tuple[str, str], Any] = {}
    scene = Withdrawing(small("logistic"), party, 18, ROWS)
    played = observed(scene, ends)
    first = int(played.parties[party].withdrawals[0].stage.split()[1])
    encodings = {name: played.state(name).encoded.encoding for name in scene.case.tables}  # type: ignore[union-attr]
    without = {name: table if name != party else table.kept(~scene.mask()) for name, table in scene.case.tables.items()}
    program = scene.case.program("bank")
    assert isinstance(program, LabelParty)
    compared = 0
    for iteration in range(2, played.state("bank").iteration):
        for tables, less in ((without, True), (scene.case.tables, False)):
            keys, x = joined(tables, encodings)
            row = {key: place for place, key in enumerate(scene.case.tables["bank"].keys)}
            rows = [row[key] for key in keys]
            label, train = scene.case.tables["bank"].label, program.sample().train
            assert label is not None
            theta = np.concatenate([ends[name, f"fit {iteration - 1}"].fit.theta for name in scene.case.tables])
            residual = train[rows] * (expit(theta[0] + x @ theta[1:]) - label[rows])
            start = len(encodings["bank"].names)
            for name in ("platform", "tax"):
                width = len(encodings[name].names)
                wanted = x[:, start : start + width].T @ residual
                error = float(np.abs(ends[name, f"fit {iteration}"].fit.sums - wanted).max())
                start += width
                if less == (iteration >= first):
                    assert error < 1e-4, (iteration, name, error)
                    compared += 1
                elif party in (name, "bank"):
                    assert error > 1e-2, (iteration, name, error)  # control: the other table's sums are others
    print(f"{compared} sums of feature parties, 0 with a part of a withdrawn row")
    assert compared > 10


def observed(scene: Withdrawing, ends: dict[tuple[str, str], Any]) -> Played:
    """Play, and keep every party's state at the end of each stage."""
    after: dict[type[Any], Any] = {}

    def wrap(kind: type[Any]) -> None:
        original = kind.after_fit

        def keeps(self: Any, state: Any, fit: Any) -> Any:
            out = original(self, state, fit)
            ends[self.me, f"fit {state.iteration}"] = out
            return out

        after[kind] = original
        kind.after_fit = keeps

    for kind in (LabelParty, FeatureParty):
        wrap(kind)
    try:
        played = scene.play()
    finally:
        for kind, original in after.items():
            kind.after_fit = original
    assert played.finished, played.failures
    return played


# -- a row that is gone stays gone ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [18, 36])
def test_a_row_never_reappears_even_where_the_ledger_forgets(number: int) -> None:
    scene, played = withdrawn("logistic", "bank", number, forgetful=True)
    assert played.finished, played.failures
    program = played.case.program("bank")
    assert isinstance(program, LabelParty)
    outcome = label_outcome(program, played.state("bank"))
    gone = {scene.case.tables["bank"].keys[row] for row in ROWS}
    assert not gone & set(outcome.scores["id"])
    assert len(outcome.scores["id"]) == scene.case.tables["bank"].rows - len(ROWS) == len(outcome.scores["score"])
    assert sum(figures["n"] for figures in outcome.metrics.values()) == len(outcome.scores["id"])
    (entry,) = played.parties["bank"].withdrawals
    error, _ = errors(played, oracle(scene.case, calm("logistic"), entry.stage, "bank", ROWS))
    assert error <= EXACT


def test_rows_that_withdraw_one_after_the_other_are_all_gone_at_the_end() -> None:
    case = small("logistic")
    ledgers = {name: Consent(case.tables[name].rows) for name in case.tables}
    moments = {("bank", 10): (3,), ("platform", 14): (5, 6), ("bank", 20): (3, 9), ("tax", 20): (1,), ("bank", 26): (11,)}

    def delivers(post: Post, name: str, number: int, batch: tuple[Envelope, ...]) -> bytes:
        if (name, number) in moments:
            ledgers[name].gone = np.isin(np.arange(ledgers[name].rows), moments[name, number])
        return post.parties[name].deliver(number, batch)

    programs: dict[str, Any] = {name: (lambda name=name: case.program(name)) for name in case.tables}
    programs["coordinator"] = lambda: Coordinator(case.manifest)
    post = Post(case.manifest, programs, delivers=delivers, more={name: {"withdrawn": ledger} for name, ledger in ledgers.items()})
    played = Played(case, post, post.play())
    assert played.finished, played.failures
    assert [entry.rows for entry in played.parties["bank"].withdrawals] == [1, 1, 1]  # row 3 is told once
    less = case.tables | {"platform": case.tables["platform"].kept(~np.isin(np.arange(case.tables["platform"].rows), (5, 6)))}
    less |= {"tax": case.tables["tax"].kept(~np.isin(np.arange(case.tables["tax"].rows), (1,)))}
    twin = PooledCase(case.tables, case.model, case.privacy, case.others)
    twin.tables = case.tables
    wanted = oracle(twin, calm("logistic"), "fit 9", "bank", (3, 9, 11))
    assert errors(played, wanted)[0] > 1000 * EXACT  # control: the partners' rows count too
    twin.tables = less
    assert errors(played, oracle(twin, calm("logistic"), "fit 9", "bank", (3, 9, 11)))[0] <= EXACT


# -- the answer itself ----------------------------------------------------------------------------------------------------------------


def test_a_mask_over_other_rows_or_of_another_kind_is_refused() -> None:
    def heard(before: Withdrawals, answer: Any) -> Withdrawals:
        return before.heard(packed(answer, "bank"), "fit 1", "bank")

    first = heard(Withdrawals(), np.array([True, False, False]))
    assert first.gone.tolist() == [True, False, False]
    assert heard(first, None) is heard(first, np.zeros(3, bool)) is heard(first, np.array([True, False, False])) is first
    assert heard(first, np.array([False, True, False])).gone.tolist() == [True, True, False]
    for wrong in (np.array([True]), np.array([[True, False, True]]), np.array([1, 0, 0])):
        with pytest.raises(LocalError, match="not a mask"):
            heard(first, wrong)


def test_a_former_alignment_is_told_without_the_rows_that_are_gone() -> None:
    _, played = withdrawn("logistic", "bank", 1)
    (placed,) = [e for e in played.post.passed if e.kind == "training/placed"]
    former = played.case.locals["bank"].former
    assert isinstance(former, Universe)
    told = played.parties["coordinator"].state.positions
    assert told is not None
    assert placed.sender == "bank"
    assert not set(told.tolist()) & set(former.positions[list(ROWS)].tolist())


def test_a_result_says_few_or_many_and_the_partys_own_share_how_many() -> None:
    log = [{"stage": "fit 3", "rows": 2}, {"stage": "finish", "rows": 1}]
    shares: dict[str, dict[str, Any]] = {
        "bank": {"withdrawals": log},
        "platform": {"withdrawals": []},
        "tax": {"withdrawals": [log[0]] * 5},
    }
    found = stated(shares, 10)
    assert found == [
        {"party": "bank", "stages": ["fit 3", "finish"], "rows": "fewer than 10"},
        {"party": "tax", "stages": ["fit 3"] * 5, "rows": "at least 10"},
    ]
    assert any("fewer than 10, from fit 3, finish" in note for note in notes(found))
    assert not any("3 rows" in note for note in notes(found))
    msgspec.convert(found, list[Withdrawn])
