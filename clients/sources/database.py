"""A table or query of a database, through SQLAlchemy: read only, the wanted columns alone, a few thousand rows at a time.

Nothing is ever committed. PostgreSQL and its kin are asked for a transaction that is read only and sees one moment (REPEATABLE READ), Oracle
and MySQL for one that is read only; SQLite's file is opened read only; elsewhere the role's rights must see to it. A query of the user's is
read as `SELECT columns FROM (query)`, through a cursor on the server, which takes one statement: what writes is no part of such a one.

What a database raises may quote rows, its URL a password: of an error only where, kind and what to do are told (`database_errors`).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar
from urllib.parse import quote

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql.base import PGDialect
from sqlalchemy.engine import URL
from sqlalchemy.exc import NoSuchModuleError
from sqlalchemy.pool import NullPool

from clients.database import Database, parse
from clients.sources.columns import Columns
from clients.sources.database_errors import no_driver, told
from clients.sources.frame import Frame
from clients.sources.table import Skipped

LOG_NAME: Final = "creditfed-source"
ROWS: Final = 8192
"""How many rows at a time: as Python's objects they are some MB."""
_READ_ONLY: Final = {"oracle": "SET TRANSACTION READ ONLY", "mysql": "SET TRANSACTION READ ONLY", "mariadb": "SET TRANSACTION READ ONLY"}
_UNREACHED: Final = "it cannot be reached, or does not let this user in"
_BROKE_OFF: Final = "reading it broke off"
_PATIENCE_S: Final = "10"
T = TypeVar("T")


@dataclass(frozen=True)
class DatabaseSource:
    """where: the party and the kind of database, never its address."""

    where: str
    database: Database
    names: tuple[str, ...]
    typed: bool = True

    def read(self, columns: Sequence[str], exact: Collection[str] = ()) -> Frame:
        """Those columns, rows in whatever order they come. Raises DataError, ConfigurationError."""
        found = Columns(self.where, columns, exact)
        relation = _relation(self.database, columns)

        def take(connection: sa.Connection) -> None:
            with connection.execute(sa.select(*(relation.c[name] for name in columns))) as result:
                for rows in result.partitions():
                    found.add(rows)

        reading(self.database, self.where, _BROKE_OFF, take)
        return found.frame()

    def batches(self, columns: Sequence[str], skipped: Skipped) -> Iterator[Any]:  # noqa: ARG002  # a database has no rows to pass over
        """Those columns, some thousand rows at a time, each batch typed by its own values. Raises as `reading` does, outside the handler."""
        relation, engine, failure = _relation(self.database, columns), _engine(self.database, self.where), None
        phase = _UNREACHED
        try:
            with engine.connect() as connection:
                phase = _BROKE_OFF
                _only_reading(connection)
                with connection.execute(sa.select(*(relation.c[name] for name in columns))) as result:
                    for rows in result.partitions():
                        found = Columns(self.where, columns, columns)
                        found.add(rows)
                        yield found.batch()
        except Exception as error:  # noqa: BLE001  # as in `reading`
            failure = told(self.where, phase, error)
        finally:
            engine.dispose()
        if failure is not None:
            raise failure


def open_database(database: Database, name: str) -> DatabaseSource:
    """Look at the table's or query's columns. name: the party's. Raises DataError, ConfigurationError."""
    dialect = parse(database.url).get_backend_name()
    where = f"{name}: database source ({dialect})"
    query = sa.select(sa.text("*")).select_from(_relation(database, ())).where(sa.false())

    def look(connection: sa.Connection) -> tuple[str, ...]:
        with connection.execute(query) as result:
            return tuple(map(str, result.keys()))

    return DatabaseSource(where, database, reading(database, where, "its table or query cannot be read", look))


def reading(database: Database, where: str, what: str, use: Callable[[sa.Connection], T]) -> T:
    """What is made of a connection that only reads. what: has failed, where `use` does.

    Raises DataError, ConfigurationError, outside the handler, so that a driver's error does not hang on to ours.
    """
    engine = _engine(database, where)
    phase = _UNREACHED
    try:
        with engine.connect() as connection:
            phase = what
            _only_reading(connection)
            return use(connection)
    except Exception as error:  # noqa: BLE001  # the adapter's edge: drivers raise what they like, and quote rows in it
        failure = told(where, phase, error)
    finally:
        engine.dispose()
    raise failure


def _only_reading(connection: sa.Connection) -> None:
    connection.execution_options(stream_results=True, yield_per=ROWS)
    if isinstance(connection.dialect, PGDialect):
        connection.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
    elif connection.dialect.name in _READ_ONLY:
        connection.exec_driver_sql(_READ_ONLY[connection.dialect.name])


def _engine(database: Database, where: str) -> sa.Engine:
    """An engine that logs no row, keeps no connection, and has the password."""
    url, failed = _with_password(_settled(parse(database.url), database.home), database), False
    try:
        engine = sa.create_engine(url, hide_parameters=True, logging_name=LOG_NAME, poolclass=NullPool)
    except (NoSuchModuleError, ImportError):
        failed = True
    if failed:
        raise no_driver(where, url.get_backend_name())
    logging.getLogger(f"sqlalchemy.engine.Engine.{LOG_NAME}").setLevel(logging.WARNING)  # at DEBUG it would log each row
    return engine


def _settled(url: URL, home: Path) -> URL:
    """The URL as it is used: PostgreSQL by psycopg and not for ever, SQLite's file read only and by its place at the node."""
    if url.drivername == "postgresql":
        url = url.set(drivername="postgresql+psycopg")
    if url.drivername == "postgresql+psycopg" and "connect_timeout" not in url.query:
        url = url.update_query_dict({"connect_timeout": _PATIENCE_S})
    if url.get_backend_name() == "sqlite":
        path = quote(str(home / (url.database or "")))
        url = url.set(database=f"file:{path}").update_query_dict({"mode": "ro", "uri": "true"})
    return url


def _with_password(url: URL, database: Database) -> URL:
    password = database.password()
    return url if password is None else url.set(password=password.reveal().decode())


def _relation(database: Database, columns: Sequence[str]) -> Any:
    """What is selected from; each name is quoted where it is not a plain one."""
    named: list[sa.ColumnClause[Any]] = [sa.column(name) for name in columns]
    if database.table is not None:
        schema, _, table = database.table.rpartition(".")
        return sa.table(table, *named, schema=schema or None)
    query = (database.query or "").strip().removesuffix(";").replace(":", "\\:")  # no part of it is a parameter
    return sa.text(query).columns(*named).subquery("source")
