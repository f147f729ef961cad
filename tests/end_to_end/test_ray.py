"""The `ray` back end: the same model as `inline`, whichever worker answers, also when workers or the whole run are killed.

Ray takes about ten seconds to start, so there is one run of each kind. What changing workers do to the bytes is in tests/crash/test_workers.py.
"""

from __future__ import annotations

import importlib.util
import os
import signal
import subprocess
import sys
import time
import uuid
from pathlib import Path
from typing import Any

import pytest

from simulations import ray_workers
from simulations.ray_workers import RayWorkers
from tests.end_to_end.bank_scene import make_banks, run_file
from tests.end_to_end.scene import ROOT, World, creditfed, make_world, simulated, start

needs_ray = pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="Ray is not installed: pip install 'creditfed[ray]'")
BANKS, SEED = ("bank-a", "bank-b", "bank-c", "bank-d"), 41


@pytest.fixture(scope="module")
def banks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run file of four banks."""
    root = make_banks(tmp_path_factory.mktemp("ray-banks"), BANKS, 1_200, SEED, None)
    return run_file(root, "run", BANKS, run={"holdout": 0.2, "patience": 3600.0})


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory) -> World:
    """A smaller world: what is tested is the way, not the model."""
    return make_world(tmp_path_factory.mktemp("ray-world"), firms=600)


def marked(mark: str) -> list[int]:
    """Processes that have inherited a word in their environment, this one excepted."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if mark.encode() in (process / "environ").read_bytes() and int(process.name) != os.getpid():
                found.append(int(process.name))
        except OSError:
            continue
    return found


def wait_until(happened: Any, seconds: float = 240.0) -> None:
    end = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.1)


