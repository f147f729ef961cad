"""Values recorded after the day of the row are counted by the bank and flagged by name; values of the row's own month or before are not."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import pytest

from federation.kernel.manifest import Manifest, PartyDeclaration
from federation.models.as_of import LaterRows, later_rows
from server.report_findings import findings
from server.result import parse
from tests.unit.test_column_sources import COLUMNS, described

DAYS = np.array(["2023-01-15", "2023-06-30", "2023-06-01", "2024-02-10"], "datetime64[D]")


def dated(manifest: Manifest, **of_tax: Any) -> Manifest:
    parties = tuple(
        msgspec.structs.replace(p, **of_tax) if p.name == "tax" else msgspec.structs.replace(p, taken="2022-12-31")
        for p in manifest.parties
    )
    return msgspec.structs.replace(manifest, parties=parties)


@pytest.fixture
def manifest(tmp_path: Any) -> Manifest:
    return described(tmp_path, (), **COLUMNS)


@pytest.mark.parametrize(
    ("of_tax", "found"),
    [
        ({"taken": "2023-01-31"}, None),  # of the first row's own month
        ({"taken": "2023-02-01"}, LaterRows(4, 1, 1)),
        ({"taken": "2023-07-01"}, LaterRows(4, 3, 3)),
        ({"taken": ""}, LaterRows(4, undated=True)),
        ({"dated": True, "months": ("2022-01", "2023-01")}, None),
        ({"dated": True, "months": ("2022-01", "2023-07")}, LaterRows(4, 0, 3)),
        ({"dated": True, "months": ("2023-02", "2024-12")}, LaterRows(4, 1, 4)),
    ],
)
def test_the_bank_counts_its_rows_that_are_older_than_a_partners_values(
    manifest: Manifest, of_tax: dict[str, Any], found: LaterRows | None
) -> None:
    assert later_rows(dated(manifest, **of_tax), DAYS) == ({} if found is None else {"tax": found})


def test_rows_matched_by_month_and_rows_without_dates_say_nothing(manifest: Manifest) -> None:
    later = dated(manifest, dated=True, months=("2024-01", "2024-12"))
    assert later_rows(later, None) == {}
    by_month = msgspec.structs.replace(later, sample=msgspec.structs.replace(later.sample, key="firm and month"))
    assert later_rows(by_month, DAYS) == {} and later_rows(later, DAYS)  # control: the same tables matched by firm alone


def flagged(**party: Any) -> list[tuple[str, str, str]]:
    facts = {"name": "tax", "columns": [{"name": "bureau_enquiries_3m"}]} | party
    return [
        (one.level, one.title, one.text)
        for one in findings(parse({"run": {"task": "train"}, "parties": [facts]}))
        if one.title.startswith("tax")
    ]


def test_the_report_names_party_and_columns() -> None:
    ((level, title, text),) = flagged(later=3, perhaps_later=3, compared=4, taken="2023-07-01")
    assert level == "alarm" and title == "tax: recorded after the decision"
    assert "3 of 4 of the bank's rows" in text and "bureau_enquiries_3m" in text and "2023-07-01" in text
    assert flagged(later=0, perhaps_later=2, compared=4)[0][:2] == ("warning", "tax: perhaps recorded after the decision")
    assert flagged(undated=True)[0][1] == "tax: undated snapshot"


def test_control_a_party_whose_values_are_older_than_every_row_is_not_flagged() -> None:
    assert flagged(later=0, perhaps_later=0, compared=4, taken="2022-12-31") == [] and flagged(undated=False) == []


def test_a_party_that_states_months_that_are_none_is_refused() -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"name": "tax", "role": "tax", "identity": "", "months": ["2023-13"]}, PartyDeclaration)
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"name": "tax", "role": "tax", "identity": "", "taken": "<script>"}, PartyDeclaration)
