"""A study approves what it says and nothing beside it, and its runs are added up one after the other."""

from __future__ import annotations

import threading
from pathlib import Path

import msgspec
import pytest

from federation.kernel.errors import DataError
from federation.kernel.manifest import PrivacySettings
from privacy.approval.study import Study, Used, outside
from tests.house import ENDS, NOW, OTHERS, House

replace = msgspec.structs.replace


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> House:
    return House(tmp_path / "bank", monkeypatch)


STUDY = Study(name="winter", parties=OTHERS, columns=("turnover", "age"), purpose="decide", models=("logistic",), runs=3, expires=ENDS)


def test_a_study_whose_runs_cannot_be_added_up_approves_nothing(house: House) -> None:
    house.node.gate.approvals.add_study(STUDY)
    house.vote(STUDY.hash)
    made = house.drafted(run="r0", study="winter")
    house.open(made, house.signatures(made))
    (house.root / "approvals" / "signed" / f"{made.hash.hex()}.json").unlink()
    with pytest.raises(DataError, match="no longer there"):
        house.proposed(house.drafted(run="r1", study="winter"))


def test_what_a_study_does_not_say_is_outside_it(house: House) -> None:
    made = house.drafted(study="winter")
    assert outside(STUDY, made, "bank", Used(), NOW) == ()
    wide = replace(made, privacy=replace(made.privacy, max_released_counts=10**9))
    assert outside(STUDY, wide, "bank", Used(), NOW)
    assert outside(replace(STUDY, disclosures=("max_released_counts",)), wide, "bank", Used(), NOW) == ()
    banks = replace(made, parties=tuple(replace(party, label=True) for party in made.parties))
    noisy = replace(banks, privacy=PrivacySettings(epsilon=0.5, delta=1e-6))
    study = replace(STUDY, epsilon=1.0)
    assert outside(study, noisy, "bank", Used(), NOW) == ()
    assert outside(study, banks, "bank", Used(), NOW) == ("it adds no noise, and the study is of runs with noise",)
    assert outside(study, noisy, "bank", Used(delta=1e-6), NOW), "deltas add up too"


def test_runs_of_a_study_are_decided_on_one_after_the_other(house: House) -> None:
    """So that none is decided on by totals that another is about to change."""
    made = house.drafted()
    house.vote(made.hash)
    signed = house.signatures(made)
    done = threading.Event()

    def second() -> None:
        house.open(made, signed)
        done.set()

    thread = threading.Thread(target=second)
    with house.node.gate.approvals.alone():
        thread.start()
        assert not done.wait(0.3)
    thread.join(60)
    assert done.is_set()
