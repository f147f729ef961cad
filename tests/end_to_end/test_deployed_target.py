"""[target] in a deployment: the bank's node is founded with its repayment table, reads the definition in the manifest, and makes the outcomes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.deployed_scene import deployed, said
from tests.end_to_end.scene import creditfed, simulated
from tests.target_scene import make_target_scene

PARTIES = ("bank", "platform", "tax")


@pytest.mark.slow
def test_the_model_is_that_of_the_same_run_in_one_process_and_findings_stay_at_the_bank(tmp_path: Path) -> None:
    scene = make_target_scene(tmp_path / "tables")
    path = scene.run_file("deployed")
    inline = simulated(path, tmp_path / "inline")
    with deployed(tmp_path / "deployed") as consortium:
        consortium.found()
        for name in PARTIES:
            tables = (
                ["--repayments", scene.folder / "repayments.parquet", "--loans", scene.folder / "loans.parquet"] if name == "bank" else []
            )
            consortium.invite(name, name, scene.folder / f"{name}.parquet", None, "--as-of", "as_of", *map(str, tables))
        looked = said(creditfed("node", "source", "--home", consortium.home("bank")))
        assert "label made of the repayment table, by the [target] of each run" in looked and "2021-01 to 2023-12" in looked
        consortium.pin(*PARTIES)
        consortium.start("coordinator", *PARTIES)
        run = consortium.submit(path)
        consortium.approve(run, *PARTIES)
        assert consortium.finished(run).model_hash == inline["model_hash"]
        shown = said(creditfed("node", "show", run, "--home", consortium.home("tax")))
        assert "outcomes: bad from 90 days past due" in " ".join(shown.split())
        share = json.loads((consortium.home("bank") / "results" / "share.json").read_bytes())
        assert share["target"] == inline["target"]["bank"]
        assert (consortium.home("bank") / "results" / "target.json").exists()
        assert not any((consortium.home(name) / "results" / "target.json").exists() for name in PARTIES[1:])
        assert "target.json" not in {path.name for path in consortium.coordinator.rglob("*")}
