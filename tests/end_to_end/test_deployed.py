"""A coordinator, a bank, a platform and a tax bureau in processes of their own, over TLS with node authentication: as the guides have it.

What it comes to is what the same run comes to in one process, also where any of the processes is killed on the way.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from clients.recorded import INDEX
from server.store.states import RunState
from tests.deployed_scene import Deployment, deployed, said, until
from tests.end_to_end.scene import COLUMNS, World, creditfed, make_world, simulated

PARTIES = tuple(COLUMNS)


def as_in_the_run_file(name: str) -> dict[str, object]:
    """What the world's run files say of a party, as its own node.toml says it."""
    dated = {"as_of": "as_of"} if name == "bank" else {}
    return {"include": COLUMNS[name]} | dated


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    """Smaller than that of the other tests: what is tested is the way."""
    return make_world(tmp_path_factory.mktemp("world"), firms=1_000)


@pytest.fixture(scope="module")
def consortium(world: World, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """Three institutions, joined and started."""
    with deployed(tmp_path_factory.mktemp("deployed")) as deployment:
        deployment.found()
        for name in PARTIES:
            label = ["--label", "label"] if name == "bank" else []
            deployment.invite(name, name, world.folder / f"{name}.parquet", as_in_the_run_file(name), *label)
        deployment.pin(*PARTIES)
        deployment.start("coordinator", *PARTIES)
        yield deployment


def test_the_model_is_that_of_the_same_run_in_one_process(world: World, consortium: Deployment, tmp_path: Path) -> None:
    path = world.run_file("deployed", "scorecard", privacy={"label_disclosure": True})
    inline = simulated(path, tmp_path / "inline")
    run = consortium.submit(path)
    consortium.approve(run, *PARTIES)
    finished = consortium.finished(run)
    assert finished.model_hash == inline["model_hash"] and inline["converged"]
    record = json.loads((consortium.coordinator / "runs" / run / "conduct.json").read_bytes())
    assert record["universe"] == inline["alignment"]["universe"]
    assert record["exchanges"] == finished.exchanges
    indices = [json.loads((consortium.home(name) / "results" / INDEX).read_bytes()) for name in PARTIES]
    assert all(index["model"] == inline["model_hash"] for index in indices)
    for name in PARTIES:
        assert not list((consortium.home(name) / "journal").glob("*.partial"))
        assert said(creditfed("audit", "verify", consortium.home(name) / "audit"))
    assert not list((consortium.coordinator / "journal").glob(f"{run}*")), "the coordinator's session secrets outlive the run"
    table = said(creditfed("coordinator", "status", "--home", consortium.coordinator))
    assert table.count("online") == 3 and "finished" in table
    assert "connected" in said(creditfed("node", "status", "--home", consortium.home("tax")))


@pytest.mark.slow
def test_a_node_that_is_killed_and_started_again_goes_on_with_the_run(world: World, consortium: Deployment, tmp_path: Path) -> None:
    path = world.run_file("killed", run={"seed": 11})
    inline = simulated(path, tmp_path / "inline")
    run = consortium.submit(path)
    consortium.approve(run, *PARTIES)
    until(lambda: consortium.run(run).exchanges >= 8, 60, consortium.logs())
    consortium.kill("tax")
    assert not consortium.run(run).over
    consortium.start("tax")
    finished = consortium.finished(run)
    assert finished.model_hash == inline["model_hash"]
    logs = [*(consortium.home(name) for name in PARTIES), consortium.coordinator]
    compared = said(creditfed("audit", "compare", *logs, "--run", run, "--consortium", consortium.coordinator / "consortium.toml"))
    assert "The accounts agree" in compared


@pytest.mark.slow
def test_a_server_that_is_killed_is_followed_by_one_that_goes_on(world: World, consortium: Deployment, tmp_path: Path) -> None:
    """Its runs are taken for its own for some seconds more, and then they are free."""
    path = world.run_file("orphaned", run={"seed": 15})
    inline = simulated(path, tmp_path / "inline")
    run = consortium.submit(path)
    consortium.approve(run, *PARTIES)
    until(lambda: consortium.run(run).exchanges >= 8, 60, consortium.logs())
    consortium.kill("coordinator")
    left = consortium.run(run)
    assert left.state is RunState.RUNNING and left.worker is not None
    consortium.start("coordinator")
    assert consortium.finished(run).model_hash == inline["model_hash"]


@pytest.mark.slow
def test_a_server_that_ends_lets_its_runs_go_and_the_next_one_goes_on_with_them(
    world: World, consortium: Deployment, tmp_path: Path
) -> None:
    path = world.run_file("restarted", run={"seed": 12})
    inline = simulated(path, tmp_path / "inline")
    run = consortium.submit(path)
    consortium.approve(run, *PARTIES)
    until(lambda: consortium.run(run).exchanges >= 8, 60, consortium.logs())
    assert consortium.end("coordinator") == 0
    left = consortium.run(run)
    assert left.state is RunState.RUNNING and left.worker is None
    consortium.start("coordinator")
    assert consortium.finished(run).model_hash == inline["model_hash"]


def test_a_run_that_is_stopped_ends_at_every_institution(world: World, consortium: Deployment) -> None:
    run = consortium.submit(world.run_file("stopped", run={"seed": 13}))
    consortium.approve(run, *PARTIES)
    until(lambda: consortium.run(run).exchanges >= 3, 60, consortium.logs())
    said(creditfed("coordinator", "stop", run, "--home", consortium.coordinator))
    assert consortium.over(run).state is RunState.STOPPED
    for name in PARTIES:
        ends = [
            line for line in (consortium.home(name) / "approvals" / "runs.jsonl").read_text().splitlines() if run in line or "ended" in line
        ]
        assert "stopped" in json.loads((consortium.home(name) / "results" / "failure.json").read_bytes())["code"], ends
    again = creditfed("coordinator", "stop", run, "--home", consortium.coordinator)
    assert again.code == 2 and "stopped already" in again.err


def test_a_run_that_one_institution_refuses_ends_and_says_who(world: World, consortium: Deployment) -> None:
    run = consortium.submit(world.run_file("refused", run={"seed": 14}))
    proposal = consortium.home("tax") / "approvals" / f"{run}.json"
    until(proposal.exists, 30, consortium.logs())
    said(creditfed("node", "revoke", run, "--as", "alice", "--home", consortium.home("tax")))
    ended = consortium.over(run)
    assert ended.state is RunState.FAILED and ended.failure is not None and "tax" in ended.failure.text


def test_what_is_wrong_is_said_with_what_to_do(world: World, consortium: Deployment, tmp_path: Path) -> None:
    second = creditfed("node", "start", "--home", consortium.home("bank"))
    assert second.code == 2 and "works on this node already" in second.err
    twice = creditfed("coordinator", "start", "--home", consortium.coordinator)
    assert twice.code == 2 and "a server runs here already" in twice.err
    stranger = world.run_file("stranger")
    stranger.write_text(stranger.read_text().replace('name = "platform"', 'name = "nobody"'))
    unknown = creditfed("coordinator", "submit", stranger, "--home", consortium.coordinator)
    assert unknown.code == 2 and "nobody" in unknown.err and "enrolled" in unknown.err
    nowhere = creditfed("coordinator", "status", "--home", tmp_path)
    assert nowhere.code == 2 and "creditfed coordinator init" in nowhere.err
    healthy = creditfed("node", "doctor", "--home", consortium.home("bank"))
    assert healthy.code == 0 and "wrong" not in healthy.out, healthy.out
