"""The run store's database: its schema is brought to the newest, a newer one and other databases are refused, and no password is told."""

from __future__ import annotations

import os
import sqlite3
import stat
from contextlib import closing

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext

from federation.kernel.errors import ConfigurationError, DataError
from federation.kernel.secret import Secret
from server.store import database
from server.store.database import PASSWORD, Database, store_password
from server.store.run_store import RunStore
from server.store.tables import SCHEMA_TABLE, metadata
from tests.store_scene import at, node

WORD = "s3cret-word"


def differences(url, tables=metadata):
    engine = sa.create_engine(url)
    with engine.connect() as connection:
        options = {"version_table": SCHEMA_TABLE, "compare_type": True, "compare_server_default": True}
        found = compare_metadata(MigrationContext.configure(connection, opts=options), tables)
    engine.dispose()
    return found


def everything(url):
    engine = sa.create_engine(url)
    found = sa.MetaData()
    with engine.connect() as connection:
        found.reflect(connection)
        rows = {table.name: [tuple(row) for row in connection.execute(sa.select(table))] for table in found.sorted_tables}
    engine.dispose()
    return rows


def change(url, statement):
    engine = sa.create_engine(url)
    with engine.begin() as connection:
        connection.execute(sa.text(statement))
    engine.dispose()


def test_the_migrations_make_the_tables_that_this_version_knows(url):
    RunStore.open(url).close()
    assert differences(url) == []
    assert set(everything(url)) == {"coordinator_nodes", "coordinator_runs", SCHEMA_TABLE}


def test_control_a_column_without_a_migration_is_found(url):
    RunStore.open(url).close()
    more = sa.MetaData()
    for table in metadata.sorted_tables:
        table.to_metadata(more)
    more.tables["coordinator_runs"].append_column(sa.Column("priority", sa.Integer))
    assert [found[0] for found in differences(url, more)] == ["add_column"]


def test_opening_again_changes_nothing(url):
    store = RunStore.open(url)
    store.enrol(node())
    store.submit("r", b"x", at(0))
    before = everything(url)
    for _ in range(2):
        RunStore.open(url).close()
    store.close()
    assert everything(url) == before


def test_a_newer_schema_is_refused_and_not_touched(url):
    RunStore.open(url).close()
    change(url, f"UPDATE {SCHEMA_TABLE} SET version_num = '9999'")
    before = everything(url)
    with pytest.raises(ConfigurationError, match="its schema is newer than 0001") as raised:
        RunStore.open(url)
    assert "9999" not in str(raised.value) and everything(url) == before


def test_a_migration_that_is_cut_short_leaves_nothing_behind(url, monkeypatch):
    upgrade = database.command.upgrade

    def torn(*given):
        upgrade(*given)
        raise sa.exc.OperationalError("", {}, OSError())

    monkeypatch.setattr(database.command, "upgrade", torn)
    with pytest.raises(DataError):
        RunStore.open(url)
    assert everything(url) == {}
    monkeypatch.undo()
    RunStore.open(url).close()
    assert differences(url) == []


def test_processes_that_open_an_empty_store_at_once_make_it_once(url):
    for _ in range(4):
        children = []
        for _ in range(4):
            child = os.fork()
            if child == 0:
                code = 1
                try:
                    RunStore.open(url).close()
                    code = 0
                finally:
                    os._exit(code)
            children.append(child)
        assert [os.waitpid(child, 0)[1] for child in children] == [0] * 4
        assert differences(url) == []
        for table in ("coordinator_nodes", "coordinator_runs", SCHEMA_TABLE):
            change(url, f"DROP TABLE {table}")


def test_a_table_of_another_program_is_not_touched(url):
    change_url(url)
    before = everything(url)
    with pytest.raises(DataError, match="cannot be used"):
        RunStore.open(url)
    assert everything(url) == before


def change_url(url):
    Database(url).close()  # makes the file, where it is one
    for table in ("coordinator_nodes", "coordinator_runs", SCHEMA_TABLE):
        change(url, f"DROP TABLE {table}")
    change(url, "CREATE TABLE coordinator_runs (theirs INTEGER)")
    change(url, "INSERT INTO coordinator_runs VALUES (7)")


# -- files and URLs --------------------------------------------------------------------------------------------------------------------------


