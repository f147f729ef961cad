"""Sums by group over batches: exact integers, so that neither the order of rows nor the batches change one.

Batches are added up by themselves and then into the whole; memory follows the number of groups, not of rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

_PENDING = 500_000


class Codes:
    """Numbers for texts, in the order in which they come: 0, 1, ...; -1 for missing."""

    def __init__(self) -> None:
        self._code: dict[str, int] = {}

    def __call__(self, texts: pd.Series[Any]) -> NDArray[np.int64]:
        """The numbers of a column, (n,)."""
        place, distinct = pd.factorize(texts)
        known = np.array([self._code.setdefault(text, len(self._code)) for text in distinct] + [-1], np.int64)
        return known[place]

    @property
    def texts(self) -> list[str]:
        """Every text, by its number."""
        return list(self._code)


class Totals:
    """int64 sums of columns by int64 keys."""

    def __init__(self, keys: Sequence[str], sums: Sequence[str]) -> None:
        self._keys, self._columns = list(keys), [*keys, *sums]
        self._parts: list[pd.DataFrame] = []
        self._pending = 0
        self._whole = pd.DataFrame(np.zeros((0, len(self._columns)), np.int64), columns=self._columns)

    def add(self, rows: pd.DataFrame) -> None:
        """Rows with the keys and what is to be added up."""
        part = self._sum(rows[self._columns])
        self._parts.append(part)
        self._pending += len(part)
        if self._pending > max(_PENDING, len(self._whole)):
            self._merge()

    def result(self) -> pd.DataFrame:
        """The sums, sorted by the keys."""
        self._merge()
        return self._whole.sort_values(self._keys, ignore_index=True)

    def _sum(self, rows: pd.DataFrame) -> pd.DataFrame:
        return rows.groupby(self._keys, sort=False, as_index=False).sum()

    def _merge(self) -> None:
        self._whole = self._sum(pd.concat([self._whole, *self._parts], ignore_index=True))
        self._parts, self._pending = [], 0
