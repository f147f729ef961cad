"""Outcomes of repayments, in memory: equal to plain Python loan by loan, and of no record that they must not know."""

from __future__ import annotations

from collections import Counter
from functools import cache

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from federation.kernel.errors import DataError
from federation.kernel.manifest import TargetSettings
from federation.models.target.histories import STATUSES, Histories, Records, histories
from federation.models.target.observation import last_matured, observed, reaches_over
from federation.models.target.outcomes import OUTCOMES, judge_rows
from federation.models.target.roll_rates import FROM, TO, Rolls, month_to_month, over_the_window
from federation.models.target.units import units
from federation.models.target.vintages import vintages
from tests.repayment_oracle import Oracle
from tests.repayment_oracle import number as month_number
from tests.repayment_tables import Book, make_book

MONTHS = np.arange(np.datetime64("2021-01"), np.datetime64("2023-09"))
DEFINITIONS = st.builds(
    TargetSettings,
    days_past_due=st.sampled_from([30, 60, 90, 91, 120]), performance_months=st.integers(1, 14), rule=st.sampled_from(["ever", "at the end"]),
    indeterminate_from=st.sampled_from([None, 1, 30]), restructured=st.sampled_from(["bad", "indeterminate", "exclude"]),
    written_off=st.sampled_from(["bad", "indeterminate", "exclude"]), fraud=st.sampled_from(["bad", "exclude", "ignore"]),
    level=st.sampled_from(["firm", "loan"]), good_standing=st.sampled_from([None, 0, 29]), months_on_book=st.sampled_from([0, 6]),
)  # fmt: skip


@cache
def book(seed: int, gaps: float = 0.1) -> Book:
    return make_book(firms=25, months=26, seed=seed, gaps=gaps)


def as_histories(repayments: pd.DataFrame, loans: pd.DataFrame | None) -> Histories:
    """By plain pandas, without the vault's reading."""
    names = sorted(set(repayments["firm"]))
    number, distinct = pd.factorize(repayments["loan"])
    table = None if loans is None else loans.set_index("loan").reindex(distinct)
    opened = np.full(len(distinct), np.datetime64("NaT"), "datetime64[M]") if table is None else table["opened"].to_numpy("datetime64[M]")
    fraud = np.zeros(len(distinct), bool) if table is None else table["fraud"].to_numpy() == 1
    months = repayments["date"].to_numpy().astype("datetime64[M]")
    records = Records(
        number.astype(np.int64), np.array([names.index(firm) for firm in repayments["firm"]]), months,
        repayments["days_past_due"].to_numpy(float), np.array([STATUSES.index(s) for s in repayments["status"]], np.int8), opened, fraud,
    )  # fmt: skip
    return histories(records, names, (months.min(), months.max()), "bank")


def judged(loans: Histories, definition: TargetSettings, firms: list[str]) -> dict[tuple[str, str], str]:
    rows = [(firm, month) for firm in firms for month in MONTHS]
    found = judge_rows(loans, definition, [firm for firm, _ in rows], np.array([month for _, month in rows]))
    return {(firm, str(month)): OUTCOMES[code] for (firm, month), code in zip(rows, found.code, strict=True)}


def counted(rolls: Rolls) -> Counter[tuple[str, str]]:
    return Counter({(a, b): int(n) for a, row in zip(FROM, rolls.counts, strict=True) for b, n in zip(TO, row, strict=True) if n})


@settings(max_examples=35, deadline=None)
@given(DEFINITIONS, st.integers(0, 5), st.booleans())
def test_outcomes_are_those_of_plain_python_for_every_firm_and_month(definition: TargetSettings, seed: int, with_loans: bool) -> None:
    made = book(seed)
    oracle = Oracle(made.repayments, made.loans if with_loans else None, definition)
    found = judged(as_histories(made.repayments, made.loans if with_loans else None), definition, [*made.firms, "nobody"])
    wrong = {(f, m): (o, oracle.row(f, month_number(m))) for (f, m), o in found.items() if o != oracle.row(f, month_number(m))}
    assert wrong == {}


def test_the_random_books_have_every_outcome() -> None:
    """Control: a book without some outcome could not tell that it is right."""
    seen: set[str] = set()
    for definition in (
        TargetSettings(restructured="exclude", written_off="exclude", good_standing=0, months_on_book=6, level="loan"),
        TargetSettings(observe_every=2, fraud="exclude"),
    ):
        for seed in range(6):
            made = book(seed)
            seen |= set(judged(as_histories(made.repayments, made.loans), definition, [*made.firms, "nobody"]).values())
    assert seen == set(OUTCOMES)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("with_loans", [True, False])
