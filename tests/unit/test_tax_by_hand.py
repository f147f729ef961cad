"""Every feature of the tax adapter on a case worked out by hand: one firm, two years, as of January 2024.

Net sales:      2022 100 a month, December 200; 2023 200 200 200 200 200 - - 200 100 300 300 400
Net purchases:  2022 50 a month, none in February and March, December 100; 2023 60 60 60 60 60 - - 120 30 100 -50 -
Sums of squares and of products that correlations need are written out below.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import sqrt

import numpy as np
import pandas as pd
import pytest

from clients.roles.tax.features import build
from federation.kernel.errors import ConfigurationError, DataError
from tests.tax_records import FEATURES, declarations, in_batches, invoices, months

FIRM = "91110000000000000X"


def sales() -> Iterator[tuple[str, str, str, float, float, str]]:
    def sold(day: str, customer: str, amount: float, status: str = "valid") -> tuple[str, str, str, float, float, str]:
        return FIRM, day, customer, amount, 0.13 * amount, status

    for month in range(1, 13):
        yield sold(f"2022-{month:02d}-10", "C1", 200 if month == 12 else 100)
    for month, amount in ((1, 200), (2, 200), (3, 200), (4, 200), (5, 200), (8, 200), (9, 100), (10, 300)):
        yield sold(f"2023-{month:02d}-28", "C1", amount)
    yield sold("2023-11-01", "C2", 300)
    yield from (sold("2023-12-01", "C2", 300), sold("2023-12-05", "C3", 150), sold("2023-12-31", "C6", 50))
    yield from (sold("2023-12-20", "C2", -100), sold("2023-12-21", "C4", 150, "void"))
    yield from (sold("2024-01-01", "C7", 9999), sold("2024-02-01", "C1", 9999))  # the future


def purchases() -> Iterator[tuple[str, str, str, float, float, str]]:
    def bought(day: str, supplier: str, amount: float, status: str = "valid") -> tuple[str, str, str, float, float, str]:
        return FIRM, day, supplier, amount, 0.10 * amount, status

    for month in (1, *range(4, 13)):
        yield bought(f"2022-{month:02d}-15", "S1", 100 if month == 12 else 50)
    for month in range(1, 6):
        yield bought(f"2023-{month:02d}-15", "S1", 60)
    yield from (bought("2023-08-03", "S2", 120), bought("2023-09-03", "S1", 30), bought("2023-09-04", "S9", 40, "void"))
    yield from (bought("2023-10-03", "S1", 50), bought("2023-10-04", "S3", 50), bought("2023-11-30", "S3", -50))
    yield bought("2024-01-31", "S1", 9999)  # the future


def filings() -> Iterator[tuple[str, str, str, str | None, float, float, float]]:
    """From November 2022: March 2023 five days late, May never, June ten days late and once more in September, November in the future."""
    odd: dict[str, str | None] = {"2023-03": "2023-04-20", "2023-05": None, "2023-06": "2023-07-25", "2023-11": "2024-01-05"}
    for period in np.arange("2022-11", "2024-01", dtype="datetime64[M]"):
        filed = odd.get(str(period), f"{period + 1}-10")
        yield FIRM, f"{period}-01", f"{period + 1}-15", filed, 100, 3, 3
    yield FIRM, "2023-06-01", "2023-07-15", "2023-09-01", 300, 9, 3


def spread(squares: float, total: float, number: int) -> float:
    """Standard deviation (divided by n) from the sum of squares and the sum."""
    return sqrt(squares / number - (total / number) ** 2)


def correlation(products: float, x: tuple[float, float], y: tuple[float, float]) -> float:
    """Of twelve months; x, y: sum and sum of squares."""
    return (products - x[0] * y[0] / 12) / sqrt((x[1] - x[0] ** 2 / 12) * (y[1] - y[0] ** 2 / 12))


SOLD, SOLD_BEFORE, BOUGHT, BOUGHT_BEFORE = (2300, 590_000), (1300, 150_000), (500, 45_800), (550, 32_500)
"""Sum and sum of squares of the year's months, and of the year before's."""

EXPECTED: dict[str, float] = {
    "sales_3m": 1000, "sales_6m": 1300, "sales_12m": 2300,
    "sales_active_mean_3m": 1000 / 3, "sales_active_mean_6m": 1300 / 5, "sales_active_mean_12m": 2300 / 10,
    "sales_growth_12m": 2300 / 1300 - 1, "sales_growth_3m": 1000 / 300 - 1, "sales_growth_3m_on_year": 1000 / 400 - 1,
    "sales_trend_6m": 75 / (1300 / 6),  # the eighth of fifteen slopes
    "sales_trend_12m": 5 / (2300 / 12),  # of 66 slopes 16 fall, 17 are level, the least that rises is 100 / 10: (0 + 10) / 2
    "sales_cv_6m": spread(390_000, 1300, 6) / (1300 / 6), "sales_cv_12m": spread(590_000, 2300, 12) / (2300 / 12),
    "sales_seasonality_24m": correlation(100 * 2300 + 100 * 400, SOLD, SOLD_BEFORE),
    "sales_peak_quarter_share_12m": 1000 / 2300,
    "sales_invoices_3m": 6, "sales_invoices_6m": 8, "sales_invoices_12m": 13,
    "sales_invoice_size_3m": 1100 / 5, "sales_invoice_size_6m": 1400 / 7, "sales_invoice_size_12m": 2400 / 12,
    "sales_void_share_3m": 1 / 7, "sales_void_share_6m": 1 / 9, "sales_void_share_12m": 1 / 14,
    "sales_void_amount_share_3m": 150 / 1350, "sales_void_amount_share_6m": 150 / 1650, "sales_void_amount_share_12m": 150 / 2650,
    "sales_red_share_3m": 1 / 6, "sales_red_share_6m": 1 / 8, "sales_red_share_12m": 1 / 13,
    "sales_red_amount_share_3m": 100 / 1200, "sales_red_amount_share_6m": 100 / 1500, "sales_red_amount_share_12m": 100 / 2500,
    "sales_active_months_3m": 3, "sales_active_months_6m": 5, "sales_active_months_12m": 10,
    "sales_longest_gap_12m": 2, "sales_months_since_last": 0,
    "customers_3m": 4, "customers_6m": 4, "customers_12m": 4,  # C1, C2, C3, C6; C4's invoice is void
    "customers_new_3m": 3, "customers_new_6m": 3, "customers_new_12m": 3, "customers_new_share_12m": 3 / 4,
    "customer_hhi_3m": 0.3**2 + 0.5**2 + 0.15**2 + 0.05**2,
    "customer_hhi_6m": (600**2 + 500**2 + 150**2 + 50**2) / 1300**2, "customer_hhi_12m": (1600**2 + 500**2 + 150**2 + 50**2) / 2300**2,
    "customer_top_share_3m": 500 / 1000, "customer_top_share_6m": 600 / 1300, "customer_top_share_12m": 1600 / 2300,
    "customer_top3_share_3m": 950 / 1000, "customer_top3_share_6m": 1250 / 1300, "customer_top3_share_12m": 2250 / 2300,
    "purchases_3m": 50, "purchases_6m": 200, "purchases_12m": 500,
    "purchases_active_mean_3m": 50 / 2, "purchases_active_mean_6m": 200 / 4, "purchases_active_mean_12m": 500 / 9,
    "purchases_growth_12m": 500 / 550 - 1, "purchases_growth_3m": 50 / 150 - 1, "purchases_growth_3m_on_year": 50 / 200 - 1,
    "purchases_trend_6m": -10 / (200 / 6),
    "purchases_trend_12m": -(5 + 30 / 7) / 2 / (500 / 12),  # the third and the second largest of 35 slopes that fall
    "purchases_cv_6m": spread(27_800, 200, 6) / (200 / 6), "purchases_cv_12m": spread(45_800, 500, 12) / (500 / 12),
    "purchases_seasonality_24m": correlation(50 * 380, BOUGHT, BOUGHT_BEFORE),
    "purchases_peak_quarter_share_12m": 250 / 500,
    "purchases_invoices_3m": 3, "purchases_invoices_6m": 5, "purchases_invoices_12m": 10,
    "purchases_invoice_size_3m": 100 / 2, "purchases_invoice_size_6m": 250 / 4, "purchases_invoice_size_12m": 550 / 9,
    "purchases_void_share_3m": 0, "purchases_void_share_6m": 1 / 6, "purchases_void_share_12m": 1 / 11,
    "purchases_void_amount_share_3m": 0, "purchases_void_amount_share_6m": 40 / 340, "purchases_void_amount_share_12m": 40 / 640,
    "purchases_red_share_3m": 1 / 3, "purchases_red_share_6m": 1 / 5, "purchases_red_share_12m": 1 / 10,
    "purchases_red_amount_share_3m": 50 / 150, "purchases_red_amount_share_6m": 50 / 300, "purchases_red_amount_share_12m": 50 / 600,
    "purchases_active_months_3m": 2, "purchases_active_months_6m": 4, "purchases_active_months_12m": 9,
    "purchases_longest_gap_12m": 2, "purchases_months_since_last": 1,
    "suppliers_3m": 1, "suppliers_6m": 2, "suppliers_12m": 2,  # S3 took everything back
    "suppliers_new_3m": 0, "suppliers_new_6m": 1, "suppliers_new_12m": 1, "suppliers_new_share_12m": 1 / 2,
    "supplier_hhi_3m": 1, "supplier_hhi_6m": 0.4**2 + 0.6**2, "supplier_hhi_12m": 0.76**2 + 0.24**2,
    "supplier_top_share_3m": 1, "supplier_top_share_6m": 0.6, "supplier_top_share_12m": 0.76,
    "supplier_top3_share_3m": 1, "supplier_top3_share_6m": 1, "supplier_top3_share_12m": 1,
    "margin_3m": 950 / 1000, "margin_6m": 1100 / 1300, "margin_12m": 1800 / 2300,
    "input_output_match_3m": 50 / 1000, "input_output_match_6m": 200 / 1300, "input_output_match_12m": 500 / 2300,
    "input_output_correlation_12m": correlation(5 * 12_000 + 24_000 + 3_000 + 30_000 - 15_000, SOLD, BOUGHT),
    "input_tax_rate_12m": 0.10, "output_tax_rate_12m": 0.13,
    "output_tax_3m": 130, "output_tax_6m": 169, "output_tax_12m": 299,
    "vat_burden_3m": 125 / 1000, "vat_burden_6m": 149 / 1300, "vat_burden_12m": 249 / 2300,
    "invoice_history_months": 24, "dormant_months_12m": 2, "dormant_periods_24m": 1,
    # December 2022 to November 2023 without May and November: 9 periods of 100 and June's second filing of 300
    "declared_sales_12m": 1200, "declared_tax_burden_12m": 36 / 1200, "declared_tax_paid_share_12m": 30 / 36,
    "declarations_missing_12m": 2, "declarations_late_12m": 2, "declaration_days_late_12m": (5 + 10) / 10,
    "invoiced_to_declared_12m": (200 + 4 * 200 + 0 + 0 + 200 + 100 + 300) / 1200, "declaration_periods_behind": 1,
}  # fmt: skip
RECORDS = {"sales_invoices": invoices(sales()), "purchase_invoices": invoices(purchases()), "declarations": declarations(filings())}


@pytest.fixture(scope="module")
def row() -> pd.Series:
    """The firm as of January 2024."""
    table = build(in_batches(RECORDS, 7), months("2024-01"))
    assert len(table) == 1 and table["as_of"].dtype == "datetime64[s]"
    return table.iloc[0]


def test_there_is_a_case_for_every_feature_of_the_dictionary_and_none_besides(row: pd.Series) -> None:
    assert set(EXPECTED) == set(FEATURES) == set(row.index) - {"id", "as_of"}


@pytest.mark.parametrize("name", sorted(FEATURES))
def test_by_hand(row: pd.Series, name: str) -> None:
    assert row[name] == pytest.approx(EXPECTED[name], rel=1e-12, abs=1e-12)
    low, high = FEATURES[name].range
    assert low <= row[name] <= high


def test_what_needs_a_longer_history_is_missing_and_not_zero() -> None:
    young = invoices([("F", f"2023-{month}-01", "C1", 100, 13, "valid") for month in (10, 12)])
    table = build({"sales_invoices": [young]}, months("2024-01", "2024-02")).set_index("as_of")
    january, february = table.loc["2024-01-01"], table.loc["2024-02-01"]
    assert january["invoice_history_months"] == 3 and january["sales_3m"] == 200 and january["sales_active_months_3m"] == 2
    for name in (
        "sales_6m",
        "sales_12m",
        "sales_void_share_6m",
        "customers_6m",
        "sales_growth_3m",
        "customers_new_3m",
        "sales_longest_gap_12m",
    ):
        assert np.isnan(january[name]), name
    assert february["sales_3m"] == 100 and february["sales_months_since_last"] == 1, (
        "a month without invoices is zero where the firm was there"
    )


def test_what_the_bureau_does_not_have_is_missing() -> None:
    table = build({"sales_invoices": [RECORDS["sales_invoices"]]}, months("2024-01"))
    told = {name for name in FEATURES if table[name].notna().all()}
    assert told == {name for name, feature in FEATURES.items() if feature.source == "sales_invoices"}
    only = build({"declarations": [RECORDS["declarations"]]}, months("2024-01"))
    assert {name for name in FEATURES if only[name].notna().all()} == {
        name for name, feature in FEATURES.items() if feature.source == "declarations" and name != "invoiced_to_declared_12m"
    }


def test_a_firm_has_no_row_before_its_first_record_and_one_for_each_month_after() -> None:
    first = invoices([("F", "2023-12-31", "C1", 100, 13, "void"), ("G", "2024-01-01", "C1", 100, 13, "valid")])
    table = build({"sales_invoices": [first]}, months("2023-12", "2024-01", "2024-02"))
    assert list(zip(table["id"], table["as_of"].astype(str), strict=True)) == [
        ("F", "2024-01-01"), ("F", "2024-02-01"), ("G", "2024-02-01"),
    ]  # fmt: skip
    void_alone = table[table["id"] == "F"].drop(columns=["id", "as_of"])
    assert void_alone.isna().all(axis=None), "a void invoice is no history"


def test_nothing_to_divide_by_is_missing() -> None:
    rows = [("F", f"2022-{month:02d}-01", "C1", 0, 0, "valid") for month in range(1, 13)]
    rows += [("F", f"2023-{month:02d}-01", "C1", -10, 0, "valid") for month in range(1, 13)]
    table = build({"sales_invoices": [invoices(rows)], "purchase_invoices": [invoices([])]}, months("2024-01")).iloc[0]
    assert table["sales_12m"] == -120 and table["customers_12m"] == 0 and table["sales_red_share_12m"] == 1
    for name in (
        "sales_cv_12m",
        "sales_trend_12m",
        "sales_growth_12m",
        "customer_hhi_12m",
        "margin_12m",
        "vat_burden_12m",
        "output_tax_rate_12m",
    ):
        assert np.isnan(table[name]), name


def test_a_payment_that_is_not_known_is_not_taken_for_none() -> None:
    filed = RECORDS["declarations"].copy()
    filed["tax_paid"] = filed["tax_paid"].astype("Int64")
    filed.loc[6, "tax_paid"] = pd.NA
    assert filed.loc[6, "period"] == pd.Timestamp("2023-05-01"), "May, which was never filed"
    assert build({"declarations": [filed]}, months("2024-01"))["declared_tax_paid_share_12m"].notna().all()
    filed.loc[5, "tax_paid"] = pd.NA
    assert build({"declarations": [filed]}, months("2024-01"))["declared_tax_paid_share_12m"].isna().all()
    assert build({"declarations": [filed.drop(columns="tax_paid")]}, months("2024-01"))["declared_tax_paid_share_12m"].isna().all()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda table: table.drop(columns="amount"), "column is missing"),
        (lambda table: table.assign(amount=table["amount"] / 100), "not of type money"),
        (lambda table: table.assign(date=table["date"].astype(str)), "not of type day"),
        (lambda table: table.assign(date=table["date"].dt.tz_localize("UTC")), "not of type day"),
        (lambda table: table.assign(firm=table["firm"].where(table.index > 2)), "3 values are missing"),
    ],
    ids=["no amount", "yuan", "text", "time zone", "no firm"],
)
def test_what_is_not_canonical_is_refused_and_no_value_shown(change: object, says: str) -> None:
    with pytest.raises(DataError, match=says) as refused:
        build({"sales_invoices": [change(RECORDS["sales_invoices"])]}, months("2024-01"))  # type: ignore[operator]
    assert FIRM not in str(refused.value) and "2022" not in str(refused.value)


def test_nothing_to_do_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="no records of a tax bureau"):
        build({"orders": []}, months("2024-01"))
    with pytest.raises(ConfigurationError, match="no as-of month"):
        build({"sales_invoices": []}, [])
    empty = build({"sales_invoices": []}, months("2024-01"))
    assert not len(empty) and set(FEATURES) < set(empty.columns)


def test_a_counterparty_that_is_not_known_counts_in_no_concentration() -> None:
    rows = invoices([("F", f"2023-{month}-01", "C1", 100, 13, "valid") for month in (10, 11, 12)])
    rows.loc[2, "counterparty"] = None
    table = build({"sales_invoices": [rows]}, months("2024-01")).iloc[0]
    assert (table["customers_3m"], table["customer_hhi_3m"], table["sales_3m"]) == (1, 1, 300)
