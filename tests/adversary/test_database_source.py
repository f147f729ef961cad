"""A database as a source: nothing is written to it, no name or query does more than select, and no error or log has a value or a password.

Controls do the same over a plain connection, and it works.
"""

from __future__ import annotations

import contextlib
import io
import logging
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from typer.testing import CliRunner

from clients.database import PASSWORD, Database
from clients.node_commands import app
from clients.party_config import PartyConfig
from clients.sources import database as reader
from clients.vault import describe_table
from federation.kernel.errors import ConfigurationError, CreditfedError, DataError
from tests.consent_scene import postgres
from tests.source_scene import run, schema, server, source
from tests.vault_scene import frame, opened

SECRET = "CANARY-5f8a20c9d1e7b346"
VALUE = "CANARY91310000"


def at(where: Any, folder: Path, **changes: Any) -> PartyConfig:
    return PartyConfig.from_dict({"name": "tax", "role": "tax", "source": where} | changes, folder)


def one(statement: str) -> Any:
    """What the database itself says."""
    engine = sa.create_engine(server())
    with engine.connect() as connection:
        found = connection.execute(sa.text(statement)).scalar()
    engine.dispose()
    return found


@pytest.fixture
def firms() -> str:
    """A table of ten, in a schema with a function that empties it."""
    return schema(
        "CREATE TABLE {s}.firms AS SELECT 'f' || i AS id, i AS x FROM generate_series(1, 10) AS i",
        "CREATE FUNCTION {s}.wipe() RETURNS bigint LANGUAGE sql VOLATILE AS "
        "'WITH gone AS (DELETE FROM {s}.firms RETURNING 1) SELECT count(*) FROM gone'",
        "CREATE SEQUENCE {s}.numbers",
    )


# -- nothing is written ---------------------------------------------------------------------------------------------------------------

WRITES = {
    "a function": "SELECT id, {s}.wipe() AS x FROM {s}.firms",
    "a function in the conditions": "SELECT id, x FROM {s}.firms WHERE {s}.wipe() >= 0",
    "a sequence": "SELECT id, nextval('{s}.numbers') AS x FROM {s}.firms",
    "delete returning": "DELETE FROM {s}.firms RETURNING id, x",
    "with delete": "WITH gone AS (DELETE FROM {s}.firms RETURNING id, x) SELECT id, x FROM gone",
    "with insert": "WITH more AS (INSERT INTO {s}.firms VALUES ('g', 1) RETURNING id, x) SELECT id, x FROM more",
    "another statement": "SELECT id, x FROM {s}.firms) AS s; DELETE FROM {s}.firms; SELECT id, x FROM (SELECT 'f' AS id, 1 AS x",
    "another transaction": "SELECT id, x FROM {s}.firms) AS s; COMMIT; BEGIN READ WRITE; DELETE FROM {s}.firms; COMMIT; SELECT id, x FROM (SELECT 'f' AS id, 1 AS x",
    "locks": "SELECT id, x FROM {s}.firms FOR UPDATE",
}


@pytest.mark.parametrize("name", WRITES)
def test_a_query_that_writes_is_refused_and_nothing_is_written(firms: str, tmp_path: Path, name: str) -> None:
    with pytest.raises(DataError) as caught:
        describe_table(at({"url": server(), "query": WRITES[name].replace("{s}", firms)}, tmp_path))
    assert any(finding in str(caught.value) for finding in ("read only", "not one SELECT", "only reads", "cannot be read"))
    assert one(f"SELECT count(*) FROM {firms}.firms") == 10
    assert one(f"SELECT last_value || is_called::text FROM {firms}.numbers") == "1false"


@pytest.mark.parametrize("name", [name for name in WRITES if not name.startswith(("another", "locks"))])
def test_control_over_a_plain_connection_the_same_query_writes(firms: str, name: str) -> None:
    run(server(), WRITES[name].replace("{s}", firms))
    assert one(f"SELECT count(*) FROM {firms}.firms") != 10 or one(f"SELECT is_called FROM {firms}.numbers")


