"""Outcomes of a scenario's banks: labels for banks too small for [target], and how many bads a run will train on.

The judgement is the one that a bank's own vault uses (`federation.models.target`); a bank with no bads at all is refused there, and a thousand
village banks have some like that, so their scenario writes the outcome as a column.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from federation.kernel.manifest import TargetSettings
from federation.models.target.histories import STATUSES, Records, histories
from federation.models.target.outcomes import BAD, GOOD, judge_rows


def known_before(repayments: pd.DataFrame, month: str | None) -> pd.DataFrame:
    """The rows of a repayment table that there were on the first day of a month; all where no month is named."""
    if month is None:
        return repayments
    return repayments[repayments["date"].to_numpy("datetime64[M]") < np.datetime64(month, "M")]


def labels(repayments: pd.DataFrame, loans: pd.DataFrame, rows: pd.DataFrame, target: TargetSettings) -> pd.DataFrame:
    """Those of `rows` (id, as_of) that are good or bad, with `label`: 1 = bad."""
    judged = np.zeros(len(rows), np.int8)
    if len(repayments):
        number, named = pd.factorize(repayments["loan"])
        firm, firms = pd.factorize(repayments["firm"], sort=True)
        opened = loans.set_index("loan")["opened"].reindex(named).to_numpy("datetime64[M]")
        status = repayments["status"].map(STATUSES.index).to_numpy(np.int8)
        month = repayments["date"].to_numpy("datetime64[M]")
        days = repayments["days_past_due"].to_numpy(np.float64)
        records = Records(number.astype(np.int64), firm.astype(np.int64), month, days, status, opened, np.zeros(len(named), bool))
        book = histories(records, firms.tolist(), (month.min(), month.max()), "scenario")
        judged = judge_rows(book, target, rows["id"].tolist(), rows["as_of"].to_numpy("datetime64[M]")).code
    kept = (judged == GOOD) | (judged == BAD)
    made: pd.DataFrame = rows.loc[kept, ["id", "as_of"]].assign(label=(judged[kept] == BAD).astype(np.int8))
    return made.reset_index(drop=True)


def training_bads(made: pd.DataFrame, settings: Mapping[str, Mapping[str, Any]], target: TargetSettings) -> int:
    """About how many bad rows a run trains on: those in time, less the firms held out."""
    rows = made
    if day := settings.get("sample", {}).get("out_of_time_from"):
        rows = made[made["as_of"].to_numpy("datetime64[M]") <= np.datetime64(day, "M") - target.performance_months]
    share = 1 - float(settings.get("run", {}).get("holdout", 0.3))
    return int(rows["label"].sum() * share * 0.85)  # the split is by lot
