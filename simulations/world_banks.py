"""Several banks out of one world: its borrowers divided among banks that differ in size, home region and the size of firm they like.

A firm goes to bank k with probability proportional to exp(s_k + 1.2 [its region is k's home] + t_k scale + c_k honesty), where s falls evenly
from the largest bank to the smallest (a quarter of it), t runs from 0.5 (large firms) to -0.5, and c is 0.5 at every other bank and -0.5 at
those between: some look at whom they lend to, and some get who is left. Neither region nor honesty is a column of a bank, so that banks
differ in their intercept, which is what `[model] intercept = "per bank"` is for. Everything comes from the world's seed and the number of
banks.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from federation.kernel.errors import ConfigurationError
from federation.kernel.manifest import FEWEST_BANKS, MOST_BANKS, MOST_WITH_LEVELS
from simulations.world import REGIONS, World, run_document, written

FEWEST_FIRMS_OF_A_BANK = 200
"""On average: the smallest bank then has about a hundred."""
HOME, LIKING, CARE, SMALLEST = 1.2, 0.5, 0.5, 0.25
RUNS: dict[str, dict[str, dict[str, Any]]] = {
    "statistics": {"run": {"task": "statistics"}},
    "binning": {"run": {"task": "binning", "model": "scorecard"}},
    "logistic": {"run": {"model": "logistic"}},
    "scorecard": {"run": {"model": "scorecard"}, "select": {"iv_min": 0.02, "p_max": 0.05}},
}
"""What each banks_NAME.toml says beyond the run files of the world."""


def divide(world: World, banks: int) -> dict[str, pd.DataFrame]:
    """The bank's table of a world in as many tables with the same columns, by name, largest first. Raises ConfigurationError."""
    if not FEWEST_BANKS <= banks <= MOST_BANKS:
        raise ConfigurationError("world", f"{banks} banks", f"A run over many banks takes {FEWEST_BANKS} to {MOST_BANKS}.")
    if len(world.bank) < FEWEST_FIRMS_OF_A_BANK * banks:
        action = f"Draw {FEWEST_FIRMS_OF_A_BANK * banks:,} firms or more (--firms), or fewer banks."
        raise ConfigurationError("world", f"{len(world.bank):,} firms are too few for {banks} banks", action)
    firms = world.truth.set_index("id").loc[world.bank["id"]]
    rng = np.random.default_rng(np.random.SeedSequence([world.seed, len(firms), banks]))
    rank, places = np.linspace(0, 1, banks), {region: place for place, region in enumerate(REGIONS)}
    home = np.arange(banks) % len(REGIONS) == firms["region"].map(places).to_numpy()[:, None]
    care = CARE * (1 - 2 * (np.arange(banks) % 2))
    inclination = (
        np.log(SMALLEST) * rank + HOME * home + np.outer(firms["scale"], LIKING - 2 * LIKING * rank) + np.outer(firms["honesty"], care)
    )
    chosen = np.argmax(inclination + rng.gumbel(size=inclination.shape), axis=1)
    digits = len(str(banks))
    tables = {f"bank-{number + 1:0{digits}}": world.bank[chosen == number].reset_index(drop=True) for number in range(banks)}
    if any(table["label"].nunique() < 2 for table in tables.values()):
        raise ConfigurationError("world", "a bank has no goods or no bads", "Draw more firms (--firms), or another --seed.")
    return tables


def write_banks(tables: Mapping[str, pd.DataFrame], seed: int, out: Path) -> None:
    """Write a table for each bank, and run files over all of them, into a world's folder; so many banks that they agree on no levels leave out
    columns of text. seed: of the runs. Raises ConfigurationError.
    """
    sections: list[dict[str, Any]] = [
        {"name": name, "role": "bank", "source": f"{name}.parquet", "id": "id", "label": "label"} for name in tables
    ]
    if len(tables) > MOST_WITH_LEVELS:
        for section, table in zip(sections, tables.values(), strict=True):
            section["exclude"] = [name for name in table if name not in ("id", "as_of") and not pd.api.types.is_numeric_dtype(table[name])]
    try:
        for name, table in tables.items():
            table.to_parquet(out / f"{name}.parquet", index=False)
        for name, changes in RUNS.items():
            document = run_document(changes["run"].get("model", "logistic"), seed)
            for key, value in changes.items():
                document[key] = document.get(key, {}) | value
            (out / f"banks_{name}.toml").write_text(written({**document, "party": sections}))
    except OSError as error:
        raise ConfigurationError(str(out), f"it cannot be written ({error.strerror})", "Choose a folder you may write to.") from None
