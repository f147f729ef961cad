"""A label party's vault makes outcomes: the rows that have one, in any kind of file, and what is refused, with counts and never a value."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pandas as pd
import pytest

from clients.party_config import PartyConfig
from clients.sources.opening import stamp
from clients.target_results import target_documents
from clients.vault import describe_repayments, describe_table, open_table
from federation.kernel.errors import ConfigurationError, CreditfedError, DataError
from federation.kernel.manifest import Manifest, PartyDeclaration, SampleSettings, TargetSettings
from federation.kernel.manifest_rules import check_manifest
from federation.models.sample import draw_sample
from federation.models.table import Table
from privacy.approval.words import describe
from privacy.disclosure.release import named_rows
from tests.post import manifest as house_manifest
from tests.repayment_oracle import Oracle
from tests.repayment_oracle import number as month_number
from tests.repayment_tables import Book, feature_table, make_book
from tests.vault_scene import SALT, manifest

MONTHS = ["2021-06", "2021-12", "2022-06", "2022-12"]
TARGET = TargetSettings(performance_months=6)


@pytest.fixture(scope="module")
def book() -> Book:
    return make_book(firms=80, months=24, gaps=0.03)


MAPPING = """role = "bank"
dictionary = "1.0"

[repayments.source]
url = "sqlite:///book.db"
table = "rows"

[repayments.columns]
loan = "合同号"
days_past_due = "overdue"

[repayments.values.status]
current = ["正常"]

[loans.source]
url = "sqlite:///book.db"
table = "contracts"

[loans.columns]
loan = "合同号"
"""


def database(folder: Path, book: Book) -> PartyConfig:
    """The tables in a database, under the bank's own names and in its own words, and a row there twice; its mapping."""
    own = {"loan": "合同号", "days_past_due": "overdue"}
    rows = book.repayments.assign(status=book.repayments["status"].replace("current", "正常")).rename(columns=own)
    with sqlite3.connect(folder / "book.db") as at:
        pd.concat([rows, rows.head(7)]).to_sql("rows", at, index=False)
        book.loans.rename(columns=own).to_sql("contracts", at, index=False)
    at.close()
    (folder / "mapping.toml").write_text(MAPPING)
    feature_table(book, MONTHS).to_parquet(folder / "bank.parquet", index=False)
    return config(folder, repayments="mapping.toml", loans=None)


def write(folder: Path, book: Book, kind: str = "parquet") -> PartyConfig:
    """The tables as files; the node's section over them."""
    if kind == "mapping":
        return database(folder, book)
    tables = {"bank": feature_table(book, MONTHS), "repayments": book.repayments, "loans": book.loans}
    for name, table in tables.items():
        path = folder / f"{name}.{kind}"
        if kind == "csv":
            table.to_csv(path, index=False)
        elif kind == "parquet":
            table.to_parquet(path, index=False)
        else:
            (folder / name).mkdir()
            for part in range(3):
                table.iloc[part::3].to_parquet(folder / name / f"part-{part}.parquet", index=False)
    end = "" if kind == "folder" else f".{kind}"
    return config(folder, source=f"bank{end}", repayments=f"repayments{end}", loans=f"loans{end}")


def config(folder: Path, **changes: Any) -> PartyConfig:
    section = {
        "name": "bank", "role": "bank", "source": "bank.parquet", "as_of": "as_of", "repayments": "repayments.parquet", "loans": "loans.parquet"
    } | changes  # fmt: skip
    return PartyConfig.from_dict({key: value for key, value in section.items() if value is not None}, folder)


def of(settings: PartyConfig, target: TargetSettings | None = TARGET) -> Manifest:
    return manifest(settings, describe_table(settings), key="firm and month", periods=tuple(MONTHS), as_of=True, target=target)


def opened(settings: PartyConfig, target: TargetSettings | None = TARGET, **more: Any) -> Table:
    return open_table(settings, of(settings, target), SALT, **more)


