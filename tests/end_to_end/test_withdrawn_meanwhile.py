"""A consent that is withdrawn in a node's ledger while a run goes on reaches that run: it ends, or goes on without the row."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path

import pytest

import server.app
from clients.clock import utc_now
from clients.consent import audited
from clients.home import Home
from clients.node import Node
from privacy.audit.lines import entries
from privacy.store.audit_folder import find
from tests.end_to_end.scene import World, creditfed, result


def started(world: World, out: Path, withdrawal: str, monkeypatch: pytest.MonkeyPatch, stage: str = "fit") -> tuple[int, str, int]:
    """Exit code, what the screen says, and how many of the tax office's rows were withdrawn when the stage had begun."""
    firms = sorted(world.tables["tax"]["id"].unique())
    lines = ["id,purpose,levels,recipients,from,until,evidence"]
    lines += [f"{firm},credit,3,bank;platform,2020-01-01,2099-12-31,form {i}" for i, firm in enumerate(firms)]
    (world.folder / "all.csv").write_text("\n".join(lines))
    path = world.run_file(
        f"meanwhile-{withdrawal}", party_tax={"consents": "all.csv"}, privacy={"withdrawal": withdrawal},
        model={"tolerance": 1e-3, "max_iterations": 4},
    )  # fmt: skip
    left = firms[:40]
    seen: list[str] = []

    def withdraw(name: str, _exchanges: int) -> None:
        seen.append(name)
        if name.startswith(stage) and sum(s.startswith(stage) for s in seen) == 1:
            with closing(audited(Home(out / "parties" / "tax"))) as ledger:
                ledger.withdraw(left, utc_now())

    monkeypatch.setattr(server.app, "watchers", [withdraw])
    answer = creditfed("simulate", path, "--out", out)
    assert any(name.startswith(stage) for name in seen), sorted(set(seen))
    return answer.code, answer.err, int(world.tables["tax"]["id"].isin(left).sum())


def test_the_run_ends_where_its_manifest_says_so(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code, said, _ = started(world, tmp_path / "out", "abort", monkeypatch)
    assert code == 3 and "onsent" in said and not (tmp_path / "out" / "result.json").exists()
    told = list(entries(find(tmp_path / "out" / "parties" / "tax").lines()))
    assert [entry for entry in told if entry.kind == "abort" and entry.facts["code"] == "consent"]
    assert [entry for entry in told if entry.kind == "consent" and entry.facts["change"] == "gone meanwhile"]


def test_the_run_goes_on_without_the_rows_where_it_says_so(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code, said, rows = started(world, tmp_path / "out", "continue", monkeypatch)
    assert code == 0, said
    share = json.loads((tmp_path / "out" / "parties" / "tax" / "results" / "share.json").read_text())
    assert sum(entry["rows"] for entry in share["withdrawals"]) == rows
    assert result(tmp_path / "out")


def test_control_a_node_that_does_not_ask_its_ledger_notices_nothing(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    in_session = Node._in_session
    monkeypatch.setattr(Node, "_in_session", lambda self, *arguments: in_session(self, *arguments[:4]))
    code, said, _ = started(world, tmp_path / "out", "abort", monkeypatch)
    assert code == 0, said