@needs_ray
def test_over_banks_the_model_is_that_of_inline_and_no_process_is_left(
    banks: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = simulated(banks, tmp_path / "inline")
    mark, out = f"creditfed-test-{uuid.uuid4()}", tmp_path / "ray"
    monkeypatch.setenv("CREDITFED_TEST", mark)
    begin, seen = RayWorkers.__init__, list[int]()

    def counted(workers: RayWorkers, *arguments: Any, **settings: Any) -> None:
        begin(workers, *arguments, **settings)
        seen.append(len(marked(mark)))

    monkeypatch.setattr(RayWorkers, "__init__", counted)
    found = simulated(banks, out, "--backend", "ray")
    assert seen and seen[0] > 2, "the test sees Ray's processes"
    assert (wanted["run"]["backend"], found["run"]["backend"]) == ("inline", "ray")
    assert found["model_hash"] == wanted["model_hash"] != ""
    wait_until(lambda: not marked(mark), seconds=60)
    assert not list(out.glob("parties/*/journal/*"))


@pytest.mark.slow
@needs_ray
def test_over_banks_a_run_that_was_killed_goes_on_to_the_model_of_inline_and_leaves_no_process(
    banks: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = simulated(banks, tmp_path / "inline")
    mark, out = f"creditfed-test-{uuid.uuid4()}", tmp_path / "ray"
    process = start("simulate", banks, "--out", out, "--backend", "ray", CREDITFED_TEST=mark)
    seen: set[int] = set()

    def halfway() -> bool:
        assert process.poll() is None, process.communicate()
        for outbox in out.glob("coordinator/journal/*.outbox"):
            seen.add(outbox.stat().st_mtime_ns)
        return len(seen) > 12

    wait_until(halfway)
    assert len(marked(mark)) > 3, "the test sees Ray's processes"
    process.send_signal(signal.SIGKILL)
    process.communicate()
    wait_until(lambda: not marked(mark))
    assert not (out / "result.json").exists()
    assert list(out.glob("parties/*/journal/*.db")), "journals are on disk without being asked for"

    monkeypatch.setenv("CREDITFED_TEST", mark)
    found = simulated(banks, out, "--backend", "ray")
    assert (wanted["run"]["backend"], found["run"]["backend"]) == ("inline", "ray")
    assert found["model_hash"] == wanted["model_hash"] != ""
    wait_until(lambda: not marked(mark), seconds=60)
    assert not list(out.glob("parties/*/journal/*"))


@pytest.mark.slow
@needs_ray
def test_across_parties_the_model_is_that_of_inline_though_every_message_changes_worker_and_one_dies(
    few: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = few.run_file("ray", model={"max_iterations": 3})
    wanted = simulated(path, tmp_path / "inline")
    calls, killed, peaks = [0], list[int](), list[list[float]]()
    begin, answer, close = RayWorkers.__init__, RayWorkers.__call__, RayWorkers.close

    def turning(_partition: int) -> int:
        calls[0] += 1
        return calls[0]

    def deadly(workers: RayWorkers, message: Any, context: Any) -> Any:
        if calls[0] == 20 and not killed:
            killed.append(int(workers.measure("pid")[0]))
            os.kill(killed[-1], signal.SIGKILL)
        return answer(workers, message, context)

    def measured(workers: RayWorkers) -> None:
        peaks.append(workers.measure("peak"))
        close(workers)

    monkeypatch.setattr(RayWorkers, "__init__", lambda self, address, clients: begin(self, address, clients, residents=1, route=turning))
    monkeypatch.setattr(RayWorkers, "__call__", deadly)
    monkeypatch.setattr(RayWorkers, "close", measured)
    found = simulated(path, tmp_path / "ray", "--backend", "ray")
    print(f"{calls[0]} messages, {len(killed)} worker killed, peak MB of the last: {peaks}")
    assert len(killed) == 1
    assert found["run"]["backend"] == "ray"
    assert found["model_hash"] == wanted["model_hash"]
    assert found["metrics"] == wanted["metrics"]
    assert [row["loss"] for row in found["cost"]["history"]] == pytest.approx([row["loss"] for row in wanted["cost"]["history"]])
    assert max(peaks[0]) < 1_500


_QUIET = """
import os, subprocess, sys
import simulations.command
from simulations.ray_workers import RayWorkers
workers = RayWorkers()
import ray, ray._common.usage.usage_lib as usage
from flwr.supercore import telemetry
print(usage.usage_stats_enabled(), telemetry.FLWR_TELEMETRY_ENABLED, bool(ray.worker._global_node.webui_url))
words = [sys.executable, "-c", "import ray, sys; ray.init(sys.argv[1], log_to_driver=False); print('in')", ray.get_runtime_context().gcs_address]
without = {key: value for key, value in os.environ.items() if not key.startswith("RAY_AUTH")}
wrong = os.environ | {"RAY_AUTH_TOKEN": "0" * 64}
for environment in (without, wrong, dict(os.environ)):
    print(subprocess.run(words, env=environment, capture_output=True, text=True).stdout.strip() or "out")
workers.close()
"""


@needs_ray
@pytest.mark.slow
def test_nothing_is_reported_and_nobody_without_the_token_gets_in() -> None:
    said = subprocess.run([sys.executable, "-W", "ignore", "-c", _QUIET], capture_output=True, text=True, cwd=ROOT, check=True).stdout
    assert said.split() == ["False", "0", "False", "out", "out", "in"], "the last is the control"


@needs_ray
def test_flowers_actor_has_the_form_that_we_use() -> None:
    """A contract with Flower's internals: flwr is pinned, and a new version must be looked at."""
    import inspect

    from flwr.server.superlink.fleet.vce.backend.raybackend import RayBackend
    from flwr.simulation.ray_transport.ray_actor import BasicActorPool, VirtualClientEngineActor

    assert list(inspect.signature(VirtualClientEngineActor.run).parameters)[:5] == ["self", "client_app_fn", "message", "cid", "context"]
    assert "self.pool.add_actors_to_pool" in inspect.getsource(RayBackend.build)
    assert {"self.pool", "self.create_actor_fn"} <= {word.strip(":") for word in inspect.getsource(BasicActorPool.__init__).split()}


def test_without_ray_it_says_what_to_install(banks: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray_workers.importlib.util, "find_spec", lambda _name: None)
    answer = creditfed("simulate", banks, "--out", tmp_path / "out", "--backend", "ray")
    assert answer.code == 2 and "pip install 'creditfed[ray]'" in answer.err and "Traceback" not in answer.err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--backend", "ray", "--journal", "memory"), "always on disk"),
        (("--ray-address", "127.0.0.1:6379"), "--backend ray"),
        (("--ray-address", "127.0.0.1:6379", "--backend", "inline"), "--backend ray"),
    ],
)
def test_options_that_do_not_go_together(options: tuple[str, ...], words: str, banks: Path, tmp_path: Path) -> None:
    answer = creditfed("simulate", banks, "--out", tmp_path / "out", *options)
    assert answer.code == 2 and words in answer.err
    assert not (tmp_path / "out").exists()


@needs_ray
@pytest.mark.parametrize("address", ["127.0.0.1:1", "ray://127.0.0.1:10001", "auto", "127.0.0.1:99999"])
def test_a_cluster_that_does_not_answer_is_said_so_at_once(address: str, banks: Path, tmp_path: Path) -> None:
    began = time.monotonic()
    answer = creditfed("simulate", banks, "--out", tmp_path / "out", "--backend", "ray", "--ray-address", address)
    assert answer.code == 2 and "--ray-address" in answer.err and "Traceback" not in answer.err
    assert time.monotonic() - began < 60


def test_a_node_that_several_machines_share_keeps_a_journal_without_side_files(banks: Path, tmp_path: Path) -> None:
    """What --ray-address writes into node.toml; run here in one process."""
    from clients.node import Node
    from server.run_file import load
    from simulations.simulate import prepare_homes

    homes = prepare_homes(load(banks), tmp_path / "out", "run-x", "shared")
    node = Node(homes["bank-a"])
    assert node.config.journal == "shared"
    with node._journal("run-x", opened=False) as journal:
        journal.answered(-1, b"", b"", b"snapshot", {})
        assert [path.name for path in (homes["bank-a"] / "journal").iterdir()] == ["run-x.db"]
    node.close()
