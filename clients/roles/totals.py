"""Batches reduced by group (firm and month; firm, counterparty and month): exact integers, so that neither rows' order nor batches change one.

Batches are reduced by themselves and then into the whole; memory follows the number of groups, not of rows.
"""

from __future__ import annotations

from collections import defaultdict
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


Registry = defaultdict[str, Codes]
"""Codes by what they are of ("firm", "loan"): kinds of record that name the same things share them."""


class Totals:
    """int64 columns by int64 keys. sums are added up, of greatest the greatest is kept."""

    def __init__(self, keys: Sequence[str], sums: Sequence[str], greatest: Sequence[str] = ()) -> None:
        self._keys, self._columns = list(keys), [*keys, *sums, *greatest]
        self._how = dict.fromkeys(sums, "sum") | dict.fromkeys(greatest, "max")
        self._parts: list[pd.DataFrame] = []
        self._pending = 0
        self._whole = pd.DataFrame(np.zeros((0, len(self._columns)), np.int64), columns=self._columns)

    def add(self, rows: pd.DataFrame) -> None:
        """Rows with the keys and what is to be reduced."""
        if rows.empty:
            return  # pandas forgets the types of a grouping of nothing
        part = self._reduced(rows[self._columns])
        self._parts.append(part)
        self._pending += len(part)
        if self._pending > max(_PENDING, len(self._whole)):
            self._merge()

    def result(self) -> pd.DataFrame:
        """The groups, sorted by the keys."""
        self._merge()
        return self._whole.sort_values(self._keys, ignore_index=True)

    def _reduced(self, rows: pd.DataFrame) -> pd.DataFrame:
        groups: Any = rows.groupby(self._keys, sort=False, as_index=False)
        return pd.DataFrame(groups.agg(self._how))

    def _merge(self) -> None:
        if not self._parts:
            return
        self._whole = self._reduced(pd.concat([self._whole, *self._parts], ignore_index=True))
        self._parts, self._pending = [], 0


class Latest(Totals):
    """Of each group the whole row of the last day: a state. Of two rows of one day, that with the greater columns, whichever comes first.

    columns: the day first.
    """

    def __init__(self, keys: Sequence[str], columns: Sequence[str]) -> None:
        super().__init__(keys, (), columns)

    def _reduced(self, rows: pd.DataFrame) -> pd.DataFrame:
        return rows.sort_values(self._columns).drop_duplicates(self._keys, keep="last")
