"""A small table of firms at a bank or a partner, and the vault that opens it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from clients.party_config import PartyConfig
from clients.vault import Facts, describe_table, open_table
from federation.align.uscc import check_character
from federation.kernel.manifest import AlignSettings, Manifest, PartyDeclaration, PrivacySettings, SampleSettings
from federation.kernel.secret import Secret
from federation.models.table import Table

SEED = 20240131
SALT = Secret(b"s" * 32)


def credit_code(number: int) -> str:
    first = f"91310000{number:09d}"
    return first + check_character(first)


def frame(rows: int = 60) -> pd.DataFrame:
    rng = np.random.default_rng(SEED)
    return pd.DataFrame({
        "id": [credit_code(i) for i in range(rows)],
        "gmv": np.round(rng.normal(1e6, 1e5, rows), 2),
        "orders": rng.integers(0, 50, rows),
        "tier": rng.choice(["gold", "silver", "basic"], rows),
        "label": np.arange(rows) % 2,
        "weight": rng.uniform(0.5, 2.0, rows),
    })  # fmt: skip


def config(path: Path, **changes: Any) -> PartyConfig:
    return PartyConfig.from_dict({"name": "bank", "role": "bank", "source": str(path), "label": "label"} | changes, path.parent)


def partner(path: Path, **changes: Any) -> PartyConfig:
    return PartyConfig.from_dict({"name": "tax", "role": "tax", "source": str(path)} | changes, path.parent)


def saved(folder: Path, data: pd.DataFrame, name: str = "data.parquet") -> Path:
    path = folder / name
    data.to_parquet(path, index=False) if name.endswith("parquet") else data.to_csv(path, index=False)
    return path


def manifest(settings: PartyConfig, facts: Facts, **sample: Any) -> Manifest:
    party = PartyDeclaration(name=settings.name, role=settings.role, identity="", label=settings.has_outcomes, columns=facts.columns)
    return Manifest(
        run="r", task="train", model="logistic", purpose="p", seed=1, coordinator="", parties=(party,), contracts=(),
        sample=SampleSettings(**sample), align=AlignSettings(kind=facts.id_kind), privacy=PrivacySettings(max_rows=10_000),
    )  # fmt: skip


def opened(settings: PartyConfig, salt: Secret = SALT, **sample: Any) -> Table:
    return open_table(settings, manifest(settings, describe_table(settings), **sample), salt)


def same(one: Table, other: Table) -> bool:
    columns = one.columns.keys() == other.columns.keys() and all(
        (a.kind, a.name) == (b.kind, b.name) and pd.Series(a.values).equals(pd.Series(b.values))
        for a, b in zip(one.columns.values(), other.columns.values(), strict=True)
    )
    rest = all(np.array_equal(getattr(one, k), getattr(other, k)) for k in ("label", "weight", "as_of"))
    return columns and rest and (one.keys, one.firms, one.commitment) == (other.keys, other.firms, other.commitment)
