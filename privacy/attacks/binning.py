"""Attacks on binning by a holder: working labels out of released counts, and asking for more of them.

The bads of a bin are one linear equation in the labels of the bin's rows. A holder that follows the protocol has as many equations as it
was told counts; enough of them have one solution in {0, 1}. One that does not follow it shapes the equations: see `crafted_column`. The
defences are the caps at the label party, and that no bin below the cohort is withheld (`differences`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import lsq_linear

from federation.kernel.codec import Message
from federation.kernel.role import Role
from federation.models.binned import Binned
from federation.models.binning import Announcement, Request
from federation.models.encoding import Woe
from federation.models.table import Column
from federation.models.woe import WoeTable

Matrix = NDArray[np.float64]


def equations(result: Binned, columns: Mapping[str, Column]) -> tuple[Matrix, Matrix]:
    """What a holder knows of its rows' labels: A (m, n) of 0 and 1 and the bads c (m,), with A y = c.

    Taken at its best for the holder: every one of its rows trains, and it knows that.
    """
    rows, bads = [], []
    for part, table in zip(result.encoding.columns, result.tables, strict=True):
        if isinstance(part, Woe):
            codes = part.bins.codes(columns[part.column])
            for place, row in enumerate(table.rows[:-1]):
                if row.bads is not None and row.rows:
                    rows.append(codes == place)
                    bads.append(row.bads)
    return np.array(rows, np.float64), np.array(bads)


def recover_labels(known: Matrix, bads: Matrix) -> NDArray[np.int8]:
    """The labels (n,) that fit best: least squares with each label in [0, 1], then the nearer of 0 and 1. No randomness, no time limit."""
    return (lsq_linear(known, bads, bounds=(0, 1)).x > 0.5).astype(np.int8)


def differences(tables: Sequence[WoeTable]) -> list[tuple[int, float]]:
    """Rows and bads that one column's released present bins have beyond another's: of rows whose bin was withheld.

    All columns divide the same rows, so every difference is (0, 0) unless a bin was left out.
    """
    sums = []
    for table in tables:
        shown = [row for row in table.rows[:-1] if row.bads is not None]
        sums.append((sum(row.rows for row in shown), sum(row.bads or 0.0 for row in shown)))
    return [(a[0] - b[0], a[1] - b[1]) for a in sums for b in sums if a[0] > b[0]]


def withholding(table: WoeTable, minimum: int) -> WoeTable:
    """A weakened table: present bins below the cohort are withheld where the protocol merges them."""
    rows = tuple(
        row if row.rows >= minimum else type(row)(row.label, row.rows, row.share, None, None, None, 0.0, 0.0) for row in table.rows
    )
    return WoeTable(table.column, rows)


def crafted_column(rows: int, label_bits: int) -> NDArray[np.int64]:
    """A column (rows,) that is no bin: powers of two on its first rows, so that one answer is `label_bits` labels read off as bits."""
    column = np.zeros(rows, np.int64)
    column[:label_bits] = 1 << np.arange(min(rows, label_bits), dtype=np.int64)
    return column


def read_crafted(answer: int, label_bits: int) -> NDArray[np.int8]:
    """The labels in the answer to a crafted column, (label_bits,)."""
    return np.array([answer >> place & 1 for place in range(label_bits)], np.int8)


def bads_from_weights(rows: Matrix, weight: Matrix, good: float, bad: float) -> Matrix:
    """Bads of each bin from its size and its weight alone, where weights are a function of the label: `good` or `bad`."""
    return (weight - good * rows) / (bad - good)


def asking_for(role: Role[Binned], announcement: int | None = None, request: int | None = None) -> Role[Binned]:
    """A holder that asks for so many sizes or counts, whatever its bins."""
    received = None
    while True:
        try:
            run, step = role.send(received)  # type: ignore[arg-type]
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]
        send: dict[str, Message] = {name: _more(message, announcement, request) for name, message in step.send.items()}
        received = yield run, replace(step, send=send)


def _more(message: Message, announcement: int | None, request: int | None) -> Message:
    if isinstance(message, Announcement) and announcement is not None:
        return Announcement(announcement)
    if isinstance(message, Request) and request is not None:
        return Request(request, message.totals)
    return message
