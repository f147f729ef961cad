"""Features of dated records: as counted by hand, as DuckDB counts them, of no record of the future, and the same in whatever batches they come."""

from __future__ import annotations

import re
from functools import cache

import duckdb
import numpy as np
import pandas as pd
import pytest

from clients.roles.records.features import build, table_of
from federation.kernel.errors import ConfigurationError, DataError
from privacy.dictionary.entries import dictionary, read, record_sources, shipped
from simulations.economy.other_sources import other_sources

SEED = 20_260_801
SOURCES = tuple(record_sources())
MONTHS = np.arange("2023-01", "2025-01", dtype="datetime64[M]")
AS_OF = np.datetime64("2024-07", "M")


@cache
def drawn() -> dict[str, pd.DataFrame]:
    print(f"seed {SEED}")
    rng = np.random.default_rng(SEED)
    ids = np.array([f"firm-{place:04d}" for place in range(1_500)], object)
    return other_sources(rng, ids, *(1.5 * rng.standard_normal((3, len(ids)))), MONTHS)


def frame(*rows: tuple[object, ...]) -> pd.DataFrame:
    table = pd.DataFrame(rows, columns=["subject", "date", "kind", "number", "amount", "status"])
    return table.assign(date=table["date"].astype("datetime64[s]"), amount=table["amount"].astype("Int64"))


def of(table: pd.DataFrame, firm: str, month: str) -> pd.Series:
    found = table[(table["id"] == firm) & (table["as_of"] == np.datetime64(month))]
    assert len(found) == 1
    return found.iloc[0]


CASES = frame(
    ("a", "2023-01-31", "judgment", "n1", 100_00, "open"),
    ("a", "2023-11-02", "judgment", "n2", 250_50, "open"),
    ("a", "2023-12-31", "judgment", "n1", None, "closed"),
    ("a", "2023-12-31", "enforcement", "e1", 70_00, "open"),
    ("a", "2024-01-01", "judgment", "n3", 999_00, "open"),
    ("a", "2024-03-05", "enforcement", "e1", 60_00, "closed"),
    ("b", "2023-06-15", "search", None, None, None),
    ("c", "2024-01-15", "search", None, None, None),
)


def test_counted_by_hand() -> None:
    table = build({"court": [CASES]}, [np.datetime64("2024-01"), np.datetime64("2024-02"), np.datetime64("2024-04")])
    january, april = of(table, "a", "2024-01-01"), of(table, "a", "2024-04-01")
    assert (january.court_judgments_3m, january.court_judgments_12m, january.court_judgments_24m) == (1, 2, 2)  # n1's end is no judgment
    assert (january.court_judgments_sum_12m, january.court_judgments_largest_24m) == (350.5, 250.5)
    assert (january.court_months_since_last_judgment, january.court_months_since_first_record) == (1, 12)
    assert (january.court_enforcements_open, january.court_enforcements_open_sum) == (1, 70.0)
    assert (of(table, "a", "2024-02-01").court_judgments_12m, of(table, "a", "2024-02-01").court_judgments_24m) == (2, 3)
    assert (april.court_enforcements_open, april.court_enforcements_open_sum, april.court_enforcements_12m) == (0, 0.0, 1)
    assert april.court_months_since_last_judgment == 3


def test_who_was_looked_up_and_has_nothing_has_zeros_and_who_was_not_has_no_row() -> None:
    table = build({"court": [CASES]}, [np.datetime64("2024-01")])
    b = of(table, "b", "2024-01-01")
    assert b.court_judgments_24m == 0 and b.court_judgments_sum_12m == 0 and np.isnan(b.court_months_since_last_judgment)
    assert set(table["id"]) == {"a", "b"}  # c was first looked up in January


def test_bills_paid_late_by_hand() -> None:
    bills = frame(
        ("a", "2024-01-10", "utility", "u1", 10_00, "paid"),
        ("a", "2024-02-10", "utility", "u2", 20_00, "unpaid"),
        ("a", "2024-03-10", "utility", "u2", None, "paid"),
        ("a", "2024-03-11", "utility", "u3", 30_00, "late"),
    )
    table = build({"records": [bills]}, [np.datetime64("2024-03"), np.datetime64("2024-04")], source="payments")
    march, april = of(table, "a", "2024-03-01"), of(table, "a", "2024-04-01")
    assert (march.payments_utility_late_share_3m, march.payments_unpaid_open, march.payments_unpaid_open_sum) == (0.5, 1, 20.0)
    assert (april.payments_utility_late_share_3m, april.payments_unpaid_open) == (pytest.approx(2 / 3), 0)
    assert (april.payments_utility_months_12m, april.payments_utility_sum_3m) == (3, 60.0)
    assert np.isnan(april.payments_social_insurance_late_share_12m)


def test_a_source_without_amounts_or_states_says_nothing_of_them() -> None:
    table = build({"court": [CASES.drop(columns=["amount", "status"])]}, [np.datetime64("2024-01")])
    assert table[["court_judgments_sum_12m", "court_enforcements_open"]].isna().all(axis=None)
    assert of(table, "a", "2024-01-01").court_judgments_12m == 2  # n1's end still has its number


