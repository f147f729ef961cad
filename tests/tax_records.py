"""Records of a tax bureau for tests: canonical frames, in whole fen, from a few words or drawn at random."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np
import pandas as pd

from privacy.dictionary.entries import Feature, features

Records = Mapping[str, pd.DataFrame]
FEATURES: dict[str, Feature] = {
    name: feature for name, feature in features().items() if feature.role == "tax" and feature.source != "taxpayers"
}
NAMES = sorted(FEATURES)


def invoices(rows: Iterable[tuple[str, str, str, float, float, str]]) -> pd.DataFrame:
    """firm, day, counterparty, amount and tax in CNY, status; numbered as they come."""
    table = pd.DataFrame(list(rows), columns=["firm", "date", "counterparty", "amount", "tax", "status"])
    return pd.DataFrame(
        {
            "firm": table["firm"].astype(object),
            "code": pd.Series(["B1"] * len(table), dtype=object),
            "number": pd.Series([f"{place:08d}" for place in range(len(table))], dtype=object),
            "date": table["date"].astype("datetime64[s]"),
            "counterparty": table["counterparty"].astype(object),
            "amount": (table["amount"].astype(float) * 100).round().astype(np.int64),
            "tax": (table["tax"].astype(float) * 100).round().astype(np.int64),
            "status": table["status"].astype(object),
        }
    )


def declarations(rows: Iterable[tuple[str, str, str, str | None, float, float, float]]) -> pd.DataFrame:
    """firm, period, due, filed, sales, tax due and tax paid in CNY."""
    table = pd.DataFrame(list(rows), columns=["firm", "period", "due", "filed", "sales", "tax_due", "tax_paid"])
    found = pd.DataFrame({"firm": table["firm"].astype(object)})
    for name in ("period", "due", "filed"):
        found[name] = pd.to_datetime(table[name]).astype("datetime64[s]")
    for name in ("sales", "tax_due", "tax_paid"):
        found[name] = (table[name].astype(float) * 100).round().astype(np.int64)
    return found


def batches(table: pd.DataFrame, size: int) -> Iterator[pd.DataFrame]:
    """The table in batches of so many rows."""
    for begin in range(0, len(table), size):
        yield table.iloc[begin : begin + size]


def in_batches(records: Records, size: int = 1_000) -> dict[str, Iterator[pd.DataFrame]]:
    """Every kind in batches."""
    return {kind: batches(table, size) for kind, table in records.items()}


def months(*names: str) -> list[np.datetime64]:
    """As-of months."""
    return [np.datetime64(name, "M") for name in names]


def drawn(seed: int, firms: int = 12, length: int = 36, start: str = "2021-01", busy: float = 4.0) -> dict[str, pd.DataFrame]:
    """All three kinds for some firms over so many months. Some firms begin late, some sleep, some never declare."""
    draw = np.random.default_rng(seed)
    first = np.datetime64(start, "M")
    sides: dict[str, list[tuple[str, str, str, float, float, str]]] = {"sales_invoices": [], "purchase_invoices": []}
    filed: list[tuple[str, str, str, str | None, float, float, float]] = []
    for firm in range(firms):
        begins = 0 if firm % 3 else int(draw.integers(0, length))
        for month in range(begins, length):
            if firm % 5 < 2 and draw.random() < 0.5:  # asleep
                continue
            for kind, letter in (("sales_invoices", "C"), ("purchase_invoices", "S")):
                for _ in range(int(draw.poisson(busy)) if draw.random() > 0.2 else 0):
                    amount = round(float(draw.lognormal(7, 1)), 2) * (-1 if draw.random() < 0.08 else 1)
                    day = np.datetime64(first + month, "D") + int(draw.integers(0, 28))
                    status = "void" if draw.random() < 0.1 else "valid"
                    rate = draw.choice([0.03, 0.13])
                    sides[kind].append(
                        (f"F{firm:02d}", str(day), f"{letter}{draw.integers(0, 40)}", amount, round(amount * rate, 2), status)
                    )
            if firm % 4:
                due = np.datetime64(first + month + 1, "D") + 14
                day = str(due + int(draw.integers(-10, 60))) if draw.random() > 0.1 else None
                sold = round(float(draw.lognormal(8, 1)), 2)
                filed.append(
                    (f"F{firm:02d}", str(first + month) + "-01", str(due), day, sold, round(sold * 0.03, 2), round(sold * 0.02, 2))
                )
    return {kind: invoices(rows) for kind, rows in sides.items()} | {"declarations": declarations(filed)}


def same(left: pd.DataFrame, right: pd.DataFrame, names: Sequence[str] = NAMES) -> list[str]:
    """The features that differ anywhere, to the last bit, rows that only one table has included."""
    a, b = (table.set_index(["id", "as_of"])[list(names)] for table in (left, right))
    index = a.index.union(b.index)
    a, b = a.reindex(index), b.reindex(index)
    return [name for name in names if not np.array_equal(a[name].to_numpy(), b[name].to_numpy(), equal_nan=True)]
