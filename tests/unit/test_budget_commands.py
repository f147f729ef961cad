"""The officer's and the operator's commands on a ledger."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from clients.approvals import Approvals
from clients.budget_commands import budget_app, ledger_path
from clients.founding import found
from clients.home import Home
from federation.kernel.errors import ConfigurationError
from federation.kernel.loss import DiscreteGaussian, Stated
from privacy.budget.limits import Cost, Counts, Limits
from privacy.store.budget_file import BudgetFile

SET = ["set", "loans", "decide", "--by", "Ann", "--epsilon", "2", "--delta", "1e-6", "--rows", "1000"]


def run(home, *words: str):
    result = CliRunner().invoke(budget_app, [*words, "--home", str(home)])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


@pytest.fixture
def home(tmp_path):
    """A node with an owner and two risk officers, Ann and Bob."""
    found(tmp_path, {"name": "bank", "role": "bank", "source": "bank.csv", "dataset": "loans"}, lambda: "2026-05-01T12:00:00Z", ("alice",))
    for officer in ("Ann", "Bob"):
        Approvals(Home(tmp_path)).add_approver(officer, "risk officer")
    return tmp_path


def test_an_officer_sets_limits_and_everyone_sees_what_is_left(home):
    assert "No budget is set" in run(home, "show").output
    run(home, *SET)
    run(home, "set", "loans", "any", "--by", "Ann", "--releases", "7")
    file = BudgetFile(ledger_path(home))
    file.reserve("r1", "loans", "decide", Cost((Stated(0.5, 1e-8),), Counts(releases=3, rows=200)))
    file.spend("r1", "x", Cost((DiscreteGaussian(80.0, 1.0, 4),), Counts(releases=1, rows=50)))
    shown = run(home, "show").output
    lines = {tuple(line.split()) for line in shown.splitlines()}
    assert ("rows", "50", "150", "800", "1,000") in lines
    assert ("releases", "1", "2", "4", "7") in lines
    epsilon = next(line.split() for line in shown.splitlines() if line.endswith("at delta 1e-06"))
    assert epsilon[3:5] == ["1.5", "2"]
    assert "Open: run r1 on loans for decide" in shown and "all purposes together" in shown


def test_what_is_not_named_stays_and_a_limit_is_lifted_only_by_name(home):
    run(home, *SET)
    run(home, "set", "loans", "decide", "--by", "Ann", "--releases", "5")
    run(home, "set", "loans", "decide", "--by", "Bob", "--lift", "rows")
    file = BudgetFile(ledger_path(home))
    assert file.current().limits == {("loans", "decide"): Limits(2.0, 1e-6, releases=5)}
    assert [entry.record.by for entry in file.history()] == ["Ann", "Ann", "Bob"]


@pytest.mark.parametrize(
    "words",
    [
        ("set", "loans", "decide", "--by", "Ann"),
        ("set", "loans", "decide", "--by", "Ann", "--epsilon", "1"),
        ("set", "loans", "nothing", "--by", "Ann", "--rows", "1"),
        ("set", "laons", "decide", "--by", "Ann", "--rows", "1"),
        ("set", "loans", "decide", "--by", "Ann", "--lift", "everything"),
        ("set", "loans", "decide", "--by", "Ann", "--rows", "1", "--lift", "rows"),
        ("set", "loans", "decide", "--by", "Ann", "--epsilon", "1", "--delta", "0.5"),
        ("give-back", "r1", "--reason", " "),
    ],
)
def test_a_command_that_makes_no_sense_changes_nothing(home, words):
    run(home, *SET)
    file = BudgetFile(ledger_path(home))
    file.reserve("r1", "loans", "decide", Cost(counts=Counts(rows=5)))
    before = file.history()
    with pytest.raises(ConfigurationError):
        run(home, *words)
    assert file.history() == before


def test_an_operator_frees_what_a_dead_run_had_not_spent(home):
    run(home, *SET)
    file = BudgetFile(ledger_path(home))
    file.reserve("r1", "loans", "decide", Cost(counts=Counts(rows=200)))
    file.spend("r1", "x", Cost(counts=Counts(rows=50)))
    assert "is free again" in run(home, "give-back", "r1", "--reason", "host replaced").output
    assert file.left("loans", "decide").rows == 950
    assert "closed before" in run(home, "give-back", "r1", "--reason", "host replaced").output
    with pytest.raises(ConfigurationError, match="reserved nothing"):
        run(home, "give-back", "r2", "--reason", "host replaced")


def test_a_folder_that_is_not_there_is_not_made(tmp_path):
    with pytest.raises(ConfigurationError, match="no node here"):
        run(tmp_path / "typo", "show")
    assert not (tmp_path / "typo").exists()
