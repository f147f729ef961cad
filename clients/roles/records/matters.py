"""Records of a source, kept as numbers: one row for each record, in an order that no order of batches changes.

A *matter* is what a number names within a subject and kind (a case, an account, a bill); records with its number tell its later states. A
record without a number is a matter of its own, and two of a subject, kind and day without one are one record (the key of the kind `records`).
Of two records of a matter on one day the one that sorts last by status and amount counts.

Records are few beside invoices: all that a source has until the last month asked for are in memory, some 40 bytes each.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from federation.kernel.errors import DataError
from privacy.dictionary.entries import RecordSource

Places = NDArray[np.int64]
NEVER = np.iinfo(np.int64).max
_COLUMNS = ("subject", "date", "kind")


@dataclass(frozen=True)
class Matters:
    """Records sorted by subject, kind, matter and day; (n,) each.

    subjects: (m,) sorted; subject: place among them; kind, status: place in the source's declaration, status -1 for none; matter: number of the
    matter; month, next_month: months since 1970-01 of the record and of the matter's next one (NEVER for none); amount: in fen, NaN where not
    known. has_amount, has_status: whether the source's tables have such a column at all.
    """

    subjects: NDArray[np.object_]
    subject: Places
    kind: Places
    matter: Places
    month: Places
    next_month: Places
    amount: NDArray[np.float64]
    status: Places
    has_amount: bool
    has_status: bool


def gather(source: RecordSource, batches: Iterable[pd.DataFrame], before: int) -> Matters:
    """What a source's records say, of those dated before the month `before` (months since 1970-01); later ones are let go as they come.

    batches: canonical frames of the kind `records`. Raises DataError for kinds, states and dates that are not declared or missing: counts.
    """
    kinds = {name: place for place, kind in enumerate(source.kinds) for name in (kind.name, *kind.also)}
    codes: dict[str, int] = {}
    parts: list[pd.DataFrame] = []
    has_amount = has_status = False
    for batch in batches:
        lacking = [name for name in _COLUMNS if name not in batch.columns]
        if lacking:
            raise DataError(source.name, f"its records have no column {lacking[0]!r}", "Map it in the mapping file.")
        has_amount, has_status = has_amount or "amount" in batch.columns, has_status or "status" in batch.columns
        part = _numbers(source, batch, kinds, before)
        for name in part["subject"].unique():
            codes.setdefault(name, len(codes))
        part["subject"] = part["subject"].map(codes).astype(np.int64)
        parts.append(part)
    subjects = np.array(sorted(codes), object)
    rank = np.empty(len(codes), np.int64)
    rank[[codes[name] for name in subjects]] = np.arange(len(codes))
    frame = pd.concat(parts, ignore_index=True) if parts else _numbers(source, pd.DataFrame(columns=list(_COLUMNS)), kinds, before)
    frame["subject"] = rank[frame["subject"].to_numpy(np.int64)]
    return _sorted(frame, subjects, has_amount=has_amount, has_status=has_status)


def _numbers(source: RecordSource, batch: pd.DataFrame, kinds: dict[str, int], before: int) -> pd.DataFrame:
    """A batch as numbers; number: 64 bits of the record's number, or of its day where it has none."""
    day = batch["date"].to_numpy("datetime64[D]")
    undated, unnamed = int(np.isnat(day).sum()), int(batch["subject"].isna().sum())
    if undated or unnamed:
        what = f"{undated + unnamed:,} of {len(batch):,} records have no date or no subject"
        raise DataError(source.name, what, "Correct them at the source, or leave them out in the mapping file.")
    kind = batch["kind"].map(kinds)
    unknown = int(kind.isna().sum())
    if unknown:
        what = f"{unknown:,} of {len(batch):,} records are of a kind that the dictionary does not declare for {source.name!r}"
        raise DataError(source.name, what, f"Map kinds to {', '.join(one.name for one in source.kinds)}, or leave them out.")
    places = np.asarray(kind, np.int64)
    days = day.astype(np.int64)
    number = batch["number"] if "number" in batch.columns else pd.Series(None, batch.index, dtype=object)
    numbered = number.notna().to_numpy()
    hashed = pd.util.hash_array(number.where(number.notna(), "").astype(str).to_numpy(object), categorize=False)
    amount = pd.to_numeric(batch["amount"]).to_numpy(np.float64, na_value=np.nan) if "amount" in batch.columns else np.nan
    part = pd.DataFrame({
        "subject": batch["subject"].astype(str).to_numpy(object), "kind": places, "numbered": numbered,
        "number": np.where(numbered, hashed, days.astype(np.uint64)), "day": days, "month": day.astype("datetime64[M]").astype(np.int64),
        "amount": amount, "status": _states(source, batch, places),
    })  # fmt: skip
    return part[part["month"] < before].reset_index(drop=True)


def _states(source: RecordSource, batch: pd.DataFrame, kind: Places) -> Places:
    """Place of each record's status in its kind's list, -1 for none. Raises DataError for a status that is not declared."""
    found = np.full(len(batch), -1, np.int64)
    if "status" not in batch.columns:
        return found
    status = batch["status"]
    for place, declared in enumerate(source.kinds):
        rows = np.flatnonzero(kind == place)
        if not declared.statuses or not len(rows):
            continue
        coded = status.iloc[rows].map({name: at for at, name in enumerate(declared.statuses)})
        unknown = int((coded.isna() & status.iloc[rows].notna()).sum())
        if unknown:
            what = f"{unknown:,} records of kind {declared.name!r} have a status that the dictionary does not declare"
            raise DataError(source.name, what, f"Map states to {', '.join(declared.statuses)}.")
        found[rows] = coded.fillna(-1).to_numpy(np.int64)
    return found


def _sorted(frame: pd.DataFrame, subjects: NDArray[np.object_], *, has_amount: bool, has_status: bool) -> Matters:
    named = ["subject", "kind", "numbered", "number"]
    frame = frame.sort_values([*named, "day", "status", "amount"], kind="stable", na_position="first")
    frame = frame.drop_duplicates([*named, "day"], keep="last").reset_index(drop=True)
    matter = np.asarray(frame.groupby(named, sort=False).ngroup(), np.int64)
    month = frame["month"].to_numpy(np.int64)
    following = np.full(len(frame), NEVER, np.int64)
    if len(frame):
        following[:-1] = np.where(matter[1:] == matter[:-1], month[1:], NEVER)
    amount = np.asarray(frame["amount"].astype(np.float64).groupby(matter).ffill(), np.float64)  # a later state need not repeat the sum
    return Matters(
        subjects, frame["subject"].to_numpy(np.int64), frame["kind"].to_numpy(np.int64), matter, month, following, amount,
        frame["status"].to_numpy(np.int64), has_amount, has_status,
    )  # fmt: skip
