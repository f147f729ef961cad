"""`creditfed features` and `creditfed dictionary`: from a mapping to a feature table that a node can read, and back to what the dictionary says."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pa_parquet
import pytest
from typer.testing import CliRunner

from clients import feature_table
from clients.dictionary_commands import app as dictionary_app
from clients.feature_commands import app as features_app
from clients.own_tables import load
from clients.roles.bank.visits import FEATURES
from federation.kernel.errors import ConfigurationError, CreditfedError, DataError, LocalError
from privacy.dictionary import VERSION
from privacy.dictionary.entries import features, record_kinds
from tests.unit.test_dirt import TODAY, Dirt, canaries, cells, clean, csv
from tests.unit.test_raw_door import TABLE, written

RUN = CliRunner()


def count(records: Mapping[str, Iterable[pd.DataFrame]], months: Sequence[np.datetime64]) -> pd.DataFrame:
    """A tiny adapter: sums of sales before each month."""
    every = pd.concat(list(records["sales_invoices"]))
    parts = []
    for month in months:
        before = every[every["date"] < month]
        sums = before.groupby("firm")["amount"].sum().div(100).rename("sales_12m")
        parts.append(sums.reset_index().rename(columns={"firm": "id"}).assign(as_of=np.datetime64(month, "s")))
    return pd.concat(parts, ignore_index=True)[["id", "as_of", "sales_12m"]]


def months(text: str) -> list[np.datetime64]:
    return feature_table.months(text)


def built(folder: Path, make: Any = count, text: str = TABLE, rows: Any = None) -> feature_table.Built:
    return feature_table.build(load(written(folder, text, rows)), months("2023-02..2023-04"), TODAY, lambda kind, size: None, make)


def test_a_mapping_becomes_a_feature_table(tmp_path: Path) -> None:
    found = built(tmp_path)
    rows = clean()
    expected = sum(float(row["amount"]) for row in rows if row["date"] < "2023-03-01" and row["firm"] == rows[0]["firm"])
    one = found.table[(found.table["id"] == rows[0]["firm"]) & (found.table["as_of"] == "2023-03-01")]
    assert one["sales_12m"].tolist() == [pytest.approx(expected)]
    assert [(each.feature.name, each.present) for each in found.coverage] == [("sales_12m", 21)]


def test_the_file_says_which_dictionary_it_was_made_with(tmp_path: Path) -> None:
    feature_table.write(built(tmp_path).table, "tax", tmp_path / "f.parquet")
    assert pa_parquet.read_schema(tmp_path / "f.parquet").metadata[b"creditfed.dictionary"] == VERSION.encode()
    assert not list(tmp_path.glob("*.partial"))


def test_a_table_that_the_door_refuses_leaves_no_features(tmp_path: Path) -> None:
    rows = clean()
    cells("amount", *["many"] * 50)(rows)
    with pytest.raises(DataError, match="50 of 200 rows fail"):
        built(tmp_path, rows=rows)


@pytest.mark.parametrize(
    ("change", "finding"),
    [
        (lambda table: table.assign(sales_99m=1.0), "which the dictionary does not have"),
        (lambda table: table.drop(columns="as_of"), "no id or as_of"),
        (lambda table: pd.concat([table, table]), "several rows for one firm and month"),
    ],
    ids=["unknown feature", "no month", "rows twice"],
)
def test_an_adapter_that_differs_from_the_dictionary_is_refused(tmp_path: Path, change: Any, finding: str) -> None:
    with pytest.raises(LocalError, match=finding):
        built(tmp_path, lambda records, as_of: change(count(records, as_of)))


def test_an_adapter_that_does_not_read_to_the_end_is_refused(tmp_path: Path) -> None:
    def lazy(records: Mapping[str, Iterable[pd.DataFrame]], as_of: Sequence[np.datetime64]) -> pd.DataFrame:
        first = next(iter(records["sales_invoices"]))
        return pd.DataFrame({"id": first["firm"][:1], "as_of": np.datetime64(as_of[0], "s"), "sales_12m": [1.0]})

    with pytest.raises(LocalError, match="did not read"):
        built(tmp_path, lazy)


@pytest.mark.parametrize("text", ["2023-13", "2023", "2024-01..2023-01", "2023-01..", "1900-01..2023-01"])
def test_months_that_are_none_are_refused(text: str) -> None:
    with pytest.raises(ConfigurationError, match="--as-of"):
        months(text)


def refused(mapping: Path, as_of: str, out: Path) -> CreditfedError:
    result = RUN.invoke(features_app, ["build", str(mapping), "--as-of", as_of, "--out", str(out)])
    assert isinstance(result.exception, CreditfedError) and not out.is_file()
    return result.exception


def test_a_month_after_the_extract_is_refused_and_control_the_month_that_begins_on_its_day_is_built(tmp_path: Path) -> None:
    mapping = written(tmp_path, TABLE.replace("2025-01-31", "2025-02-01"))
    late = refused(mapping, "2025-02..2025-04", tmp_path / "f.parquet")
    assert "2 of 3 months" in str(late) and "2025-02" in str(late)
    args = ["build", str(mapping), "--as-of", "2025-02", "--out", str(tmp_path / "f.parquet")]
    assert RUN.invoke(features_app, args, catch_exceptions=False).exit_code == 0


def test_months_before_every_record_leave_no_empty_table(tmp_path: Path) -> None:
    assert "no firm has a record before 2001-02" in str(refused(written(tmp_path, TABLE), "2001-01..2001-02", tmp_path / "f.parquet"))


def test_where_a_table_cannot_go_is_said_before_anything_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mapping = written(tmp_path, TABLE)
    monkeypatch.setattr(feature_table, "open_records", None)  # whoever opened a table would fail otherwise
    assert "f.parquet" in str(refused(mapping, "2023-06", tmp_path / "f.csv"))
    assert "is a folder" in str(refused(mapping, "2023-06", tmp_path))
    assert "no folder" in str(refused(mapping, "2023-06", tmp_path / "none" / "f.parquet"))
    monkeypatch.setattr("os.access", lambda path, mode: False)
    with pytest.raises(ConfigurationError, match="nothing can be written"):
        feature_table.require_writable(tmp_path / "f.parquet")


def test_features_of_tables_that_are_not_mapped_are_one_line_and_not_a_list_of_noughts(tmp_path: Path) -> None:
    args = ["build", str(written(tmp_path, TABLE)), "--as-of", "2023-06", "--out", str(tmp_path / "f.parquet")]
    output = RUN.invoke(features_app, args, catch_exceptions=False).output
    assert "features of declarations are in no row (this mapping has no such table)" in output and "│ declared_sales_12m" not in output


def test_a_raw_table_in_place_of_features_is_pointed_to_the_mapping(tmp_path: Path) -> None:
    written(tmp_path, TABLE)
    result = RUN.invoke(dictionary_app, ["check", str(tmp_path / "table.csv")])
    assert isinstance(result.exception, DataError) and "mapping.toml" in str(result.exception)


def test_a_role_without_adapter_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="no adapter"):
        feature_table.adapter("nobody")


def test_build_ends_with_coverage_and_cleaning_and_a_node_can_read_it(tmp_path: Path) -> None:
    rows = clean()
    cells("amount", "(1,234.50)")(rows)
    mapping, out = written(tmp_path, TABLE, rows), tmp_path / "features.parquet"
    result = RUN.invoke(features_app, ["build", str(mapping), "--as-of", "2023-06..2023-07", "--out", str(out)], catch_exceptions=False)
    assert result.exit_code == 0
    assert "parentheses for negative" in result.output.replace("\n", " ") or "parentheses" in result.output
    assert "200 of 200 rows kept" in result.output and "sales_12m" in result.output
    table = pd.read_parquet(out)
    assert len(table) == 14 and set(table["as_of"].dt.strftime("%Y-%m-%d")) == {"2023-06-01", "2023-07-01"}
    assert not [canary for canary in canaries(Dirt()) if canary in result.output]
    checked = RUN.invoke(dictionary_app, ["check", str(out)], catch_exceptions=False)
    assert checked.exit_code == 0 and "sales_12m" in checked.output and "does not know" not in checked.output


def test_check_of_a_feature_table_counts_and_names_the_nearest(tmp_path: Path) -> None:
    table = pd.DataFrame({"id": ["a", "b", "c"], "sales_void_share_12m": [0.5, 7.25, np.nan], "sales_12n": [1.0, 2.0, 3.0]})
    table.to_csv(tmp_path / "f.csv", index=False)
    output = RUN.invoke(dictionary_app, ["check", str(tmp_path / "f.csv")], catch_exceptions=False).output
    assert "sales_12m" in output and "7.25" not in output
    line = next(line for line in output.splitlines() if "sales_void_share_12m" in line)
    assert [cell.strip() for cell in line.strip("│ ").split("│")][-2:] == ["2", "1"]


def test_check_of_a_mapping_tells_all_tables_and_fails_if_one_does(tmp_path: Path) -> None:
    mapping = written(tmp_path, TABLE + '[purchase_invoices]\nsource = "other.csv"\n')
    (tmp_path / "other.csv").write_text(csv(clean(), ["firm", "code", "number", "date", "counterparty", "ammount", "tax", "status"]))
    result = RUN.invoke(dictionary_app, ["check", str(mapping)])
    assert isinstance(result.exception, DataError)
    assert "200 of 200 rows kept" in result.output and "'ammount'" in result.output
    (tmp_path / "table.csv").write_text("")
    both = RUN.invoke(dictionary_app, ["check", str(mapping)])
    assert "2 of 2 tables fail: sales_invoices, purchase_invoices" in str(both.exception)


@pytest.mark.parametrize("name", ["", "sales_12m", "sales_invoices", "court", "tax"])
def test_show(name: str) -> None:
    result = RUN.invoke(dictionary_app, ["show", *([name] if name else [])], catch_exceptions=False)
    assert result.exit_code == 0 and (name or "sales_invoices") in result.output


def test_show_of_what_is_not_there_names_the_nearest() -> None:
    result = RUN.invoke(dictionary_app, ["show", "sales_12n"])
    assert isinstance(result.exception, ConfigurationError) and "sales_12m" in str(result.exception)


def test_a_template_is_read_by_its_own_mapping_and_is_never_overwritten(tmp_path: Path) -> None:
    out = tmp_path / "visits.csv"
    assert RUN.invoke(features_app, ["template", "visits", "--out", str(out)], catch_exceptions=False).exit_code == 0
    head = out.read_text("utf-8-sig")
    with out.open("a", encoding="utf-8") as file:
        file.write("91110100MA0000001X,2024-03-05" + "," * (head.count(",") - 1) + "\n")
    tables = load(tmp_path / "visits.toml")
    raw = feature_table.open_records(tables, "visits", dt.date(2025, 1, 1))
    assert set(raw.heading.columns) == set(head.strip().split(","))
    again = RUN.invoke(features_app, ["template", "visits", "--out", str(out)])
    assert isinstance(again.exception, ConfigurationError) and "2024-03-05" in out.read_text("utf-8-sig")


BROKEN = {
    "owner_age": ("170", "outside 16 to 100"),
    "owner_experience": ("81", "outside 0 to 80"),
    "owner_education": ("doctor", "unknown spelling"),
    "owner_married": ("perhaps", "unknown spelling"),
    "owner_property": ("2", "unknown spelling"),
    "employees": ("-7", "negative"),
    "premises": ("tent", "unknown spelling"),
    "premises_order": ("6", "outside 1 to 5"),
    "stock_seen": ("-0.01", "outside 0 or more"),
    "books_kept": ("thrice", "unknown spelling"),
    "neighbours": ("0", "outside 1 to 5"),
    "recommends": ("nope", "unknown spelling"),
    "date": ("31/03/2024", "day and month"),
    "firm": ("91310000SECRET0001", "not a valid Unified Social Credit Code"),
}
"""An answer that breaks each question's rule, and the rule."""


