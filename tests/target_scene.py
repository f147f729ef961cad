"""A bank with repayments, a platform and a tax bureau with dated features of the same firms, and run files over them."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import tomli_w

from tests.repayment_tables import SEED, Book, feature_table, make_book

MONTHS = [str(month) for month in np.arange(np.datetime64("2021-07"), np.datetime64("2023-07"), 3)]


@dataclass(frozen=True)
class TargetScene:
    """A folder with everybody's tables."""

    folder: Path
    book: Book

    def run_file(self, name: str, *, drop: tuple[str, ...] = (), **changes: Any) -> Path:
        """A run file. changes: tables to add, or whose keys to change; `bank` for its own section, None for a key to leave out; drop: tables."""
        sections: list[dict[str, Any]] = [
            {"name": "bank", "role": "bank", "source": "bank.parquet", "repayments": "repayments.parquet", "loans": "loans.parquet"},
            {"name": "platform", "role": "platform", "source": "platform.parquet"}, {"name": "tax", "role": "tax", "source": "tax.parquet"},
        ]  # fmt: skip
        document: dict[str, Any] = {
            "run": {"task": "train", "model": "scorecard", "purpose": "decide", "seed": 7, "holdout": 0.3},
            "sample": {"as_of": "as_of", "out_of_time_from": "2022-10-01"}, "target": {"performance_months": 6}, "binning": {"max_bins": 3},
        }  # fmt: skip
        for key, value in copy.deepcopy(changes).items():
            (sections[0] if key == "bank" else document.setdefault(key, {})).update(value)
        sections[0] = {key: value for key, value in sections[0].items() if value is not None}
        path = self.folder / f"{name}.toml"
        kept = {key: value for key, value in document.items() if key not in drop}
        path.write_text(tomli_w.dumps(kept | {"party": sections}))
        return path


def make_target_scene(folder: Path, firms: int = 500, months: int = 36) -> TargetScene:
    """The tables of everyone; a tenth of the firms is not known to each partner."""
    print(f"{firms} firms with repayments, seed {SEED}")
    folder.mkdir(parents=True, exist_ok=True)
    book = make_book(firms, months, most_loans=2)
    rng = np.random.default_rng(SEED)
    book.repayments.to_parquet(folder / "repayments.parquet", index=False)
    book.loans.to_parquet(folder / "loans.parquet", index=False)
    feature_table(book, MONTHS, 1).to_parquet(folder / "bank.parquet", index=False)
    for number, name in enumerate(("platform", "tax"), 2):
        table: pd.DataFrame = feature_table(book, MONTHS, number)
        known = rng.random(firms) < 0.9
        table = table[table["id"].isin(np.array(book.firms, object)[known])]
        called = {column: column.replace("own", name) for column in table.columns}
        table.rename(columns=called).to_parquet(folder / f"{name}.parquet", index=False)
    return TargetScene(folder, book)