def test_the_file_is_its_owners_alone_and_in_wal_mode(tmp_path):
    path = tmp_path / "coordinator" / "store.db"
    store = RunStore.open(f"sqlite:///{path}")
    store.submit("r", b"x", at(0))
    assert {stat.S_IMODE(one.stat().st_mode) for one in path.parent.iterdir()} == {0o600}
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    with closing(sqlite3.connect(path)) as other:
        assert other.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    store.close()


def test_who_reads_does_not_wait_for_who_writes(tmp_path):
    url = f"sqlite:///{tmp_path / 'store.db'}"
    writer, reader = Database(url), RunStore.open(url)
    reader.submit("r", b"x", at(0))
    with writer.changing() as connection:
        connection.execute(sa.text("UPDATE coordinator_runs SET stage = 'half'"))
        assert reader.run("r").stage == ""
    assert reader.run("r").stage == "half"
    writer.close()
    reader.close()


@pytest.mark.parametrize("url", ["", "store.db", "mysql://host/store", "mssql+pyodbc://host/store", "sqlite://", "sqlite:///"])
def test_what_is_no_url_of_a_store_is_refused(url):
    with pytest.raises(ConfigurationError, match=r"sqlite:///"):
        RunStore.open(url)


def test_a_file_that_is_no_store_is_told_plainly(tmp_path):
    (tmp_path / "store.db").write_text("these are no pages of a database, and the words in it are told to nobody")
    with pytest.raises(DataError, match="cannot be used") as raised:
        RunStore.open(f"sqlite:///{tmp_path / 'store.db'}")
    assert "words" not in str(raised.value)


# -- passwords ---------------------------------------------------------------------------------------------------------------------------------


def told(error: BaseException | None) -> str:
    """An error's text, and those that it came from."""
    text = ""
    while error is not None:
        text += f"{error!s} {error!r} {error.args}"
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return text


@pytest.mark.parametrize("url", [
    f"postgresql+psycopg://user:{WORD}@host/store", f"postgresql://user:{WORD}@/store", f"postgresql://user@/store?password={WORD}",
    f"postgresql://user@/store?sslpassword={WORD}", f"mysql://user:{WORD}@host/store", f"postgresql+psycopg://user:{WORD}@host:port/store",
])  # fmt: skip
def test_a_password_in_the_url_is_refused_and_not_told(url):
    with pytest.raises(ConfigurationError) as raised:
        RunStore.open(url)
    assert WORD not in told(raised.value)


@pytest.mark.parametrize("by_file", [True, False])
def test_a_server_that_is_not_there_is_told_without_the_password(tmp_path, monkeypatch, by_file):
    pytest.importorskip("psycopg")
    file = tmp_path / "password"
    file.write_text(WORD + "\n")
    file.chmod(0o600)
    if not by_file:
        monkeypatch.setenv(PASSWORD, WORD)
    with pytest.raises(DataError, match="cannot be used") as raised:
        RunStore.open(f"postgresql+psycopg://user@/store?host={tmp_path}", file if by_file else None)
    assert WORD not in told(raised.value)


def test_the_password_reaches_the_server(monkeypatch, tmp_path):
    pytest.importorskip("psycopg")
    import psycopg

    given = []

    def connect(*_arguments, **parameters):
        given.append(parameters)
        raise psycopg.OperationalError

    monkeypatch.setattr(psycopg, "connect", connect)
    monkeypatch.setenv(PASSWORD, "from the environment")
    file = tmp_path / "password"
    file.write_bytes("from the file ü%@\r\n".encode())
    file.chmod(0o600)
    for named in (None, file):
        with pytest.raises(DataError):
            RunStore.open("postgresql+psycopg://user@host/store", named)
    assert [said["password"] for said in given] == ["from the environment", "from the file ü%@"]


def test_a_password_file_that_others_may_read_is_refused(tmp_path):
    file = tmp_path / "password"
    file.write_text(WORD)
    for mode in (0o640, 0o604, 0o660):
        file.chmod(mode)
        with pytest.raises(ConfigurationError, match="others than its owner may use it") as raised:
            store_password(file)
        assert WORD not in told(raised.value)
    file.chmod(0o600)
    assert store_password(file) == Secret(WORD.encode())
    with pytest.raises(ConfigurationError, match="cannot be read"):
        store_password(tmp_path / "none")


def test_without_a_password_none_is_given(monkeypatch):
    monkeypatch.delenv(PASSWORD, raising=False)
    assert store_password() is None
