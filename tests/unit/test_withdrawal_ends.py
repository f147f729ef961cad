"""Consent withdrawn during a run that may not go on without the rows: the manifest says abort, too few are left, or the cap is reached."""

from __future__ import annotations

import pytest

from federation.kernel.errors import AbortCode, PeerAborted, PolicyRefusal
from federation.kernel.withdrawal import RESULTS
from tests.pooled_case import PooledCase
from tests.withdrawing import ROWS, Withdrawing, small, stage_after

EITHER = ["bank", pytest.param("platform", marks=pytest.mark.slow)]
"""Both parties; the second when there is time."""


@pytest.mark.parametrize("party", EITHER)
def test_where_the_manifest_says_abort_the_run_ends_at_the_next_stage(party: str) -> None:
    undisturbed = Withdrawing(small("logistic", withdrawal="abort"), party, -1, ROWS)
    last = undisturbed.play().parties[party]._number
    ended, moments = 0, [1, 3, last // 2, last - 3, last]
    for number in moments:
        scene = Withdrawing(small("logistic", withdrawal="abort"), party, number, ROWS)
        played = scene.play()
        if scene.during == "finish":  # nothing is computed any more that could be left out
            assert played.finished
            assert [entry.stage for entry in played.parties[party].withdrawals] == [RESULTS]
            continue
        failure = played.failures[party]
        assert isinstance(failure, PolicyRefusal)
        assert failure.code is AbortCode.CONSENT
        assert 'withdrawal = "abort"' in str(failure)
        others = [error for name, error in played.failures.items() if name != party]
        assert len(others) == 3
        assert all(isinstance(error, PeerAborted) and error.reason is AbortCode.CONSENT for error in others)
        scene.stages = undisturbed.stages
        following = stage_after(scene)
        assert not any(e.sender == party and e.step.split(":")[0] == following and e.kind != "abort" for e in played.post.passed)
        ended += 1
    print(f"{party}: {ended} of {len(moments)} moments ended the run; after them 0 messages of the next stage")
    assert ended == len(moments) - 1


def test_control_where_nobody_withdraws_the_ledger_is_asked_and_the_run_is_the_same() -> None:
    scene = Withdrawing(small("logistic", withdrawal="abort"), "bank", -1, ROWS)
    played = scene.play()
    assert played.finished
    plain = PooledCase(scene.case.tables, privacy={"label_disclosure": True}, others=scene.case.others).play()
    assert [(e.kind, len(e.body)) for e in played.post.passed] == [(e.kind, len(e.body)) for e in plain.post.passed]


# -- too few are left -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("party", "number"),
    [("bank", 2), ("platform", 18), *(pytest.param(*late, marks=pytest.mark.slow) for late in (("bank", 18), ("platform", 2)))],
)
def test_a_withdrawal_that_leaves_fewer_than_the_minimum_cohort_ends_the_run(party: str, number: int) -> None:
    case = small("logistic", minimum_cohort=30)
    rows = tuple(range(25, case.tables[party].rows))
    played = Withdrawing(case, party, number, rows).play()
    failure = played.failures[party]
    assert isinstance(failure, PolicyRefusal)
    assert failure.code is AbortCode.COHORT
    assert "minimum_cohort = 30" in str(failure)
    assert "after withdrawals of consent only" in str(failure)
    others = [error for name, error in played.failures.items() if name != party]
    assert all(isinstance(error, PeerAborted) and error.reason is AbortCode.COHORT for error in others)
    print(failure)
    fewer = Withdrawing(small("logistic", minimum_cohort=30), party, number, rows[:20]).play()
    assert fewer.finished, fewer.failures  # control: as many as that may go


def test_the_cap_on_score_vectors_holds_and_the_run_says_why_it_did_not_converge() -> None:
    for cap in (7, 9):
        case = small("logistic", max_score_reveals=cap)
        played = Withdrawing(case, "platform", 28, ROWS).play()
        assert played.finished, played.failures
        seen = sum(e.kind == "partial_scores/total" for e in played.post.passed)
        print(f"cap {cap}: {seen} score vectors, {played.reason}")
        assert seen <= cap
        assert "max_score_reveals" in played.reason
