"""A table is the same wherever it lies: file, folder, SQLite or PostgreSQL; and what is wrong with one is told in counts."""

from __future__ import annotations

import os
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import sqlalchemy as sa

from clients.database import PASSWORD
from clients.party_config import PartyConfig
from clients.sources.columns import Columns
from clients.vault import Vault, describe_table
from federation.kernel.errors import ConfigurationError, CreditfedError, DataError
from federation.kernel.secret import Secret
from tests.source_scene import DATABASES, KINDS, run, schema, server, source
from tests.vault_scene import SALT, config, frame, manifest, opened, partner, same, saved

ODD = ('a"q', "金额", "x%s:y", "a b", 'x"; DROP TABLE firms; --', "select", "Mixed")


def at(where: Any, folder: Path, **changes: Any) -> PartyConfig:
    return PartyConfig.from_dict({"name": "bank", "role": "bank", "source": where, "label": "label"} | changes, folder)


def messy() -> pd.DataFrame:
    data = frame().assign(**{name: np.arange(60) / 7 + i for i, name in enumerate(ODD)})
    data.loc[3, ["gmv", "金额"]] = np.nan
    data.loc[4, "tier"] = None
    return data


# -- one table ------------------------------------------------------------------------------------------------------------------------


def test_commitments_are_those_that_earlier_versions_made(tmp_path: Path) -> None:
    data = frame().assign(as_of="2024-01-31")
    data.loc[3, "gmv"] = np.nan
    data.loc[4, "tier"] = None
    settings = config(saved(tmp_path, data), weight="weight", as_of="as_of")
    first = opened(settings, key="firm and month", periods=("2024-01",))
    assert first.commitment.hex() == "db2d606439604ebefc643d71cff3e95023857c118219cdad87c9bde5730c9ce7"
    other = config(saved(tmp_path, data.drop(columns=["label", "weight"]), "b.csv"), label=None, role="tax")
    assert opened(other).commitment.hex() == "9dbdea8a4388abbcb6056f30dc0f922824c48df1402e977e91c57ca87f25f9f4"


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_source_gives_the_identical_table_and_commitment(tmp_path: Path, kind: str) -> None:
    data = messy()
    expected = opened(config(saved(tmp_path, data), weight="weight"))
    mixed = data.sample(frac=1, random_state=1)
    assert same(expected, opened(at(source(kind, mixed, tmp_path), tmp_path, weight="weight")))
    assert set(ODD) <= set(expected.columns)


@pytest.mark.parametrize("kind", KINDS)
def test_control_one_cell_changes_the_commitment_in_every_kind(tmp_path: Path, kind: str) -> None:
    data = frame()
    expected = opened(config(saved(tmp_path, data)))
    data.loc[17, "gmv"] += 0.01
    assert opened(at(source(kind, data, tmp_path), tmp_path)).commitment != expected.commitment


