"""`creditfed simulate` of a check: the asking institution has exact counts with reasons, the others nothing, and nothing of anybody in a log."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pandas as pd
import pytest
import tomli_w

from federation.kernel.errors import AbortCode, PolicyRefusal
from federation.kernel.manifest import Manifest
from simulations.founding import simulated as simulations_node
from tests.end_to_end.scene import creditfed, logged, result, simulated

SEED = 20_261_130
OTHERS = ("bank-b", "bank-c", "bank-d", "bank-e")


def written(folder: Path, task: str, tables: dict[str, pd.DataFrame], check: dict[str, Any], party: dict[str, Any]) -> Path:
    """A run file over these tables; the first institution asks."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, table in tables.items():
        table.to_csv(folder / f"{name}.csv", index=False)
    parties = [{"name": name, "role": "bank", "source": f"{name}.csv"} | (party if place else {}) for place, name in enumerate(tables)]
    document = {"run": {"task": task}, "check": {"asks": "bank-a", "pad": 64} | check, "party": parties}
    (folder / "run.toml").write_text(tomli_w.dumps(document))
    return folder / "run.toml"


def loans() -> dict[str, pd.DataFrame]:
    rng = np.random.default_rng(SEED)
    asked = pd.DataFrame({"id": [f"Firm {number}" for number in range(30)], "note": "not to be used"})
    tables = {"bank-a": asked}
    for name in OTHERS:
        has = rng.choice(60, 24, replace=False)
        rows = np.concatenate([has, has[:6]])  # several loans of one firm
        amounts = rng.choice([0.0, 40_000.01, 60_000.0, 250_000.0], len(rows))
        tables[name] = pd.DataFrame({"id": [f"firm  {number}" for number in rows], "outstanding": amounts})
    return tables


