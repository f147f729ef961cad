"""What the tests of scenarios share: draw one at small size by the command, carry out its run files, and read what came of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from tests.end_to_end.scene import Answer, creditfed, simulated


def drawn(name: str, out: Path, *options: object) -> Path:
    """`creditfed world generate --scenario`; the folder."""
    answer = creditfed("world", "generate", "--scenario", name, *options, "--out", out)
    assert answer.code == 0, answer.err
    assert "Next: creditfed simulate" in answer.out
    return out


def ran(world: Path, file: str, *options: str) -> dict[str, Any]:
    """`creditfed simulate` of one of its run files; the result."""
    return simulated(world / f"{file}.toml", world / f"run-{file}", *options)


def refused(world: Path, file: str) -> Answer:
    """A run that must not come to an end."""
    return creditfed("simulate", world / f"{file}.toml", "--out", world / f"run-{file}")


def matched(result: dict[str, Any], role: str) -> dict[str, int]:
    """Training rows that each party of a role has."""
    return {party["name"]: party["matched"] for party in result["parties"] if party["role"] == role}


def truth(world: Path, name: str) -> pd.DataFrame:
    """A table of the truth."""
    return pd.read_parquet(world / "truth" / f"{name}.parquet")


def owed(world: Path, bank: str) -> pd.Series[Any]:
    """By firm, what it owes a bank at the last month's end, in plain pandas."""
    rows = pd.read_parquet(world / bank / "repayments.parquet")
    rows = rows[rows["date"].to_numpy("datetime64[M]") == np.datetime64("2024-12")]
    rows = rows[rows["status"].isin(["current", "restructured"])]
    owing: pd.Series[Any] = rows.groupby("firm")["balance"].sum()
    return owing[owing > 0]
