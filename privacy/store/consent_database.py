"""The database of the consent ledger: its two engines, and one way to read and to change it.

SQLite in a file of mode 600, or PostgreSQL by URL. A change is one transaction, one after another.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, SQLAlchemyError

from federation.kernel.errors import ConfigurationError, CreditfedError, DataError
from privacy.store.consent_tables import SCHEMA_VERSION, facts, metadata

LOG_NAME: Final = "creditfed"
"""Of our engines among SQLAlchemy's loggers."""
_LOCK: Final = 0x63726564
"""Of PostgreSQL's advisory locks: whoever changes the ledger holds it."""


class Database:
    """The ledger's database, made when it is not there. fingerprint: of the key whose hashes it holds.

    Raises ConfigurationError for a URL that is none or has no driver, another schema, or another key; DataError where it cannot be used.
    """

    def __init__(self, url: str, fingerprint: bytes) -> None:
        self._engine = open_engine(url, "consent ledger", file_mode=0o600)
        self.dialect = self._engine.dialect.name
        self.where = "consent ledger" if self.dialect == "sqlite" else f"consent ledger ({self.dialect})"
        try:
            self._begin({"schema": str(SCHEMA_VERSION).encode(), "key": fingerprint})
        except CreditfedError:
            self.close()
            raise

    def _begin(self, needed: Mapping[str, bytes]) -> None:
        with self.reading() as connection:
            there = self._require(connection, needed)
        if not there:
            with self.changing() as connection:
                if not self._require(connection, needed):  # another process may have made it in between
                    metadata.create_all(connection)
                    connection.execute(facts.insert(), [{"name": name, "value": value} for name, value in needed.items()])

    def _require(self, connection: sa.Connection, needed: Mapping[str, bytes]) -> bool:
        """Whether the ledger is there, and as needed."""
        if not sa.inspect(connection).has_table(facts.name):
            return False
        found = {name: bytes(value) for name, value in connection.execute(sa.select(facts.c.name, facts.c.value))}
        if found.get("schema") != needed["schema"]:
            shown = found.get("schema", b"?")[:8].decode("ascii", "replace")
            what = f"it has schema {shown}, and this version of creditfed knows {SCHEMA_VERSION}"
            raise ConfigurationError(self.where, what, "Use the creditfed that wrote it, or a newer one; nothing was changed.")
        if found.get("key") != needed["key"]:
            raise ConfigurationError(self.where, "it was begun under another key", "Restore the node's key, keys/consent.key.")
        return True

    @contextmanager
    def reading(self) -> Iterator[sa.Connection]:
        """One moment of the ledger, whatever others write meanwhile."""
        with told_plainly(self.where), self._engine.connect() as connection:
            if self.dialect == "postgresql":
                connection.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
            with connection.begin():
                yield connection

    @contextmanager
    def changing(self) -> Iterator[sa.Connection]:
        """One transaction, alone, taken back whole by any error. On disk when it is left."""
        with told_plainly(self.where), self._engine.connect() as connection:
            connection.execution_options(writes=True)
            with connection.begin():
                if self.dialect == "postgresql":
                    connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_LOCK)))
                yield connection

    def close(self) -> None:
        """Let go of all connections."""
        self._engine.dispose()


@contextmanager
def told_plainly(where: str) -> Iterator[None]:
    """What a database raises may hold rows or a password: only its kind is told, as a DataError."""
    try:
        yield
    except SQLAlchemyError as problem:
        kind = type(getattr(problem, "orig", None) or problem).__name__
        action = "Nothing was changed. Check that the database runs, that this user may use it, and that the disk has room."
        raise DataError(where, f"the database cannot be used ({kind})", action) from None


def open_engine(url: str, where: str, file_mode: int | None = None) -> sa.Engine:
    """An engine that logs no row. file_mode: of a SQLite file that is made where there is none; None: it must be there.

    Raises ConfigurationError, without the URL, which may hold a password.
    """
    try:
        parsed = make_url(url)
        if parsed.drivername == "postgresql":
            parsed = parsed.set(drivername="postgresql+psycopg")
        engine = sa.create_engine(parsed, hide_parameters=True, logging_name=LOG_NAME)
    except (ArgumentError, ValueError):  # the latter for a port that is no number
        raise ConfigurationError(
            where, "its URL is none", "Write it like sqlite:///FILE or postgresql+psycopg://USER@HOST/DATABASE."
        ) from None
    except (NoSuchModuleError, ImportError):
        action = "Install it: pip install creditfed[postgresql] (for other databases, their own driver)."
        raise ConfigurationError(where, "the driver of its database is not installed", action) from None
    logging.getLogger(f"sqlalchemy.engine.Engine.{LOG_NAME}").setLevel(logging.WARNING)  # at DEBUG it would log each row
    if engine.dialect.name == "sqlite":
        _prepare_sqlite(engine, Path(parsed.database or ""), where, file_mode)
    return engine


def _prepare_sqlite(engine: sa.Engine, path: Path, where: str, file_mode: int | None) -> None:
    if not path.name or (file_mode is None and not path.is_file()):
        raise ConfigurationError(where, "there is no such SQLite file", "Check the URL: sqlite:/// and a path.")
    if file_mode is not None and not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        os.close(os.open(path, os.O_CREAT | os.O_WRONLY, file_mode))

    @event.listens_for(engine, "connect")
    def settle(connection: Any, _: Any) -> None:
        connection.isolation_level = None  # the driver would begin transactions late and by itself
        for pragma in ("busy_timeout = 30000", "synchronous = FULL", "secure_delete = ON", "foreign_keys = ON"):
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def begin(connection: sa.Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE" if connection.get_execution_options().get("writes") else "BEGIN")