def counts(tables: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """By pandas alone."""
    index = pd.Index([f"firm {number}" for number in range(30)], name="id")
    out = pd.DataFrame(0, index=index, columns=["lenders", "below 100000", "100000 and more"])
    for name in OTHERS:
        owed = tables[name].assign(id=tables[name]["id"].str.replace("  ", " ")).groupby("id")["outstanding"].sum().reindex(index).fillna(0)
        out["lenders"] += (owed > 0).astype(int)
        out["below 100000"] += ((owed > 0) & (owed < 100_000)).astype(int)
        out["100000 and more"] += (owed >= 100_000).astype(int)
    return out


def test_who_else_lends(tmp_path: Path) -> None:
    tables = loans()
    out = tmp_path / "out"
    document = simulated(written(tmp_path, "multi_lender", tables, {"bands": [100_000]}, {"include": ["outstanding"]}), out)
    found = pd.read_parquet(out / "checks" / "bank-a.parquet").set_index("id")
    expected = counts(tables)
    assert (found[expected.columns].loc[expected.index] == expected).all(axis=None)
    assert (found["flag"] == (found["lenders"] >= 3)).all()
    assert found["flag"].any()
    assert found.loc["firm 0", "reason"].startswith(("none of", *(f"{count} of the 4 other banks" for count in range(5))))
    assert document["check"] == {
        "asks": "bank-a", "others": 4, "asked": 30, "flagged": int(found["flag"].sum()), "none": int((found["lenders"] == 0).sum()), "limit": 3,
        "file": "checks/bank-a.parquet",
    }  # fmt: skip
    assert document["privacy"]["leakage"] == ["session", "hidden_union", "partial_scores", "multi_lender"]
    page = (out / "report.html").read_text()
    assert "What was asked" in page
    assert "bank-a asked 4 other institutions about 30 keys" in page


def test_the_others_have_nothing_and_no_log_names_a_firm(tmp_path: Path) -> None:
    out = tmp_path / "out"
    simulated(written(tmp_path, "multi_lender", loans(), {}, {"include": ["outstanding"]}), out)
    for name in OTHERS:
        left = {path.name for path in (out / "parties" / name / "results").iterdir()}
        assert left == {"share.json", "run.json"}
    for path in out.rglob("*"):
        own = path.name in ("checks.parquet", "bank-a.parquet") or path.suffix in (".sqlite", ".db")
        if path.is_file() and not own:
            assert b"firm 1" not in path.read_bytes().lower(), path
    asked = [entry for entry in logged(out, "bank-a") if entry.kind == "release"]
    assert [entry.facts["task"] for entry in asked] == ["multi_lender"]
    assert asked[0].facts["rows"] == 30


def test_one_owner_behind_many_firms(tmp_path: Path) -> None:
    asked = pd.DataFrame({"owner": ["Zhang  San", "Ｌｉ Si", "Wang-Wu"]})
    behind = {
        "bank-b": [("zhang san", "f1"), ("ZHANG SAN", "f2"), ("zhang san", "f2")], "bank-c": [("Zhang San", "f2"), ("li si", "f9")],
        "bank-d": [("Zhang·San", "f4")], "bank-e": [("nobody", "f5")],
    }  # fmt: skip
    tables = {"bank-a": asked} | {name: pd.DataFrame(rows * 8, columns=["owner", "firm"]) for name, rows in behind.items()}
    for place, name in enumerate(OTHERS):  # books above the minimum cohort
        more = pd.DataFrame({"owner": [f"other {place} {number}" for number in range(12)], "firm": [f"g{number}" for number in range(12)]})
        tables[name] = pd.concat([tables[name], more])
    out, party = tmp_path / "out", {"id": "owner", "id_kind": "name", "include": ["firm"], "types": {"firm": "categorical"}}
    run = written(tmp_path, "shared_identity", tables, {"flag_firms": 4}, party)
    text = run.read_text().replace('source = "bank-a.csv"', 'source = "bank-a.csv"\nid = "owner"\nid_kind = "name"')
    run.write_text(text)
    simulated(run, out)
    found = pd.read_parquet(out / "checks" / "bank-a.parquet").set_index("id")
    assert found[["institutions", "firms"]].to_dict("index") == {
        "zhangsan": {"institutions": 3, "firms": 4}, "lisi": {"institutions": 1, "firms": 1}, "wangwu": {"institutions": 0, "firms": 0},
    }  # fmt: skip
    assert found["flag"].to_dict() == {"zhangsan": True, "lisi": False, "wangwu": False}
    assert "a firm known at two is counted twice" in found.loc["zhangsan", "reason"]


def test_applicants_without_consent_are_not_asked_about(tmp_path: Path) -> None:
    tables = loans()
    run = written(tmp_path, "multi_lender", tables, {}, {"include": ["outstanding"]})
    consents = pd.DataFrame({
        "id": [f"firm {number}" for number in range(30)], "purpose": ["decide"] * 20 + ["research"] * 10, "levels": "1-5",
        "recipients": ";".join(OTHERS), "from": "2020-01-01", "until": "2099-01-01", "evidence": "form",
    })  # fmt: skip
    consents.to_csv(tmp_path / "consents.csv", index=False)
    run.write_text(run.read_text().replace('source = "bank-a.csv"', 'source = "bank-a.csv"\nconsents = "consents.csv"'))
    simulated(run, tmp_path / "out")
    found = pd.read_parquet(tmp_path / "out" / "checks" / "bank-a.parquet")
    assert set(found["id"]) == {f"firm {number}" for number in range(20)}


@pytest.mark.parametrize("most", [1, 2])
def test_the_asking_node_does_not_sign_a_run_that_asks_too_often_and_control_with_a_higher_cap_it_does(tmp_path: Path, most: int) -> None:
    """Its own file of releases counts, also where the second run is drafted to look like another."""
    out = tmp_path / "out"
    simulated(written(tmp_path, "multi_lender", loans(), {"max_repeats": most}, {"include": ["outstanding"]}), out)
    manifest = msgspec.convert(json.loads((out / "coordinator" / "conduct.json").read_text())["manifest"], Manifest, strict=False)
    again = msgspec.structs.replace(manifest, run="again", seed=5)
    nodes = {name: simulations_node(out / "parties" / name) for name in ("bank-a", "bank-b")}
    if most == 1:
        with pytest.raises(PolicyRefusal, match="30 of 30 keys were asked about in 1 checks before") as refused:
            nodes["bank-a"].approve(again)
        assert refused.value.code is AbortCode.DISCLOSURE
    else:
        assert nodes["bank-a"].approve(again).party == "bank-a"
    assert nodes["bank-b"].approve(again).party == "bank-b"  # it does not know about whom, and its budget has room
    for node in nodes.values():
        node.close()


@pytest.mark.parametrize(
    ("check", "party", "words"),
    [
        ({"asks": "bank-z"}, {}, "bank-z"), ({"bands": [5, 1]}, {}, "ascending order"), ({}, {"label": "outstanding"}, "says nothing in a check"),
        ({"max_asked": 0}, {}, "max_asked"), ({"bonds": [1]}, {}, "Did you mean 'bands'?"),
    ],
    ids=["asked by a stranger", "bands in no order", "a label", "nobody asked about", "a key misspelled"],
)  # fmt: skip
def test_a_run_file_that_asks_for_no_check_is_refused(tmp_path: Path, check: dict[str, Any], party: dict[str, Any], words: str) -> None:
    answer = creditfed(
        "simulate", written(tmp_path, "multi_lender", loans(), check, {"include": ["outstanding"]} | party), "--out", tmp_path / "out"
    )
    assert answer.code == 2
    assert words in " ".join(answer.err.split())


def test_two_other_banks_are_too_few(tmp_path: Path) -> None:
    tables = {name: table for name, table in loans().items() if name in ("bank-a", "bank-b", "bank-c")}
    answer = creditfed("simulate", written(tmp_path, "multi_lender", tables, {}, {"include": ["outstanding"]}), "--out", tmp_path / "out")
    assert answer.code == 2
    assert "a count tells which" in " ".join(answer.err.split())


def test_another_purpose_is_refused(tmp_path: Path) -> None:
    run = written(tmp_path, "multi_lender", loans(), {}, {"include": ["outstanding"]})
    run.write_text(run.read_text().replace('task = "multi_lender"', 'task = "multi_lender"\npurpose = "research"'))
    answer = creditfed("simulate", run, "--out", tmp_path / "out")
    assert answer.code == 2
    assert "serves the lending itself" in " ".join(answer.err.split())


def test_with_journals_on_disk_and_a_result_read_again(tmp_path: Path) -> None:
    run = written(tmp_path, "multi_lender", loans(), {}, {"include": ["outstanding"]})
    simulated(run, tmp_path / "out", "--journal", "disk")
    assert result(tmp_path / "out")["run"]["task"] == "multi_lender"
