"""Checks across institutions in a deployment: every node is founded with its own source, and its node.toml says what it serves."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from tests.deployed_scene import Deployment, deployed, said
from tests.end_to_end import test_checks as checks
from tests.end_to_end import test_common_counterparties as common
from tests.end_to_end.scene import creditfed


def finished(consortium: Deployment, run_file: Path, *names: str) -> str:
    """A run to its good end."""
    consortium.pin(*names)
    consortium.start("coordinator", *names)
    run = consortium.submit(run_file)
    consortium.approve(run, *names)
    consortium.finished(run)
    return run


def held(consortium: Deployment, name: str) -> set[str]:
    """Files that a node's runs have left it."""
    return {path.name for path in (consortium.home(name) / "results").iterdir()}


@pytest.mark.slow
def test_who_else_lends_over_processes_of_their_own(tmp_path: Path) -> None:
    tables = {name: table for name, table in checks.loans().items() if name != "bank-e"}
    run_file = checks.written(tmp_path / "tables", "multi_lender", tables, {"bands": [100_000]}, {"include": ["outstanding"]})
    with deployed(tmp_path / "deployed") as consortium:
        consortium.found()
        for place, name in enumerate(tables):
            more = {"serves": "counting", "include": ["outstanding"]} if place else {"serves": "asking"}
            consortium.invite(name, "bank", tmp_path / "tables" / f"{name}.csv", more)
        run = finished(consortium, run_file, *tables)
        found = pd.read_parquet(consortium.home("bank-a") / "results" / "checks.parquet").set_index("id")
        expected = checks.counts(tables | {"bank-e": tables["bank-b"].iloc[:0]})
        assert (found[expected.columns].loc[expected.index] == expected).all(axis=None)
        assert found["lenders"].max() > 1
        for name in list(tables)[1:]:
            assert held(consortium, name) == {"share.json", "run.json"}
        shown = " ".join(said(creditfed("node", "show", run, "--home", consortium.home("bank-b"))).split())
        assert "how many of the others lend to it" in shown
        assert not [path for path in consortium.coordinator.rglob("*") if path.is_file() and b"firm 1" in path.read_bytes().lower()]


@pytest.mark.slow
def test_common_counterparties_over_processes_of_their_own(tmp_path: Path) -> None:
    tables = common.bureaus()
    run_file = common.written(tmp_path / "tables", tables)
    with deployed(tmp_path / "deployed") as consortium:
        consortium.found()
        for name in tables:
            consortium.invite(name, "tax", tmp_path / "tables" / f"{name}.csv", {"serves": "pairs"}, "--id", "counterparty")
        run = finished(consortium, run_file, *tables)
        found = pd.read_parquet(consortium.home("bureau-a") / "results" / "checks.parquet").set_index("pair")
        for pair in ("2026-001", "2026-002", "2026-004"):
            assert (found.loc[pair, "counterparties"], found.loc[pair, "common"]) == common.truth(tables, pair)
        assert found.loc["2026-003", "outcome"] == "other too few"
        assert held(consortium, "bureau-b") == {"share.json", "run.json"}
        shown = " ".join(said(creditfed("node", "show", run, "--home", consortium.home("bureau-b"))).split())
        assert "how many counterparties its own has in common" in shown
