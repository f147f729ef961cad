"""The raw door beyond single cells: mappings, batches, repeats across batches, sources of every kind, and memory that does not grow with rows."""

from __future__ import annotations

import datetime as dt
import random
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pa_parquet
import pytest
import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st

from clients import feature_table
from clients.own_tables import load
from clients.sources.amounts import amounts
from clients.sources.repeats import Seen
from clients.vault import open_records
from federation.kernel.errors import ConfigurationError, CreditfedError, DataError
from tests.unit.test_dirt import TODAY, clean, csv

HEAD = 'role = "tax"\ndictionary = "1.0"\nextracted = 2025-01-31\n'
TABLE = HEAD + '[sales_invoices]\nsource = "table.csv"\n'


def written(folder: Path, text: str, rows: list[dict[str, str]] | None = None) -> Path:
    (folder / "table.csv").write_text(csv(rows or clean()), "utf-8")
    (folder / "mapping.toml").write_text(text, "utf-8")
    return folder / "mapping.toml"


def read(mapping: Path, kind: str = "sales_invoices") -> tuple[pd.DataFrame, Any]:
    raw = open_records(load(mapping), kind, TODAY)
    return pd.concat(list(raw.batches()), ignore_index=True), raw.cleaned


# -- the mapping ----------------------------------------------------------------------------------------------------------------------

