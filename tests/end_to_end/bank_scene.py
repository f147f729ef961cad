"""Five uneven banks with the same columns and different firms, run files over them, and banks that fall silent."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tomli_w
from flwr.app import Message

from simulations.inline import InlineGrid
from simulations.world import generate

BANKS = ("bank-a", "bank-b", "bank-c", "bank-d", "bank-e")
COLUMNS = ["utilisation", "overdraft_days", "officer_grade"]
SHARES = (0.35, 0.25, 0.2, 0.12, 0.08)
SEED = 77


def make_banks(
    root: Path, banks: tuple[str, ...] = BANKS, firms: int = 3_000, seed: int = SEED, shares: tuple[float, ...] | None = SHARES
) -> Path:
    """A Parquet file for each bank. shares: of the firms, None for even ones."""
    print(f"seed {seed}")
    table = generate(firms=firms, seed=seed).bank.drop_duplicates("id")
    place = np.random.default_rng(seed).choice(len(banks), len(table), p=shares)
    root.mkdir(parents=True, exist_ok=True)
    for number, name in enumerate(banks):
        table[place == number].to_parquet(root / f"{name}.parquet", index=False)
    return root


def run_file(folder: Path, name: str, banks: tuple[str, ...] = BANKS, **changes: dict[str, Any]) -> Path:
    document: dict[str, Any] = {"run": {"task": "train", "model": "logistic", "seed": 7, "patience": 0.2}, "sample": {"as_of": "as_of"}}
    for key, value in changes.items():
        document.setdefault(key, {}).update(value)
    sections = [
        {"name": bank, "role": "bank", "source": f"{bank}.parquet", "label": "label", "include": COLUMNS} for bank in banks
    ]  # fmt: skip
    path = folder / f"{name}.toml"
    path.write_text(tomli_w.dumps(document | {"party": sections}))
    return path


def lost(monkeypatch: pytest.MonkeyPatch, places: dict[int, int]) -> None:
    """Nodes by number that answer so many messages and then fall silent, as processes that died would."""
    answered: dict[int, int] = {}
    pull = InlineGrid.pull_messages

    def withheld(grid: InlineGrid, identifiers: Any) -> list[Message]:
        passed = []
        for reply in pull(grid, identifiers):
            node = reply.metadata.src_node_id
            answered[node] = answered.get(node, 0) + 1
            if answered[node] <= places.get(node - 11, 1 << 30):
                passed.append(reply)
        return passed

    monkeypatch.setattr(InlineGrid, "pull_messages", withheld)
