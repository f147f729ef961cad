"""The door of a node: what is mistyped at it is named, makes nothing, and never passes for something that was done."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from clients.alone import alone
from clients.approvals import Approvals
from clients.home import Home
from clients.node_commands import app
from federation.kernel.errors import ConfigurationError, CreditfedError
from server.report import write_report
from tests.house import ENDS, NOW, House

STUDY = {"name": '"winter"', "parties": '["bank-a"]', "columns": '["turnover"]', "purpose": '"decide"', "expires": '"2099-03-31T00:00:00Z"'}


def node(*words: object) -> str:
    result = CliRunner().invoke(app, [str(word) for word in words])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return " ".join(result.output.split())


def edge(*words: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    """The command itself, with its edge."""
    here = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    words_ = [sys.executable, "-m", "simulations.command", *map(str, words)]
    return subprocess.run(words_, capture_output=True, text=True, cwd=cwd, env=here, check=False)


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "loans.csv"
    path.write_text("id,x\na,1\n")
    return path


def init(table: Path, home: Path, *words: str, name: str = "tax-a") -> str:
    return node("init", "--name", name, "--role", "tax", "--source", table, "--home", home, *words)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("Tax_A", ()), ("coordinator", ()), ("tax-a", ("--owner", "Alice Wang")), ("tax-a", ("--owner", "policy")),
        ("tax-a", ("--owner", "alice", "--owner", "alice", "--four-eyes")), ("tax-a", ("--source", "no-such.csv")),
    ],
)  # fmt: skip
def test_a_node_that_could_never_work_is_not_founded_and_no_folder_is_left(table: Path, tmp_path: Path, name: str, words: tuple[str, ...]):
    with pytest.raises(ConfigurationError) as error:
        init(table, tmp_path / "node", *words, name=name)
    assert "run's name" not in str(error.value)
    assert not (tmp_path / "node").exists()


def test_a_founding_that_was_cut_short_is_done_again_with_all_its_rules(table: Path, tmp_path: Path) -> None:
    half = tmp_path / "node" / "policy.partial"
    half.mkdir(parents=True)
    (half / "10-runs.cedar").write_text("")
    assert "data set 'loans'" in init(table, tmp_path / "node", "--owner", "alice")
    assert not half.exists() and (tmp_path / "node" / "policy" / "10-runs.cedar").read_text()
    assert Home(tmp_path / "node").config()["dataset"] == "loans"


@pytest.mark.parametrize(
    "words",
    [
        ("approvers",), ("approvers", "--add", "bob"), ("members",), ("pending",), ("show", "x"), ("approve", "x"), ("revoke", "x"),
        ("budget", "show"), ("consent", "show"), ("retention", "show"), ("policy", "show"), ("policy", "test"),
    ],
)  # fmt: skip
def test_where_there_is_no_node_every_command_says_so_alike_and_makes_nothing(tmp_path: Path, words: tuple[str, ...]) -> None:
    with pytest.raises(CreditfedError, match="there is no node here"):
        node(*words, "--home", tmp_path / "typo")
    assert not (tmp_path / "typo").exists()


@pytest.mark.parametrize(
    "changes",
    [{"purpose": '"decideX"'}, {"models": '["scorecrd"]'}, {"columns": "[]"}, {"expires": '"2020-01-01T00:00:00Z"'},
     {"expires": '"2099-02-30T00:00:00Z"'}, {"disclosures": '["reveal"]'}, {"tasks": '["fit"]'}],
)  # fmt: skip
def test_a_study_that_can_never_apply_is_not_put_to_the_vote(table: Path, tmp_path: Path, changes: dict[str, str]) -> None:
    init(table, tmp_path / "node", "--owner", "alice")
    file = tmp_path / "winter.toml"
    file.write_text("\n".join(f"{key} = {value}" for key, value in (STUDY | changes).items()))
    with pytest.raises(ConfigurationError, match=f"study: {next(iter(changes))}"):
        node("study", file, "--home", tmp_path / "node")
    assert not Approvals(Home(tmp_path / "node")).studies()
    file.write_text("\n".join(f"{key} = {value}" for key, value in STUDY.items()))
    assert "study:winter --as alice --home" in node("study", file, "--home", tmp_path / "node"), "and the control, which can, is"


def test_a_vote_says_who_is_still_needed_and_with_several_owners_nobody_signs_unnamed(tmp_path: Path, monkeypatch) -> None:
    house = House(tmp_path / "bank", monkeypatch, approvals_needed=2)
    made = house.drafted(expires=ENDS)
    with pytest.raises(Exception, match="waits for the approval of 2 owners"):
        house.proposed(made)
    with pytest.raises(ConfigurationError, match="several owners: alice, bob"):
        node("approve", "test", "--yes", "--home", house.root)
    assert not Approvals(Home(house.root)).votes()
    said = node("approve", "test", "--as", "alice", "--yes", "--home", house.root)
    assert "1 of 2 approvals; still needed: bob" in said and "--as bob" in said and "asks again" not in said
    assert "start the simulation again" in node("approve", "test", "--as", "bob", "--yes", "--home", house.root)


def test_a_path_that_cannot_be_used_is_named_without_a_traceback(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "t.csv").write_text("id,x\na,1\n")
    answer = edge("node", "init", "--name", "a", "--role", "tax", "--source", "t.csv", "--home", "file/node", cwd=tmp_path)
    assert answer.returncode == 2 and "file" in answer.stderr and "Traceback" not in answer.stderr and "command.py" not in answer.stderr


@pytest.mark.parametrize("content", ["{", "{}", "[1]", '{"schema_version": 1}'])
def test_a_broken_result_gives_no_report(tmp_path: Path, content: str) -> None:
    (tmp_path / "result.json").write_text(content)
    with pytest.raises(ConfigurationError):
        write_report(tmp_path)
    assert not (tmp_path / "report.html").exists()


def test_control_an_error_that_is_no_path_is_still_told_as_a_bug(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from simulations import command

    canary = "firm-" + "canary"

    def broken(**_: object) -> None:
        raise ZeroDivisionError(canary)

    monkeypatch.setattr(command, "app", broken)
    with pytest.raises(SystemExit) as end:
        command.main()
    told = capsys.readouterr().err
    assert end.value.code == 1 and "internal error" in told and canary not in told


def test_what_a_killed_node_has_left_says_nothing_of_one_that_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    house = House(tmp_path / "bank", monkeypatch)
    facts = {"pid": os.getpid(), "state": "connected", "since": "2026-01-01T00:00:00Z", "address": "flower.example.org:9092", "node": 7}
    (house.root / "resident.json").write_text(json.dumps(facts))
    assert "does not run" in node("status", "--home", house.root)
    with alone(house.root):
        assert "connected since" in node("status", "--home", house.root)
    with alone(house.root):
        (house.root / "resident.json").write_text(json.dumps(facts | {"pid": 1}))  # an exchange of files has the lock, and no node runs
        assert "does not run" in node("status", "--home", house.root)


def test_a_list_of_runs_is_whole_on_a_narrow_screen_and_says_for_what_each_waits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    house = House(tmp_path / "bank", monkeypatch)
    monkeypatch.setenv("COLUMNS", "80")
    made = house.drafted(run="scorecard-of-the-winter-e620d8-2", expires="2099-01-01T00:00:00Z")
    house.node.gate.approvals.propose(made, NOW)
    said = node("pending", "--home", house.root)
    assert "scorecard-of-the-winter-e620d8-2" in said and "waits for" in said and "\N{HORIZONTAL ELLIPSIS}" not in said
