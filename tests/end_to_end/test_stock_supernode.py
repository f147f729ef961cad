"""A trial with stock Flower: the same ClientApp and ServerApp under flower-superlink and flower-supernode, and why it stays a trial."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from clients.approvals import Approvals
from clients.home import Home
from simulations.deployed import approve, found_deployment, sections
from simulations.stock import ENDED, Stock, stock, write_app
from tests.end_to_end.scene import World, simulated

CONFIG = ("folder", "run-file", "run", "journal")
SENT = """
from pathlib import Path

from flwr.app import Message, RecordDict
from flwr.clientapp import ClientApp

app = ClientApp()


@app.query("mailbox")
def answer(message, context):
    home = Path(context.node_config["home"])
    (home / "was-here").write_bytes((home / "keys" / "identity.key").read_bytes())
    return Message(RecordDict(), reply_to=message)
"""
SENDER = """
from flwr.app import Message, RecordDict
from flwr.serverapp import ServerApp

app = ServerApp()


@app.main()
def main(grid, context):
    grid.send_and_receive([Message(RecordDict(), node, "query.mailbox") for node in grid.get_node_ids()], timeout=120)
"""


def conducted(running: Stock, app: Path, config: dict[str, str]) -> dict[str, object]:
    """The coordinator's record of one `flwr run`."""
    assert running.run(app, config, 900).startswith(ENDED)
    return dict(json.loads((Path(config["folder"]) / "conduct.json").read_text()))


@pytest.mark.slow
def test_a_trial_on_stock_flower_gives_the_model_of_the_simulation(world: World, tmp_path: Path) -> None:
    run_file = world.run_file("stock", "scorecard", "binning")
    simulated(run_file, tmp_path / "inline")
    expected = json.loads((tmp_path / "inline" / "coordinator" / "conduct.json").read_text())["model_hash"]
    made = found_deployment(tmp_path / "deployed", sections(run_file))
    app = write_app(tmp_path / "app", "clients.app:app", "server.app:app", CONFIG)
    config = {"folder": str(made.place.root), "run-file": str(run_file), "run": "trial-1", "journal": "memory"}
    (tmp_path / "stock").mkdir()
    with stock(tmp_path / "stock", {name: {"home": str(home)} for name, home in made.homes.items()}) as running:
        waiting = conducted(running, app, config)
        assert waiting["failure"]["code"] == "approval", waiting  # type: ignore[index]
        opened = [event for home in made.homes.values() for event in Approvals(Home(home)).events() if event.event == "opened"]
        assert not opened, "nothing is computed before people have approved"
        approve(made, "trial-1", 5)
        done = conducted(running, app, config)
        assert done["failure"] is None and done["model_hash"] == expected

        for home in made.homes.values():
            assert not (home / "was-here").exists()
        other = write_app(tmp_path / "other", "clients.app:app", "server.app:app")
        (other / "trial" / "client_app.py").write_text(SENT)
        (other / "trial" / "server_app.py").write_text(SENDER)
        assert running.run(other, {}, 300).startswith(ENDED)
        for home in made.homes.values():  # what a resident node cannot be made to do: it has no call that fetches code
            assert (home / "was-here").read_bytes() == (home / "keys" / "identity.key").read_bytes()
