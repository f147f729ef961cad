"""The same record twice counts once: the first of each key is kept, whichever batches the copies stand in.

A key is remembered as a 64-bit hash, eight bytes of memory each. Of n different records one is lost by chance with n^2 / 2^65: one in forty
million for a million invoices. Copies of a key that differ in another column are the source's contradiction: the one that comes first is kept.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray


class Once:
    """Keys that were seen. Sorted runs, each at least twice as long as the next, so that n keys are merged O(log n) times each."""

    def __init__(self, key: Sequence[str]) -> None:
        self._key = list(key)
        self._runs: list[NDArray[np.uint64]] = []
        self.repeated = 0

    def new(self, batch: pd.DataFrame) -> NDArray[np.bool_]:
        """Which rows of a batch have a key that no earlier row had, (n,). Key columns that the batch lacks are left out."""
        columns = [column for column in self._key if column in batch.columns]
        hashes = pd.util.hash_pandas_object(batch[columns], index=False).to_numpy(np.uint64)
        distinct, first = np.unique(hashes, return_index=True)
        unknown = np.ones(len(distinct), bool)
        for run in self._runs:
            place = np.minimum(np.searchsorted(run, distinct), len(run) - 1)
            unknown &= run[place] != distinct
        self._remember(np.asarray(distinct[unknown], np.uint64))
        rows = np.zeros(len(hashes), bool)
        rows[first[unknown]] = True
        self.repeated += len(rows) - int(rows.sum())
        return rows

    def _remember(self, run: NDArray[np.uint64]) -> None:
        if not len(run):
            return
        while self._runs and len(self._runs[-1]) < 2 * len(run):
            run = np.sort(np.concatenate([self._runs.pop(), run]), kind="stable")
        self._runs.append(run)