# -- a second computation ---------------------------------------------------------------------------------------------------------

_PARTS = re.compile(r"(\w+)\(([^:,)]+)(?::([^,)]+))?(?:, (\d+))?\)")


def by_duckdb(source: str, records: pd.DataFrame, month: np.datetime64) -> pd.DataFrame:
    """Every feature of a source as of a month, in SQL written from the dictionary's words."""
    con, day = duckdb.connect(), f"DATE '{month}-01'"
    con.register("raw", records.assign(amount=records["amount"].astype("float64")))
    con.execute(f"CREATE TABLE r AS SELECT subject, date::DATE AS day, kind, number, amount, status FROM raw WHERE date < {day}")
    con.execute("CREATE TABLE firms AS SELECT DISTINCT subject FROM r")
    open_of = {kind.name: kind.open for kind in record_sources()[source].kinds}
    columns = {}
    for entry in record_sources()[source].entries:
        measure, kinds, statuses, window = _PARTS.fullmatch(entry.formula).groups()
        of_kind = "kind IN (" + ", ".join(f"'{kind}'" for kind in kinds.split("|")) + ")"
        of_status = " AND status IN (" + ", ".join(f"'{one}'" for one in statuses.split("|")) + ")" if statuses else ""
        since = f"day >= {day} - INTERVAL {window or 0} MONTH"
        first = f"(SELECT subject, kind, number, min(day) AS day, arg_min(amount, day) AS amount FROM r WHERE {of_kind}{of_status} GROUP BY ALL)"
        last = f"(SELECT subject, kind, number, arg_max(status, day) AS status, arg_max(amount, day) AS amount FROM r WHERE {of_kind} GROUP BY ALL)"
        still = " OR ".join(f"(kind = '{k}' AND status = '{one}')" for k in kinds.split("|") for one in open_of[k]) or "false"
        months = f"date_diff('month', %s(day), {day})"
        query = {
            "count": f"SELECT subject, count(*) AS v FROM {first} WHERE {since} GROUP BY 1",
            "sum": f"SELECT subject, round(sum(amount) / 100, 2) AS v FROM {first} WHERE {since} GROUP BY 1",
            "largest": f"SELECT subject, round(max(amount) / 100, 2) AS v FROM {first} WHERE {since} GROUP BY 1",
            "share": f"SELECT subject, count(DISTINCT (kind, number)) FILTER (WHERE true{of_status}) / count(DISTINCT (kind, number)) AS v FROM r WHERE {of_kind} AND {since} GROUP BY 1",
            "months_with": f"SELECT subject, count(DISTINCT date_trunc('month', day)) AS v FROM r WHERE {of_kind} AND {since} GROUP BY 1",
            "open": f"SELECT subject, count(*) AS v FROM {last} WHERE {still} GROUP BY 1",
            "open_sum": f"SELECT subject, round(sum(amount) / 100, 2) AS v FROM {last} WHERE {still} GROUP BY 1",
            "since_last": f"SELECT subject, {months % 'max'} AS v FROM r WHERE {of_kind} GROUP BY 1",
            "since_first": f"SELECT subject, {months % 'min'} AS v FROM r WHERE {of_kind} GROUP BY 1",
        }[measure]
        none = "NULL" if measure in ("share", "since_last", "since_first") else "0"
        found = con.execute(
            f"SELECT subject, coalesce(q.v, {none})::DOUBLE AS v FROM firms LEFT JOIN ({query}) q USING (subject) ORDER BY 1"
        ).df()
        columns[entry.name] = found["v"].to_numpy()
    return pd.DataFrame({"id": found["subject"].to_numpy()} | columns)


@pytest.mark.parametrize("source", SOURCES)
def test_every_feature_is_as_duckdb_has_it(source: str) -> None:
    records = drawn()[source]
    for month in (np.datetime64("2023-05"), AS_OF, np.datetime64("2025-01")):
        ours, theirs = build({source: [records]}, [month]), by_duckdb(source, records, month)
        assert ours["id"].tolist() == theirs["id"].tolist() and len(ours) > 500
        pd.testing.assert_frame_equal(ours.drop(columns="as_of"), theirs, rtol=1e-12, check_dtype=False)


# -- no look into the future ---------------------------------------------------------------------------------------------------------


def future_changed(records: pd.DataFrame, month: np.datetime64) -> pd.DataFrame:
    """The same records before the month; later ones at other days, of other states and sums, and one more of each kind for every firm."""
    future = records["date"].to_numpy() >= month.astype("datetime64[s]")
    later = records[future].copy()
    later["date"] = month.astype("datetime64[s]")
    later["amount"] = later["amount"] * 3 + 1
    turned = {"open": "closed", "closed": "open", "paid": "unpaid", "unpaid": "paid", "late": "paid"}
    later["status"] = later["status"].map(turned).where(later["status"].notna(), None)
    earlier = records[~future]
    again = earlier.drop_duplicates(["subject", "kind"]).copy()  # a later state of what is known, and another matter
    again["date"], again["status"] = month.astype("datetime64[s]"), again["status"].map(turned).where(again["status"].notna(), None)
    other = again.assign(number=[f"new-{place}" for place in range(len(again))], amount=again["amount"] * 50 + 7)
    return pd.concat([earlier, later, again, other], ignore_index=True)


