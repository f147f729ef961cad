"""`creditfed simulate` with an agency that holds the platform's consents: the model is the one over the firms that consent, and no other."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import tomli_w

import server.app
from clients.clock import utc_now
from clients.consent import audited
from clients.held import HeldConsents
from clients.home import Home
from clients.residents import dismiss
from privacy.audit.compare import Account, compare
from privacy.audit.entry import Entry
from privacy.audit.lines import entries
from privacy.store.audit_folder import find
from simulations.simulate import simulate
from tests.end_to_end.scene import Answer, creditfed, logged

ROWS = 200
FIRMS = [f"firm{i}" for i in range(ROWS)]
REFUSING = [f"firm{i}" for i in range(0, ROWS, 5)]
"""Firms of which the agency has no consent."""
NODES = ("bank", "platform-a", "tax", "agency-a")


def run_file(folder: Path, *, platform: Sequence[str] = FIRMS, agency: bool = True, **more: dict[str, Any]) -> Path:
    """A logistic run; platform: the firms in the platform's file; agency: whether an agency holds consents of all but some of them; more: tables."""
    folder.mkdir(exist_ok=True, parents=True)
    rng = np.random.default_rng(1)
    x = rng.normal(size=(ROWS, 3))
    labels = (rng.random(ROWS) < 1 / (1 + np.exp(-x.sum(1)))).astype(int)
    tables = {"bank": {"label": labels, "a": x[:, 0]}, "platform-a": {"b": x[:, 1]}, "tax": {"c": x[:, 2]}}
    parties: list[dict[str, Any]] = []
    for name, columns in tables.items():
        table = pd.DataFrame({"id": FIRMS} | columns)
        table[table["id"].isin(platform) if name == "platform-a" else table["id"] != ""].to_csv(folder / f"{name}.csv", index=False)
        parties.append({"name": name, "role": name.partition("-")[0], "source": f"{name}.csv"})
    parties[0]["label"] = "label"
    document: dict[str, Any] = {"run": {"task": "train", "model": "logistic", "purpose": "decide"}, "party": parties} | more
    if agency:
        consenting = [firm for firm in FIRMS if firm not in REFUSING] + ["a firm that the platform does not know"]
        lines = [f"{firm},decide,3,bank;tax,2020-01-01,2099-12-31,form {firm}" for firm in consenting]
        (folder / "consents.csv").write_text("\n".join(["id,purpose,levels,recipients,from,until,evidence", *lines]))
        parties[1] |= {"through": "agency-a", "consents": "consents.csv", "consents_at": "agency"}
        document["agency"] = [{"name": "agency-a"}]
    path = folder / "run.toml"
    path.write_text(tomli_w.dumps(document))
    return path


