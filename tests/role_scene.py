"""Random records of a platform and of a bank, as the door gives them, with what makes adapters wrong: late starters, gaps, missing fields, rows
without a day, records of the months after those that features are as of.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

MONTHS = [np.datetime64(month, "M") for month in ("2023-02", "2023-09", "2024-03")]
"""As-of months of the fixture; records run on for half a year after the last."""
FIRST, LAST = np.datetime64("2021-09-01"), np.datetime64("2024-09-01")


def ids(count: int) -> list[str]:
    return [f"91310000{number:010d}" for number in range(count)]


def _days(rng: np.random.Generator, count: int, start: np.datetime64, gaps: bool) -> np.ndarray:
    days = start + rng.integers(0, max(int((LAST - start).astype(int)), 1), count)
    if gaps:  # nothing in some months
        quiet = rng.choice(np.arange("2021-09", "2024-09", dtype="datetime64[M]"), 9, replace=False)
        days = days[~np.isin(days.astype("datetime64[M]"), quiet)]
    return np.sort(days)


def _starts(rng: np.random.Generator, firms: int) -> list[np.datetime64]:
    late = [np.datetime64(day) for day in ("2022-03-01", "2022-11-15", "2023-06-10", "2024-01-20", "2024-02-29", "2024-06-05")]
    return [FIRST if rng.random() < 0.55 else late[rng.integers(len(late))] for _ in range(firms)]


def _frame(rows: list[dict], days: tuple[str, ...], wholes: tuple[str, ...] = ()) -> pd.DataFrame:
    frame = pd.DataFrame(rows)
    for name in days:
        frame[name] = pd.Series(frame[name], dtype="datetime64[s]")
    for name in wholes:
        frame[name] = frame[name].astype("Int64")
    return frame.sample(frac=1.0, random_state=3).reset_index(drop=True)


def platform(seed: int = 5, firms: int = 60) -> dict[str, pd.DataFrame]:
    rng = np.random.default_rng(seed)
    found: dict[str, list[dict]] = {kind: [] for kind in ("orders", "refunds", "shipments", "stock", "logins")}
    for firm, start in zip(ids(firms), _starts(rng, firms), strict=True):
        scale, gaps, buyers = rng.lognormal(10, 1), rng.random() < 0.4, int(rng.integers(1, 40))
        counts, sells = rng.random() < 0.8, rng.random() < 0.9
        for number, day in enumerate(_days(rng, int(rng.integers(5, 250)), start, gaps) if sells else []):
            order, amount = f"{firm[-3:]}-{number}", int(scale * rng.lognormal(0, 0.7)) + 1
            status = rng.choice(["completed", "cancelled", "open", None], p=[0.7, 0.15, 0.05, 0.1])
            found["orders"].append({
                "firm": firm, "order": order, "date": day, "amount": amount, "status": status,
                "buyer": f"b{rng.integers(buyers)}" if rng.random() < 0.9 else None, "quantity": int(rng.integers(0, 9)) if rng.random() < 0.8 else None,
                "settled": day + int(rng.integers(0, 40)) if status and rng.random() < 0.7 else None,
            })  # fmt: skip
            if rng.random() < 0.25:
                found["refunds"].append({"firm": firm, "order": order, "date": day + int(rng.integers(0, 60)), "amount": amount // 2})
            if rng.random() < 0.8:
                shipped = day + int(rng.integers(0, 5))
                late = shipped + int(rng.integers(1, 9)) if rng.random() < 0.8 else None
                delivered = shipped + int(rng.integers(-1, 14)) if rng.random() < 0.9 else None
                found["shipments"].append({"firm": firm, "order": order, "shipped": shipped, "promised": late, "delivered": delivered})
        for day in _days(rng, int(rng.integers(20, 120)), start, gaps) if counts else []:
            found["stock"].append({"firm": firm, "date": day, "value": int(scale * rng.integers(0, 30))})
        for day in _days(rng, int(rng.integers(10, 300)), start, gaps):
            found["logins"].append({"firm": firm, "date": day, "count": int(rng.integers(0, 6))})
    days = {"orders": ("date", "settled"), "shipments": ("shipped", "promised", "delivered")}
    wholes = {"orders": ("quantity",)}
    keys = {"stock": ["firm", "date"], "logins": ["firm", "date"], "refunds": ["firm", "order", "date"]}
    frames = {kind: _frame(rows, days.get(kind, ("date",)), wholes.get(kind, ())) for kind, rows in found.items()}
    return {kind: frame.drop_duplicates(keys[kind], ignore_index=True) if kind in keys else frame for kind, frame in frames.items()}


def bank(seed: int = 6, firms: int = 60) -> dict[str, pd.DataFrame]:
    rng = np.random.default_rng(seed)
    found: dict[str, list[dict]] = {kind: [] for kind in ("flows", "balances", "loans", "repayments", "visits")}
    for firm, start in zip(ids(firms), _starts(rng, firms), strict=True):
        _flows(rng, firm, start, found["flows"])
        _balances(rng, firm, start, found["balances"])
        for number in range(int(rng.integers(0, 6))):
            _loan(rng, firm, f"{firm[-3:]}/{number}", start, found)
        for day in _days(rng, int(rng.integers(0, 4)), FIRST, gaps=False):
            found["visits"].append(_visit(rng, firm, day))
    frames = {kind: _frame(rows, ("opened",) if kind == "loans" else ("date",)) for kind, rows in found.items()}
    for kind, names in {
        "balances": ("limit", "used", "overdraft_days"),
        "repayments": ("due", "paid"),
        "visits": ("owner_age", "owner_experience", "employees", "premises_order", "stock_seen", "neighbours"),
    }.items():
        for name in names:
            frames[kind][name] = frames[kind][name].astype("Int64")
    for name in ("owner_married", "owner_property", "recommends"):
        frames["visits"][name] = frames["visits"][name].astype("boolean")
    keys = {"balances": ["firm", "date"], "visits": ["firm", "date"], "repayments": ["loan", "date"]}
    return {kind: frame.drop_duplicates(keys[kind], ignore_index=True) if kind in keys else frame for kind, frame in frames.items()}


def _flows(rng: np.random.Generator, firm: str, start: np.datetime64, rows: list[dict]) -> None:
    scale, others, gaps = rng.lognormal(11, 1), int(rng.integers(1, 30)), rng.random() < 0.4

    def book(day: np.datetime64, amount: float, kind: str) -> None:
        other = f"c{rng.integers(others)}" if rng.random() < 0.85 else None
        rows.append(
            {"firm": firm, "booking": f"{firm[-3:]}-{len(rows)}", "date": day, "amount": int(amount), "kind": kind, "counterparty": other}
        )

    for day in _days(rng, int(rng.integers(10, 350)), start, gaps):
        kind = rng.choice(["sale", "purchase", "transfer", "loan", "repayment", "other"], p=[0.45, 0.3, 0.08, 0.04, 0.06, 0.07])
        sign = {"sale": 1, "purchase": -1, "repayment": -1, "loan": 1}.get(kind, rng.choice([-1, 1])) * (1 if rng.random() < 0.97 else -1)
        book(day, sign * scale * rng.lognormal(0, 0.8), kind)
    for kind in ("salary", "utility", "tax", "rent"):
        share, until = (
            rng.choice([0.0, 0.6, 1.0]),
            LAST if rng.random() < 0.5 else np.datetime64(rng.choice(["2022-12-01", "2023-07-01", "2024-01-01"])),
        )
        for month in np.arange(start.astype("datetime64[M]"), until.astype("datetime64[M]")):
            if rng.random() < share:
                book(month.astype("datetime64[D]") + int(rng.integers(0, 28)), -scale * rng.lognormal(-1, 0.2), kind)


def _balances(rng: np.random.Generator, firm: str, start: np.datetime64, rows: list[dict]) -> None:
    scale, limit, said = rng.lognormal(12, 1), rng.choice([0, 500_000, 2_000_000]), rng.random() < 0.7
    for day in _days(rng, int(rng.integers(10, 200)), start, rng.random() < 0.3):
        there = rng.random() < 0.9
        rows.append({
            "firm": firm, "date": day, "balance": int(scale * rng.normal(0.6, 1)), "limit": int(limit) if there else None,
            "used": int(limit * rng.uniform(0, 1.2)) if there and rng.random() < 0.95 else None,
            "overdraft_days": int(rng.integers(0, 4)) if said and rng.random() < 0.9 else None,
        })  # fmt: skip


def _loan(rng: np.random.Generator, firm: str, loan: str, start: np.datetime64, found: dict[str, list[dict]]) -> None:
    opened = start + int(rng.integers(0, max(int((LAST - start).astype(int)) - 1, 1)))
    amount, months, past_due = int(rng.integers(1, 100)) * 1_000_000, int(rng.choice([6, 12, 24])), 0
    found["loans"].append({"loan": loan, "firm": firm, "opened": opened, "amount": amount, "months": months})
    for number, month in enumerate(np.arange(opened.astype("datetime64[M]"), np.datetime64("2024-09", "M"))):
        past_due = max(0, past_due + int(rng.choice([30, 10, 0, -60], p=[0.3, 0.2, 0.35, 0.15]))) if number else 0
        balance = max(0, amount - amount * number // months)
        over = "closed" if not balance else "written_off" if past_due > 210 else None
        status = over or ("restructured" if rng.random() < 0.03 else "current")
        end = (month + 1).astype("datetime64[D]") - 1
        if rng.random() < 0.95:  # a month's end is lost now and then
            due = int(amount / months) if rng.random() < 0.9 else None
            found["repayments"].append({
                "loan": loan, "firm": firm, "date": end, "days_past_due": past_due, "balance": balance, "due": due,
                "paid": int(amount / months * rng.choice([0, 0.5, 1, 1.2])) if rng.random() < 0.9 else None,
                "status": status if rng.random() < 0.95 else None,
            })  # fmt: skip
        if over:
            return


def _visit(rng: np.random.Generator, firm: str, day: np.datetime64) -> dict:
    def maybe(value: object) -> object:
        return value if rng.random() < 0.85 else None

    return {
        "firm": firm, "date": day, "owner_age": maybe(int(rng.integers(20, 70))), "owner_experience": maybe(int(rng.integers(0, 40))),
        "owner_education": maybe(str(rng.choice(["primary", "secondary", "college", "university"]))), "owner_married": maybe(bool(rng.random() < 0.7)),
        "owner_property": maybe(bool(rng.random() < 0.5)), "employees": maybe(int(rng.integers(0, 80))),
        "premises": maybe(str(rng.choice(["owned", "rented", "shared", "home"]))), "premises_order": maybe(int(rng.integers(1, 6))),
        "stock_seen": maybe(int(rng.integers(0, 10**9))), "books_kept": maybe(str(rng.choice(["none", "simple", "double"]))),
        "neighbours": maybe(int(rng.integers(1, 6))), "recommends": maybe(bool(rng.random() < 0.6)),
    }  # fmt: skip