WRONG = {
    "unknown key": (TABLE.replace("extracted", "extraced"), "did you mean 'extracted'"),
    "unknown kind": (TABLE.replace("[sales_invoices]", "[sale_invoices]"), "did you mean 'sales_invoices'"),
    "unknown key of a kind": (TABLE + 'colums = "x"\n', "did you mean 'columns'"),
    "unknown column": (TABLE + '[sales_invoices.columns]\nfrim = "x"\n', "did you mean 'firm'"),
    "unknown word": (TABLE + '[sales_invoices.values.status]\nvoidd = ["x"]\n', "did you mean 'void'"),
    "words of a column without words": (TABLE + '[sales_invoices.values.amount]\nvoid = ["x"]\n', "has no fixed words"),
    "one spelling for two words": (TABLE + '[sales_invoices.values.status]\nvoid = ["x"]\nvalid = [" X "]\n', "one spelling stands for two words"),
    "key without the day of the record": (TABLE + 'key = ["firm", "number"]\n', "a later record could take the place of an earlier one"),
    "unknown unit": (TABLE + '[sales_invoices.units]\namount = "yuans"\n', "did you mean 'yuan'"),
    "unit of what is no money": (TABLE + '[sales_invoices.units]\ndate = "yuan"\n', "is no money"),
    "unknown role": (TABLE.replace('"tax"', '"taxi"'), "did you mean 'tax'"),
    "kind of another role": (TABLE + '[orders]\nsource = "table.csv"\n', "is a kind of record of role 'platform'"),
    "another version": (TABLE.replace('"1.0"', '"2.0"'), "version 2.0"),
    "unknown zone": (TABLE.replace("extracted", 'time_zone = "Asia/Shanghia"\nextracted'), "did you mean 'asia/shanghai'"),
    "no table": (HEAD, "names no table"),
    "one column for two": (TABLE + '[sales_invoices.columns]\nfirm = "x"\nnumber = "x"\n', "stands for two"),
    "tolerance that is no share": (TABLE.replace("extracted", "tolerated = 1.5\nextracted"), "tolerated"),
    "a path and a database": (TABLE.replace('source = "table.csv"', 'source = { url = "sqlite:///a.db" }'), "either table or query"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_a_mapping_error_says_where_and_the_nearest_name(tmp_path: Path, name: str) -> None:
    text, finding = WRONG[name]
    with pytest.raises(ConfigurationError) as caught:
        load(written(tmp_path, text))
    assert finding in str(caught.value).lower()


def test_a_column_is_found_by_the_mapping_then_its_name_then_other_usual_names(tmp_path: Path) -> None:
    rows = clean()
    names = ["企业代号", "code", "发票号码", "issued", "own buyer", "amount", "vat", "state"]
    mapping = written(tmp_path, TABLE + '[sales_invoices.columns]\ncounterparty = "own buyer"\n')
    (tmp_path / "table.csv").write_text(csv(rows, names), "utf-8")
    frame, cleaned = read(mapping)
    assert frame["firm"].tolist() == [row["firm"] for row in rows] and cleaned.findings() == []
    assert list(frame) == ["firm", "code", "number", "date", "counterparty", "amount", "tax", "status"]


def test_a_mapped_column_that_is_not_there_is_an_error_with_the_nearest_names(tmp_path: Path) -> None:
    mapping = written(tmp_path, TABLE + '[sales_invoices.columns]\ncounterparty = "counterpart"\n')
    with pytest.raises(DataError, match=r"no column 'counterpart' for 'counterparty'.*(\n.*)?Nearest: 'counterparty'"):
        read(mapping)


def refusal(mapping: Path) -> str:
    with pytest.raises(DataError) as caught:
        read(mapping)
    return str(caught.value)


def test_an_error_says_what_to_write_into_the_mapping(tmp_path: Path) -> None:
    rows = [row | {"status": "7"} for row in clean()]
    assert "[sales_invoices.values.status]" in refusal(written(tmp_path, TABLE, rows))
    rows = [row | {"firm": "123"} for row in clean()]
    assert 'id_kind = "any"' in refusal(written(tmp_path, TABLE, rows))
    assert "`extracted`" in refusal(written(tmp_path, TABLE.replace("2025-01-31", "2023-02-01")))
    rows = [row | {"amount": str(float(row["amount"]) / 10_000)} for row in clean()]
    assert "[sales_invoices.units]" in refusal(written(tmp_path, TABLE, rows))


def test_a_table_of_one_column_is_asked_for_its_separator_and_shows_no_cell(tmp_path: Path) -> None:
    mapping = written(tmp_path, TABLE)
    lines = (tmp_path / "table.csv").read_text().replace(",", ";")
    (tmp_path / "table.csv").write_text(lines)
    said = refusal(mapping)
    assert "semicolons or tabs" in said and clean()[0]["firm"] not in said


def test_units_move_the_decimal_point_exactly(tmp_path: Path) -> None:
    rows = clean()
    rows[0]["amount"], rows[1]["amount"] = "0.000001", "12.345678"
    frame, _ = read(written(tmp_path, TABLE + '[sales_invoices.units]\namount = "10k yuan"\ntax = "fen"\n', rows))
    assert frame["amount"].tolist()[:2] == [1, 12_345_678]
    assert frame["tax"].tolist()[0] == 61  # 60.50 fen, halves away from zero


# -- batches, repeats, kinds of source --------------------------------------------------------------------------------------------------


def parts(folder: Path, rows: list[dict[str, str]]) -> None:
    (folder / "parts").mkdir()
    for number in range(4):
        pa_parquet.write_table(pa.Table.from_pylist(rows[number::4]), folder / "parts" / f"{number}.parquet")


def database(folder: Path, rows: list[dict[str, str]]) -> None:
    engine = sa.create_engine(f"sqlite:///{folder / 'own.db'}")
    pd.DataFrame(rows).to_sql("invoices", engine, index=False)
    engine.dispose()


def test_files_folders_and_databases_give_the_same_records(tmp_path: Path) -> None:
    rows = clean()
    expected, _ = read(written(tmp_path, TABLE, rows))
    parts(tmp_path, rows)
    database(tmp_path, rows)
    order = ["firm", "number"]
    for source in ('source = "parts"', 'source = { url = "sqlite:///own.db", table = "invoices" }'):
        (tmp_path / "mapping.toml").write_text(TABLE.replace('source = "table.csv"', source), "utf-8")
        frame, cleaned = read(tmp_path / "mapping.toml")
        pd.testing.assert_frame_equal(
            frame.sort_values(order, ignore_index=True), expected.sort_values(order, ignore_index=True), check_dtype=True
        )
        assert cleaned.findings() == []


def test_repeats_are_found_in_other_batches(tmp_path: Path) -> None:
    rows = [{**row, "number": str(number)} for number, row in enumerate(clean() * 200)]
    repeated = [rows[5], rows[39_000], {**rows[7], "amount": "1.00"}]
    frame, cleaned = read(written(tmp_path, TABLE, rows + repeated))
    raw = open_records(load(tmp_path / "mapping.toml"), "sales_invoices", TODAY)
    assert len(list(raw.batches())) > 2
    assert len(frame) == len(rows) == cleaned.kept
    assert (cleaned.counted("the same record again"), cleaned.counted("the same key with another content")) == (2, 1)
    assert [one.rows for one in cleaned.findings()] == [(40_003,), (40_001, 40_002)]


def test_what_names_a_record_is_the_key_of_the_mapping_also_for_the_features(tmp_path: Path) -> None:
    """Two books of a firm share a number on a day. By the dictionary's key the second is a contradiction; by the mapping's it is an invoice."""
    rows = [{**row, "code": "B1", "date": f"2024-{month:02d}-01"} for month in range(1, 13) for row in clean()[1:2]]
    rows += [{**row, "amount": "50.00", "tax": "1.50"} for row in rows] + rows[:3]
    key = 'key = ["firm", "number", "date", "amount"]\n'
    sales = {}
    for name, text in (("dictionary", TABLE), ("mapping", TABLE + key)):
        mapping = written(tmp_path, text.replace("extracted", "tolerated = 0.9\nextracted"), rows)
        built = feature_table.build(load(mapping), [np.datetime64("2025-01", "M")], TODAY, lambda _kind, _size: None)
        sales[name] = built.table["sales_12m"].item()
        cleaned = built.cleaned["sales_invoices"]
        assert cleaned.counted("the same record again") == 3
        assert cleaned.counted("the same key with another content") == (12 if name == "dictionary" else 0)
    assert sales["dictionary"] == pytest.approx(12 * float(clean()[1]["amount"]))
    assert sales["mapping"] == pytest.approx(sales["dictionary"] + 12 * 50)


def test_row_numbers_are_those_of_the_file_past_rows_with_a_wrong_number_of_cells(tmp_path: Path) -> None:
    rows = clean()
    rows[50]["amount"] = rows[150]["amount"] = "many"
    mapping = written(tmp_path, TABLE.replace("extracted", "tolerated = 0.1\nextracted"), rows)
    lines = csv(rows).splitlines()
    lines[11:11] = ["a,b"] * 2  # before the record of row 11
    lines[103:103] = ["a,b"]
    (tmp_path / "table.csv").write_text("\n".join(lines) + "\n", "utf-8")
    _, cleaned = read(mapping)
    assert {one.rule: one.rows for one in cleaned.findings()} == {"wrong number of cells": (11, 12, 103), "not a number": (53, 154)}
    assert cleaned.rows == 203 and cleaned.kept == 198


@settings(deadline=None, max_examples=50)
@given(seed=st.integers(0, 2**32 - 1))
def test_repeats_equal_a_plain_dictionary(seed: int) -> None:
    chance, seen, before = random.Random(seed), Seen(), dict[tuple[int, int], int]()
    for _ in range(chance.randrange(1, 12)):
        rows = pd.DataFrame({name: [chance.randrange(6) for _ in range(chance.randrange(1, 30))] for name in ["a"]})
        rows["b"], rows["c"] = [[chance.randrange(4) for _ in range(len(rows))] for _ in "bc"]
        again, other = [], []
        for a, b, c in rows.itertuples(index=False):
            first = before.setdefault((a, b), -1)
            again.append(first == c)
            other.append(first not in (-1, c))
            before[a, b] = c if first == -1 else first
        found = seen.add(rows, ["a", "b"], [])
        assert found.again.tolist() == again and found.other.tolist() == other


@settings(deadline=None, max_examples=50)
@given(
    st.lists(st.decimals(min_value=-(10**12), max_value=10**12, places=2), min_size=1, max_size=20),
    st.sampled_from([("fen", 0), ("yuan", 2), ("10k yuan", 6)]),
)
def test_money_is_exact_in_text_decimals_and_floats(values: list[Decimal], unit: tuple[str, int]) -> None:
    places = unit[1]
    values = [value.scaleb(2 - places).quantize(Decimal(1).scaleb(-places)) for value in values]
    expected = [int(value.scaleb(places)) for value in values]
    for column in (pa.array([f"{value:f}" for value in values]), pa.array(values, pa.decimal128(38, max(places, 2)))):
        found = amounts(column, "money", places)
        assert found is not None and not found.failed and found.values.tolist() == expected
    if places == 2:
        floats = amounts(pa.array([float(value) for value in values]), "money", places)
        assert floats is not None and floats.values.tolist() == expected


def test_what_failed_in_a_column_that_may_be_empty_is_blank_and_counts_against_the_limit(tmp_path: Path) -> None:
    mapping = tmp_path / "mapping.toml"
    mapping.write_text('role = "bank"\ndictionary = "1.0"\nid_kind = "any"\ntolerated = 0.5\n[visits]\nsource = "visits.csv"\n')
    lines = ["firm,date,owner_age,owner_married,employees", "F1,2024-01-05,forty,yes,3", "F2,2024-01-06,41,maybe,", "F3,2024-01-07,50,否,9"]
    (tmp_path / "visits.csv").write_text("\n".join(lines) + "\n")
    frame, cleaned = read(mapping, "visits")
    assert frame["owner_age"].isna().tolist() == [True, False, False] and frame["owner_age"].dtype == "Int64"
    assert frame["owner_married"].isna().tolist() == [False, True, False] and frame["owner_married"].dtype == "boolean"
    assert [(one.outcome, one.column, one.times) for one in cleaned.findings()] == [
        ("blanked", "owner_age", 1),
        ("blanked", "owner_married", 1),
    ]
    mapping.write_text(mapping.read_text().replace("tolerated = 0.5", "tolerated = 0.1"))
    with pytest.raises(CreditfedError, match="1 of 3 rows fail"):
        read(mapping, "visits")


def test_booleans_in_every_spelling(tmp_path: Path) -> None:
    yes, no = ["yes", "Y", "TRUE", "t", "1", "是", "有", "√"], ["no", "N", "false", "F", "0", "否", "无", "没有"]
    mapping = tmp_path / "mapping.toml"
    mapping.write_text(
        'role = "bank"\ndictionary = "1.0"\nid_kind = "any"\n[visits]\nsource = "v.csv"\n[visits.values.owner_married]\nyes = ["已婚"]\n'
    )
    lines = [f"F{i},2024-01-05,{word}" for i, word in enumerate([*yes, "已婚", *no])]
    (tmp_path / "v.csv").write_text("\n".join(["firm,date,owner_married", *lines]) + "\n", "utf-8")
    frame, _ = read(mapping, "visits")
    assert frame["owner_married"].tolist() == [True] * 9 + [False] * 8


def test_no_record_is_later_than_today_where_the_mapping_names_no_extract(tmp_path: Path) -> None:
    mapping = written(tmp_path, TABLE.replace("extracted = 2025-01-31\n", "tolerated = 0.9\n"))
    raw = open_records(load(mapping), "sales_invoices", dt.date(2023, 1, 31))
    frame = pd.concat(list(raw.batches()))
    assert frame["date"].max() == np.datetime64("2023-01-31") and raw.cleaned.counted("after the extract", "date") == 170
