"""docs/guides/checks-across-institutions.md, done as it says."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from tests.end_to_end.scene import ROOT, creditfed

GUIDE = ROOT / "docs" / "guides" / "checks-across-institutions.md"
LENDERS = ("bank-b", "bank-c", "bank-d")


@pytest.mark.slow
def test_the_guide_to_checks_is_walked(tmp_path: Path) -> None:
    text = GUIDE.read_text()
    (made,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    (tmp_path / "tables.py").write_text(made)
    subprocess.run([sys.executable, "tables.py"], cwd=tmp_path, check=True)
    files = re.findall(r"`([a-z-]+\.toml)`:\n\n```toml\n(.*?)```", text, re.DOTALL)
    assert [name for name, _ in files] == ["multi-lender.toml", "shared-identity.toml", "common-counterparties.toml"]
    for name, content in files:
        (tmp_path / name).write_text(content)
    commands = re.findall(r"^creditfed simulate .*$", text, re.MULTILINE)
    for command in commands:
        words = [str(tmp_path / word) if word.endswith(".toml") else word for word in shlex.split(command)[1:]]
        words[-1] = str(tmp_path / words[-1])
        answer = creditfed(*words)
        assert answer.code == 0, answer.err
    assert len(commands) == 3

    lenders = pd.read_parquet(tmp_path / "lenders" / "checks" / "bank-a.parquet").set_index("id")
    books = {name: pd.read_csv(tmp_path / f"{name}-loans.csv") for name in LENDERS}
    assert lenders["lenders"].to_dict() == {
        f"firm {number}": sum(f"firm {number}" in set(book["id"]) for book in books.values()) for number in range(5)
    }
    assert (lenders["flag"] == (lenders["lenders"] >= 3)).all()
    assert "2 of the 3 other banks lend to it (2 100000 and more)" in set(lenders["reason"])

    owners = pd.read_parquet(tmp_path / "owners" / "checks" / "bank-a.parquet").set_index("id")
    known = pd.concat([pd.read_csv(tmp_path / f"{name}-owners.csv") for name in LENDERS])
    for number in (1, 2):
        assert owners.loc[f"person{number}", "firms"] == (known["owner"] == f"person {number}").sum()
    assert owners.loc["somebodyelse", "firms"] == 0

    common = pd.read_parquet(tmp_path / "common" / "checks" / "bureau-a.parquet").set_index("pair")
    assert common.loc["2026-001", ["counterparties", "common", "share", "flag"]].tolist() == [30, 15, 0.5, True]
    assert common.loc["2026-002", ["counterparties", "common", "flag"]].tolist() == [20, 0, False]
    assert {path.name for path in (tmp_path / "common" / "parties" / "bureau-b" / "results").iterdir()} == {"share.json", "run.json"}