@pytest.mark.parametrize("kind", ["parquet", "csv", "folder", "mapping"])
def test_rows_and_labels_are_those_of_plain_python_whatever_the_file(tmp_path: Path, book: Book, kind: str) -> None:
    table = opened(write(tmp_path, book, kind))
    oracle = Oracle(book.repayments, book.loans, TARGET)
    wanted = {f"{firm}|{month}": oracle.row(firm, month_number(month)) for firm in book.firms for month in MONTHS}
    assert table.label is not None and table.target is not None
    assert dict(zip(table.keys, table.label.tolist(), strict=True)) == {
        key: int(outcome == "bad") for key, outcome in wanted.items() if outcome in ("good", "bad")
    }
    steps = {step["name"]: step["rows"] for step in table.target.document({})["waterfall"]}
    assert steps.pop("rows of the feature table") == len(wanted)
    assert steps == {name: sum(one == name for one in wanted.values()) for name in steps}
    assert sum(steps.values()) == len(wanted)
    assert table.as_of is not None and len(table.as_of) == table.rows == len(table.columns["own_0"].values)


def test_the_same_records_in_another_order_give_the_same_commitment_and_another_outcome_another(tmp_path: Path, book: Book) -> None:
    settings = write(tmp_path, book)
    first = opened(settings)
    book.repayments.sample(frac=1.0, random_state=3).to_parquet(tmp_path / "repayments.parquet", index=False)
    assert opened(settings).commitment == first.commitment
    bad = book.repayments.assign(days_past_due=np.where(book.repayments["date"] >= "2022-11-30", 500, book.repayments["days_past_due"]))
    bad.to_parquet(tmp_path / "repayments.parquet", index=False)
    assert opened(settings).commitment != first.commitment


def test_a_table_without_features_and_observation_months_alone(tmp_path: Path, book: Book) -> None:
    settings = write(tmp_path, book)
    feature_table(book, MONTHS)[["id", "as_of"]].to_parquet(tmp_path / "bank.parquet", index=False)
    table = opened(settings, msgspec.structs.replace(TARGET, observe_from="2021-12", observe_every=12))
    assert table.columns == {} and table.label is not None and 0 < table.label.sum() < table.rows
    assert {key.split("|")[1] for key in table.keys} == {"2021-12"}


def test_other_names_of_the_dictionary_and_other_spellings_are_understood(tmp_path: Path, book: Book) -> None:
    settings = write(tmp_path, book)
    plain = opened(settings)
    other = book.repayments.rename(columns={"loan": "loan_id", "firm": "borrower", "days_past_due": "dpd"})
    other["status"] = other["status"].map({"written_off": " Written off ", "current": None}).fillna(other["status"].str.upper())
    other["borrower"] = other["borrower"].str.lower()
    other.to_parquet(tmp_path / "repayments.parquet", index=False)
    assert opened(settings).commitment == plain.commitment


def test_records_of_firms_without_consent_are_in_no_figure(tmp_path: Path, book: Book) -> None:
    settings = write(tmp_path, book)
    allowed = set(book.firms[:40])
    table = opened(settings, consented=lambda firms, _: np.array([firm in allowed for firm in firms], bool))
    assert set(table.firms) <= allowed and table.target is not None
    fewer = Book(book.loans, book.repayments[book.repayments["firm"].isin(allowed)], book.firms[:40], book.risk[:40])
    (tmp_path / "fewer").mkdir()
    wanted = opened(write(tmp_path / "fewer", fewer)).target
    assert wanted is not None
    assert table.target.monthly.counts.tolist() == wanted.monthly.counts.tolist() and table.target.vintages == wanted.vintages
    assert any("rows of the repayment table are of firms without a row" in note for note in table.notes)


def test_rows_whose_window_reaches_over_the_split_are_in_no_sample_and_are_counted(tmp_path: Path, book: Book) -> None:
    table = opened(write(tmp_path, book))
    assert table.as_of is not None
    split = SampleSettings(as_of=True, out_of_time_from="2022-09-01", target=TARGET)
    sample = draw_sample(table, split)
    months = table.as_of.astype("datetime64[M]")
    inside = sample.train | sample.test
    assert (months[inside] + 6 <= np.datetime64("2022-09")).all() and inside.any()
    assert sample.purged is not None and not (sample.purged & (inside | sample.out_of_time)).any()
    late = months >= np.datetime64("2022-09")
    assert int(sample.purged.sum()) == int((~late & (months + 6 > np.datetime64("2022-09"))).sum())
    plain = draw_sample(table, msgspec.structs.replace(split, target=None))  # control: without a target nothing is purged
    assert plain.purged is not None and not plain.purged.any()
    assert (months[plain.train] + 6 > np.datetime64("2022-09")).any()
    documents = target_documents(table, table, sample)
    assert documents is not None
    rows = {step["name"]: step["rows"] for step in documents[0]["waterfall"] if step["kind"] in ("sample", "left out")}
    assert sum(rows.values()) == table.rows


