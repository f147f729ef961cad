"""The platform's features on cases that can be computed by hand, and what must not happen with records that are not canonical."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest

from clients.roles.platform.features import build
from federation.kernel.errors import ConfigurationError, DataError

MONTH = np.datetime64("2024-01", "M")


def frame(columns: str, *rows: tuple, days: tuple[str, ...] = ("date",)) -> pd.DataFrame:
    found = pd.DataFrame(list(rows), columns=columns.split())
    for name in days:
        found[name] = pd.Series(found[name], dtype="datetime64[s]")
    return found


def orders(*rows: tuple) -> pd.DataFrame:
    """date, buyer, CNY"""
    numbered = [("f", str(number), date, buyer, round(100 * cny)) for number, (date, buyer, cny) in enumerate(rows)]
    return frame("firm order date buyer amount", *numbered)


def monthly(*cny: float, last: str = "2023-12") -> pd.DataFrame:
    """One order a month of so many CNY, up to the month `last`; 0: none."""
    months = np.datetime64(last, "M") - np.arange(len(cny))[::-1]
    return orders(*((f"{month}-15", "b", value) for month, value in zip(months, cny, strict=True) if value))


def one(**records: pd.DataFrame) -> pd.Series:
    table = build({kind: [found] for kind, found in records.items()}, [MONTH])
    assert len(table) == 1
    return table.iloc[0]


def test_turnover_by_window():
    found = one(orders=monthly(*range(10, 130, 10)))  # 10, 20, ..., 120
    assert (found["gmv_3m"], found["gmv_6m"], found["gmv_12m"]) == (330, 570, 780)
    assert (found["orders_12m"], found["order_value_12m"]) == (12, 65)
    assert found["gmv_growth_3m"] == pytest.approx(330 / 240 - 1)
    assert found["gmv_trend_12m"] == pytest.approx(10 / 65)  # ten more each month, of a mean of 65
    assert found["gmv_peak_quarter_share_12m"] == pytest.approx(330 / 780)
    assert found["gmv_cv_12m"] == pytest.approx(10 * math.sqrt(143 / 12) / 65)
    assert found["order_history_months"] == 12
    assert math.isnan(found["gmv_growth_12m"]) and math.isnan(found["gmv_seasonality_24m"])  # a second year is not there


def test_a_season_that_repeats_itself():
    year = [100, 100, 100, 100, 100, 100, 100, 100, 100, 300, 300, 300]
    found = one(orders=monthly(*year, *year))
    assert found["gmv_seasonality_24m"] == pytest.approx(1)
    assert found["gmv_growth_12m"] == 0
    assert found["gmv_growth_3m"] == pytest.approx(2)
    assert found["gmv_growth_3m_on_year"] == 0


def test_months_without_orders_are_zero_from_the_first_order_on():
    found = one(orders=monthly(50, 0, 0, 0, 70, 0, 0, 60, 0, 0, 0, 80))
    assert found["order_active_months_12m"] == 4 and found["order_longest_gap_12m"] == 3
    assert found["order_active_months_3m"] == 1 and found["order_active_months_6m"] == 2
    assert found["gmv_12m"] == 260
    assert found["order_days_since_last"] == 17  # 15 December to 1 January


def test_a_window_longer_than_the_history_is_missing_and_not_zero():
    found = one(orders=monthly(50, 60, 70))
    assert found["gmv_3m"] == 180
    assert math.isnan(found["gmv_6m"]) and math.isnan(found["order_active_months_6m"]) and math.isnan(found["buyer_hhi_6m"])
    assert math.isnan(found["gmv_growth_3m"])


def test_a_firm_that_went_quiet_long_ago_has_zeros_and_its_last_day():
    found = one(orders=monthly(50, 60, *[0] * 30))
    assert found["gmv_12m"] == 0 and found["orders_3m"] == 0 and found["buyers_12m"] == 0
    assert found["order_longest_gap_12m"] == 12
    assert found["order_days_since_last"] == (np.datetime64("2024-01-01") - np.datetime64("2021-06-15")).astype(int)
    for name in ("order_value_12m", "buyer_hhi_12m", "buyer_repeat_share_12m", "gmv_cv_12m", "gmv_trend_12m", "cancelled_share_12m"):
        assert math.isnan(found[name]), name


def test_buyers():
    early = [("2023-06-01", "old", 10), ("2023-07-01", "a", 10)]
    found = one(
        orders=orders(
            *early,
            ("2023-10-02", "a", 60),
            ("2023-11-02", "a", 20),
            ("2023-12-02", "b", 10),
            ("2023-12-31", "c", 10),
            ("2023-12-31", None, 99),
        )
    )
    assert found["buyers_3m"] == 3 and found["buyers_new_3m"] == 2
    assert found["buyer_repeat_share_3m"] == pytest.approx(1 / 3)
    assert found["buyer_hhi_3m"] == pytest.approx(0.8**2 + 0.1**2 + 0.1**2)
    assert found["buyer_top_share_3m"] == pytest.approx(0.8)
    assert found["orders_3m"] == 5 and found["gmv_3m"] == 199  # the order without a buyer is an order


def test_price_dispersion_is_of_pieces_and_not_of_orders():
    same = orders(("2023-10-02", "a", 10), ("2023-11-02", "a", 20)).assign(quantity=pd.array([1, 2], "Int64"))
    assert one(orders=same)["price_dispersion_3m"] == 0
    other = orders(("2023-10-02", "a", 10), ("2023-11-02", "a", 40), ("2023-11-03", "a", 7)).assign(
        quantity=pd.array([1, 2, None], "Int64")
    )
    assert one(orders=other)["price_dispersion_3m"] == pytest.approx(math.log(2) / 2, abs=1e-4)
    single = orders(("2023-10-02", "a", 10), ("2023-11-02", "a", 40)).assign(quantity=pd.array([1, 0], "Int64"))
    assert math.isnan(one(orders=single)["price_dispersion_3m"])
    assert math.isnan(one(orders=orders(("2023-10-02", "a", 10), ("2023-11-02", "a", 40)))["price_dispersion_3m"])


def test_an_order_cancelled_after_the_month_is_not_cancelled_yet():
    taken = orders(*((f"2023-10-{day}", "a", 10) for day in (10, 11, 12, 13)), ("2023-12-31", "a", 10))
    taken["status"] = ["cancelled", "completed", None, "cancelled", "cancelled"]
    assert one(orders=taken)["cancelled_share_3m"] == pytest.approx(3 / 4)  # as of the extract: there is no day
    taken["settled"] = pd.Series(["2023-10-11", "2023-10-12", None, None, "2024-01-01"], dtype="datetime64[s]")
    assert one(orders=taken)["cancelled_share_3m"] == pytest.approx(2 / 4)
    taken["settled"] = pd.Series(["2023-10-11", "2023-10-12", None, None, "2023-12-31"], dtype="datetime64[s]")
    assert one(orders=taken)["cancelled_share_3m"] == pytest.approx(3 / 4)


def test_a_refund_counts_on_its_own_day():
    refunds = frame(
        "firm order date amount", ("f", "0", "2023-12-31", 1500), ("f", "1", "2024-01-01", 9900), ("f", "2", "2023-09-30", 5000)
    )
    found = one(orders=monthly(100, 100, 100, 100), refunds=refunds)
    assert found["refund_amount_share_3m"] == pytest.approx(15 / 300) and found["refund_order_share_3m"] == pytest.approx(1 / 3)
    assert one(orders=monthly(100, 100, 100), refunds=refunds.iloc[:0])["refund_order_share_3m"] == 0
    assert math.isnan(one(orders=monthly(100, 100, 100))["refund_order_share_3m"])  # a platform without the table does not know


def test_deliveries():
    rows = (
        ("f", "0", "2023-09-28", "2023-10-02", "2023-10-02"),  # 4 days, in time: on the promised day
        ("f", "1", "2023-12-01", "2023-12-05", "2023-12-11"),  # 10 days, late
        ("f", "2", "2023-12-01", None, "2023-12-02"),  # 1 day, nothing promised
        ("f", "3", "2023-12-05", "2023-12-06", "2023-12-03"),  # there before it left: not timed
        ("f", "4", "2023-12-20", "2023-12-24", "2024-01-01"),  # known in January
        ("f", "5", "2023-12-20", "2023-12-24", None),  # under way
    )
    shipments = frame("firm order shipped promised delivered", *rows, days=("shipped", "promised", "delivered"))
    found = one(shipments=shipments)
    assert found["delivery_days_mean_3m"] == pytest.approx(5)
    assert found["delivery_late_share_3m"] == pytest.approx(1 / 3)


def test_stock_turns_over():
    rows = [
        ("f", f"2023-{month:02d}-{day}", 100 * cny)
        for month, day, cny in ((7, 31, 300), (8, 10, 100), (8, 31, 300), (10, 31, 400), (12, 31, 300))
    ]
    found = one(orders=monthly(*[100] * 6), stock=frame("firm date value", *rows))
    assert found["stock_6m"] == 300  # of 300, 200, 400, 300: the mean of a month's counts; September and November say nothing
    assert found["stock_turnover_6m"] == pytest.approx(4) and found["stock_days_6m"] == pytest.approx(365 / 4)
    assert found["stock_3m"] == 350 and found["stock_turnover_3m"] == pytest.approx(1200 / 350)
    assert found["stock_trend_6m"] == pytest.approx(np.median([-100, 100 / 3, 0, 100, 25, -50]) / 300)
    assert math.isnan(one(stock=frame("firm date value", *rows))["stock_turnover_6m"])


def test_logins():
    rows = [
        ("f", "2023-09-30", 2),
        ("f", "2023-10-05", 3),
        ("f", "2023-10-06", 1),
        ("f", "2023-12-05", 4),
        ("f", "2023-12-06", 0),
        ("f", "2024-01-01", 9),
    ]
    found = one(logins=frame("firm date count", *rows))
    assert (found["logins_3m"], found["login_days_3m"], found["login_active_months_3m"]) == (8, 3, 2)
    assert found["login_days_since_last"] == 27
    assert math.isnan(found["gmv_3m"])


def test_kinds_that_are_not_there_are_missing_and_none_is_refused():
    found = one(orders=monthly(10, 10, 10))
    assert math.isnan(found["stock_3m"]) and math.isnan(found["logins_3m"]) and math.isnan(found["delivery_days_mean_3m"])
    with pytest.raises(DataError, match="there are none"):
        build({}, [MONTH])
    with pytest.raises(ConfigurationError, match="Did you mean 'orders'"):
        build({"order": []}, [MONTH])
    with pytest.raises(ConfigurationError, match="there are none"):
        build({"orders": [monthly(10)]}, [])


def test_records_that_are_not_canonical_are_refused_by_column_and_rule_without_a_value():
    good = monthly(10, 20, 30)
    bad = {
        r"orders / amount: the column is missing": good.drop(columns="amount"),
        r"orders / date: the column is not of type day": good.assign(date=good["date"].astype(str)),
        r"orders / amount: the column is not of type money": good.assign(amount=[1234.5, 10.0, 20.0]),
        r"orders / amount: 1 values are missing": good.assign(amount=pd.array([1234, None, 20], "Int64")),
        r"orders / firm: 1 values are missing": good.assign(firm=["f", None, "f"]),
    }
    for message, batch in bad.items():
        with pytest.raises(DataError, match=message) as caught:
            build({"orders": [batch]}, [MONTH])
        assert "1234" not in str(caught.value)


def test_an_extract_without_records_gives_an_empty_table_with_every_column():
    table = build({"orders": [monthly(10).iloc[:0]]}, [MONTH])
    assert len(table) == 0 and "gmv_12m" in table
