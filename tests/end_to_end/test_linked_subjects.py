"""`creditfed simulate` where a tax office's rows speak of firms and of their owners: four combinations of consents, and who withdraws meanwhile."""

from __future__ import annotations

import json
import re
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import server.app
from clients.clock import utc_now
from clients.consent import audited
from clients.home import Home
from tests.end_to_end.scene import World, creditfed, result, simulated

QUICK: dict[str, Any] = {"model": {"tolerance": 1e-3, "max_iterations": 4}}
LINKED = {"owner": "owner_id", "classes": {"late_declarations_12m": "C2"}, "consents": "linked.csv"}
TERMS = "credit,3,bank;platform,2020-01-01,2099-12-31"


def owner(firm: str) -> str:
    """Like a resident's number, one for each firm, and of nobody."""
    return f"9901{sum(ord(letter) * 31**place for place, letter in enumerate(firm)) % 10**13:013d}X"


@pytest.fixture(scope="module")
def linked(world: World, tmp_path_factory: pytest.TempPathFactory) -> World:
    """The world in a folder of its own, its tax office's table with a column of owners."""
    folder = tmp_path_factory.mktemp("linked")
    tables = dict(world.tables) | {"tax": world.tables["tax"].assign(owner_id=world.tables["tax"]["id"].map(owner))}
    assert tables["tax"]["owner_id"].nunique() == tables["tax"]["id"].nunique()
    for name, table in tables.items():
        table.to_parquet(folder / f"{name}.parquet", index=False)
    return replace(world, folder=folder, tables=tables)


def consents(world: World, firms: list[str], owners: list[str]) -> None:
    lines = ["id,subject,purpose,levels,recipients,from,until,evidence"]
    lines += [f"{firm},,{TERMS},form {i}" for i, firm in enumerate(firms)]
    lines += [f"{owner(firm)},owner,{TERMS},form {i}" for i, firm in enumerate(owners)]
    (world.folder / "linked.csv").write_text("\n".join(lines))


def rows_of(world: World, firms: list[str]) -> int:
    return int(world.tables["tax"]["id"].isin(firms).sum())


def files_with_an_owner(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file() and re.search(rb"9901[0-9]{13}[Xx]", path.read_bytes())]


def test_of_four_combinations_the_rows_of_both_alone_take_part_and_no_file_has_an_owner(linked: World, tmp_path: Path) -> None:
    firms = sorted(linked.tables["tax"]["id"].unique())
    third = len(firms) // 3
    both, firm_alone, owner_alone = firms[:third], firms[third : third + third // 2], firms[third + third // 2 : 2 * third]
    consents(linked, [*both, *firm_alone], [*both, *owner_alone])
    found = simulated(linked.run_file("linked", **QUICK, party_tax=LINKED), tmp_path / "out")
    rows = {party["name"]: party["rows"] for party in found["parties"]}
    assert rows["tax"] == rows_of(linked, both)
    columns = {party["name"]: party["columns"] for party in found["parties"]}
    assert "owner_id" not in json.dumps(columns)
    assert files_with_an_owner(tmp_path / "out") == []
    assert {path.name for path in files_with_an_owner(linked.folder)} == {"tax.parquet", "linked.csv"}, "control: there they are"

    plain = {"owner": "owner_id", "consents": "linked.csv"}  # nothing of the owner is used
    found = simulated(linked.run_file("plain", **QUICK, party_tax=plain), tmp_path / "plain")
    assert {party["name"]: party["rows"] for party in found["parties"]}["tax"] == rows_of(linked, [*both, *firm_alone])


@pytest.mark.parametrize("who", [pytest.param("firm", marks=pytest.mark.slow), "owner"])
def test_who_withdraws_while_the_run_goes_on_takes_the_rows_out(
    who: str, linked: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    firms, out = sorted(linked.tables["tax"]["id"].unique()), tmp_path / "out"
    consents(linked, firms, firms)
    path = linked.run_file(f"meanwhile-{who}", **QUICK, party_tax=LINKED, privacy={"withdrawal": "continue"})
    left, seen = firms[:40], []

    def withdraw(name: str, _exchanges: int) -> None:
        seen.append(name)
        if name.startswith("fit") and sum(stage.startswith("fit") for stage in seen) == 1:
            with closing(audited(Home(out / "parties" / "tax"))) as ledger:
                ledger.withdraw([firm if who == "firm" else owner(firm) for firm in left], utc_now())

    monkeypatch.setattr(server.app, "watchers", [withdraw])
    answer = creditfed("simulate", path, "--out", out)
    assert answer.code == 0, answer.err
    share = json.loads((out / "parties" / "tax" / "results" / "share.json").read_text())
    assert sum(entry["rows"] for entry in share["withdrawals"]) == rows_of(linked, left)
    assert result(out)
    assert not any(owner(firm) in answer.out + answer.err for firm in firms)


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"owner": None, "owner_columns": ["credit_rating"]}, "no column names the owner"),
        ({"consents_at": "agency", "through": "agency-a"}, "an agency states the consents of firms alone"),
    ],
)
def test_what_cannot_be_kept_is_refused_with_what_to_do(keys: dict[str, Any], said: str, linked: World, tmp_path: Path) -> None:
    consents(linked, [], [])
    party = {key: value for key, value in (LINKED | keys).items() if value is not None}
    path = linked.run_file("refused", party_tax=party)
    if "through" in party:
        path.write_text(path.read_text() + '\n[[agency]]\nname = "agency-a"\n')
    answer = creditfed("simulate", path, "--out", tmp_path / "out")
    assert answer.code == 2
    assert said in answer.err
