"""A tax bureau that connects to nobody: its batches are carried as files, and the run comes to the same model."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.deployed_scene import deployed, said
from tests.end_to_end.scene import COLUMNS, World, creditfed, simulated


@pytest.mark.slow
def test_a_run_of_the_deployed_coordinator_with_one_institution_by_files_has_the_same_model(world: World, tmp_path: Path) -> None:
    path = world.run_file("carried", run={"seed": 21}, model={"tolerance": 1e-4})
    inline = simulated(path, tmp_path / "inline")
    with deployed(tmp_path / "deployed") as deployment:
        deployment.found()
        for name in COLUMNS:
            label = ["--label", "label", "--as-of", "as_of"] if name == "bank" else []
            source = world.folder / f"{name}.parquet"
            deployment.invite(name, name, source, {"include": COLUMNS[name]}, *label, by_files=name == "tax")
        deployment.pin(*COLUMNS)
        deployment.start("coordinator", "bank", "platform")
        run = deployment.submit(path)
        trips, waiting = 0, set(COLUMNS)
        while not deployment.run(run).over:
            deployment.carry("tax")
            trips += 1
            for name in sorted(waiting):
                if (deployment.home(name) / "approvals" / f"{run}.json").exists():
                    deployment.approve(run, name)
                    waiting.discard(name)
            time.sleep(0.1)
            assert trips < 1_000, deployment.logs()
        finished = deployment.finished(run)
        print(f"{trips} trips for {finished.exchanges} exchanges")
        assert finished.model_hash == inline["model_hash"]
        assert said(creditfed("audit", "verify", deployment.home("tax") / "audit"))
        assert "by files" in said(creditfed("coordinator", "status", "--home", deployment.coordinator))
        assert not list((deployment.coordinator / "exchange" / "asked").glob("*"))