def test_control_with_a_transaction_that_may_write_the_function_of_a_query_does(
    firms: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The subquery alone does not stop a function: the transaction does."""

    def weakened(connection: sa.Connection) -> None:
        connection.execution_options(isolation_level="AUTOCOMMIT")

    monkeypatch.setattr(reader, "_only_reading", weakened)
    describe_table(at({"url": server(), "query": WRITES["a function in the conditions"].replace("{s}", firms)}, tmp_path))
    assert one(f"SELECT count(*) FROM {firms}.firms") == 0


@pytest.mark.parametrize(
    "statement",
    ["DELETE FROM {s}.firms RETURNING id", "WITH more AS (INSERT INTO {s}.firms VALUES ('g', 1) RETURNING id) SELECT id FROM more"],
)
def test_the_transaction_itself_is_read_only(firms: str, tmp_path: Path, statement: str) -> None:
    database = at({"url": server(), "table": f"{firms}.firms"}, tmp_path).database
    assert database is not None

    def write(connection: sa.Connection) -> None:
        driver: Any = connection.connection.dbapi_connection  # past the cursor on the server, which takes SELECT alone
        driver.execute(statement.replace("{s}", firms))
        driver.commit()

    with pytest.raises(DataError, match="it would write, and the transaction is read only"):
        reader.reading(database, "tax", "failed", write)
    assert one(f"SELECT count(*) FROM {firms}.firms") == 10
    run(server(), statement.replace("{s}", firms))  # the control
    assert one(f"SELECT count(*) FROM {firms}.firms") != 10


def test_sqlite_is_opened_to_read_alone(tmp_path: Path) -> None:
    where = source("sqlite", frame(), tmp_path)
    before = (tmp_path / "data.sqlite").read_bytes()
    database = at(where, tmp_path).database
    assert database is not None
    with pytest.raises(DataError, match="failed"):
        reader.reading(database, "tax", "failed", lambda connection: connection.execute(sa.text("DELETE FROM firms")))
    assert (tmp_path / "data.sqlite").read_bytes() == before


# -- names are names ------------------------------------------------------------------------------------------------------------------

NAMES = ('x" FROM firms; DELETE FROM firms; --', "x'; DELETE FROM firms; --", "x); DELETE FROM firms; --", "%(x)s", ":x", "x`", "\\")


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_a_column_with_sql_for_a_name_is_a_column(tmp_path: Path, kind: str) -> None:
    data = frame().drop(columns=["label", "weight"]).assign(**{name: range(60) for name in NAMES})
    where = source(kind, data, tmp_path)
    table = opened(at(where, tmp_path, include=list(NAMES)))
    assert tuple(table.columns) == NAMES and table.rows == 60
    assert describe_table(at(where, tmp_path)).rows == 60


@pytest.mark.parametrize("name", NAMES)
def test_a_column_or_table_of_such_a_name_that_is_not_there_does_nothing(firms: str, tmp_path: Path, name: str) -> None:
    for settings in (
        at({"url": server(), "table": f"{firms}.firms"}, tmp_path, include=[name]),
        at({"url": server(), "table": f"{firms}.{name}"}, tmp_path), at({"url": server(), "table": name}, tmp_path),
    ):  # fmt: skip
        with pytest.raises(DataError):
            describe_table(settings)
    assert one(f"SELECT count(*) FROM {firms}.firms") == 10


# -- nothing is told ------------------------------------------------------------------------------------------------------------------


def everything(error: BaseException) -> str:
    return "".join(traceback.format_exception(error)) + repr(error) + repr(error.__dict__) + repr(error.__context__) + repr(error.__cause__)


@contextlib.contextmanager
def logged() -> Iterator[io.StringIO]:
    """All that is logged, at DEBUG, by anybody."""
    text, root = io.StringIO(), logging.getLogger()
    handler, level = logging.StreamHandler(text), root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    try:
        yield text
    finally:
        root.removeHandler(handler)
        root.setLevel(level)


BROKEN = {
    "a cast": "SELECT id, (id || '" + VALUE + "')::int AS x FROM {s}.firms",
    "a key of JSON": "SELECT id, ('{\"a\": ' || x || '" + VALUE + "')::json AS x FROM {s}.firms",
    "a table's name": f'SELECT id, x FROM {{s}}."{VALUE}"',
    "a column's name": f'SELECT id, "{VALUE}" AS x FROM {{s}}.firms',
    "a literal": f"SELECT id, x FROM {{s}}.firms WHERE x = '{VALUE}'::date",
}


@pytest.mark.parametrize("name", BROKEN)
def test_an_error_of_the_database_quotes_nothing(firms: str, tmp_path: Path, name: str) -> None:
    query = BROKEN[name].replace("{s}", firms)
    with logged() as log, pytest.raises(DataError) as caught:
        describe_table(at({"url": server(), "query": query}, tmp_path))
    assert VALUE not in everything(caught.value).replace(query, "")
    assert VALUE not in log.getvalue()


@pytest.mark.parametrize("name", BROKEN)
def test_control_the_drivers_own_error_does(firms: str, name: str) -> None:
    engine = sa.create_engine(server(), hide_parameters=True)
    with engine.connect() as connection, pytest.raises(sa.exc.DBAPIError) as caught:
        connection.execute(sa.text(BROKEN[name].replace("{s}", firms).replace(":", r"\:"))).all()
    engine.dispose()
    assert VALUE in str(caught.value.orig)


def test_rows_are_not_logged(tmp_path: Path) -> None:
    data = frame().drop(columns=["label", "weight"])
    with logged() as log:
        opened(at(source("postgresql", data, tmp_path), tmp_path))
    assert not [text for text in data.id if text in log.getvalue()]


def test_control_an_engine_that_logs_shows_rows(tmp_path: Path) -> None:
    where = source("postgresql", frame(), tmp_path)
    with logged() as log:
        engine = sa.create_engine(where["url"], logging_name="weakened")
        logger = logging.getLogger("sqlalchemy.engine.Engine.weakened")
        logger.setLevel(logging.DEBUG)
        with engine.connect() as connection:
            connection.execute(sa.text(f"SELECT id FROM {where['table']}")).all()
        engine.dispose()
        logger.setLevel(logging.NOTSET)
    assert [text for text in frame().id if text in log.getvalue()]


@pytest.fixture
def reader_url(firms: str) -> Iterator[tuple[str, str]]:
    """The URL of a role that has a password and may read the table, and the table."""
    _, folder = postgres()
    rules = folder / "pg_hba.conf"
    before = rules.read_text()
    rules.write_text(f"local all {firms}_reader scram-sha-256\n" + before)
    run(
        server(), f"CREATE ROLE {firms}_reader LOGIN PASSWORD '{SECRET}' CONNECTION LIMIT 4", f"GRANT USAGE ON SCHEMA {firms} TO {firms}_reader",
        f"GRANT SELECT ON {firms}.firms TO {firms}_reader", "SELECT pg_reload_conf()",
    )  # fmt: skip
    yield server().replace("postgres:@", f"{firms}_reader@"), f"{firms}.firms"
    rules.write_text(before)
    run(server(), "SELECT pg_reload_conf()")


def test_the_password_lets_in_and_shows_nowhere(reader_url: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url, table = reader_url
    settings = at({"url": url, "table": table}, tmp_path)
    monkeypatch.setenv(PASSWORD, SECRET)
    with logged() as log:
        assert describe_table(settings).rows == 10
        for wrong in (at({"url": url, "table": "pg_authid"}, tmp_path), at({"url": url, "query": "SELECT"}, tmp_path)):
            with pytest.raises(DataError) as caught:
                describe_table(wrong)
            assert SECRET not in everything(caught.value)
    assert SECRET not in log.getvalue() + repr(settings)


@pytest.mark.parametrize("password", ["", "wrong" + SECRET])
def test_a_wrong_password_is_told_and_not_repeated(
    reader_url: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, password: str
) -> None:
    url, table = reader_url
    monkeypatch.setenv(PASSWORD, password)
    with logged() as log, pytest.raises(DataError, match="does not let this user in") as caught:
        describe_table(at({"url": url, "table": table}, tmp_path))
    assert "CREDITFED_SOURCE_PASSWORD" in str(caught.value)
    assert not any(text in everything(caught.value) + log.getvalue() for text in (SECRET, table.partition(".")[0] + "_reader"))


@pytest.mark.parametrize(
    "url",
    [
        f"postgresql+psycopg://reader:{SECRET}@host/db", f"postgresql+psycopg://reader@host/db?password={SECRET}",
        f"postgresql+psycopg://reader@host/db?sslpassword={SECRET}", f"mssql+pyodbc:///?odbc_connect=DRIVER%3Dx%3BUID%3Dr%3BPWD%3D{SECRET}",
        f"hive://reader@host/db?auth_token={SECRET}", f"mysql+pymysql://reader@host/db?passwd={SECRET}",
    ],
)  # fmt: skip
def test_a_password_in_the_url_is_refused_and_not_repeated(url: str, tmp_path: Path) -> None:
    attempts: list[Callable[[], Any]] = [
        lambda: at({"url": url, "table": "t"}, tmp_path), lambda: Database.from_dict({"url": url, "query": "q"}, tmp_path),
    ]  # fmt: skip
    for attempt in attempts:
        with pytest.raises(ConfigurationError, match="a password is written into url") as caught:
            attempt()
        assert SECRET not in everything(caught.value)
    with pytest.raises(CreditfedError) as refused:
        at(url, tmp_path)
    assert SECRET not in everything(refused.value)
    home = tmp_path / "node"
    told = CliRunner().invoke(app, ["init", "--name", "tax", "--role", "tax", "--source", url, "--table", "t", "--home", str(home)])
    assert isinstance(told.exception, ConfigurationError) and SECRET not in told.output + str(told.exception)
    assert not home.exists()


def test_control_a_url_without_a_password_is_taken(tmp_path: Path) -> None:
    url = "postgresql+psycopg://reader@host/db?sslmode=verify-full&passfile=/home/node/.pgpass"
    assert at({"url": url, "table": "t"}, tmp_path).database is not None
