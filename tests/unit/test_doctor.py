"""`creditfed node doctor`: each thing that would keep a node from working is found, with what to do, and nothing is changed or told."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pandas as pd
import pytest

from clients.checks import examine
from clients.home import Home
from tests.deployed_scene import free_port
from tests.end_to_end.scene import creditfed

SECRET = "91110000SECRETFIRM"


@pytest.fixture
def node(tmp_path: Path) -> Home:
    table = tmp_path / "tax.csv"
    pd.DataFrame({"id": [f"{SECRET}{i}" for i in range(40)], "x": range(40)}).to_csv(table, index=False)
    coordinator = tmp_path / "coordinator"
    assert creditfed("coordinator", "init", "--host", "localhost", "--port", free_port(), "--home", coordinator).code == 0
    words = ["--name", "tax", "--role", "tax", "--source", table, "--legal-basis", "contract", "--first-budget", 9]
    assert creditfed("node", "init", *words, "--home", tmp_path / "tax", "--invitation", coordinator / "invitation.toml").code == 0
    return Home(tmp_path / "tax")


def found(node: Home) -> dict[str, tuple[str, str, str]]:
    return {each.name: (each.verdict, each.found, each.action) for each in examine(node)}


def digests(root: Path) -> dict[str, str]:
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(root.rglob("*")) if path.is_file()}


def test_a_new_node_lacks_its_members_and_its_server_and_is_told_what_to_do(node: Home) -> None:
    before = digests(node.root)
    said = found(node)
    assert digests(node.root) == before, "a check has changed something"
    assert {name: verdict for name, (verdict, _, _) in said.items()} == {
        "keys": "ok", "disk": "ok", "policy": "ok", "members": "wrong", "source": "ok", "rows": "ok", "budget": "ok",
        "certificate": "wrong", "clock": "look", "enrolment": "look",
    }  # fmt: skip
    assert "creditfed node approve consortium.toml" in said["members"][2] and "cannot be reached" in said["certificate"][1]
    assert all(action for verdict, _, action in said.values() if verdict != "ok")
    assert SECRET not in str(said)
    answer = creditfed("node", "doctor", "--home", node.root)
    assert answer.code == 2 and SECRET not in answer.out + answer.err


def test_what_is_wrong_is_found_one_by_one(node: Home) -> None:
    (node.root / "keys" / "node.pem").chmod(0o644)
    assert found(node)["keys"][0] == "wrong" and "chmod 600" in found(node)["keys"][2]
    (node.root / "keys" / "node.pem").chmod(0o600)
    (node.root / "keys" / "node.pem").write_text("nothing")
    assert "not a P-384 private key" in found(node)["keys"][1]
    (node.root / "keys" / "storage.key").unlink()
    assert "not there: storage.key" in found(node)["keys"][1]
    (node.root / "policy" / "20-columns.cedar").write_text("permit (")
    assert found(node)["policy"][0] == "wrong"
    config = (node.root / "node.toml").read_text()
    (node.root / "node.toml").write_text(config.replace("tax.csv", "gone.csv"))
    assert found(node)["source"][0] == "wrong" and SECRET not in str(found(node))
    (node.root / "node.toml").write_text(config.replace('legal_basis = "contract"\n', ""))
    assert found(node)["rows"][0] == "look"
    (node.root / "budget" / "ledger.db").unlink()
    assert found(node)["budget"][0] == "wrong"
    (node.root / "coordinator.toml").unlink()
    assert "no coordinator has invited" in found(node)["certificate"][1]
