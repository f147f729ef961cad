"""Every feature of platform and bank, on random records, is what a second computation in plain Python says, written from the dictionary."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from clients.roles.bank import features as bank
from clients.roles.platform import features as platform
from privacy.dictionary.entries import features
from tests import role_scene, second_bank, second_platform
from tests.second_sums import number

ROLES = {"platform": (platform, second_platform, role_scene.platform), "bank": (bank, second_bank, role_scene.bank)}


@pytest.fixture(
    scope="module",
    params=[
        pytest.param((role, every), id=f"{role}, {rows}", marks=marks)
        for rows, every, marks in (("some rows", 4, ()), ("all rows", 1, pytest.mark.slow))
        for role in ROLES
    ],
)
def both(request):
    """The role, the table, and the same again; of every fourth row, and in the long runs of all."""
    role, every = request.param
    adapter, second, scene = ROLES[role]
    records = scene()
    table = adapter.build({kind: [frame] for kind, frame in records.items()}, role_scene.MONTHS).iloc[::every].reset_index(drop=True)
    again = [second.features(records, firm, number(as_of)) for firm, as_of in zip(table["id"], table["as_of"], strict=True)]
    return role, table, pd.DataFrame(again)


def test_every_feature_is_what_the_second_computation_says(both):
    role, table, again = both
    wanted = [feature for feature in features().values() if feature.role == role]
    assert set(again) == {feature.name for feature in wanted}
    for feature in wanted:
        if feature.kind == "categorical":
            left, right = (
                column.astype(object).where(column.notna(), None).tolist() for column in (table[feature.name], again[feature.name])
            )
            assert left == right, feature.name
            continue
        tolerance = (
            {"rtol": 0, "atol": 0.006}
            if feature.unit.startswith("CNY")
            else {"rtol": 1e-9, "atol": 2e-6 if "max" in feature.name else 1e-9}
        )
        expected = again[feature.name].astype("Float64").to_numpy(np.float64, na_value=np.nan)
        np.testing.assert_allclose(table[feature.name], expected, **tolerance, err_msg=feature.name)


def test_the_fixture_says_something_of_every_feature(both):
    """A feature that is missing everywhere, or the same everywhere, would be equal without being tested."""
    role, table, _ = both
    for feature in (feature for feature in features().values() if feature.role == role):
        assert table[feature.name].notna().sum() >= 5, feature.name
        assert table[feature.name].nunique() >= 2, feature.name
        assert table[feature.name].isna().any() or feature.name.startswith(("loans_", "loan_")), feature.name


def test_columns_are_the_dictionarys_and_rows_are_sorted(both):
    role, table, _ = both
    assert list(table) == ["id", "as_of", *(feature.name for feature in features().values() if feature.role == role)]
    assert table["as_of"].dtype == "datetime64[s]"
    assert not table.duplicated(["id", "as_of"]).any()
    assert table.index.is_monotonic_increasing and table[["id", "as_of"]].equals(table.sort_values(["id", "as_of"])[["id", "as_of"]])
    for feature in (feature for feature in features().values() if feature.role == role and feature.kind == "numeric"):
        assert table[feature.name].dtype == np.float64
        low, high = feature.range
        plausible = table[feature.name].dropna().between(low, high).mean()
        assert plausible > 0.5, (feature.name, plausible)  # on made-up records; whether they are real is not for here
