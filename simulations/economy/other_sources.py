"""What courts, the business registry, a credit bureau, a blacklist and payment services hold of firms: dated records from hidden traits.

Each source sees one trait more clearly than the others do: the court and the blacklist honesty, the bureau and payments liquidity, the registry
a little of health. Rates are per firm and month; a Poisson draw makes the records. A matter that is closed later has a second record with its
number. Nothing here knows an outcome: records come from traits alone, so that what a model finds in them is a cause and no leak.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

Reals = NDArray[np.float64]
Frame = pd.DataFrame

COVERAGE = {"court": 1.0, "registry": 1.0, "bureau": 0.7, "blacklist": 1.0, "payments": 0.55}
"""Share of firms that a source was asked of, and has at least one record of."""
BLANK = {"court": "search", "registry": "registration", "bureau": "report", "blacklist": "search"}
"""The kind of record by which a source tells that it knows a firm, whatever else it has."""


def other_sources(
    rng: np.random.Generator, ids: NDArray[Any], honesty: Reals, liquidity: Reals, health: Reals, months: NDArray[np.datetime64]
) -> dict[str, Frame]:
    """Canonical `records` of each source. ids: (n,); traits, standard normal: (n,) each, or (n, t) each where they change; months: (t,)
    datetime64[M], consecutive.

    Frames have subject, date (datetime64[s]), kind, number, amount (Int64, fen) and status, sorted by date and subject.
    """
    draw = _Draw(rng, np.asarray(ids, object), np.asarray(months, "datetime64[M]"))
    worse = {"honesty": -honesty, "liquidity": -liquidity, "health": -health}
    found = {
        "court": [
            draw.matters("judgment", 0.006 * np.exp(0.8 * worse["honesty"] + 0.3 * worse["liquidity"]), 12.0, closes=0.10),
            draw.matters("enforcement", 0.003 * np.exp(0.9 * worse["honesty"] + 0.5 * worse["liquidity"]), 12.3, closes=0.06),
            draw.matters("dishonest", 0.001 * np.exp(1.2 * worse["honesty"]), None, closes=0.03),
        ],
        "registry": [
            draw.events("change", np.full(len(ids), 0.03), None), draw.events("owner_change", 0.006 * np.exp(0.2 * worse["health"]), None),
            draw.matters("abnormal", 0.003 * np.exp(0.3 * worse["health"] + 0.2 * worse["honesty"]), None, closes=0.15),
            draw.events("penalty", 0.003 * np.exp(0.3 * worse["honesty"]), 9.5),
        ],
        "bureau": [
            draw.events("enquiry", 0.12 * np.exp(0.4 * worse["liquidity"]), None),
            draw.matters("account", 0.03 * np.exp(0.1 * worse["liquidity"]), 12.5, closes=0.05),
            draw.matters("arrears", 0.012 * np.exp(0.9 * worse["liquidity"] + 0.2 * worse["honesty"]), 10.5, closes=0.25),
        ],
        "blacklist": [
            draw.matters("fraud", 0.0006 * np.exp(1.3 * worse["honesty"]), None, closes=0.01),
            draw.matters("default", 0.0012 * np.exp(0.9 * worse["honesty"] + 0.4 * worse["liquidity"]), 11.0, closes=0.04),
        ],
        "payments": [
            draw.bills("utility", -1.9 + 0.5 * worse["liquidity"], 7.5), draw.bills("social_insurance", -2.2 + 0.45 * worse["liquidity"], 8.5),
        ],
    }  # fmt: skip
    return {name: draw.of_source(name, frames) for name, frames in found.items()}


class _Draw:
    """What is drawn of whom and when; numbers run on within a kind."""

    def __init__(self, rng: np.random.Generator, ids: NDArray[np.object_], months: NDArray[np.datetime64]) -> None:
        self._rng, self._ids, self._months = rng, ids, months

    def events(self, kind: str, rate: Reals, log_amount: float | None, status: str | None = None) -> Frame:
        """Poisson events. rate: (n,) or (n, t) a month; log_amount: mean of the logarithm of CNY, None for no amount."""
        count = self._rng.poisson(rate if rate.ndim == 2 else rate[:, None], (len(self._ids), len(self._months)))
        firm, month = np.nonzero(count)
        times = count[firm, month]
        return self._frame(kind, np.repeat(firm, times), np.repeat(month, times), log_amount, status)

    def matters(self, kind: str, rate: Reals, log_amount: float | None, closes: float) -> Frame:
        """Events that are open until they close, with this chance each month."""
        opened = self.events(kind, rate, log_amount, "open")
        after = self._rng.geometric(closes, len(opened))
        day = opened["date"].to_numpy("datetime64[M]") + after.astype("timedelta64[M]")
        kept = day <= self._months[-1]
        closed = opened[kept].assign(status="closed", date=self._day(day[kept]))
        both: Frame = pd.concat([opened, closed], ignore_index=True)
        return both

    def bills(self, kind: str, log_odds_late: Reals, log_amount: float) -> Frame:
        """A bill each month, paid in time, late or not at all."""
        n, t = len(self._ids), len(self._months)
        firm, month = np.repeat(np.arange(n), t), np.tile(np.arange(t), n)
        odds = log_odds_late[firm, month] if log_odds_late.ndim == 2 else log_odds_late[firm]
        bad = self._rng.random(n * t) < 1 / (1 + np.exp(-odds))
        status = np.where(bad, np.where(self._rng.random(n * t) < 0.3, "unpaid", "late"), "paid")
        return self._frame(kind, firm, month, log_amount, None).assign(status=status)

    def of_source(self, name: str, frames: list[Frame]) -> Frame:
        """A source's records of the firms that it was asked of."""
        asked = self._rng.random(len(self._ids)) < COVERAGE[name]
        frame = pd.concat([one for one in frames if len(one)] or frames[:1], ignore_index=True)
        frame = frame.loc[frame["subject"].isin(set(self._ids[asked]))]
        if name in BLANK:
            first = np.zeros(int(asked.sum()), np.int64)
            blank = self._frame(BLANK[name], np.flatnonzero(asked), first, None, None).assign(date=self._first_day(name, len(first)))
            frame = pd.concat([blank, frame], ignore_index=True)
        ordered: Frame = frame.sort_values(["date", "subject", "kind", "number"], kind="stable").reset_index(drop=True)
        return ordered

    def _first_day(self, name: str, count: int) -> NDArray[np.datetime64]:
        """When a source first knew its firms: the register up to 15 years before the world begins, the others on its first day."""
        begin = self._months[0].astype("datetime64[D]")
        back = self._rng.integers(1, 15 * 365, count) if name == "registry" else np.zeros(count, np.int64)
        return np.asarray(begin - back.astype("timedelta64[D]"), "datetime64[s]")

    def _frame(self, kind: str, firm: NDArray[np.int64], month: NDArray[np.int64], log_amount: float | None, status: str | None) -> Frame:
        amount = pd.array([pd.NA] * len(firm), "Int64")
        if log_amount is not None:
            amount = pd.array(np.round(np.exp(log_amount + 0.8 * self._rng.standard_normal(len(firm))) * 100).astype(np.int64), "Int64")
        return pd.DataFrame({
            "subject": self._ids[firm], "date": self._day(self._months[month]), "kind": pd.Series([kind] * len(firm), dtype=object),
            "number": pd.Series([f"{kind}-{place}" for place in range(len(firm))], dtype=object), "amount": amount,
            "status": pd.Series([status] * len(firm), dtype=object),
        })  # fmt: skip

    def _day(self, months: NDArray[np.datetime64]) -> NDArray[np.datetime64]:
        """A day within each month."""
        day = months.astype("datetime64[D]") + self._rng.integers(0, 28, len(months)).astype("timedelta64[D]")
        return np.asarray(day, "datetime64[s]")
