"""The gate asks each rule that the institution has: budget, earlier releases, the policy of releases, the cohort. With one not asked, its test fails.

Each attack is the same run before the gate as it is and before a copy that leaves the one question out, which lets it through.
"""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import clients.assent
import clients.gate
from clients.budget_commands import ledger_path
from clients.gate import Gate
from federation.kernel.errors import AbortCode, PolicyRefusal
from federation.kernel.manifest import Manifest, PrivacySettings, SampleSettings
from privacy.approval.study import Study
from privacy.budget.limits import Limits
from privacy.disclosure.differencing import ReleaseLedger
from privacy.store.budget_file import BudgetFile
from tests.house import ENDS, OTHERS, House, refused


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> House:
    return House(tmp_path / "bank", monkeypatch)


def voted(house: House, run: str = "test", **changes: Any) -> Manifest:
    """A manifest that everybody here has approved: what refuses it is none of the people."""
    made = house.drafted(run=run, **changes)
    house.vote(made.hash)
    return made


def limited(house: House, **limits: Any) -> None:
    with closing(BudgetFile(ledger_path(house.root))) as file:
        file.set_limits("bank", "any", Limits(**limits), "risk officer")


def without_the_first_firm(house: House) -> None:
    pd.read_csv(house.root / "bank.csv").iloc[1:].to_csv(house.root / "bank.csv", index=False)


def nothing_asked(*_: Any, **__: Any) -> tuple[Any, ...]:
    return ()


# -- studies ----------------------------------------------------------------------------------------------------------------------


def studied(house: House) -> None:
    study = Study(
        name="winter",
        parties=OTHERS,
        columns=("turnover", "age"),
        purpose="decide",
        models=("logistic",),
        runs=3,
        reveals=130,
        expires=ENDS,
    )
    house.node.gate.approvals.add_study(study)
    house.vote(study.hash)


def test_a_run_beyond_its_study_waits_for_votes_of_its_own(house: House) -> None:
    studied(house)
    house.proposed(house.drafted(run="within", study="winter"))
    assert refused(house, house.drafted(run="beyond", study="winter", purpose="monitor")) is AbortCode.APPROVAL


def test_control_a_gate_that_does_not_look_at_a_studys_bounds_signs_it(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    studied(house)
    monkeypatch.setattr(clients.assent, "outside", nothing_asked)
    house.proposed(house.drafted(run="beyond", study="winter", purpose="monitor"))


# -- the budget -------------------------------------------------------------------------------------------------------------------


def test_a_run_that_the_budget_does_not_hold_gets_no_signature_and_the_control_under_a_wider_limit_does(house: House) -> None:
    limited(house, releases=1)
    house.open(voted(house, "first"))
    second = voted(house, "second")
    assert refused(house, second) is AbortCode.BUDGET
    limited(house, releases=2)
    house.proposed(second)


def test_of_two_runs_that_were_signed_one_after_the_other_the_budget_opens_one(house: House) -> None:
    limited(house, releases=1)
    first, second = voted(house, "first"), voted(house, "second")
    signatures = {made.run: house.signatures(made) for made in (first, second)}
    house.open(first, signatures["first"])
    with pytest.raises(PolicyRefusal) as caught:
        house.open(second, signatures["second"])
    assert caught.value.code is AbortCode.BUDGET


def test_control_a_gate_that_does_not_ask_the_budget_signs_and_opens(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Limits, "excess", nothing_asked)
    limited(house, releases=1)
    house.open(voted(house, "first"))
    house.open(voted(house, "second"))


# -- earlier releases -------------------------------------------------------------------------------------------------------------


def test_the_same_run_without_one_firm_gets_no_signature(house: House) -> None:
    house.open(voted(house, "first"))
    without_the_first_firm(house)
    assert refused(house, voted(house, "second")) is AbortCode.DISCLOSURE


def test_control_the_same_run_over_the_same_firms_is_answered(house: House) -> None:
    house.open(voted(house, "first"))
    house.open(voted(house, "second"))


def test_control_a_gate_that_does_not_look_at_earlier_releases_signs_it(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    house.open(voted(house, "first"))
    without_the_first_firm(house)
    monkeypatch.setattr(ReleaseLedger, "admit", nothing_asked)
    house.proposed(voted(house, "second"))


# -- the policy of releases and the cohort ----------------------------------------------------------------------------------------


def test_counts_of_a_column_of_level_4_leave_with_noise_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    house = House(tmp_path / "bank", monkeypatch, levels={"turnover": 4})
    assert refused(house, voted(house, task="binning")) is AbortCode.POLICY


def test_control_a_gate_that_does_not_ask_about_releases_signs_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    house = House(tmp_path / "bank", monkeypatch, levels={"turnover": 4})
    monkeypatch.setattr(clients.gate, "release_asks", nothing_asked)
    house.proposed(voted(house, task="binning"))


def test_a_run_over_fewer_rows_than_its_cohort_gets_no_signature_and_the_control_over_as_many_does(house: House) -> None:
    assert refused(house, voted(house, "few", privacy=PrivacySettings(minimum_cohort=61))) is AbortCode.COHORT
    house.proposed(voted(house, "enough", privacy=PrivacySettings(minimum_cohort=60)))


def test_a_firms_months_do_not_make_a_cohort_of_few_firms(house: House) -> None:
    months = SampleSettings(key="firm and month", periods=("2026-01", "2026-02"))
    assert refused(house, voted(house, "few", sample=months, privacy=PrivacySettings(minimum_cohort=61))) is AbortCode.COHORT
    house.proposed(voted(house, "enough", sample=months, privacy=PrivacySettings(minimum_cohort=60)))


def test_control_a_gate_that_does_not_count_rows_signs_it(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Gate, "_require_cohort", nothing_asked)
    monkeypatch.setattr(clients.gate, "release_asks", nothing_asked)
    house.proposed(voted(house, privacy=PrivacySettings(minimum_cohort=61)))
