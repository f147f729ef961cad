"""What a node remembers of a release of its own rows: who was in it, as keyed hashes, and what was asked.

A hash is of 64 bits under the node's own key, so that a stolen memory tells no identifier and cannot be matched with another node's. Among 10^6
rows two share one with probability 3e-8; the two then count as one row, which hides neither from a set in which both are.
"""

from __future__ import annotations

import hmac
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from federation.kernel import suite
from federation.kernel.errors import AbortCode, LocalError, PolicyRefusal
from federation.kernel.secret import Secret
from federation.models.table import Table

Hashes = NDArray[np.uint64]


@dataclass(frozen=True)
class Study:
    """An approved study. releases: how many of its runs may release something, by its approval."""

    name: str
    releases: int


@dataclass(frozen=True, eq=False)
class Release:
    """What a run would release of one institution's own rows.

    rows: (n,) hashes of the rows' keys, each once, in any order; columns: every column that goes into it, the label by its own name too; kind:
    the task, such as "train"; firms: (n,) hashes of the rows' firms, None where each row is a firm's only one; most_repeats: of a check, how
    often one row may be in one of its kind: each of its numbers is of one row, so that rules on sums say nothing.
    """

    rows: Hashes
    columns: tuple[str, ...]
    kind: str
    purpose: str
    study: Study | None = None
    firms: Hashes | None = None
    most_repeats: int | None = None

    def require(self) -> None:
        """Raises LocalError where the release is none: no columns, rows that repeat, firms that do not go with the rows."""
        if not self.columns or not self.rows.ndim == 1 or self.rows.dtype != np.uint64 or len(np.unique(self.rows)) != len(self.rows):
            raise LocalError("release", "it has no columns, or its rows are not distinct 64-bit hashes", "Report this bug.")
        if self.firms is not None and (self.firms.shape != self.rows.shape or self.firms.dtype != np.uint64):
            raise LocalError("release", "it does not have one 64-bit hash of a firm for each row", "Report this bug.")

    def digest(self) -> bytes:
        """SHA-256 of all of it but the study's limit, in any order of rows, 32 bytes: whether a run that is replayed is the one recorded."""
        order = np.argsort(self.rows)
        firms = b"" if self.firms is None else self.firms[order].astype("<u8").tobytes()
        study = "" if self.study is None else self.study.name
        rows = self.rows[order].astype("<u8").tobytes()
        return suite.digest("release", rows, firms, self.kind, self.purpose, study, *sorted(set(self.columns)))


def named_rows(table: Table) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The rows of a release by name, and the firm of each.

    Outcomes that a run's target makes are the run's own: a threshold of 91 days in place of 90 turns a few rows' labels, and the same sums over
    the same rows then tell whose. So each row is named twice there, by its key and by its key with its outcome: a row with another outcome is
    another row to the rules of difference and combination.
    """
    if table.target is None or table.label is None:
        return table.keys, table.firms
    told = tuple(f"{key}|{'bad' if bad else 'good'}" for key, bad in zip(table.keys, table.label.tolist(), strict=True))
    return (*table.keys, *told), (*table.firms, *table.firms)


def keyed_hashes(key: Secret, ids: Iterable[str]) -> Hashes:
    """The first 64 bits of HMAC-SHA256 of each id under the key, (n,) in the ids' order."""
    raw = key.reveal()
    return np.frombuffer(b"".join(hmac.digest(raw, name.encode(), "sha256")[:8] for name in ids), "<u8").astype(np.uint64)


def refusal(what: str, action: str) -> PolicyRefusal:
    """A release that is refused: the text stays in the node's own log, and `AbortCode.DISCLOSURE` is all that leaves."""
    return PolicyRefusal("disclosure control", what, action, AbortCode.DISCLOSURE)