def test_roll_rates_and_vintages_are_those_of_plain_python(seed: int, with_loans: bool) -> None:
    made = book(seed)
    loans = made.loans if with_loans else None
    for definition in (
        TargetSettings(performance_months=6),
        TargetSettings(performance_months=9, restructured="bad", written_off="exclude"),
    ):
        oracle, found = Oracle(made.repayments, loans, definition), as_histories(made.repayments, loans)
        monthly, gaps = month_to_month(found)
        assert gaps > 0
        assert counted(monthly) == oracle.monthly()
        assert counted(over_the_window(found, definition, MONTHS)) == oracle.over_window([month_number(m) for m in MONTHS])
        assert {one.quarter: (one.loans, list(one.bad)) for one in vintages(found, definition)} == oracle.vintages()


def test_roll_rates_count_firms_and_never_more_of_them_than_moves() -> None:
    found = as_histories(book(0).repayments, None)
    rolls, _ = month_to_month(found)
    assert (rolls.firms <= rolls.counts).all() and ((rolls.firms > 0) == (rolls.counts > 0)).all()
    assert rolls.firms.max() <= len(found.firms) and (rolls.firms < rolls.counts).any()


def changed(repayments: pd.DataFrame, where: pd.Series, rng: np.random.Generator) -> pd.DataFrame:
    """The table with other days and states in these rows; none becomes or stops being written off, which stays for good."""
    other = repayments.copy()
    plain = where & (other["status"] != "written_off")
    other.loc[plain, "days_past_due"] = rng.integers(0, 400, int(plain.sum()))
    other.loc[plain, "status"] = rng.choice(["current", "restructured", "closed"], int(plain.sum()))
    return other


@pytest.mark.parametrize(
    "definition", [TargetSettings(performance_months=6), TargetSettings(performance_months=6, rule="at the end", level="loan")]
)
@pytest.mark.parametrize("month", ["2021-06", "2022-01"])
def test_no_record_before_the_standing_and_none_after_the_window_has_a_part_in_an_outcome(definition: TargetSettings, month: str) -> None:
    made, rng = book(1, 0.0), np.random.default_rng(7)
    at = made.repayments["date"].to_numpy().astype("datetime64[M]")
    before = pd.Series(at < np.datetime64(month) - 1)
    after = pd.Series(at >= np.datetime64(month) + definition.performance_months)
    assert before.sum() > 20 and after.sum() > 20
    plain = as_histories(made.repayments, made.loans)
    months = np.full(len(made.firms), np.datetime64(month))
    wanted = judge_rows(plain, definition, made.firms, months).code
    for where in (before, after, before | after):
        other = as_histories(changed(made.repayments, where, rng), made.loans)
        assert np.array_equal(judge_rows(other, definition, made.firms, months).code, wanted)
    off = made.repayments.copy()
    off.loc[after, "status"] = "written_off"  # after the window even that tells nothing
    assert np.array_equal(judge_rows(as_histories(off, made.loans), definition, made.firms, months).code, wanted)


@pytest.mark.parametrize("part", ["standing", "first", "last"])
def test_control_records_at_the_standing_and_at_both_ends_of_the_window_have_a_part(part: str) -> None:
    made, month, definition = book(1, 0.0), np.datetime64("2022-01"), TargetSettings(performance_months=6)
    at = made.repayments["date"].to_numpy().astype("datetime64[M]")
    where = at == {"standing": month - 1, "first": month, "last": month + 5}[part]
    other = made.repayments.copy()
    other.loc[where, "days_past_due"] = 200
    months = np.full(len(made.firms), month)
    before, after = (judge_rows(as_histories(table, made.loans), definition, made.firms, months).code for table in (made.repayments, other))
    assert not np.array_equal(before, after)
    assert OUTCOMES.index("bad at observation" if part == "standing" else "bad") in after[before != after]


def line(*days: int, status: str = "current", start: str = "2024-01", loan: str = "a", firm: str = "f") -> pd.DataFrame:
    """One loan by hand. days: by month, -1 for no row."""
    months = np.datetime64(start) + np.arange(len(days))
    table = pd.DataFrame({"loan": loan, "firm": firm, "date": months.astype("datetime64[D]"), "days_past_due": days, "status": status})
    return table[table["days_past_due"] >= 0]


BY_HAND = [
    ((0, 0, 30, 60, 0), {}, "indeterminate"),
    ((0, 0, 30, 90, 0), {}, "bad"),
    ((0, 0, 30, 90, 0), {"rule": "at the end"}, "good"),
    ((0, 0, 29, 0, 0), {}, "good"),
    ((90, 0, 0, 0, 0), {}, "bad at observation"),
    ((30, 0, 0, 0, 0), {"good_standing": 29}, "in arrears at observation"),
    ((89, 0, 0, 0, 0), {}, "good"),
    ((0, 0, 0, 0), {}, "not matured"),
    ((-1, 0, 0, 0, 0), {}, "not open"),
    ((0, -1, -1, -1, 60), {}, "indeterminate"),
    ((0, 0, 0, 0, 0), {"months_on_book": 2}, "too new"),
]


