"""The bank's features on cases that can be computed by hand, and what must not happen."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest

from clients.roles.bank.features import build
from federation.kernel.errors import ConfigurationError, DataError

MONTH = np.datetime64("2024-01", "M")


def frame(columns: str, rows, days: tuple[str, ...] = ("date",)) -> pd.DataFrame:
    found = pd.DataFrame(list(rows), columns=columns.split())
    for name in days:
        found[name] = pd.Series(found[name], dtype="datetime64[s]")
    return found


def flows(*rows: tuple) -> pd.DataFrame:
    """date, kind, CNY, and of some a counterparty"""
    return frame(
        "firm booking date kind amount counterparty",
        (("f", str(n), date, kind, round(100 * cny), other[0] if other else None) for n, (date, kind, cny, *other) in enumerate(rows)),
    )


def monthly(kind: str, *cny: float, last: str = "2023-12") -> list[tuple]:
    months = np.datetime64(last, "M") - np.arange(len(cny))[::-1]
    return [(f"{month}-10", kind, value) for month, value in zip(months, cny, strict=True) if value]


def one(month=MONTH, **records: pd.DataFrame) -> pd.Series:
    table = build({kind: [found] for kind, found in records.items()}, [month])
    assert len(table) == 1
    return table.iloc[0]


def test_inflow_is_of_the_business():
    booked = flows(
        *monthly("sale", *[100] * 12), ("2023-12-11", "loan", 5000), ("2023-12-12", "transfer", 700), ("2023-12-12", "transfer", -300),
        ("2023-12-13", "repayment", -60), ("2023-12-14", "purchase", -250), ("2023-12-15", "purchase", 20), ("2024-01-01", "sale", 9999),
    )  # fmt: skip
    found = one(flows=booked)
    assert (found["inflow_3m"], found["inflow_12m"]) == (320, 1220)  # what a supplier gave back came in
    assert (found["outflow_3m"], found["net_flow_3m"]) == (250, 70)
    assert found["net_flow_share_3m"] == pytest.approx(70 / 320)
    assert found["net_flow_negative_months_12m"] == 1
    assert found["loan_inflow_3m"] == 5000 and found["debt_service_share_3m"] == pytest.approx(60 / 320)
    assert found["inflow_days_since_last"] == 17 and found["flow_history_months"] == found["relation_months"] == 12


def test_inflow_by_its_course():
    found = one(flows=flows(*monthly("sale", *range(10, 130, 10))))
    assert found["inflow_trend_12m"] == pytest.approx(10 / 65)
    assert found["inflow_growth_3m"] == pytest.approx(330 / 240 - 1)
    assert found["inflow_cv_6m"] == pytest.approx(10 * math.sqrt(35 / 12) / 95)
    assert found["inflow_active_months_12m"] == 12 and found["inflow_longest_gap_12m"] == 0
    gaps = one(flows=flows(*monthly("sale", 10, 0, 0, 10, 0, 0, 0, 0, 10, 0, 10, 10)))
    assert gaps["inflow_active_months_12m"] == 5 and gaps["inflow_longest_gap_12m"] == 4


STOPPED = {
    "paid on": ([5] * 12, 0),
    "stopped": ([5] * 10 + [0, 0], 1),
    "one month late is not stopped": ([5] * 11 + [0], 0),
    "four of six is usual": ([0] * 4 + [5, 0, 5, 0, 5, 5] + [0, 0], 1),
    "three of six is not": ([0] * 4 + [5, 0, 5, 0, 5, 0] + [0, 0], math.nan),
    "never paid": ([0] * 12, math.nan),
    "begun": ([0] * 10 + [5, 5], math.nan),
}


@pytest.mark.parametrize("kind", ["salary", "utility", "tax", "rent"])
@pytest.mark.parametrize("case", STOPPED)
def test_a_payment_that_stopped(kind, case):
    paid, stopped = STOPPED[case]
    found = one(flows=flows(("2023-01-02", "sale", 1), *monthly(kind, *(-value for value in paid))))
    np.testing.assert_equal(found[f"{kind}_paid_stopped"], stopped)
    assert found[f"{kind}_paid_12m"] == sum(paid)
    assert found[f"{kind}_paid_months_12m"] == sum(value > 0 for value in paid)


def test_how_even_payments_are():
    even = one(flows=flows(*monthly("salary", *[-50] * 12)))
    assert even["salary_paid_cv_12m"] == 0 and even["salary_paid_trend_12m"] == 0
    odd = one(flows=flows(*monthly("salary", *[-50, -150] * 6), ("2023-12-20", "salary", 40)))
    assert odd["salary_paid_cv_12m"] == pytest.approx(0.5)
    assert odd["salary_paid_12m"] == 1200  # what was booked back is inflow, not a smaller payment
    assert odd["inflow_3m"] == 40


def test_counterparties():
    booked = flows(
        ("2023-05-01", "sale", 1, "old"), ("2023-10-01", "sale", 60, "a"), ("2023-11-01", "sale", 20, "old"), ("2023-12-01", "sale", 20, "b"),
        ("2023-12-02", "sale", 500), ("2023-12-03", "purchase", -30, "s"), ("2023-12-04", "salary", -10, "worker"), ("2023-12-05", "loan", 900, "bank"),
    )  # fmt: skip
    found = one(flows=booked)
    assert (found["payers_3m"], found["payers_new_3m"], found["payees_3m"]) == (3, 2, 1)
    assert found["payer_hhi_3m"] == pytest.approx(0.36 + 0.04 + 0.04) and found["payer_top_share_3m"] == pytest.approx(0.6)
    assert found["payee_hhi_3m"] == 1
    without = one(flows=booked.drop(columns="counterparty"))
    assert without["payers_3m"] == 0 and math.isnan(without["payer_hhi_3m"])


def test_balances_month_by_month():
    rows = [("f", "2023-10-10", 100), ("f", "2023-10-31", 300), ("f", "2023-12-31", -50), ("f", "2024-01-01", -999)]
    found = one(balances=frame("firm date balance", ((firm, day, 100 * cny) for firm, day, cny in rows)))
    assert found["balance_3m"] == pytest.approx((200 - 50) / 2)  # November says nothing
    assert found["balance_min_3m"] == -50 and found["balance_negative_months_3m"] == 1
    assert math.isnan(found["balance_6m"])
    assert math.isnan(found["overdraft_days_3m"]) and math.isnan(found["utilisation_3m"])
    three = one(balances=frame("firm date balance", [("f", "2023-07-31", 100), ("f", "2023-11-30", 200), ("f", "2023-12-31", 600)]))
    assert (three["balance_6m"], three["balance_min_6m"]) == (3, 1)  # three of six are enough
    two = one(balances=frame("firm date balance", [("f", "2023-07-31", 100), ("f", "2023-12-31", 100)]))
    assert math.isnan(two["balance_6m"]) and math.isnan(two["balance_min_6m"])  # two of six months are too few


def test_overdraft_and_use_of_the_line():
    rows = [
        ("f", "2023-07-31", 1, 1000, 100, 0), ("f", "2023-08-31", 1, 1000, 200, 0), ("f", "2023-09-30", 1, 1000, 300, 1),
        ("f", "2023-10-31", 1, 1000, 400, 2), ("f", "2023-11-15", 1, 1000, 900, None), ("f", "2023-11-30", 1, 1000, 100, 3), ("f", "2023-12-31", 1, 1000, 600, 4),
    ]  # fmt: skip
    found = one(balances=frame("firm date balance limit used overdraft_days", rows).astype({"overdraft_days": "Int64"}))
    assert found["overdraft_days_3m"] == 9 and found["overdraft_days_6m"] == 10
    assert found["utilisation_3m"] == pytest.approx((0.4 + 0.5 + 0.6) / 3) and found["utilisation_max_3m"] == pytest.approx(0.9)
    assert found["utilisation_trend_6m"] == pytest.approx(0.1)
    none = one(balances=frame("firm date balance limit used overdraft_days", [(*row[:3], 0, 0, 0) for row in rows]))
    assert math.isnan(none["utilisation_3m"]) and math.isnan(none["utilisation_max_12m"])  # no line is not an unused line
    assert none["overdraft_days_3m"] == 0


def loans(*rows: tuple) -> pd.DataFrame:
    return frame("loan firm opened amount months", (("l" + loan, "f", day, 100 * cny, 12) for loan, day, cny in rows), days=("opened",))


def repayments(*rows: tuple) -> pd.DataFrame:
    """loan, month, days past due, CNY outstanding, status"""
    ends = ((loan, (np.datetime64(month, "M") + 1).astype("datetime64[D]") - 1, *rest) for loan, month, *rest in rows)
    return frame(
        "loan firm date days_past_due balance status",
        (("l" + loan, "f", end, late, 100 * cny, status) for loan, end, late, cny, status in ends),
    )


def test_open_loans_and_their_age():
    table = repayments(
        ("1", "2023-11", 0, 500, "current"), ("1", "2023-12", 45, 400, "current"),
        ("2", "2023-11", 0, 100, "current"), ("2", "2023-12", 0, 0, "closed"),
        ("3", "2023-10", 95, 100, "restructured"),  # its last row, two months ago
        ("4", "2023-12", 200, 700, "written_off"),
        ("5", "2024-01", 0, 800, "current"),
    )  # fmt: skip
    granted = loans(
        ("1", "2023-05-02", 600), ("2", "2022-12-31", 100), ("5", "2023-12-30", 800), ("6", "2024-01-01", 1), ("7", "2023-10-31", 9)
    )
    found = one(loans=granted, repayments=table)
    # 1, 3, and 5 that has no month's end yet; 7 has been without one for too long, 6 is not known
    assert found["loans_open"] == 3 and found["loan_outstanding"] == 1300
    assert found["past_due_days_now"] == 95
    shares = [found[f"ageing_{name}_share"] for name in ("current", "1_30", "31_60", "61_90", "over_90")]
    assert shares == pytest.approx([800 / 1300, 0, 400 / 1300, 0, 100 / 1300])
    assert (found["loans_granted_12m"], found["loan_amount_granted_12m"], found["loan_months_since_last"]) == (3, 1409, 1)
    assert found["loans_granted_24m"] == 4
    assert found["loan_written_off_24m"] == 1 and found["loan_restructured_24m"] == 1


@pytest.mark.parametrize(
    ("late", "bucket"),
    [(0, "current"), (1, "1_30"), (30, "1_30"), (31, "31_60"), (60, "31_60"), (61, "61_90"), (90, "61_90"), (91, "over_90")],
)
def test_the_edges_of_the_buckets(late, bucket):
    found = one(repayments=repayments(("1", "2023-12", late, 100, "current")))
    names = ("current", "1_30", "31_60", "61_90", "over_90")
    assert [found[f"ageing_{name}_share"] for name in names] == [float(name == bucket) for name in names]


def test_a_closed_loan_stays_closed_and_what_came_later_is_not_known():
    table = repayments(
        ("1", "2023-11", 0, 100, "current"),
        ("1", "2023-12", 0, 0, "closed"),
        ("2", "2023-12", 29, 100, "current"),
        ("2", "2024-01", 60, 100, "restructured"),
    )
    found = one(repayments=table)
    assert found["loans_open"] == 1 and found["past_due_days_now"] == 29
    assert found["loan_restructured_24m"] == 0 and found["past_due_30_months_12m"] == 0
    later = one(np.datetime64("2024-02"), repayments=table)
    assert later["past_due_days_now"] == 60 and later["loan_restructured_24m"] == 1 and later["past_due_30_months_12m"] == 1


def test_times_past_due_are_months_of_the_worst_loan():
    table = repayments(
        ("1", "2023-05", 31, 1, None), ("1", "2023-10", 30, 1, None), ("2", "2023-10", 90, 1, None), ("1", "2023-11", 29, 1, None), ("1", "2023-12", 0, 1, None),
    )  # fmt: skip
    found = one(repayments=table)
    assert (found["past_due_30_months_3m"], found["past_due_30_months_12m"]) == (1, 2)
    assert (found["past_due_months_3m"], found["past_due_months_12m"]) == (2, 3)
    assert (found["past_due_worst_3m"], found["past_due_months_since_last_24m"]) == (90, 1)
    assert math.isnan(found["loan_restructured_24m"])  # no row says a status


def test_arrears_do_not_hide_behind_a_short_history():
    found = one(repayments=repayments(("1", "2023-12", 90, 1, "current")))
    assert found["past_due_worst_12m"] == 90 and found["past_due_30_months_12m"] == 1 and found["repayment_history_months"] == 1


def test_paid_to_due():
    table = repayments(*(("1", month, 0, 1, "current") for month in ("2023-10", "2023-11", "2023-12")))
    table["due"], table["paid"] = pd.array([100, 100, 100], "Int64"), pd.array([100, 50, None], "Int64")
    assert one(repayments=table)["paid_to_due_3m"] == pytest.approx(0.75)


def test_a_firm_that_the_bank_knows_and_has_not_lent_to_has_none_open():
    nobody = repayments(("1", "2023-12", 0, 1, "current")).assign(firm="other")
    granted = loans(("1", "2023-05-02", 600)).assign(firm="other")
    table = build({"flows": [flows(("2023-12-01", "sale", 1))], "repayments": [nobody], "loans": [granted]}, [MONTH]).set_index("id")
    assert table.loc["f", "loans_open"] == 0 and table.loc["f", "loans_granted_12m"] == 0
    assert math.isnan(table.loc["f", "past_due_worst_12m"]) and math.isnan(table.loc["f", "ageing_current_share"])
    assert table.loc["other", "loans_open"] == 1 and table.loc["other", "relation_months"] == 8
    alone = build({"flows": [flows(("2023-12-01", "sale", 1))]}, [MONTH]).set_index("id")
    assert math.isnan(alone.loc["f", "loans_open"])  # a bank without the tables does not say


def test_a_loan_that_stands_twice_is_known_from_the_first_time_on():
    granted = loans(("1", "2023-05-02", 600), ("1", "2024-02-01", 999))
    assert one(loans=granted)["loan_amount_granted_12m"] == 600


VISITS = "firm date owner_age owner_education recommends stock_seen"


def test_the_last_form_speaks_and_its_blanks_are_missing():
    rows = [
        ("f", "2022-06-01", 40, "college", True, 5),
        ("f", "2023-12-31", 41, None, None, None),
        ("f", "2024-01-01", 60, "primary", False, 7),
    ]
    found = one(visits=frame(VISITS, rows).astype({"recommends": "boolean", "stock_seen": "Int64"}))
    assert found["owner_age"] == 41 and found["visit_days_since_last"] == 1
    assert found["owner_education"] is None and math.isnan(found["visit_recommends"]) and math.isnan(found["visit_stock"])
    assert math.isnan(found["relation_months"])


@pytest.mark.parametrize(("day", "there"), [("2022-01-01", True), ("2021-12-31", False)])
def test_a_visit_of_more_than_24_months_ago_is_missing(day, there):
    visits = frame("firm date owner_age", [("f", day, 40)])
    assert math.isnan(one(visits=visits)["owner_age"]) is not there


def test_a_flow_of_a_kind_that_the_dictionary_does_not_have_is_no_payment():
    """The door refuses it; what came this far counts as business, and as no payment."""
    found = one(flows=flows(*monthly("sale", 10, 10, 10), ("2023-12-20", "salaries", -5)))
    assert found["salary_paid_3m"] == 0 and found["outflow_3m"] == 5


def test_refused_by_column_and_rule():
    with pytest.raises(ConfigurationError, match="Did you mean 'repayments'"):
        build({"repayment": []}, [MONTH])
    with pytest.raises(DataError, match="repayments / days_past_due: the column is missing"):
        build({"repayments": [repayments(("1", "2023-12", 0, 1, None)).drop(columns="days_past_due")]}, [MONTH])
