"""`creditfed simulate` of common counterparties: the asking bureau has exact numbers with reasons, the other nothing, and no log names a firm."""

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
from tests.end_to_end.scene import creditfed, logged, simulated
from tests.vault_scene import credit_code

SEED = 20_261_130
PAIRS = ("2026-001", "2026-002", "2026-003", "2026-004")
CODES = [credit_code(number) for number in range(300)]


def bureaus() -> dict[str, pd.DataFrame]:
    """Counterparties as invoices name them, one row for each invoice; the third pair has too few at bureau-b."""
    rng, tables = np.random.default_rng(SEED), {}
    for place, name in enumerate(("bureau-a", "bureau-b")):
        rows = []
        for number, pair in enumerate(PAIRS):
            size = 4 if name == "bureau-b" and number == 2 else 40
            for other in rng.choice(120, size, replace=False) + (150 if number == 3 and place else 0):
                rows += [(pair, CODES[280 + 4 * place + number], CODES[other])] * int(rng.integers(1, 4))
        tables[name] = pd.DataFrame(rows, columns=["pair", "firm", "counterparty"])
    return tables


def truth(tables: dict[str, pd.DataFrame], pair: str) -> tuple[int, int]:
    """Of plain sets: counterparties of bureau-a's firm, and how many of them are the other's."""
    one, two = (set(table.loc[table["pair"] == pair, "counterparty"]) for table in tables.values())
    return len(one), len(one & two)


def written(folder: Path, tables: dict[str, pd.DataFrame], check: dict[str, Any] | None = None, **party: Any) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, table in tables.items():
        table.to_csv(folder / f"{name}.csv", index=False)
    parties = [{"name": name, "role": "tax", "source": f"{name}.csv", "id": "counterparty"} | party for name in tables]
    settings = {"asks": "bureau-a", "pairs": list(PAIRS), "pad": 64} | (check or {})
    (folder / "run.toml").write_text(tomli_w.dumps({"run": {"task": "common_counterparties"}, "check": settings, "party": parties}))
    return folder / "run.toml"


def test_how_many_counterparties_two_firms_have_in_common(tmp_path: Path) -> None:
    tables, out = bureaus(), tmp_path / "out"
    messy = {name: table.assign(counterparty=" " + table["counterparty"].str.lower()) for name, table in tables.items()}
    document = simulated(written(tmp_path, messy), out)
    found = pd.read_parquet(out / "checks" / "bureau-a.parquet").set_index("pair")
    assert list(found.index) == list(PAIRS)
    assert list(found["id"]) == [CODES[280 + number] for number in range(4)]
    for pair in ("2026-001", "2026-002", "2026-004"):
        own, common = truth(tables, pair)
        assert (found.loc[pair, "counterparties"], found.loc[pair, "common"]) == (own, common), pair
        assert found.loc[pair, "share"] == pytest.approx(common / own)
        assert found.loc[pair, "reason"].startswith(f"{common} of its {own} counterparties")
        assert found.loc[pair, "flag"] == (common >= 5)
    assert found.loc["2026-001", "common"] > 5
    assert found.loc["2026-004", "common"] == 0
    assert found.loc["2026-003", "outcome"] == "other too few"
    assert pd.isna(found.loc["2026-003", "common"])
    assert not found.loc["2026-003", "flag"]
    assert document["check"] == {
        "asks": "bureau-a", "others": 1, "asked": 4, "flagged": int(found["flag"].sum()), "none": 1, "limit": 5, "pairs": True, "not_compared": 1,
        "file": "checks/bureau-a.parquet",
    }  # fmt: skip
    assert document["privacy"]["leakage"] == ["session", "common_counterparties"]
    assert "alignment" not in document
    page = " ".join((out / "report.html").read_text().split())
    assert "What was compared" in page
    assert "bureau-a compared the counterparties of 4 pairs of firms" in page
    assert "1 could not be compared" in page


def test_the_other_has_nothing_and_no_log_names_a_firm(tmp_path: Path) -> None:
    out = tmp_path / "out"
    simulated(written(tmp_path, bureaus()), out)
    assert {path.name for path in (out / "parties" / "bureau-b" / "results").iterdir()} == {"share.json", "run.json"}
    share = json.loads((out / "parties" / "bureau-b" / "results" / "share.json").read_text())
    assert not {"asked", "flagged", "none", "common"} & set(share)
    codes = [code.encode() for code in CODES]
    for path in out.rglob("*"):
        own = path.name in ("checks.parquet", "bureau-a.parquet") or path.suffix in (".sqlite", ".db")
        if path.is_file() and not own:
            raw = path.read_bytes()
            assert not any(code in raw for code in codes), path
    for name in ("bureau-a", "bureau-b"):
        assert [entry.facts["task"] for entry in logged(out, name) if entry.kind == "release"] == ["common_counterparties"]


