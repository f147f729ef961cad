"""As-of rule: what is dated on or after the first day of a month changes no feature as of that month. Every feature that the dictionary has for a
role is tested, so that a new one is covered as it is written down.

Controls: an adapter that looks ahead fails for every feature, and one that takes an order's status as of the extract fails too.
"""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from clients.roles.bank import features as bank
from clients.roles.platform import features as platform
from privacy.dictionary.entries import features, record_kinds
from tests import role_scene

MONTH = role_scene.MONTHS[1]
ROLES = {"platform": (platform, role_scene.platform), "bank": (bank, role_scene.bank)}
NAMES = [(feature.role, feature.name) for feature in features().values() if feature.role in ROLES]


def future(kind: str, frame: pd.DataFrame) -> pd.Series:
    return ~(frame[record_kinds()[kind].date] < pd.Timestamp(MONTH))  # without a day: not known


def removed(kind, frame, rng):
    return frame[~future(kind, frame)]


def shifted(kind, frame, rng):
    """Every later record still later, with all of its days."""
    late, found = future(kind, frame), frame.copy()
    for column in (column for column in record_kinds()[kind].columns if column.type == "day" and column.name in frame):
        found.loc[late, column.name] += pd.Timedelta(days=45)
    return found


def changed(kind, frame, rng):
    """Every later record of another firm, with other numbers, codes and flags; dates stay."""
    late, found = future(kind, frame), frame.copy()
    rows = np.flatnonzero(late)
    for column in (column for column in record_kinds()[kind].columns if column.type not in ("day", "text") and column.name in frame):
        other = rng.permutation(np.flatnonzero(found[column.name].notna()))[: len(rows)]
        values = found[column.name].to_numpy(dtype=object).copy()
        values[rows[: len(other)]] = values[other]
        if column.type in ("money", "count"):
            values[rows] = [value if pd.isna(value) else value + 3 for value in values[rows]]
        found[column.name] = pd.Series(values, index=found.index).astype(frame[column.name].dtype)
    return found


def settled_later(kind, frame, rng):
    """What became known of past orders only later: not cancelled, or settled on another later day."""
    if kind != "orders":
        return frame
    known = frame["settled"].isna() | (frame["settled"] < pd.Timestamp(MONTH))
    return frame.assign(status=frame["status"].where(known, "completed"), settled=frame["settled"].where(known, pd.Timestamp("2025-01-01")))


CHANGES = {"removed": removed, "shifted": shifted, "changed": changed, "settled later": settled_later}


def table(adapter, records, month=MONTH) -> pd.DataFrame:
    return adapter.build({kind: [frame] for kind, frame in records.items()}, [month])


@pytest.fixture(scope="module")
def before():
    """By role: records and features as they are."""
    found = {}
    for role, (adapter, scene) in ROLES.items():
        records = scene()
        found[role] = SimpleNamespace(records=records, table=table(adapter, records))
    return found


@pytest.fixture(scope="module")
def after(before):
    """By change and role: features of changed records."""
    found = {}
    for name, change in CHANGES.items():
        for role, (adapter, _) in ROLES.items():
            found[name, role] = table(adapter, _changed(before[role].records, change))
    return found


def _changed(records, change):
    return {kind: change(kind, frame, np.random.default_rng(4)) for kind, frame in records.items()}


@pytest.mark.parametrize(("role", "name"), NAMES)
def test_later_records_change_no_feature(before, after, role, name):
    was = before[role].table[["id", "as_of", name]]
    assert was[name].notna().sum() >= 10
    for change in CHANGES:
        pd.testing.assert_frame_equal(was, after[change, role][["id", "as_of", name]], check_exact=True, obj=f"{name}, {change}")


def test_control_an_adapter_that_looks_a_quarter_ahead_fails_for_every_feature(before):
    """Every feature as of three months later, told as of this one, is another when later records are changed: the test above can fail for each."""
    unseen = set()
    for role, (adapter, _) in ROLES.items():  # + 3: what these months bring is seen
        peeking = table(adapter, before[role].records, MONTH + 3).set_index("id")
        honest = {
            name: table(adapter, _changed(before[role].records, change), MONTH + 3).set_index("id") for name, change in CHANGES.items()
        }
        for name in (name for of, name in NAMES if of == role):
            if all(peeking[name].reindex(other.index).equals(other[name]) for other in honest.values()):
                unseen.add(name)
    assert unseen == set()


def test_control_a_status_as_of_the_extract_fails(before):
    """Without the day on which it was settled, the status of a past order says what became known later, as the dictionary warns."""
    records = before["platform"].records
    both = (records, _changed(records, settled_later))
    was, later = (table(platform, each | {"orders": each["orders"].drop(columns="settled")}) for each in both)
    assert not was["cancelled_share_12m"].equals(later["cancelled_share_12m"])


@pytest.mark.parametrize("role", ROLES)
def test_a_firm_that_is_known_only_later_has_no_row(before, role):
    first = {}
    for kind, frame in before[role].records.items():
        for firm, day in frame.groupby("firm")[record_kinds()[kind].date].min().items():
            first[firm] = min(first.get(firm, pd.Timestamp.max), day)
    known = {firm for firm, day in first.items() if day < pd.Timestamp(MONTH)}
    assert set(before[role].table["id"]) == known
    assert known < set(first)


@pytest.mark.parametrize("role", ROLES)
def test_several_months_at_once_are_what_they_are_one_by_one(before, role):
    adapter, _ = ROLES[role]
    together = adapter.build({kind: [frame] for kind, frame in before[role].records.items()}, role_scene.MONTHS)
    for month in role_scene.MONTHS:
        mine = together[together["as_of"] == month.astype("datetime64[s]")].reset_index(drop=True)
        pd.testing.assert_frame_equal(mine, table(adapter, before[role].records, month), check_exact=True)
