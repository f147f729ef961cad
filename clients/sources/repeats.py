"""Records that were there before: by a 64-bit hash of the key, and one of the whole row, in bounded memory.

16 bytes a record: hashes of the past lie in sorted runs whose sizes grow as powers of two (a log-structured merge), so that a batch looks into
a handful of runs. Two different keys of n have one hash with probability n^2 / 2^65: 3 in 10^4 for 10^8 records.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

Hashes = NDArray[np.uint64]


class Repeats(NamedTuple):
    """again: the same record as an earlier row; other: the key of an earlier row, and another content. (n,) each."""

    again: NDArray[np.bool_]
    other: NDArray[np.bool_]


@dataclass
class Seen:
    """The hashes of the records so far."""

    _runs: list[tuple[Hashes, Hashes]] = field(default_factory=list)

    def add(self, rows: pd.DataFrame, key: Sequence[str], optional: Sequence[str]) -> Repeats:
        """Which rows were seen before, in this batch or an earlier one; the others are remembered.

        key: the columns that name a record; optional: of those, where one is empty only the same row over again is a repeat.
        """
        content = _hashes(rows)
        named = _hashes(rows[list(key)]) if key else content
        nameless = rows[list(optional)].isna().any(axis=1).to_numpy() if optional else np.zeros(len(rows), bool)
        named = np.where(nameless, content, named)
        first, before = _earlier(named, content)
        earlier = self._look(named)
        repeated = earlier.found | before.found
        same = np.where(earlier.found, earlier.content == content, before.content == content)
        fresh = first & ~earlier.found
        self._remember(named[fresh], content[fresh])
        return Repeats(repeated & same, repeated & ~same)

    def _look(self, named: Hashes) -> _Found:
        found, content = np.zeros(len(named), bool), np.zeros(len(named), np.uint64)
        for keys, contents in self._runs:
            places = np.minimum(np.searchsorted(keys, named), len(keys) - 1)
            hit = keys[places] == named
            found |= hit
            content = np.where(hit, contents[places], content)
        return _Found(found, content)

    def _remember(self, named: Hashes, content: Hashes) -> None:
        if not len(named):
            return
        order = np.argsort(named)
        run = (named[order], content[order])
        while self._runs and len(self._runs[-1][0]) <= 2 * len(run[0]):
            run = _merged(self._runs.pop(), run)
        self._runs.append(run)


class _Found(NamedTuple):
    found: NDArray[np.bool_]
    content: Hashes


def _hashes(rows: pd.DataFrame) -> Hashes:
    return np.asarray(pd.util.hash_pandas_object(rows, index=False), np.uint64)


def _earlier(named: Hashes, content: Hashes) -> tuple[NDArray[np.bool_], _Found]:
    """Within one batch: which rows are the first of their key, and for the others the first's content."""
    _, first, place = np.unique(named, return_index=True, return_inverse=True)
    is_first = np.zeros(len(named), bool)
    is_first[first] = True
    return is_first, _Found(~is_first, content[first][place])


def _merged(one: tuple[Hashes, Hashes], other: tuple[Hashes, Hashes]) -> tuple[Hashes, Hashes]:
    keys: Any = np.concatenate([one[0], other[0]])
    order = np.argsort(keys, kind="stable")  # a merge of two sorted runs
    return keys[order], np.concatenate([one[1], other[1]])[order]
