"""The budget ledger on disk: records in SQLite, each written and synced before the call returns, so before a release can leave.

Write-ahead log with synchronous = FULL: a commit syncs the log (tests/unit/test_budget_file.py watches the system calls). Several processes
may hold the file: a decision is taken inside a write transaction, on top of every record so far. A process that dies leaves either the whole
record or nothing, and no lock. Records are JSON, one a row, in the order in which they were decided; nothing is ever changed or deleted.
"""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import msgspec

from federation.kernel.errors import AbortCode, ConfigurationError, DataError, LocalError
from privacy.budget.ledger import GiveBack, Ledger, LimitsSet, Record, Reservation, Settlement, Spend
from privacy.budget.limits import Cost, Limits
from privacy.store.durable import sync

_SCHEMA = "CREATE TABLE IF NOT EXISTS record (number INTEGER PRIMARY KEY, at REAL NOT NULL, body TEXT NOT NULL)"
_RECORDS = msgspec.json.Decoder(Record)
_TAMPERED = (
    "Nothing was released. The file was changed by other hands: compare it with the audit log, which has the number of every record."
)
_PATIENCE = 60.0
"""Seconds to wait for another process, which holds the file for milliseconds."""


@dataclass(frozen=True)
class Entry:
    """A record with its number, from 1 without gaps, and when it was written (seconds since 1970)."""

    number: int
    at: float
    record: Record


