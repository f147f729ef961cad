"""What each check counts: from an institution's own table to the counts that it contributes, and from sums to words.

multi_lender      key: a firm.  An institution counts 1 in the band of what the firm owes it, and nothing where it owes nothing.
shared_identity   key: an owner, or an address.  An institution counts 1, and how many different firms it knows under that key.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from federation.checks.fields import Counts, Fields
from federation.kernel.errors import DataError
from federation.kernel.manifest import CheckSettings, Manifest
from federation.models.table import Table

MOST_FIRMS = (1 << 16) - 1
"""Firms of one owner at one institution."""


@dataclass(frozen=True)
class Finding:
    """What the asking institution is told of one key. flag: whether a limit of the manifest is reached; reason: why, in words."""

    reason: str
    flag: bool = False


def fields_of(manifest: Manifest) -> Fields:
    """The counts that travel. Raises ConfigurationError where they do not fit."""
    others = len(manifest.members) - 1
    if manifest.task == "multi_lender":
        return Fields((1,) * (len(manifest.check.bands) + 1), others)
    return Fields((1, MOST_FIRMS), others)


def names_of(manifest: Manifest) -> tuple[str, ...]:
    """The names of the counts, as columns of the asking institution's file."""
    if manifest.task == "multi_lender":
        return ("lenders", *band_names(manifest.check))
    return ("institutions", "firms")


def band_names(check: CheckSettings) -> tuple[str, ...]:
    """Of what a firm owes one bank: from a band's lower edge, which is in it, to its upper edge, which is not."""
    edges = [f"{edge:.0f}" for edge in check.bands]
    if not edges:
        return ("any amount",)
    return (f"below {edges[0]}", *(f"{low} to {high}" for low, high in pairwise(edges)), f"{edges[-1]} and more")


def counted(manifest: Manifest, me: str, table: Table) -> Counts:
    """What an institution that is asked contributes at each of its keys, (n, k). Raises DataError for a table that does not say it."""
    numbers = [column for column in table.columns.values() if column.kind == "numeric"]
    if len(numbers) != 1 or len(table.columns) != 1:
        what = f"it offers {len(table.columns)} columns (rule: just one, the amount that is open, or the firms)"
        raise DataError(me, what, "Nothing was sent. Name that column alone in include.")
    values = np.nan_to_num(np.asarray(numbers[0].values, np.float64))
    if (values < 0).any():
        what = f"column {numbers[0].name!r}: {int((values < 0).sum()):,} of {len(values):,} values are negative (rule: at least 0)"
        raise DataError(me, what, "Nothing was sent. Correct them at the source.")
    if manifest.task == "shared_identity":
        parts = int((values != np.floor(values)).sum())
        if parts:
            what = f"column {numbers[0].name!r}: {parts:,} of {len(values):,} values are no whole numbers (rule: firms are counted)"
            raise DataError(me, what, "Nothing was sent. Correct them at the source.")
        firms = values.astype(np.int64)
        return np.stack([(firms > 0).astype(np.int64), firms], axis=1)
    bands = len(manifest.check.bands) + 1
    out = np.zeros((len(values), bands), np.int64)
    owing = np.flatnonzero(values > 0)
    out[owing, np.searchsorted(np.array(manifest.check.bands), values[owing], side="right")] = 1
    return out


def told(manifest: Manifest, sums: Counts) -> Counts:
    """The columns of the asking institution's file, (n, len(names_of)): of lenders the bands' total stands before the bands."""
    return np.column_stack([sums.sum(axis=1), sums]) if manifest.task == "multi_lender" else sums


def findings(manifest: Manifest, columns: Counts) -> tuple[Finding, ...]:
    """A flag and its reason for each row of `told`."""
    describe = _lenders if manifest.task == "multi_lender" else _identity
    return tuple(describe(manifest, [int(value) for value in row]) for row in columns)


def _lenders(manifest: Manifest, row: Sequence[int]) -> Finding:
    others, limit = len(manifest.members) - 1, manifest.check.flag_lenders
    if row[0] == 0:
        return Finding(f"none of the {others} other banks lends to it")
    where = ", ".join(f"{count} {name}" for count, name in zip(row[1:], band_names(manifest.check), strict=True) if count)
    said = f"{row[0]} of the {others} other banks {'lends' if row[0] == 1 else 'lend'} to it ({where})"
    return _limited(said, row[0], limit)


def _identity(manifest: Manifest, row: Sequence[int]) -> Finding:
    others, limit = len(manifest.members) - 1, manifest.check.flag_firms
    if row[0] == 0:
        return Finding(f"none of the {others} other institutions knows it")
    said = (
        f"{row[0]} of the {others} other institutions {'knows' if row[0] == 1 else 'know'} it, with {row[1]} firms counted at each; a firm "
        "known at two is counted twice"
    )
    return _limited(said, row[1], limit)


def _limited(said: str, count: int, limit: int) -> Finding:
    return Finding(f"{said}: at or above the limit of {limit}", flag=True) if count >= limit else Finding(said)