@pytest.fixture(scope="module")
def held(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    folder = tmp_path_factory.mktemp("held")
    return folder, simulate(run_file(folder), folder / "out", journal="disk", pooled=True)


def test_the_model_is_the_one_over_the_firms_that_consent(held: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    """The platform that never had the firms that refuse, and the pooled fit of what the vaults gave; not the platform with all its firms."""
    agreeing = [firm for firm in FIRMS if firm not in REFUSING]
    never = simulate(run_file(tmp_path / "never", platform=agreeing, agency=False), tmp_path / "never" / "out", journal="memory")
    everyone = simulate(run_file(tmp_path / "all", agency=False), tmp_path / "all" / "out", journal="memory")
    assert held[1]["model_hash"] == never["model_hash"] != everyone["model_hash"]
    print(f"largest difference to the pooled fit: {held[1]['pooled']['max_difference']:.1e}")
    assert held[1]["pooled"]["max_difference"] < 1e-6


def accounts(out: Path) -> list[Account]:
    return [Account(name, "", tuple(entry for entry in logged(out, name) if entry.run)) for name in (*NODES, "coordinator")]


def about_consents(found: Sequence[Account]) -> list[str]:
    return [str(difference) for difference in compare(found) if difference.subject == "consent"]


def test_both_logs_name_the_statement_and_no_firm(held: tuple[Path, dict[str, Any]]) -> None:
    out = held[0] / "out"
    assert about_consents(accounts(out)) == []
    agency, platform = (
        [e for e in logged(out, name) if e.kind == "consent" and "statement" in e.facts] for name in ("agency-a", "platform-a")
    )
    assert [e.facts["change"] for e in agency] == ["statement made", "statement heard"]
    assert [e.facts["change"] for e in platform] == ["statement heard"]
    assert {e.facts["statement"] for e in (*agency, *platform)} == {agency[0].facts["statement"]}
    assert agency[0].facts["subjects"] == ROWS - len(REFUSING) + 1
    (vault,) = {e.facts["rows"] for e in logged(out, "platform-a") if e.kind == "vault" and "snapshot" in e.facts}
    assert vault == ROWS - len(REFUSING)
    text = "".join(path.read_text() for path in (out / "audit").rglob("*.jsonl"))
    assert "statement" in text and "firm17" not in text
    assert not (out / "parties" / "platform-a" / "consent").exists()
    assert creditfed("audit", "compare", *(out / "audit" / name for name in (*NODES, "coordinator"))).code == 0


@pytest.mark.parametrize("who", ["agency-a", "platform-a"])
def test_control_accounts_of_different_statements_differ(held: tuple[Path, dict[str, Any]], who: str) -> None:
    def altered(entry: Entry) -> Entry:
        return (
            Entry(entry.number, entry.time, entry.kind, entry.run, entry.facts | {"statement": "0" * 64})
            if "statement" in entry.facts
            else entry
        )

    told = accounts(held[0] / "out")
    told = [dataclasses.replace(one, entries=tuple(map(altered, one.entries))) if one.party == who else one for one in told]
    assert about_consents(told)


@pytest.mark.slow
def test_each_node_killed_in_the_midst_goes_on_with_the_same_rows(
    held: tuple[Path, dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    killed: list[str] = []

    def kill(stage: str, exchanges: int) -> None:
        name = ("platform-a", "agency-a")[exchanges % 2]
        if exchanges in (4, 9, 20, 31):
            killed.append(f"{name} {stage}")
            dismiss(tmp_path / "out" / "parties" / name)

    monkeypatch.setattr(server.app, "watchers", [kill])
    result = simulate(run_file(tmp_path), tmp_path / "out", journal="disk")
    print(killed)
    assert len(killed) == 4 and result["model_hash"] == held[1]["model_hash"]


# -- somebody withdraws while the run is under way ----------------------------------------------------------------------------------


def started(folder: Path, withdrawal: str, left: Sequence[str], monkeypatch: pytest.MonkeyPatch) -> Answer:
    """These firms withdraw at the agency when the fit has begun."""
    seen: list[str] = []

    def withdraw(stage: str, _exchanges: int) -> None:
        seen.append(stage)
        if sum(name.startswith("fit") for name in seen) == 1 and stage.startswith("fit"):
            with closing(audited(Home(folder / "out" / "parties" / "agency-a"), "platform-a")) as ledger:
                ledger.withdraw(left, utc_now())

    monkeypatch.setattr(server.app, "watchers", [withdraw])
    path = run_file(folder, privacy={"withdrawal": withdrawal}, model={"tolerance": 1e-3, "max_iterations": 3})
    answer = creditfed("simulate", path, "--out", folder / "out")
    assert any(name.startswith("fit") for name in seen)
    return answer


def changes(out: Path, name: str) -> list[object]:
    return [entry.facts.get("change") for entry in logged(out, name) if entry.kind == "consent" and entry.run]


def test_the_run_ends_where_its_manifest_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answer = started(tmp_path, "abort", ["firm1", "firm2"], monkeypatch)
    assert answer.code == 3 and "onsent" in answer.err and not (tmp_path / "out" / "result.json").exists()
    home = tmp_path / "out" / "parties" / "platform-a"
    told = [entry.facts.get("change") for entry in entries(find(home).lines()) if entry.kind == "consent"]
    assert told == ["statement heard", "statement heard", "gone meanwhile"]


def test_the_run_goes_on_without_the_rows_where_it_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answer = started(tmp_path, "continue", ["firm1", "firm2"], monkeypatch)
    assert answer.code == 0, answer.err
    share = json.loads((tmp_path / "out" / "parties" / "platform-a" / "results" / "share.json").read_text())
    assert sum(entry["rows"] for entry in share["withdrawals"]) == 2
    assert changes(tmp_path / "out", "agency-a").count("statement made") == 2
    assert about_consents(accounts(tmp_path / "out")) == []


@pytest.mark.slow
def test_whoever_is_not_among_the_rows_ends_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answer = started(tmp_path, "abort", ["a firm that the platform does not know"], monkeypatch)
    assert answer.code == 0, answer.err
    assert changes(tmp_path / "out", "platform-a") == ["statement heard", "statement heard"]


def test_control_an_agency_that_does_not_look_at_its_ledger_notices_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(HeldConsents, "look", lambda *_: None)
    assert started(tmp_path, "abort", ["firm1", "firm2"], monkeypatch).code == 0
