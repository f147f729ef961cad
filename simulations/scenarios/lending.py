"""What the multi-lender check asks about and is asked of, out of the banks' own records: applicants, and the book of open loans."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

ASKED, BOOK = "applicants.parquet", "open_loans.parquet"
_OPEN = ("current", "restructured")


def write_applicants(folder: Path, months: int = 6) -> int:
    """Firms that had a visit, which every applicant has, in the last months: `id`. Returns how many."""
    visits = pd.read_parquet(folder / "visits.parquet", columns=["firm", "date"])
    at = visits["date"].to_numpy("datetime64[M]")
    recent = visits.loc[at > at.max() - months, "firm"] if len(visits) else visits["firm"]
    asked = pd.DataFrame({"id": sorted(recent.unique())})
    asked.to_parquet(folder / ASKED, index=False)
    return len(asked)


def write_book(folder: Path, end: np.datetime64) -> int:
    """What each firm owes at the end of the last month before `end`: `id`, `outstanding` (CNY). Returns how many firms."""
    rows = pd.read_parquet(folder / "repayments.parquet", columns=["firm", "date", "balance", "status"])
    now = rows[(rows["date"].to_numpy("datetime64[M]") == end - 1) & rows["status"].isin(_OPEN) & (rows["balance"] > 0)]
    book = now.groupby("firm", as_index=False)["balance"].sum().rename(columns={"firm": "id", "balance": "outstanding"})
    book.to_parquet(folder / BOOK, index=False)
    return len(book)