def test_types_of_postgresql_are_those_of_parquet(tmp_path: Path) -> None:
    name = schema(
        """CREATE TABLE {s}.firms AS SELECT 'f' || i AS id, i % 2 AS label, (i / 8.0)::numeric(12, 3) AS fixed, (i / 3.0)::numeric AS loose,
        i % 3 = 0 AS flag, (i % 4)::numeric(6, 2) AS code, i::bigint AS whole, now() AS at, ARRAY[i] AS list, 'x'::bytea AS raw,
        gen_random_uuid() AS token, NULL::text AS nothing, (i / 7.0)::real AS single
        FROM generate_series(0, 199) AS i"""
    )
    settings = at({"url": server(), "table": f"{name}.firms"}, tmp_path, types={"code": "categorical"})
    facts = describe_table(settings)
    assert {column.name: column.kind for column in facts.columns} == {
        "fixed": "numeric", "loose": "numeric", "flag": "categorical", "code": "categorical", "whole": "numeric", "single": "numeric",
    }  # fmt: skip
    reasons = {"at": "dates", "list": "neither", "raw": "neither", "token": "another value", "nothing": "no value"}
    for column, reason in reasons.items():
        assert any(f"'{column}'" in note and reason in note for note in facts.notes), column
    rows = [Decimal(i) for i in range(200)]
    twin = pa.table({
        "id": [f"f{i}" for i in range(200)], "label": [i % 2 for i in range(200)], "fixed": pa.array([i / 8 for i in rows], pa.decimal128(12, 3)),
        "loose": [float(round(Decimal(i) / 3, 16)) for i in range(200)], "flag": [i % 3 == 0 for i in range(200)],
        "code": pa.array([i % 4 for i in rows], pa.decimal128(6, 2)), "whole": list(range(200)),
        "single": pa.array([i / 7 for i in range(200)], pa.float32()),
    })  # fmt: skip
    pa.parquet.write_table(twin, tmp_path / "twin.parquet")
    other, one = opened(config(tmp_path / "twin.parquet", types={"code": "categorical"})), opened(settings)
    for column in ("fixed", "flag", "code", "whole"):
        assert one.columns[column].values.tolist() == other.columns[column].values.tolist(), column
    assert np.allclose(one.columns["loose"].values, other.columns["loose"].values, rtol=0, atol=1e-12)
    assert np.allclose(one.columns["single"].values, other.columns["single"].values, rtol=1e-6)
    assert set(one.columns["code"].values) == {"0.00", "1.00", "2.00", "3.00"}


def test_a_decimal_becomes_the_nearest_number_and_not_arrows() -> None:
    exact = [Decimal(i) / 100 for i in range(100_001)]
    found = Columns("here", ("x",), ())
    found.add([(value,) for value in exact])
    assert found.frame().take("x").tolist() == [float(value) for value in exact]
    assert pa.array(exact).cast(pa.float64()).to_pylist() != [float(value) for value in exact]  # why


def test_time_stamps_with_a_zone_are_days_on_the_clock_of_the_role(tmp_path: Path) -> None:
    name = schema(
        "CREATE TABLE {s}.firms AS SELECT 'f' || i AS id, i % 2 AS label, '2024-01-31 23:30+08'::timestamptz AS as_of FROM generate_series(0, 59) AS i"
    )
    table = opened(at({"url": f"{server()}&options=-cTimeZone%3DAsia/Shanghai", "table": f"{name}.firms"}, tmp_path, as_of="as_of"))
    assert table.as_of is not None and set(table.as_of) == {np.datetime64("2024-01-31")}
    elsewhere = opened(at({"url": f"{server()}&options=-cTimeZone%3DPacific/Auckland", "table": f"{name}.firms"}, tmp_path, as_of="as_of"))
    assert elsewhere.as_of is not None and set(elsewhere.as_of) == {np.datetime64("2024-02-01")}


@pytest.mark.parametrize("order", ["forwards", "backwards"])
@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([1, None, 2.5, 3], [1.0, None, 2.5, 3.0]),
        ([None, None, Decimal("1.5"), 2, Decimal("1.25")], [None, None, "1.50", "2.00", "1.25"]),
        ([Decimal("1.5"), Decimal("Infinity"), 2], [1.5, float("inf"), 2.0]),
        ([2**63, 1], [str(2**63), "1"]),
        ([Decimal(10**70), Decimal("1e-20")], [1e70, 1e-20]),
        (["a", None, "b"], ["a", None, "b"]),
    ],
)
def test_a_column_does_not_depend_on_how_its_rows_come(values: list[Any], expected: list[Any], order: str) -> None:
    step = 1 if order == "forwards" else -1
    for size in range(1, len(values) + 1):
        found, rows = Columns("here", ("x",), ("x",)), values[::step]
        for start in range(0, len(rows), size):
            found.add([(value,) for value in rows[start : start + size]])
        read = [None if pd.isna(value) else str(value) if isinstance(value, (Decimal, int)) else value for value in found.frame().take("x")]
        assert read == expected[::step], size