@pytest.mark.parametrize("source", SOURCES)
def test_shifting_every_future_record_changes_no_feature(source: str) -> None:
    records = drawn()[source]
    before = build({source: [records]}, [AS_OF])
    after = build({source: [future_changed(records, AS_OF)]}, [AS_OF])
    for name in before.columns:
        pd.testing.assert_series_equal(before[name], after[name])
    assert len(future_changed(records, AS_OF)) > len(records) > len(before)


@pytest.mark.parametrize("source", SOURCES)
def test_control_a_window_that_reaches_one_month_too_far_is_noticed_in_every_feature(source: str) -> None:
    records = drawn()[source]
    weak = [build({source: [one]}, [AS_OF + 1]) for one in (records, future_changed(records, AS_OF))]
    common = weak[0].merge(weak[1], on="id", suffixes=("", "_after"))
    blind = [name for name in weak[0].columns[2:] if common[name].equals(common[f"{name}_after"])]
    allowed = {
        "registry_months_since_first_registration",
        "payments_months_since_last_contribution",
    }  # all firms have an earlier, or a new one
    allowed |= {
        name for name in blind if "since_first" in name or "_months_12m" in name
    }  # a new record is never the first; every month has a bill
    assert set(blind) <= allowed


# -- batches --------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("source", SOURCES)
def test_no_order_or_size_of_batches_changes_a_feature(source: str) -> None:
    records, rng = drawn()[source], np.random.default_rng(SEED)
    whole = build({source: [records]}, list(MONTHS[12:18]))
    for pieces in (2, 7):
        mixed = records.iloc[rng.permutation(len(records))]
        cut = np.array_split(np.arange(len(mixed)), pieces)
        pd.testing.assert_frame_equal(whole, build({source: (mixed.iloc[rows] for rows in cut)}, list(MONTHS[12:18])))


def test_the_same_record_twice_counts_once() -> None:
    twice = pd.concat([CASES, CASES], ignore_index=True)
    months = [np.datetime64("2024-02")]
    pd.testing.assert_frame_equal(build({"court": [CASES]}, months), build({"court": [twice]}, months))


# -- what is refused --------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"kind": "secret-kind"}, "8 of 8 records are of a kind"),
        ({"status": "secret-state"}, "have a status that the dictionary does not declare"),
        ({"date": pd.NaT}, "8 of 8 records have no date"),
    ],
)
def test_what_is_not_declared_is_refused_with_counts_and_without_values(changed: dict[str, object], words: str) -> None:
    with pytest.raises(DataError) as caught:
        build({"court": [CASES.assign(**changed)]}, [AS_OF])
    assert words in str(caught.value) and "secret" not in str(caught.value)


def test_a_missing_column_and_an_unknown_source_are_refused_by_name() -> None:
    with pytest.raises(DataError, match="no column 'kind'"):
        build({"court": [CASES.drop(columns="kind")]}, [AS_OF])
    with pytest.raises(ConfigurationError, match="no source of dated records"):
        build({"customs": [CASES]}, [AS_OF])


# -- a source is data ---------------------------------------------------------------------------------------------------------------------

CUSTOMS = """
[[source]]
name = "customs"
role = "customs"
title = "Customs"
definition = "Declarations of exports."
kind = [{ name = "export", definition = "A declaration." }]
feature = [{ name = "customs_exports_6m", definition = "Exports.", formula = "count(export, 6)", unit = "count", direction = "lower is riskier", level = 3 }]
"""


def test_a_new_source_joins_by_a_file_of_the_dictionary_alone() -> None:
    found = read([*shipped(), ("customs.toml", CUSTOMS.encode())])
    assert "customs" in found.roles and found.features["customs_exports_6m"].period == "6 months"
    records = frame(("a", "2024-05-01", "export", None, None, None), ("a", "2024-06-30", "export", None, None, None))
    assert table_of(found.sources["customs"], [records], [AS_OF])["customs_exports_6m"].tolist() == [2.0]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("count(export, 6)", "counts(export, 6)"), ("count(export, 6)", "count(import, 6)"), ("count(export, 6)", "count(export)"),
        ("count(export, 6)", "share(export, 6)"), ("count(export, 6)", "count(export:late, 6)"), ("customs_exports_6m", "court_judgments_3m"),
    ],
)  # fmt: skip
def test_a_formula_that_nobody_computes_is_refused_when_it_is_read(old: str, new: str) -> None:
    with pytest.raises(ConfigurationError):
        read([*shipped(), ("customs.toml", CUSTOMS.replace(old, new).encode())])


def test_every_source_has_a_role_and_entries_for_each_window() -> None:
    assert set(SOURCES) == {"blacklist", "bureau", "court", "payments", "registry"} <= set(dictionary().roles)
    windows = {name: {entry.period for entry in dictionary().features.values() if entry.source == name} for name in SOURCES}
    assert {"3 months", "6 months", "12 months", "24 months"} <= set().union(*windows.values())
