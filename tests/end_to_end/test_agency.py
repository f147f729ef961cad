"""`creditfed simulate` with a licensed credit agency before the platform: the same model, and an account that agrees with everybody's."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import tomli_w

from privacy.audit.compare import Account, compare
from privacy.audit.entry import Entry
from simulations.simulate import simulate
from tests.end_to_end.scene import creditfed, logged

NODES = ("bank", "platform-a", "tax", "agency-a")


def run_file(folder: Path, *, through: bool, **agency: Any) -> Path:
    """A logistic run of 200 firms; the platform goes through the agency, or does not."""
    rng, rows = np.random.default_rng(1), 200
    ids, x = [f"firm{i}" for i in range(rows)], rng.normal(size=(rows, 3))
    labels = (rng.random(rows) < 1 / (1 + np.exp(-x.sum(1)))).astype(int)
    tables = {"bank": {"label": labels, "a": x[:, 0]}, "platform-a": {"b": x[:, 1]}, "tax": {"c": x[:, 2]}}
    parties: list[dict[str, Any]] = []
    for name, columns in tables.items():
        pd.DataFrame({"id": ids} | columns).to_csv(folder / f"{name}.csv", index=False)
        parties.append({"name": name, "role": name.partition("-")[0], "source": f"{name}.csv"})
    parties[0]["label"] = "label"
    document: dict[str, Any] = {"run": {"task": "train", "model": "logistic", "purpose": "decide"}, "party": parties}
    if through:
        parties[1]["through"] = "agency-a"
        document["agency"] = [{"name": "agency-a"} | agency]
    path = folder / f"run-{through}.toml"
    path.write_text(tomli_w.dumps(document))
    return path


@pytest.fixture(scope="module")
def relayed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    folder = tmp_path_factory.mktemp("agency")
    return folder, simulate(run_file(folder, through=True), folder / "out", journal="disk")


def accounts(out: Path) -> list[Account]:
    """What every log says, by parties of which each other's heads are known by name alone."""
    return [Account(name, "", tuple(entry for entry in logged(out, name) if entry.run)) for name in (*NODES, "coordinator")]


def differences(out: Path, alter: dict[str, tuple[Entry, ...]] | None = None) -> list[str]:
    """Of messages: heads are compared where keys are known (`tests/adversary/test_audit_compare.py`)."""
    found = [dataclasses.replace(one, entries=(alter or {}).get(one.party, one.entries)) for one in accounts(out)]
    return [str(difference) for difference in compare(found) if difference.subject == "messages"]


def test_the_model_is_the_one_without_an_agency(relayed: tuple[Path, dict[str, Any]]) -> None:
    folder, result = relayed
    straight = simulate(run_file(folder, through=False), folder / "straight", journal="memory")
    assert result["model_hash"] == straight["model_hash"]
    assert "agencies" not in straight
    (agency,) = result["agencies"]
    assert (agency["name"], agency["parties"]) == ("agency-a", ["platform-a"]) and agency["messages"] > 50
    assert "agency" in result["privacy"]["leakage"] and [party["name"] for party in result["parties"]] == list(NODES[:3])


def test_the_agencys_account_agrees_with_everybodys(relayed: tuple[Path, dict[str, Any]]) -> None:
    out = relayed[0] / "out"
    relays = [entry for entry in logged(out, "agency-a") if entry.kind == "relayed"]
    assert {str(entry.facts["sender"]) for entry in relays} == {"bank", "platform-a", "tax", "coordinator"}
    assert sum(int(entry.facts["messages"]) for entry in relays) == relayed[1]["agencies"][0]["messages"]
    assert differences(out) == []
    assert creditfed("audit", "compare", *(out / "audit" / name for name in (*NODES, "coordinator"))).code == 0


@pytest.mark.parametrize("what", ["another digest", "a message less", "a stage left out"])
def test_control_an_account_that_was_altered_differs(relayed: tuple[Path, dict[str, Any]], what: str) -> None:
    out = relayed[0] / "out"
    entries = next(one for one in accounts(out) if one.party == "agency-a").entries
    place = next(i for i, entry in enumerate(entries) if entry.kind == "relayed")
    facts = dict(entries[place].facts)
    changes: dict[str, dict[str, str | int | float]] = {
        "another digest": {"digest": "0" * 64},
        "a message less": {"messages": int(facts["messages"]) - 1},
    }
    changed = (
        []
        if what == "a stage left out"
        else [Entry(entries[place].number, entries[place].time, "relayed", entries[place].run, facts | changes[what])]
    )
    found = differences(out, {"agency-a": (*entries[:place], *changed, *entries[place + 1 :])})
    assert len(found) == 2 and all("agency-a" in line for line in found), found


def test_an_agency_opens_no_vault_and_holds_no_record(relayed: tuple[Path, dict[str, Any]]) -> None:
    out = relayed[0] / "out"
    kinds = {entry.kind for entry in logged(out, "agency-a")}
    assert {"approval", "policy", "session", "heads seen", "relayed", "end"} <= kinds
    assert not kinds & {"vault", "release", "budget", "consent"}
    home = out / "parties" / "agency-a"
    assert "source" not in (home / "node.toml").read_text()
    assert not any(b"firm17" in path.read_bytes() for path in home.rglob("*") if path.is_file())
    assert any(b"firm17" in path.read_bytes() for path in relayed[0].glob("*.csv"))  # control: where records are, the search finds them


def test_an_agency_that_waits_for_its_people_holds_the_run_up(tmp_path: Path) -> None:
    answer = creditfed("simulate", run_file(tmp_path, through=True, approval="people"), "--out", tmp_path / "out")
    assert answer.code == 3 and "agency-a" in answer.err, answer.err
    voted = creditfed(
        "node", "approve", _proposed(tmp_path), "--as", "owner-1", "--home", tmp_path / "out" / "parties" / "agency-a", "--yes"
    )
    assert voted.code == 0 and "relays what platform-a sends and receives" in " ".join(voted.out.split()), voted.out
    answer = creditfed("simulate", run_file(tmp_path, through=True, approval="people"), "--out", tmp_path / "out")
    assert answer.code == 0, answer.err


def _proposed(folder: Path) -> str:
    return next((folder / "out" / "parties" / "agency-a" / "approvals").glob("run-*.json")).stem


def test_an_agencys_node_is_founded_without_a_table(tmp_path: Path) -> None:
    made = creditfed("node", "init", "--name", "agency-a", "--role", "agency", "--home", tmp_path / "agency-a")
    assert made.code == 0, made.err
    assert "source" not in (tmp_path / "agency-a" / "node.toml").read_text()
    for role, more in (("agency", ("--source", "a.csv")), ("platform", ())):
        assert creditfed("node", "init", "--name", "other", "--role", role, *more, "--home", tmp_path / "other").code == 2
    assert not (tmp_path / "other" / "node.toml").exists()