def test_a_big_number_beside_a_missing_one_is_spelled_in_full(tmp_path: Path) -> None:
    table = pa.table({"id": ["a", "b", "c"], "label": [0, 1, 0], "code": pa.array([2**53 + 1, None, 7], pa.int64())})
    pa.parquet.write_table(table, tmp_path / "data.parquet")
    codes = opened(config(tmp_path / "data.parquet", types={"code": "categorical"})).columns["code"].values.tolist()
    assert codes == [str(2**53 + 1), None, "7"]


def test_ids_that_pandas_wrote_as_its_index_are_found(tmp_path: Path) -> None:
    frame().set_index("id").to_parquet(tmp_path / "data.parquet")
    assert same(opened(config(tmp_path / "data.parquet")), opened(config(saved(tmp_path, frame(), "b.parquet"))))


# -- what is wrong --------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_wrong_with_a_table_is_told_in_counts(tmp_path: Path, kind: str) -> None:
    whole = frame()
    again = pd.concat([whole, whole.iloc[[5, 6]]], ignore_index=True)
    unlabelled = whole.astype({"label": "Float64"})
    unlabelled.loc[[1, 2, 3], "label"] = None
    for number, (data, finding) in enumerate(
        [
            (whole.iloc[:0], "no rows"),
            (whole.drop(columns="label"), "no column 'label'"),
            (again, "2 of 62 rows repeat"),
            (unlabelled, "column 'label' has 3 of 60"),
        ]
    ):
        here = tmp_path / str(number)
        here.mkdir()
        with pytest.raises(DataError) as caught:
            opened(at(source(kind, data, here), here))
        assert finding in str(caught.value)
        assert not any(one in str(caught.value) for one in whole.id)


@pytest.mark.parametrize("kind", DATABASES)
def test_a_query_is_a_source_and_reads_what_is_asked_alone(tmp_path: Path, kind: str) -> None:
    where = source(kind, frame(), tmp_path)
    query = f"SELECT id, label, gmv AS \"v:x\", 'a:b %s' AS note FROM {where['table']} WHERE orders > 10;"
    table = opened(at({"url": where["url"], "query": query}, tmp_path))
    assert table.rows == (frame().orders > 10).sum() and list(table.columns) == ["v:x", "note"]
    assert set(table.columns["note"].values) == {"a:b %s"}
    for wrong, finding in (
        ("SELECT id, id, orders FROM {t}", "more than once|no column 'label'"),  # SQLite gives the second another name
        ("SELECT nothing FROM {t}", "cannot be read|no such column"),
        ("ANALYZE", "cannot be read|not one SELECT"),
    ):
        with pytest.raises(DataError, match=finding):
            opened(at({"url": where["url"], "query": wrong.replace("{t}", where["table"])}, tmp_path))


def test_a_column_of_sqlite_with_two_kinds_of_value_is_refused(tmp_path: Path) -> None:
    where = source("sqlite", frame(), tmp_path)
    engine = sa.create_engine(where["url"])
    with engine.begin() as connection:
        connection.execute(sa.text("UPDATE firms SET gmv = 'CANARY' WHERE rowid = 7"))
    engine.dispose()
    with pytest.raises(DataError, match="column 'gmv' has values of two kinds") as caught:
        opened(at(where, tmp_path))
    assert "CANARY" not in str(caught.value)


@pytest.mark.parametrize("kind", DATABASES)
def test_a_table_that_is_not_there_is_told(tmp_path: Path, kind: str) -> None:
    where = source(kind, frame(), tmp_path)
    with pytest.raises(DataError, match=rf"bank: database source \({kind}\): (there is no such table|its table or query cannot be read)"):
        describe_table(at(where | {"table": "nothing"}, tmp_path))


def test_a_database_that_cannot_be_reached_is_told(tmp_path: Path) -> None:
    for url in ("postgresql+psycopg://reader@127.0.0.1:1/risk", f"sqlite:///{tmp_path}/none.db"):
        with pytest.raises(DataError, match="cannot be reached"):
            describe_table(at({"url": url, "table": "firms"}, tmp_path))
    assert not (tmp_path / "none.db").exists()


