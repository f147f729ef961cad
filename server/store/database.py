"""The store's database: opened, brought to this version's schema, and one way each to read and to change it.

SQLite in a file of mode 600, in WAL mode, so that who reads never waits for who writes; or PostgreSQL by URL. The password of the latter is in
the variable CREDITFED_STORE_PASSWORD or in a file that is its owner's alone, never in the URL, which ends up in histories and process lists.
"""

from __future__ import annotations

import os
import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import event
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from federation.kernel.errors import ConfigurationError, CreditfedError
from federation.kernel.secret import Secret
from privacy.store.consent_database import open_engine, told_plainly
from server.store.tables import SCHEMA_TABLE

PASSWORD: Final = "CREDITFED_STORE_PASSWORD"  # noqa: S105  # the variable's name
_WHERE: Final = "run store"
_LOCK: Final = 0x63726672
"""Of PostgreSQL's advisory locks: whoever must be alone holds it."""
_MIGRATING = threading.Lock()
"""Alembic keeps what it works on in module variables."""


class Database:
    """The store's database, made when it is not there, at the newest schema that this version knows.

    Raises ConfigurationError for a URL that is none or of another database, a password in it, and a newer schema; DataError where the database
    cannot be used.
    """

    def __init__(self, url: str, password: Secret | None = None) -> None:
        _require_plain(url)
        self._engine = open_engine(url, _WHERE, file_mode=0o600)
        self._postgresql = self._engine.dialect.name == "postgresql"
        (_with_password if self._postgresql else _with_wal)(self._engine, password)
        try:
            self._upgrade()
        except CreditfedError:
            self.close()
            raise

    @contextmanager
    def reading(self) -> Iterator[sa.Connection]:
        """One moment of the store, whatever others write meanwhile."""
        with told_plainly(_WHERE), self._engine.connect() as connection:
            if self._postgresql:
                connection.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
            with connection.begin():
                yield connection

    @contextmanager
    def changing(self, *, alone: bool = False) -> Iterator[sa.Connection]:
        """One transaction, taken back whole by any error, on disk when it is left. alone: no other one that asks for it at the same time.

        SQLite lets one change at a time anyway. Nobody may rely on that who can do without: a change says in its WHERE what it relies on.
        """
        with told_plainly(_WHERE), self._engine.connect() as connection:
            connection.execution_options(writes=True)
            with connection.begin():
                if alone and self._postgresql:
                    connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_LOCK)))
                yield connection

    def close(self) -> None:
        """Let go of all connections."""
        self._engine.dispose()

    def _upgrade(self) -> None:
        config = Config()
        config.set_main_option("script_location", "server.store:migrations")
        script = ScriptDirectory.from_config(config)
        head = script.get_current_head()
        with self.reading() as connection:
            if _revision(connection, script) == head:
                return
        with _MIGRATING, self.changing(alone=True) as connection:
            if _revision(connection, script) != head:  # another process may have done it in between
                config.attributes["connection"] = connection
                command.upgrade(config, "head")


def store_password(file: Path | None = None) -> Secret | None:
    """The database's password: from the file when one is named, or else from the environment; None where it needs none.

    Raises ConfigurationError for a file that others may read, or that cannot be.
    """
    if file is None:
        given = os.environ.get(PASSWORD)
        return Secret(given.encode()) if given else None
    try:
        with file.open("rb") as opened:
            mode = stat.S_IMODE(os.fstat(opened.fileno()).st_mode)
            content = opened.read(4096)
    except OSError as error:
        what = f"the password's file cannot be read ({error.strerror})"
        raise ConfigurationError(str(file), what, f"Name a file that you may read, or set {PASSWORD}.") from None
    if mode & 0o077:
        raise ConfigurationError(str(file), f"others than its owner may use it (mode {mode:o})", f"Run: chmod 600 {file}")
    return Secret(content.removesuffix(b"\n").removesuffix(b"\r"))


def _require_plain(url: str) -> None:
    """Nothing but the two databases that are tested, and no password. Raises ConfigurationError, without the URL."""
    action = "Write its URL like sqlite:///FILE or postgresql+psycopg://USER@HOST/DATABASE."
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):  # the latter for a port that is no number
        raise ConfigurationError(_WHERE, "its URL is none", action) from None
    if parsed.get_backend_name() not in ("sqlite", "postgresql"):
        raise ConfigurationError(_WHERE, "it is kept in SQLite or PostgreSQL, and its URL names another database", action)
    if parsed.password or any("password" in key for key in parsed.query):
        raise ConfigurationError(_WHERE, "its URL has a password", f"Take it out, and set {PASSWORD} or name a password file.")


def _with_password(engine: sa.Engine, password: Secret | None) -> None:
    if password is None:
        return

    @event.listens_for(engine, "do_connect")
    def give(_dialect: Any, _record: Any, _arguments: Any, parameters: dict[str, Any]) -> None:
        parameters["password"] = password.reveal().decode("utf-8", "surrogateescape")


def _with_wal(engine: sa.Engine, _password: Secret | None) -> None:
    @event.listens_for(engine, "connect")
    def settle(connection: Any, _: Any) -> None:
        connection.execute("PRAGMA journal_mode = WAL")


def _revision(connection: sa.Connection, script: ScriptDirectory) -> str | None:
    """The schema's revision, None where there is none yet. Raises ConfigurationError for one that this version does not know."""
    found = MigrationContext.configure(connection, opts={"version_table": SCHEMA_TABLE}).get_current_heads()
    known = {revision.revision for revision in script.walk_revisions()}
    if not set(found) <= known or len(found) > 1:
        what = f"its schema is newer than {script.get_current_head()}, the newest that this version of creditfed knows"
        raise ConfigurationError(_WHERE, what, "Use the creditfed that wrote it, or a newer one; nothing was changed.")
    return found[0] if found else None