class BudgetFile:
    """An institution's ledger. Every method that changes it returns only when the change is on disk; asked the same again, it changes nothing.

    on_change(kind, **facts): called after a record is on disk and before the method returns, with what the record says (run, dataset,
    purpose, release, reason, by, cost or limits as JSON), its `number`, and `repeated`, true when it was there before: after a crash between
    ledger and audit log the repeated call is what closes the gap. What it raises is raised, and the release does not leave.
    clock: seconds since 1970. A process that was forked opens the file anew.

    Raises LocalError when the file cannot be read or written, DataError when it was changed by other hands.
    """

    def __init__(self, path: Path, on_change: Callable[..., None] | None = None, *, clock: Callable[[], float] = time.time) -> None:
        self._path, self._on_change, self._clock = path, on_change, clock
        self._thread, self._process = threading.RLock(), os.getpid()
        self._ledger, self._read, self._numbers = Ledger(), 0, dict[tuple[str, ...], int]()
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        if not path.exists():
            os.close(os.open(path, os.O_CREAT | os.O_WRONLY, 0o600))
            for folder in (path.parent, path.parent.parent):
                sync(folder)
        with self._reported():
            self._db = sqlite3.connect(path, timeout=_PATIENCE, isolation_level=None, check_same_thread=False)
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.execute("PRAGMA synchronous = FULL")
            self._db.execute(_SCHEMA)
            # a process killed between write and sync leaves records that are read but might not survive a power cut: sync them now
            self._db.execute("PRAGMA wal_checkpoint(PASSIVE)")

    def reserve(self, run: str, dataset: str, purpose: str, cost: Cost) -> Reservation:
        """All that a run may cost, before it begins. Raises PolicyRefusal with what was asked and what is left."""
        self._change(("run", run), lambda ledger: ledger.reserve(run, dataset, purpose, cost))
        return Reservation(run, dataset, purpose, cost)

    def spend(self, run: str, release: str, cost: Cost) -> None:
        """What one release costs, before it leaves. Raises PolicyRefusal beyond the reservation."""
        self._change(("release", run, release), lambda ledger: ledger.spend(run, release, cost))

    def settle(self, run: str) -> None:
        """The run has ended: what it reserved and did not spend is free again."""
        self._change(("end", run), lambda ledger: ledger.settle(run))

    def give_back(self, run: str, reason: str) -> None:
        """The run is dead, by an operator's word: what it reserved and did not spend is free again."""
        self._change(("end", run), lambda ledger: ledger.give_back(run, reason))

    def set_limits(self, dataset: str, purpose: str, limits: Limits, by: str) -> None:
        """New limits for a purpose or `ANY`, by a risk officer."""
        self._change(("limits", dataset, purpose), lambda ledger: ledger.set_limits(dataset, purpose, limits, by))

    def left(self, dataset: str, purpose: str) -> Limits | None:
        """The least that is left under any limit that holds for the purpose; None when no limit is set, so that nothing may be spent."""
        return self.current().left(dataset, purpose)

    def history(self) -> list[Entry]:
        """All records, oldest first."""
        with self._transaction("BEGIN"):
            rows = self._db.execute("SELECT number, at, body FROM record ORDER BY number").fetchall()
            return [Entry(number, at, self._decoded(number, body)) for number, at, body in rows]

    def current(self) -> Ledger:
        """The ledger up to now, to read."""
        with self._transaction("BEGIN"):
            return self._ledger

    def close(self) -> None:
        """Let the file go; nothing is lost."""
        self._db.close()

    def _change(self, name: tuple[str, ...], decide: Callable[[Ledger], Record | None]) -> None:
        """Decide on top of all records, write, sync, tell. name: under which the record is found when it is there already."""
        with self._transaction("BEGIN IMMEDIATE"):
            record = decide(self._ledger)
            repeated = record is None
            number = self._numbers[name] if record is None else self._read + 1
            if record is None:
                row = self._db.execute("SELECT body FROM record WHERE number = ?", (number,)).fetchone()
                record = self._decoded(number, row[0])
            else:
                self._db.execute("INSERT INTO record VALUES (?, ?, ?)", (number, self._clock(), msgspec.json.encode(record).decode()))
        if self._on_change is not None:  # on disk now
            self._on_change(str(record.__struct_config__.tag), number=number, repeated=repeated, **_facts(record))

    @contextmanager
    def _transaction(self, begin: str) -> Iterator[None]:
        """One moment of the file, on top of all its records; the end of it is synced when something was written."""
        if self._process != os.getpid():
            raise LocalError(
                str(self._path), "the budget ledger was opened before this process was forked", "Open it in the process itself."
            )
        with self._thread, self._reported():
            self._db.execute(begin)
            try:
                self._catch_up()
                yield
                self._db.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise

    def _catch_up(self) -> None:
        """Apply what was written since, by this process too: what a failed commit left is known only from the file."""
        for number, body in self._db.execute("SELECT number, body FROM record WHERE number > ? ORDER BY number", (self._read,)).fetchall():
            record = self._decoded(number, body)
            if number != self._read + 1 or not self._ledger.follows(record):
                raise DataError(str(self._path), f"record {number} of the budget ledger does not follow on those before it", _TAMPERED)
            self._ledger.apply(record)
            self._read = number
            self._numbers[_name(record)] = number

    def _decoded(self, number: int, body: str) -> Record:
        try:
            return _RECORDS.decode(body)
        except (msgspec.DecodeError, ConfigurationError):  # what is out of range among them
            raise DataError(str(self._path), f"record {number} of the budget ledger cannot be read", _TAMPERED) from None

    @contextmanager
    def _reported(self) -> Iterator[None]:
        """SQLite's errors as ours. Whatever it was, nothing was promised: the caller does not release."""
        try:
            yield
        except sqlite3.Error as error:
            code = getattr(error, "sqlite_errorname", type(error).__name__)
            action = (
                "Nothing was released. Look at the disk, its space, and who holds the file. A copy from a backup has forgotten releases."
            )
            raise LocalError(str(self._path), f"the budget ledger cannot be read or written ({code})", action, AbortCode.BUDGET) from None


def _name(record: Record) -> tuple[str, ...]:
    """Under which a decision that is repeated finds its record."""
    match record:
        case Reservation():
            return ("run", record.run)
        case Spend():
            return ("release", record.run, record.release)
        case Settlement() | GiveBack():
            return ("end", record.run)
        case LimitsSet():
            return ("limits", record.dataset, record.purpose)


def _facts(record: Record) -> dict[str, str]:
    """What a record says, as texts."""
    values = msgspec.structs.asdict(record)
    return {name: value if isinstance(value, str) else msgspec.json.encode(value).decode() for name, value in values.items()}