def test_a_driver_that_is_not_there_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    for url, package in (
        ("postgresql://r@h/d", r"creditfed\[postgresql\]"),
        ("oracle+oracledb://r@h/?service_name=s", "oracledb"),
        ("db2+ibm_db://r@h/d", "ibm_db_sa"),
        ("nonsense://r@h/d", "install its driver"),
    ):
        with pytest.raises(ConfigurationError, match=package):
            describe_table(at({"url": url, "table": "firms"}, tmp_path))


@pytest.mark.parametrize(
    ("section", "finding"),
    [
        ({"url": "sqlite:///x.db"}, "either table or query"),
        ({"url": "sqlite:///x.db", "table": "a", "query": "b"}, "either table or query"),
        ({"table": "a"}, "url is missing"),
        ({"url": "sqlite:///x.db", "table": 7}, "no text"),
        ({"url": "sqlite:///x.db", "tabel": "a"}, "'tabel' is no key"),
        ({"url": "no url", "table": "a"}, "not the URL"),
        ("postgresql://reader@host/db", "is a path"),
    ],
)
def test_a_section_that_is_none_is_refused(tmp_path: Path, section: Any, finding: str) -> None:
    with pytest.raises(ConfigurationError, match=finding):
        at(section, tmp_path)


def test_sqlite_lies_where_the_node_does_and_the_budget_has_the_tables_name(tmp_path: Path) -> None:
    source("sqlite", frame(), tmp_path)
    settings = at({"url": "sqlite:///data.sqlite", "table": "main.firms"}, tmp_path)
    assert describe_table(settings).rows == 60
    assert settings.budget_dataset == "firms"
    assert at({"url": "sqlite:///data.sqlite", "query": "select 1"}, tmp_path).budget_dataset == "data"


# -- the vault ------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", DATABASES)
def test_the_vault_reads_a_database_anew_and_an_open_run_keeps_its_rows(tmp_path: Path, kind: str) -> None:
    where = source(kind, frame(), tmp_path)
    settings = at(where, tmp_path)
    vault = Vault(settings, SALT)
    drafted = manifest(settings, vault.facts())
    begun = vault.rows_anew(drafted)
    assert vault.rows(drafted) is begun
    statement = f"DELETE FROM {where['table']} WHERE orders > 40"
    engine = sa.create_engine(where["url"])
    with engine.begin() as connection:
        connection.execute(sa.text(statement))
    engine.dispose()
    assert vault.rows(drafted) is begun
    assert vault.facts().rows == vault.rows_anew(drafted).rows == (frame().orders <= 40).sum() < begun.rows


def test_control_a_file_that_did_not_change_is_not_read_again(tmp_path: Path) -> None:
    settings = config(saved(tmp_path, frame()))
    vault = Vault(settings, SALT)
    drafted = manifest(settings, vault.facts())
    assert vault.rows_anew(drafted) is vault.rows_anew(drafted)


# -- the password ---------------------------------------------------------------------------------------------------------------------


def test_the_password_comes_from_the_variable_or_a_file_of_the_node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    database = at({"url": "postgresql://r@h/d", "table": "t"}, tmp_path).database
    assert database is not None and database.password() is None
    (tmp_path / "keys").mkdir()
    file = tmp_path / "keys" / "source.password"
    file.write_text("from the file\n")
    file.chmod(0o600)
    assert database.password() == Secret(b"from the file")
    monkeypatch.setenv(PASSWORD, "from outside")
    assert database.password() == Secret(b"from outside")
    monkeypatch.delenv(PASSWORD)
    file.chmod(0o640)
    with pytest.raises(ConfigurationError, match="chmod 600") as caught:
        database.password()
    assert "from the file" not in str(caught.value) + repr(database)
    assert os.environ.get(PASSWORD) is None


def test_a_path_is_still_a_path(tmp_path: Path) -> None:
    assert partner(tmp_path / "x", source="data.csv").source == tmp_path / "data.csv"
    assert partner(tmp_path / "x").database is None
    with pytest.raises(CreditfedError, match="'database' is no key"):
        partner(tmp_path / "x", database={"url": "sqlite:///x"})
    run(server(), "SELECT 1")