@pytest.mark.parametrize("who", ["bureau-a", "bureau-b"])
def test_a_firm_without_consent_is_not_compared(tmp_path: Path, who: str) -> None:
    tables = bureaus()
    run, place = written(tmp_path, tables), ("bureau-a", "bureau-b").index(who)
    firms = [CODES[280 + 4 * place + number] for number in range(4)]
    other = "bureau-b" if who == "bureau-a" else "bureau-a"
    consents = pd.DataFrame({
        "id": firms, "purpose": ["research", "decide", "decide", "decide"], "levels": "1-5", "recipients": other, "from": "2020-01-01",
        "until": "2099-01-01", "evidence": "form",
    })  # fmt: skip
    consents.to_csv(tmp_path / "consents.csv", index=False)
    run.write_text(run.read_text().replace(f'source = "{who}.csv"', f'source = "{who}.csv", consents = "consents.csv"'))
    simulated(run, tmp_path / "out")
    found = pd.read_parquet(tmp_path / "out" / "checks" / "bureau-a.parquet").set_index("pair")
    assert found.loc["2026-001", "outcome"] == ("own too few" if who == "bureau-a" else "other too few")
    assert pd.isna(found.loc["2026-001", "common"])
    assert found.loc["2026-002", "common"] == truth(tables, "2026-002")[1]


@pytest.mark.parametrize("most", [1, 2])
def test_neither_node_signs_a_run_that_compares_a_firm_too_often_and_control_with_a_higher_cap_both_do(tmp_path: Path, most: int) -> None:
    out = tmp_path / "out"
    simulated(written(tmp_path, bureaus(), {"max_repeats": most}), out)
    manifest = msgspec.convert(json.loads((out / "coordinator" / "conduct.json").read_text())["manifest"], Manifest, strict=False)
    again = msgspec.structs.replace(manifest, run="again", seed=5)
    for name in ("bureau-a", "bureau-b"):
        node = simulations_node(out / "parties" / name)
        if most == 1:
            with pytest.raises(PolicyRefusal, match="4 of 4 keys were asked about in 1 checks before") as refused:
                node.approve(again)
            assert refused.value.code is AbortCode.DISCLOSURE
        else:
            assert node.approve(again).party == name
        node.close()


def test_one_firm_in_two_pairs_is_refused_where_it_is_asked_about(tmp_path: Path) -> None:
    tables = bureaus()
    tables["bureau-b"]["firm"] = CODES[299]
    answer = creditfed("simulate", written(tmp_path, tables), "--out", tmp_path / "out")
    assert answer.code != 0
    assert "stands in another pair" in " ".join((answer.err + answer.out).split())


@pytest.mark.parametrize(
    ("check", "party", "words"),
    [
        ({"pairs": []}, {}, "needs the names of its pairs"), ({"pairs": ["a|b"]}, {}, "not distinct, or hold '|'"),
        ({"fewest": 4}, {}, "fewest"), ({}, {"label": "firm"}, "says nothing in a check"), ({"asks": "bureau-z"}, {}, "bureau-z"),
    ],
    ids=["no pairs", "a bar", "too small a set", "a label", "asked by a stranger"],
)  # fmt: skip
def test_a_run_file_that_compares_nothing_is_refused(tmp_path: Path, check: dict[str, Any], party: dict[str, Any], words: str) -> None:
    answer = creditfed("simulate", written(tmp_path, bureaus(), check, **party), "--out", tmp_path / "out")
    assert answer.code == 2
    assert words in " ".join(answer.err.split())


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"pair": ["a", "a"], "firm": ["f", "g"], "counterparty": ["x", "y"]}, "rows of two firms"),
        ({"pair": ["a|b", "a"], "firm": ["f", "g"], "counterparty": ["x", "y"]}, "a name with '|'"),
        ({"pair": ["a", None], "firm": ["f", "f"], "counterparty": ["x", "y"]}, "1 of 2 rows lack a pair"),
        ({"pare": ["a"], "firm": ["f"], "counterparty": ["x"]}, "no column 'pair'"),
    ],
    ids=["two firms in a pair", "a bar", "no pair", "another column"],
)  # fmt: skip
def test_a_source_that_is_none_of_pairs_is_refused_without_a_value_of_it(tmp_path: Path, wrong: dict[str, list[Any]], words: str) -> None:
    tables = bureaus() | {"bureau-b": pd.DataFrame(wrong)}
    answer = creditfed("simulate", written(tmp_path, tables), "--out", tmp_path / "out")
    assert answer.code != 0
    assert words in " ".join((answer.err + answer.out).split())


def test_a_third_institution_is_refused(tmp_path: Path) -> None:
    tables = bureaus()
    answer = creditfed("simulate", written(tmp_path, tables | {"bureau-c": tables["bureau-b"]}), "--out", tmp_path / "out")
    assert answer.code == 2
    assert "Two institutions compare" in " ".join(answer.err.split())
