"""Signs that two columns stand for each other: a date where the number should be, a tax larger than its amount.

The first is seen by what fails: a column that is no date at all beside one that is nothing else. The second by pairs of columns of which one
can hardly be larger than the other: single rows may be odd, most of a table may not.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import pandas as pd

from clients.sources.cells import Parsed

SWAPPED: Final = "columns swapped"
LARGER: Final = "{} above {}"
_HALF: Final = 0.5
_PAIRS: Final = (
    ("sales_invoices", "tax", "amount"), ("purchase_invoices", "tax", "amount"), ("declarations", "tax_due", "sales"),
    ("declarations", "period", "due"),
    ("shipments", "shipped", "delivered"), ("balances", "used", "limit"),
)  # fmt: skip
"""Kind of record, a column, and another that it can hardly exceed in size."""


@dataclass
class Pairs:
    """Counts rows in which the lesser column of a pair is larger."""

    kind: str
    rows: dict[str, int] = field(default_factory=dict)
    odd: dict[str, int] = field(default_factory=dict)

    def add(self, frame: pd.DataFrame) -> None:
        """Some rows more."""
        for kind, lesser, greater in _PAIRS:
            if kind == self.kind and {lesser, greater} <= set(frame.columns):
                one, other = (frame[name] for name in (lesser, greater))
                numbers = pd.api.types.is_numeric_dtype(one)
                known = (one.notna() & other.notna()).to_numpy() & ((other != 0).fillna(False).to_numpy() if numbers else np.True_)  # noqa: FBT003
                above = ((one.abs() > other.abs()) if numbers else (one > other)).fillna(False).to_numpy(bool) & known  # noqa: FBT003
                name = LARGER.format(lesser, greater)
                self.rows[name] = self.rows.get(name, 0) + int(known.sum())
                self.odd[name] = self.odd.get(name, 0) + int(above.sum())

    def swapped(self) -> list[str]:
        """The pairs of which most rows are odd, in words."""
        return [
            f"{name} in {odd:,} of {self.rows[name]:,} rows (rule: {SWAPPED})"
            for name, odd in self.odd.items()
            if odd > _HALF * self.rows[name]
        ]

    def notes(self) -> list[str]:
        """Single odd rows, in words."""
        return [f"{name} in {odd:,} of {self.rows[name]:,} rows" for name, odd in self.odd.items() if 0 < odd <= _HALF * self.rows[name]]


def failing(columns: Mapping[str, Parsed]) -> list[str]:
    """The columns of which most cells that are there fail."""
    return [name for name, found in columns.items() if found.bad.sum() > _HALF * max(1, int((~found.blank).sum()))]
