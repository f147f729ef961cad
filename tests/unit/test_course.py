"""What an operator reads in a node's log: when a run waits, begins, goes on and ends; and nothing of the data."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from clients.course import AGAIN, Course, told_refusal
from clients.residents import RESIDENTS, under_way
from federation.kernel.errors import AbortCode, DataError, PolicyRefusal
from tests.house import House


@pytest.fixture(autouse=True)
def _heard(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "creditfed.node")


def test_a_run_that_waits_for_people_is_no_warning_and_says_what_to_do(caplog: pytest.LogCaptureFixture) -> None:
    told_refusal(
        "r", PolicyRefusal("bank", "run r waits for the approval of 1 owner", "Vote: creditfed node approve r.", AbortCode.APPROVAL)
    )
    told_refusal("r", DataError("bank", "the data are not those that this run was approved for", "Start the run again."))
    waits, refused = caplog.records
    assert (waits.levelname, refused.levelname) == ("INFO", "WARNING")
    assert "creditfed node approve r" in waits.getMessage() and "reason: data" in refused.getMessage()


def test_a_long_run_is_a_line_for_each_phase_and_one_a_minute(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr("clients.course.time.monotonic", lambda: now[0])
    course = Course()
    course.opened("r", ("tax", "platform"), 4_471)
    for batch in range(300):
        course.at("r", "align" if batch < 10 else f"fit {batch}")
        now[0] += 1.0
    course.ended("r", None, "its results are in node/results")
    said = [record.getMessage() for record in caplog.records]
    assert said[0] == "run r: begins with tax, platform; 4,471 rows of this institution take part"
    assert said[-1] == "run r: finished after 300 s; its results are in node/results"
    assert 4 <= len(said) <= 4 + 300 / AGAIN, said
    assert course.under_way() == {}


def test_another_process_says_that_it_goes_on_and_why_a_run_ends(caplog: pytest.LogCaptureFixture) -> None:
    course = Course()
    course.at("r", "fit 7")
    assert course.under_way() == {"r": "fit 7"}
    course.ended("r", PolicyRefusal("bank", "run r was refused or revoked by carol", "Ask them.", AbortCode.REVOKED), "")
    first, last = caplog.records
    assert first.getMessage() == "run r: goes on in this process, at fit 7"
    assert last.levelname == "WARNING" and "reason: revoked" in last.getMessage() and "by carol" in last.getMessage()


def test_that_a_run_is_signed_is_said_once_however_often_the_coordinator_asks(caplog: pytest.LogCaptureFixture) -> None:
    course = Course()
    for _ in range(5):
        course.signed("r")
    assert len(caplog.records) == 1


def test_a_node_that_opens_a_run_says_so_without_a_value_or_an_identifier(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    house = House(tmp_path / "bank", monkeypatch)
    house.opened()
    said = " ".join(record.getMessage() for record in caplog.records)
    assert "run test: begins with" in said
    table = next(iter(house.node.vault._tables.values()))
    assert table.rows and not [firm for firm in table.firms if firm in said]


def test_whoever_asks_how_far_runs_are_makes_no_node(tmp_path: Path) -> None:
    made = RESIDENTS.made
    assert under_way(tmp_path) == {} and RESIDENTS.made == made