def test_a_window_that_ends_on_the_day_of_the_split_is_in_time_and_one_that_ends_after_it_is_not(tmp_path: Path, book: Book) -> None:
    table = opened(write(tmp_path, book))
    for day, purged in (("2022-06-01", set[str]()), ("2022-05-31", {"2021-12"})):
        sample = draw_sample(table, SampleSettings(as_of=True, out_of_time_from=day, target=TARGET))
        assert sample.purged is not None
        assert {key.split("|")[1] for key, gone in zip(table.keys, sample.purged, strict=True) if gone} == purged


def test_a_row_with_another_outcome_is_another_row_of_a_release(tmp_path: Path, book: Book) -> None:
    settings = write(tmp_path, book)
    one, other = opened(settings), opened(settings, msgspec.structs.replace(TARGET, days_past_due=120, indeterminate_from=120))
    keys, firms = named_rows(one)
    assert len(keys) == len(firms) == 2 * one.rows and len(set(keys)) == len(keys)
    assert set(named_rows(other)[0]) != set(keys)
    plain = Table(one.keys, one.firms, one.columns, b"", label=one.label)
    assert named_rows(plain) == (one.keys, one.firms)  # a column of outcomes is as it was


BROKEN: dict[str, tuple[dict[str, Any], str]] = {
    "loan missing": ({"loan": None}, "column 'loan' of the repayments has 1 of"),
    "firm missing": ({"firm": None}, "column 'firm' of the repayments has 1 of"),
    "firm malformed": ({"firm": "SECRET-ID"}, "no id of the feature table's kind"),
    "no date": ({"date": "SECRET"}, "column 'date' of the repayments has 1 of"),
    "days negative": ({"days_past_due": "-7"}, "no whole number"),
    "days no number": ({"days_past_due": "SECRET"}, "values that are not numbers"),
    "days blank": ({"days_past_due": None}, "no whole number"),
    "status unknown": ({"status": "SECRET"}, "none of current, restructured, written_off, closed"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_repayment_table_that_breaks_a_rule_is_refused_with_column_and_count(tmp_path: Path, book: Book, case: str) -> None:
    settings = write(tmp_path, book, "csv")
    changes, words = BROKEN[case]
    table = book.repayments.astype(object)
    place = table.index[(table["status"] == "current").to_numpy()][5]
    for column, value in changes.items():
        table.loc[place, column] = value
    table.to_csv(tmp_path / "repayments.csv", index=False)
    with pytest.raises(DataError) as refused:
        opened(settings)
    assert words in str(refused.value) and "SECRET" not in str(refused.value) and "-7" not in str(refused.value)


def test_loans_that_break_a_rule_are_refused(tmp_path: Path, book: Book) -> None:
    settings = write(tmp_path, book)
    for table, words in (
        (pd.concat([book.loans, book.loans.head(2)]), "2 rows of the table of loans repeat"),
        (book.loans.assign(fraud="SECRET"), "neither yes nor no"),
        (book.loans.assign(opened=pd.Timestamp("2030-01-01")), "from before the month in which they were opened"),
        (book.loans.drop(columns="opened"), "there is no column 'opened'"),
    ):
        table.to_parquet(tmp_path / "loans.parquet", index=False)
        with pytest.raises(DataError, match=words) as refused:
            opened(settings)
        assert "SECRET" not in str(refused.value)


def test_a_window_longer_than_the_data_says_so_and_rows_too_late_name_the_last_month_with_outcomes(tmp_path: Path, book: Book) -> None:
    settings = write(tmp_path, book)
    with pytest.raises(
        DataError, match="window of 30 months is longer than the data: the repayment table has 24 months, 2021-01 to 2022-12"
    ):
        opened(settings, TargetSettings(performance_months=30))
    feature_table(book, ["2022-12"]).to_parquet(tmp_path / "bank.parquet", index=False)
    with pytest.raises(
        DataError, match=r"no row of the feature table has an outcome \(80 not matured\).*last month with outcomes is 2022-07"
    ):
        opened(settings)


def test_one_class_alone_a_firms_month_twice_and_foreign_firms_are_refused(tmp_path: Path, book: Book) -> None:
    settings = write(tmp_path, book)
    book.repayments.assign(days_past_due=0, status="current").to_parquet(tmp_path / "repayments.parquet", index=False)
    with pytest.raises(DataError, match="rows with an outcome are good"):
        opened(settings)
    write_again = feature_table(book, MONTHS)
    pd.concat([write_again, write_again.head(3)]).to_parquet(tmp_path / "bank.parquet", index=False)
    with pytest.raises(DataError, match="a firm's month"):
        opened(settings)
    feature_table(make_book(firms=10, seed=1), MONTHS).assign(id=[f"x{i // 4}" for i in range(40)]).to_parquet(tmp_path / "bank.parquet")
    with pytest.raises(CreditfedError):
        opened(settings)


def test_repayments_without_a_target_are_refused_by_the_vault_itself(tmp_path: Path, book: Book) -> None:
    with pytest.raises(DataError, match="the manifest has no target"):
        opened(write(tmp_path, book), None)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"label": "label"}, "both label and repayments"),
        ({"repayments": None}, "loans goes with repayments"),
        ({"as_of": None}, "need the month of each row"),
    ],
)
def test_node_toml_has_one_kind_of_outcomes(tmp_path: Path, changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        config(tmp_path, **changes)


def declared(target: TargetSettings | None, *, label: bool = True, repayments: bool = True) -> Manifest:
    made = house_manifest("bank", "platform", "tax", contracts=("session", "align", "logistic"), purpose="decide")
    bank: PartyDeclaration = msgspec.structs.replace(made.parties[0], label=label, repayments=repayments)
    sample = msgspec.structs.replace(made.sample, target=target)
    return msgspec.structs.replace(made, parties=(bank, *made.parties[1:]), sample=sample)


def test_a_manifest_has_a_target_where_a_party_has_repayments_and_nowhere_else() -> None:
    check_manifest(declared(TARGET))
    check_manifest(declared(None, repayments=False))
    for wrong, words in (
        (declared(None), "nothing says what an outcome is"),
        (declared(TARGET, repayments=False), "brings a column of outcomes"),
        (declared(TargetSettings(days_past_due=20, indeterminate_from=30)), "is above days_past_due"),
        (declared(TargetSettings(good_standing=90)), "is not below days_past_due"),
        (declared(TargetSettings(observe_from="2024-13")), "is not a month"),
        (declared(TargetSettings(observe_from="2024-03", observe_to="2024-01")), "lies before observe_from"),
    ):
        with pytest.raises(ConfigurationError, match=words):
            check_manifest(wrong)


def test_who_approves_reads_the_definition() -> None:
    text = "\n".join(line for section in describe(declared(TARGET), "bank") for line in section.lines)
    assert "bad from 90 days past due at any month's end of the 6 months from a row's month on" in text
    assert "sample.target.performance_months = 6" in text and "its outcomes, made of its repayment table" in text


def test_the_findings_are_json_and_have_no_identifier(tmp_path: Path, book: Book) -> None:
    table = opened(write(tmp_path, book))
    documents = target_documents(table, table, draw_sample(table, SampleSettings(target=TARGET)))
    assert documents is not None
    text = json.dumps(documents)
    assert not any(firm in text for firm in book.firms) and "L0000" not in text


def test_by_a_mapping_the_door_tells_what_it_cleaned_in_words_alone_and_what_is_not_mapped_is_named(tmp_path: Path, book: Book) -> None:
    settings = database(tmp_path, book)
    facts = describe_repayments(settings)
    assert any("fewer than" in note and "rows of the repayments were set aside (the same record again)" in note for note in facts.notes)
    assert stamp(settings) is None, "what lies behind a mapping may change unseen"
    without = MAPPING[: MAPPING.index("[loans")]
    (tmp_path / "mapping.toml").write_text(without)
    assert opened(settings).rows > 0, "the table of loans may be left out"
    (tmp_path / "mapping.toml").write_text(MAPPING[: MAPPING.index("[repayments")] + MAPPING[MAPPING.index("[loans") :])
    with pytest.raises(DataError, match=r"no table \[repayments\]"):
        opened(settings)
    (tmp_path / "mapping.toml").write_text(MAPPING.replace('current = ["正常"]', 'current = ["ordinary"]'))
    with pytest.raises(DataError, match="unknown spelling") as refused:
        opened(settings)
    assert "正常" not in str(refused.value)
    with sqlite3.connect(tmp_path / "book.db") as at:
        at.execute("delete from rows")
    at.close()
    (tmp_path / "mapping.toml").write_text(MAPPING)
    with pytest.raises(DataError, match="no row"):
        opened(settings)
