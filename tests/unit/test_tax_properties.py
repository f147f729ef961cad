"""What must not change a tax feature: the order of rows and where batches end; and what a void invoice may change."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import clients.roles.tax.features as adapter
from clients.roles.tax.features import build, pieces
from clients.roles.totals import Totals
from tests.tax_records import NAMES, batches, drawn, in_batches, invoices, months, same

MONTHS = months("2022-06", "2023-01", "2024-01")
QUICK = settings(max_examples=6, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
VOID = {name for name in NAMES if "_void_" in name}


def table(records: dict[str, pd.DataFrame], size: int = 500) -> pd.DataFrame:
    return build(in_batches(records, size), MONTHS)


@QUICK
@given(seed=st.integers(0, 2**32 - 1), size=st.integers(30, 400), order=st.integers(0, 2**32 - 1))
def test_neither_the_order_of_rows_nor_batches_change_a_bit(seed: int, size: int, order: int) -> None:
    records = drawn(seed, firms=5, busy=2.0)
    shuffled = {kind: rows.sample(frac=1.0, random_state=order) for kind, rows in records.items()}
    assert same(table(records), build(in_batches(shuffled, size), MONTHS)) == []


@QUICK
@given(
    seed=st.integers(0, 2**32 - 1),
    extra=st.lists(
        st.tuples(st.integers(0, 5), st.integers(0, 1094), st.integers(0, 20), st.floats(-1e6, 1e6), st.booleans()), min_size=1, max_size=20
    ),
)
def test_a_void_invoice_changes_void_shares_alone(seed: int, extra: list[tuple[int, int, int, float, bool]]) -> None:
    records = drawn(seed, firms=6, busy=2.0)
    before, changed = table(records), dict(records)
    for kind in ("sales_invoices", "purchase_invoices"):
        rows = [
            (f"F{firm:02d}", str(np.datetime64("2021-01-01") + day), f"C{partner}", round(amount, 2), round(amount * 0.13, 2), "void")
            for firm, day, partner, amount, sale in extra
            if sale == (kind == "sales_invoices")
        ]
        voids = invoices(rows)
        changed[kind] = pd.concat([records[kind], voids.assign(code="B2")], ignore_index=True)
    after = table(changed)
    known = after.merge(before[["id", "as_of"]])  # a firm's first void invoice may begin its rows, which say nothing else
    assert set(same(before, known)) <= VOID
    others = [name for name in NAMES if name not in VOID]
    added = after.merge(before[["id", "as_of"]], how="left", indicator=True).query("_merge == 'left_only'")
    assert added[others].isna().all(axis=None)


def test_control_a_void_invoice_does_change_the_void_share() -> None:
    records = drawn(1, firms=3)
    void = invoices([("F01", "2022-12-01", "C1", 100, 13, "void")]).assign(code="B2")
    changed = records | {"sales_invoices": pd.concat([records["sales_invoices"], void])}
    assert set(same(table(records), table(changed))) == {name for name in VOID if name.startswith("sales")}


def test_control_an_invoice_of_another_number_does_count() -> None:
    records = drawn(1, firms=3)
    again = records["sales_invoices"].assign(code="B2")
    changed = records | {"sales_invoices": pd.concat([records["sales_invoices"], again])}
    assert "sales_12m" in same(table(records), table(changed))


def test_groups_of_firms_do_not_change_a_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    records = drawn(2)
    whole = table(records)
    monkeypatch.setattr(adapter, "_GROUP", 5)
    parts = list(pieces(in_batches(records), MONTHS))
    assert len(parts) == 3
    assert same(whole, pd.concat(parts)) == []


@QUICK
@given(rows=st.lists(st.tuples(st.integers(0, 5), st.integers(-(2**53), 2**53)), max_size=200), size=st.integers(1, 40))
def test_totals_are_exact_beyond_floating_point(rows: list[tuple[int, int]], size: int) -> None:
    frame = pd.DataFrame(rows, columns=["firm", "amount"], dtype=np.int64)
    totals = Totals(("firm",), ("amount",))
    for batch in batches(frame, size):
        totals.add(batch)
    expected: dict[int, int] = {}
    for firm, amount in rows:
        expected[firm] = expected.get(firm, 0) + amount
    assert dict(totals.result().itertuples(index=False)) == expected
