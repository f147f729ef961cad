"""A feature as of a month knows nothing of what is dated on its first day or later, whatever becomes of it. Every feature of the dictionary.

Control: an adapter that peeks one month ahead. It gives itself away in every single feature.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import pandas as pd
import pytest

from clients.roles.tax.features import build
from tests.tax_records import NAMES, drawn, in_batches, months, same

SEED = 8
MONTHS = ("2022-09", "2023-02", "2023-07")
DATE = {"sales_invoices": "date", "purchase_invoices": "date", "declarations": "filed"}
Records = Mapping[str, pd.DataFrame]
Adapter = Callable[[Records, str], pd.DataFrame]


def adapter(records: Records, month: str) -> pd.DataFrame:
    return build(in_batches(records), months(month))


def peeking(records: Records, month: str) -> pd.DataFrame:
    """The same, but it looks one month too far."""
    ahead = months(month)[0] + 1
    return build(in_batches(records), [ahead]).assign(as_of=months(month)[0].astype("datetime64[s]"))


def shifted(records: Records, month: str) -> dict[str, pd.DataFrame]:
    """What is in the future comes 40 days later still."""
    return _future(records, month, lambda rows, date: rows.assign(**{date: rows[date] + np.timedelta64(40, "D")}))


def gone(records: Records, month: str) -> dict[str, pd.DataFrame]:
    """It never happens. Declarations are not filed."""
    return _future(records, month, lambda rows, date: rows.assign(filed=pd.NaT) if date == "filed" else rows.iloc[:0])


def changed(records: Records, month: str) -> dict[str, pd.DataFrame]:
    """All that can be said of it is otherwise: amounts, taxes, partners, what is void, when it was due, for which period, whose it is."""

    def change(rows: pd.DataFrame, date: str) -> pd.DataFrame:
        others = {name: -7 * rows[name] for name in ("amount", "tax", "sales", "tax_due", "tax_paid") if name in rows}
        if date == "filed":
            return rows.assign(due=rows["due"] - np.timedelta64(90, "D"), period=rows["period"] - np.timedelta64(500, "D"), **others)
        return rows.assign(
            counterparty="C0", status=np.where(rows["status"] == "void", "valid", "void"), firm=rows["firm"].iloc[::-1].to_numpy(), **others
        )

    return _future(records, month, change)


def displaced(records: Records, month: str) -> dict[str, pd.DataFrame]:
    """Past records come once more in the future, under the same number and first in the table."""
    found = {}
    for kind, table in records.items():
        past = table[table[DATE[kind]] < months(month)[0]]
        again = past.assign(**{DATE[kind]: months(month)[0].astype("datetime64[s]")})
        found[kind] = pd.concat([again, table], ignore_index=True)
    return found


def _future(records: Records, month: str, change: Callable[[pd.DataFrame, str], pd.DataFrame]) -> dict[str, pd.DataFrame]:
    found = {}
    for kind, table in records.items():
        later = table[DATE[kind]] >= months(month)[0]
        assert int(later.sum()) > 20, "there is a future to change"
        found[kind] = pd.concat([table[~later], change(table[later], DATE[kind])], ignore_index=True)
    return found


FUTURES = {"shifted": shifted, "gone": gone, "changed": changed, "displaced": displaced}


@pytest.fixture(scope="module")
def records() -> dict[str, pd.DataFrame]:
    return drawn(SEED)


@pytest.fixture(scope="module")
def told_by_the_future(records: dict[str, pd.DataFrame]) -> Callable[[Adapter], Mapping[str, set[str]]]:
    """For each future the features that change with it."""

    def found(of: Adapter) -> Mapping[str, set[str]]:
        return {
            name: {feature for month in MONTHS for feature in same(of(records, month), of(future(records, month), month))}
            for name, future in FUTURES.items()
        }

    return found


@pytest.fixture(scope="module")
def honest(told_by_the_future: Callable[[Adapter], Mapping[str, set[str]]]) -> Mapping[str, set[str]]:
    return told_by_the_future(adapter)


@pytest.fixture(scope="module")
def peeked(told_by_the_future: Callable[[Adapter], Mapping[str, set[str]]]) -> Mapping[str, set[str]]:
    return told_by_the_future(peeking)


@pytest.fixture(scope="module")
def before(records: dict[str, pd.DataFrame]) -> pd.DataFrame:
    return pd.concat([adapter(records, month) for month in MONTHS])


@pytest.mark.parametrize("name", NAMES)
def test_no_future_changes_the_feature(honest: Mapping[str, set[str]], before: pd.DataFrame, name: str) -> None:
    assert before[name].notna().any(), "there is something to compare"
    assert [future for future, features in honest.items() if name in features] == []


@pytest.mark.parametrize("name", NAMES)
def test_control_an_adapter_that_peeks_is_found_out_by_the_feature(peeked: Mapping[str, set[str]], name: str) -> None:
    assert [future for future, features in peeked.items() if name in features], "a peek at this feature would go unnoticed"


def test_the_table_of_a_month_is_the_same_whichever_other_months_are_asked_for(records: dict[str, pd.DataFrame]) -> None:
    together = build(in_batches(records), months("2020-01", *MONTHS, "2025-12"))
    apart = pd.concat([adapter(records, month) for month in MONTHS])
    assert same(together[together["as_of"].isin(apart["as_of"])], apart) == []