def test_an_answer_of_the_visit_form_that_breaks_its_rule_is_refused_and_never_repeated(tmp_path: Path) -> None:
    assert set(BROKEN) == {column.name for column in record_kinds()["visits"].columns}
    out = tmp_path / "visits.csv"
    RUN.invoke(features_app, ["template", "visits", "--out", str(out)], catch_exceptions=False)
    explained = (tmp_path / "visits.toml").read_text()
    assert (
        "1 (poor) to 5 (excellent). (a whole number, 1 to 5)" in explained and "(yuan, with at most two decimals, 0 or more)" in explained
    )
    heading = out.read_text("utf-8-sig").strip().split(",")
    for name, (answer, rule) in BROKEN.items():
        form = {"firm": "91110100MA0000000N", "date": "2024-03-05"} | {name: answer}
        out.write_text(",".join(heading) + "\n" + ",".join(form.get(name, "") for name in heading) + "\n")
        result = RUN.invoke(dictionary_app, ["check", str(tmp_path / "visits.toml")])
        assert isinstance(result.exception, DataError) and name in str(result.exception) and rule in str(result.exception), name
        said = str(result.exception).replace(rule, "").partition("(row")[0]
        assert f" {answer} " not in said and "SECRET" not in str(result.exception)


def test_features_of_the_owner_have_the_levels_of_the_form() -> None:
    """What is sensitive on the form is not less so as a feature."""
    for feature, column in FEATURES.items():
        asked, made = record_kinds()["visits"].column(column), features()[feature]
        assert (made.level, made.classification) == (asked.level, asked.classification), feature
    owner = [features()[name] for name in FEATURES if name.startswith("owner_")]
    assert len(owner) == 5 and {feature.classification for feature in owner} == {"C2"}


def test_the_forms_ranges_are_those_of_the_features_made_of_it() -> None:
    ranges = {column.name: column.range for column in record_kinds()["visits"].columns if column.bounds}
    assert ranges == {name: features()[feature].range for feature, name in FEATURES.items() if name in ranges} and len(ranges) == 5
