"""A bank's loans and repayments that a seed decides: arrears that roll, cure, are written off, restructured or closed, with gaps where asked."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from tests.vault_scene import credit_code

SEED = 20_241_130


@dataclass(frozen=True)
class Book:
    """loans, repayments: as the dictionary's record kinds have them; firms: ids, and each one's risk, (n,)."""

    loans: pd.DataFrame
    repayments: pd.DataFrame
    firms: tuple[str, ...]
    risk: np.ndarray[tuple[int], np.dtype[np.float64]]


def make_book(
    firms: int = 60, months: int = 30, seed: int = SEED, start: str = "2021-01", *, gaps: float = 0.0, most_loans: int = 3
) -> Book:
    """Loans of these firms, opened before and during the months of the table. gaps: share of rows that are missing."""
    rng = np.random.default_rng(seed)
    first = np.datetime64(start, "M")
    names = tuple(credit_code(number) for number in range(firms))
    risk = rng.normal(0.0, 1.0, firms)
    loans: list[dict[str, object]] = []
    rows: list[dict[str, object]] = []
    for place, firm in enumerate(names):
        for number in range(int(rng.integers(1, most_loans + 1))):
            name = f"L{place:06d}-{number}"
            opened = int(rng.integers(-12, max(1, months - 3)))
            term = int(rng.integers(6, 37))
            loans.append({
                "loan": name, "firm": firm, "opened": _day(first + opened, int(rng.integers(1, 28))), "amount": 100_000.0, "months": term,
                "fraud": int(rng.random() < 0.02),
            })  # fmt: skip
            rows += _line(rng, name, firm, float(risk[place]), first, opened, min(months, opened + term), term + opened <= months, gaps)
    table = pd.DataFrame(rows).sample(frac=1.0, random_state=seed).reset_index(drop=True)
    return Book(pd.DataFrame(loans), table, names, risk)


def _line(
    rng: np.random.Generator, loan: str, firm: str, risk: float, first: np.datetime64, opened: int, end: int, ends: bool, gaps: float
) -> list[dict[str, object]]:  # fmt: skip
    """One loan, month by month: by chance one more month in arrears, or one payment that cures."""
    found: list[dict[str, object]] = []
    days, changed = 0, False
    falls = 1 / (1 + np.exp(-(risk - 1.8)))
    for month in range(opened, end):
        days = (
            days + 30
            if rng.random() < falls + 0.35 * (days > 0)
            else (0 if rng.random() < 0.6 else max(0, days - int(rng.integers(1, 40))))
        )
        status = "restructured" if changed else "current"
        if days >= 60 and rng.random() < 0.08:
            changed, status = True, "restructured"
        last = month == end - 1 and ends
        if days > 150 and rng.random() < 0.4:
            status = "written_off"
        elif last:
            status = "closed"
        if month >= 0 and (rng.random() >= gaps or last):
            found.append({
                "loan": loan, "firm": firm, "date": _end(first + month), "days_past_due": days, "balance": 1_000.0,
                "status": status if rng.random() < 0.95 or status == "written_off" else ("closed" if last else "current"),
            })  # fmt: skip
        if status == "written_off" and rng.random() < 0.7:
            break
    return found


def feature_table(book: Book, months: list[str], seed: int = SEED, columns: int = 2) -> pd.DataFrame:
    """Rows of every firm at each of these months, with columns that tell of its risk."""
    rng = np.random.default_rng(seed + 1)
    frames = []
    for month in months:
        frame = pd.DataFrame({"id": list(book.firms), "as_of": np.datetime64(month, "D")})
        for number in range(columns):
            frame[f"own_{number}"] = np.round(book.risk * 0.5 + rng.normal(0.0, 1.0, len(frame)), 3)
        frames.append(frame)
    return pd.concat(frames, ignore_index=True)


def _day(month: np.datetime64, day: int) -> np.datetime64:
    return month.astype("datetime64[D]") + np.timedelta64(day - 1, "D")


def _end(month: np.datetime64) -> np.datetime64:
    return (month + np.timedelta64(1, "M")).astype("datetime64[D]") - np.timedelta64(1, "D")
