"""Outcomes, roll rates and vintages in plain Python, loan by loan and month by month, written from the words of docs/run-file.md alone."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pandas as pd

from federation.kernel.manifest import TargetSettings

Line = dict[int, tuple[int, str]]
"""Month number -> days past due, status."""


def number(day: Any) -> int:
    """A month as a number."""
    stamp = pd.Timestamp(day)
    return stamp.year * 12 + stamp.month - 1


class Oracle:
    """A book, looked up one record at a time."""

    def __init__(self, repayments: pd.DataFrame, loans: pd.DataFrame | None, settings: TargetSettings) -> None:
        self.settings = settings
        self.lines: dict[str, Line] = {}
        self.firm: dict[str, str] = {}
        for row in repayments.itertuples():
            self.lines.setdefault(str(row.loan), {})[number(row.date)] = (int(row.days_past_due), str(row.status))  # type: ignore[call-overload]
            self.firm[str(row.loan)] = str(row.firm)
        every = [month for line in self.lines.values() for month in line]
        self.first, self.last = min(every), max(every)
        self.origin, self.fraud = {}, {}
        for row in () if loans is None else loans.itertuples():
            self.origin[str(row.loan)], self.fraud[str(row.loan)] = number(row.opened), bool(row.fraud)

    def opened(self, loan: str) -> int:
        return self.origin.get(loan, min(self.lines[loan]))

    def off(self, loan: str, month: int) -> bool:
        """Whether it was written off by then."""
        return any(status == "written_off" for at, (_, status) in self.lines[loan].items() if at <= month)

    def outcome(self, loans: list[str], month: int) -> str:
        """Of these loans as one."""
        s = self.settings
        before = {loan: self.lines[loan][month - 1] for loan in loans if month - 1 in self.lines[loan]}
        if month + s.performance_months - 1 > self.last:
            return "not matured"
        if month - 1 < self.first:
            return "not open"
        running = [loan for loan, (_, status) in before.items() if status != "closed" and not self.off(loan, month - 1)]
        off = any(self.off(loan, month - 1) for loan in loans)
        if not running and not off:
            return "not open"
        days = max((record[0] for record in before.values()), default=-1)
        changed = any(status == "restructured" for _, status in before.values())
        if off or days >= s.days_past_due or (changed and s.restructured == "bad"):
            return "bad at observation"
        if days > (s.days_past_due - 1 if s.good_standing is None else s.good_standing):
            return "in arrears at observation"
        if month - min(self.opened(loan) for loan in loans) < s.months_on_book:
            return "too new"
        fraud = any(self.fraud.get(loan, False) for loan in loans)
        if fraud and s.fraud == "exclude":
            return "fraud"
        if fraud and s.fraud == "bad":
            return "bad"
        return self.performance(loans, month)

    def performance(self, loans: list[str], month: int) -> str:
        s = self.settings
        records = [(at, *record) for loan in loans for at, record in self.lines[loan].items() if month <= at < month + s.performance_months]
        if s.rule == "at the end" and records:
            end = max(at for at, _, _ in records)
            records = [record for record in records if record[0] == end]
        if any(self.off(loan, month + s.performance_months - 1) for loan in loans):
            return {"bad": "bad", "indeterminate": "indeterminate", "exclude": "written off"}[s.written_off]
        worst = max((days for _, days, _ in records), default=0)
        if worst >= s.days_past_due:
            return "bad"
        if any(status == "restructured" for _, _, status in records):
            return {"bad": "bad", "indeterminate": "indeterminate", "exclude": "restructured"}[s.restructured]
        gray = min(30, s.days_past_due) if s.indeterminate_from is None else s.indeterminate_from
        return "indeterminate" if worst >= gray else "good"

    def row(self, firm: str, month: int) -> str:
        """Of a row of a feature table."""
        loans = [loan for loan, owner in self.firm.items() if owner == firm]
        if not loans:
            return "no loan"
        if self.settings.level == "firm":
            return self.outcome(loans, month)
        order = [
            "not matured", "not open", "bad at observation", "in arrears at observation", "too new", "fraud", "restructured", "written off",
            "good", "indeterminate", "bad",
        ]  # fmt: skip
        return max((self.outcome([loan], month) for loan in loans), key=order.index)

    def state(self, loan: str, month: int) -> str | None:
        if self.off(loan, month):
            return "written off"
        if month not in self.lines[loan]:
            return None
        days, status = self.lines[loan][month]
        if status == "closed":
            return "closed"
        return "current" if days == 0 else "1-29" if days < 30 else "30-59" if days < 60 else "60-89" if days < 90 else "90+"

    def monthly(self) -> Counter[tuple[str, str]]:
        found: Counter[tuple[str, str]] = Counter()
        for loan, line in self.lines.items():
            for month in range(self.first, self.last):
                before, after = self.state(loan, month), self.state(loan, month + 1)
                if after is None and max(line) <= month:
                    after = "closed"
                if before not in (None, "written off", "closed") and after is not None:
                    found[before, after] += 1  # type: ignore[index]
        return found

    def over_window(self, months: list[int]) -> Counter[tuple[str, str]]:
        order = ["current", "1-29", "30-59", "60-89", "90+", "written off"]
        found: Counter[tuple[str, str]] = Counter()
        for loan in self.lines:
            for month in months:
                before = self.state(loan, month - 1)
                if month + self.settings.performance_months - 1 > self.last or before in (None, "written off", "closed"):
                    continue
                inside = [self.state(loan, month + k) for k in range(self.settings.performance_months)]
                real = [state for state in inside if state not in (None, "closed")]
                found[before, max(real, key=order.index) if real else "closed"] += 1  # type: ignore[index, arg-type]
        return found

    def vintages(self) -> dict[str, tuple[int, list[int]]]:
        """Quarter -> loans, and how many of them were bad by each month on book."""
        s, quarters = self.settings, dict[int, list[str]]()
        for loan, line in self.lines.items():
            known = loan in self.origin or min(line) > self.first
            if known and self.opened(loan) >= self.first:
                quarters.setdefault(self.opened(loan) // 3, []).append(loan)
        found = {}
        for quarter, loans in quarters.items():
            ages = range(self.last - max(self.opened(loan) for loan in loans) + 1)
            counts = [
                sum(
                    any(
                        at - self.opened(loan) <= age
                        and (
                            days >= s.days_past_due
                            or (status == "written_off" and s.written_off == "bad")
                            or (status == "restructured" and s.restructured == "bad")
                        )
                        for at, (days, status) in self.lines[loan].items()
                    )
                    for loan in loans
                )
                for age in ages
            ]
            found[f"{quarter // 4}Q{quarter % 4 + 1}"] = (len(loans), counts)
        return found