@pytest.mark.parametrize(("days", "definition", "wanted"), BY_HAND)
def test_cases_by_hand(days: tuple[int, ...], definition: dict[str, object], wanted: str) -> None:
    """As of February 2024, over four months; another firm has every month, so that the table's months are the same."""
    both = pd.concat([line(*days), line(*[0] * len(days), loan="b", firm="g")])
    loans = as_histories(both, None)
    found = judge_rows(loans, TargetSettings(performance_months=4, **definition), ["f"], np.array(["2024-02"], "datetime64[M]"))  # type: ignore[arg-type]
    assert OUTCOMES[found.code[0]] == wanted


def test_a_firm_has_the_worst_of_its_loans_and_loans_by_themselves_are_left_out_by_themselves() -> None:
    both = pd.concat([line(0, 0, 0, 0, 0), line(120, 120, 120, 120, 120, loan="b")])
    loans, month = as_histories(both, None), np.array(["2024-02"], "datetime64[M]")
    for level, wanted in (("firm", "bad at observation"), ("loan", "good")):
        found = judge_rows(loans, TargetSettings(performance_months=4, level=level), ["f"], month)  # type: ignore[arg-type]
        assert OUTCOMES[found.code[0]] == wanted


def test_a_loan_written_off_long_ago_still_stands_against_its_firm() -> None:
    off = line(0, 0, 200, -1, -1, -1, -1, -1, -1)
    off.loc[off.index[-1], "status"] = "written_off"
    loans = as_histories(pd.concat([off, line(*[0] * 9, loan="b")]), None)
    found = judge_rows(loans, TargetSettings(performance_months=2), ["f"], np.array(["2024-07"], "datetime64[M]"))
    assert OUTCOMES[found.code[0]] == "bad at observation"


def test_good_rows_whose_loan_is_not_seen_to_the_end_are_counted() -> None:
    gone, there = line(0, 0, -1, -1, -1), line(0, 0, 0, 0, 0, loan="b", firm="g")
    closed = line(0, 0, -1, -1, -1, loan="c", firm="h")
    closed.loc[closed.index[-1], "status"] = "closed"
    loans = as_histories(pd.concat([gone, there, closed]), None)
    found = judge_rows(loans, TargetSettings(performance_months=4), ["f", "g", "h"], np.full(3, np.datetime64("2024-02")))
    assert [OUTCOMES[code] for code in found.code] == ["good"] * 3
    assert found.unseen == 1


def test_observation_months_maturity_and_windows_over_a_day() -> None:
    every = TargetSettings(observe_from="2021-02", observe_to="2022-01", observe_every=3)
    assert MONTHS[observed(every, MONTHS)].astype(str).tolist() == ["2021-02", "2021-05", "2021-08", "2021-11"]
    quarters = MONTHS[observed(TargetSettings(observe_every=3), MONTHS)].astype(str)
    assert {month[-2:] for month in quarters} == {"01", "04", "07", "10"}
    assert str(last_matured(TargetSettings(performance_months=12), np.datetime64("2024-12"))) == "2024-01"
    days = np.array(["2023-06-01", "2023-07-01", "2023-08-15"], "datetime64[D]")
    assert reaches_over(TargetSettings(performance_months=12), days, np.datetime64("2024-07-01")).tolist() == [False, False, True]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"date": "2024-02-10"}, "a loan's second of a month"),
        ({"firm": "g"}, "more than one firm"),
        ({"days_past_due": -3}, "no whole number"),
        ({"days_past_due": 1.5}, "no whole number"),
        ({"days_past_due": None}, "no whole number"),
    ],
)
def test_records_that_break_a_rule_are_refused_with_counts_alone(change: dict[str, object], words: str) -> None:
    table = line(0, 31, 0).astype({"days_past_due": float})
    for key, value in change.items():
        table.loc[table.index[0], key] = pd.Timestamp(str(value)) if key == "date" else value
    with pytest.raises(DataError, match=words) as refused:
        as_histories(table, None)
    assert "31" not in str(refused.value) and "1.5" not in str(refused.value)


def test_a_loan_with_rows_from_before_it_was_opened_is_refused() -> None:
    loans = pd.DataFrame({"loan": ["a"], "opened": [np.datetime64("2024-02-01")], "fraud": [0]})
    with pytest.raises(DataError, match="1 loans have a row"):
        as_histories(line(0, 0, 0), loans)


def test_a_firm_is_open_while_one_of_its_loans_is() -> None:
    closed = line(0, 0, -1, -1)
    closed.loc[closed.index[-1], "status"] = "closed"
    unit = units(as_histories(pd.concat([closed, line(0, 0, 0, 0, loan="b")]), None), "firm")
    assert unit.open.tolist() == [[True] * 4] and not unit.closed.any()
