"""A bank's repayment table and, where it names one, its table of loans, read for the outcomes of a run.

Where the tables are, and what their columns are called, is `repayment_tables`. What breaks a rule is a DataError with column, rule and count,
and never a value.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from clients.party_config import PartyConfig
from clients.sources import kinds
from clients.sources.repayment_tables import Columns, in_words, loan_columns, repayment_columns
from federation.align import uscc
from federation.kernel.errors import DataError
from federation.models.target.histories import STATUSES, Histories, Records, histories

_TRUE, _FALSE = frozenset({"1", "true", "yes", "y", "t"}), frozenset({"0", "false", "no", "n", "f"})


def read_histories(config: PartyConfig, id_kind: uscc.Kind, allowed: Collection[str]) -> tuple[Histories, tuple[str, ...]]:
    """The histories of these firms' loans, and notes. id_kind: of the feature table's ids; allowed: firms in their one spelling, which the run
    may use: no other firm's record is in what returns. Raises DataError.
    """
    columns, cleaned = repayment_columns(config)
    firm = _firms(config, columns["firm"], id_kind)
    used = np.isin(firm, np.array(sorted(allowed), object)) if len(allowed) else np.zeros(len(firm), bool)
    month = _months(config, columns["date"], "repayments", "date")
    names = np.unique(firm[used].astype(str)).tolist()
    if not names:
        what = "no row of the repayment table is of a firm of the feature table that may be used"
        raise DataError(config.name, what, "Nothing was sent. Both must name firms by the same id; check consents.")
    loan, loans = pd.factorize(_texts(config, columns["loan"], "repayments", "loan")[used])
    status = _statuses(config, columns.get("status"), len(firm))[used]
    opened, fraud, notes = _loans(config, loan_columns(config), loans)
    records = Records(
        loan.astype(np.int64), np.searchsorted(names, firm[used].astype(str)).astype(np.int64), month[used],
        kinds.numbers(config.name, "days_past_due", columns["days_past_due"])[used], status, opened, fraud,
    )  # fmt: skip
    outside, least = int((~used).sum()), config.disclosure.minimum_cell
    left = [
        f"{config.name}: {in_words(outside, least)} rows of the repayment table are of firms without a row in this run: they are not counted"
    ]
    loans_by_month = histories(records, names, (month.min(), month.max()), config.name)
    return loans_by_month, (*cleaned, *notes, *(left if outside else ()))


def _texts(config: PartyConfig, values: pd.Series[Any], kind: str, name: str) -> NDArray[np.object_]:
    found = kinds.levels(values)
    missing = sum(one is None for one in found)
    if missing:
        what = f"column {name!r} of the {kind} has {missing:,} of {len(found):,} values missing (rule: not missing)"
        raise DataError(config.name, what, "Nothing was sent. Fill them at the source.")
    return found


def _firms(config: PartyConfig, values: pd.Series[Any], id_kind: uscc.Kind) -> NDArray[np.object_]:
    """Ids in the spelling of the feature table's."""
    places, distinct = pd.factorize(_texts(config, values, "repayments", "firm"))
    spelled = uscc.spellings(distinct.tolist(), id_kind)
    wrong = int(np.isin(places, [place for place, one in enumerate(spelled) if not one]).sum())
    if wrong:
        what = f"column 'firm' of the repayments has {wrong:,} of {len(places):,} values that are no id of the feature table's kind"
        raise DataError(config.name, what, "Nothing was sent. Correct them at the source.")
    return np.array(spelled, object)[places]


def _months(config: PartyConfig, values: pd.Series[Any], kind: str, name: str) -> NDArray[np.datetime64]:
    days = kinds.dates(values)
    wrong = int(np.isnat(days).sum())
    if wrong:
        what = f"column {name!r} of the {kind} has {wrong:,} of {len(days):,} values that are no date (rule: a day or a month)"
        raise DataError(config.name, what, "Nothing was sent. Write dates as 2024-01-31 at the source.")
    return days.astype("datetime64[M]")


def _statuses(config: PartyConfig, values: pd.Series[Any] | None, rows: int) -> NDArray[np.int8]:
    """Numbers in `STATUSES`; current where nothing is said."""
    if values is None:
        return np.zeros(rows, np.int8)
    number = {name: place for place, name in enumerate(STATUSES)} | {None: 0}
    found = np.array([number.get(_word(value), -1) for value in kinds.levels(values)], np.int8)
    wrong = int((found < 0).sum())
    if wrong:
        what = f"column 'status' of the repayments has {wrong:,} of {rows:,} values that are none of {', '.join(STATUSES)} (rule: code)"
        raise DataError(config.name, what, "Nothing was sent. Write one of these words, or leave the cell blank for current.")
    return found


def _word(value: str | None) -> str | None:
    return None if value is None else value.strip().lower().replace(" ", "_").replace("-", "_") or None


def _loans(
    config: PartyConfig, found: tuple[Columns, tuple[str, ...]] | None, loans: NDArray[Any]
) -> tuple[NDArray[np.datetime64], NDArray[np.bool_], list[str]]:
    """Month of origin and fraud flag of each of these loans; NaT and False where the table of loans does not say."""
    opened, fraud = np.full(len(loans), np.datetime64("NaT"), "datetime64[M]"), np.zeros(len(loans), bool)
    if found is None:
        return opened, fraud, []
    columns, cleaned = found
    named = pd.Index(_texts(config, columns["loan"], "loans", "loan"))
    twice = int(named.duplicated().sum())
    if twice:
        what = f"{twice:,} rows of the table of loans repeat the number of a loan (rule: one row for each loan)"
        raise DataError(config.name, what, "Nothing was sent. Give each loan one row.")
    place = named.get_indexer(pd.Index(loans))
    known = place >= 0
    opened[known] = _months(config, columns["opened"], "loans", "opened")[place[known]]
    if "fraud" in columns:
        fraud[known] = _flags(config, columns["fraud"])[place[known]]
    missing = int((~known).sum())
    said = f"{config.name}: {in_words(missing, config.disclosure.minimum_cell)} loans of the repayment table are not in the table of loans"
    return opened, fraud, [*cleaned, *([said] if missing else [])]


def _flags(config: PartyConfig, values: pd.Series[Any]) -> NDArray[np.bool_]:
    words = [None if value is None else value.strip().lower() for value in kinds.levels(values)]
    wrong = sum(word is not None and word not in _TRUE | _FALSE for word in words)
    if wrong:
        what = f"column 'fraud' of the loans has {wrong:,} of {len(words):,} values that are neither yes nor no (rule: flag)"
        raise DataError(config.name, what, "Nothing was sent. Write 1 or 0, or leave the cell blank for 0.")
    return np.array([word in _TRUE for word in words], bool)
