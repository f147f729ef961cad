"""What a node has released, on disk: SQLite, mode 600, every change one synced transaction.

A run is checked when it is approved, and recorded before anything of it leaves; recording checks again inside its transaction, since another
run may have been recorded in between. After a crash a run that is recorded may not have released: that errs on the safe side. A run that goes
on is recorded again without effect, if it releases the same.

Rows are kept once, as hashes under the node's key, in the order first seen; a release is a compressed bitmap over them (10^6 rows: 8 MB of
hashes, and at most 125 kB a release). Whoever takes the file reads no identifier, but sees which runs had rows in common.
"""

from __future__ import annotations

import os
import sqlite3
import zlib
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import msgspec
import numpy as np

from federation.kernel import suite
from federation.kernel.errors import ConfigurationError, DataError, LocalError
from federation.kernel.secret import Secret
from privacy.disclosure.differencing import Entry, ReleaseLedger
from privacy.disclosure.release import Hashes, Release, keyed_hashes

_SCHEMA = """
CREATE TABLE IF NOT EXISTS made_with (fingerprint BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS seen (piece INTEGER PRIMARY KEY, hashes BLOB NOT NULL, firms BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS release (place INTEGER PRIMARY KEY, run TEXT NOT NULL UNIQUE, facts BLOB NOT NULL, members BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS forgotten (run TEXT PRIMARY KEY, study TEXT, digest BLOB NOT NULL);
"""
_PATIENCE = 30.0
"""Seconds that one process waits for another's transaction."""
_RESTORE = "Restore the file from a backup; without it earlier releases cannot be compared with."


class _Facts(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    columns: tuple[str, ...]
    kind: str
    purpose: str
    study: str | None
    digest: bytes


class ReleaseFile:
    """The releases of one institution in folder/releases.sqlite. key: the node's; hashes of ids are made under a key derived from it.

    Raises ConfigurationError for a file that was begun under another key (its hashes would match nothing), DataError for a damaged one.
    """

    def __init__(self, folder: Path, key: Secret) -> None:
        self._path, self._key = folder / "releases.sqlite", suite.derive(key, "releases", "hashes")
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        if not self._path.exists():
            os.close(os.open(self._path, os.O_CREAT | os.O_WRONLY, 0o600))
        fingerprint = suite.derive(key, "releases", "fingerprint").reveal()
        with self._changing(create=True) as db:
            made = db.execute("SELECT fingerprint FROM made_with").fetchone()
            if made is None:
                db.execute("INSERT INTO made_with VALUES (?)", (fingerprint,))
            elif made[0] != fingerprint:
                raise ConfigurationError(str(self._path), "it was begun under another key", "Restore the node's key.")

    def hashes(self, ids: Iterable[str]) -> Hashes:
        """64-bit hashes of ids, or of rows' keys, under the node's key, (n,) in their order."""
        return keyed_hashes(self._key, ids)

    def check(self, run: str, release: Release, minimum_cohort: int) -> None:
        """Whether the run may release this; a run that is recorded may do so again. Raises PolicyRefusal (code disclosure), and LocalError for
        a run whose name is taken by another release or by one that is forgotten.
        """
        with self._reading() as db:
            if not _repeats(db, run, release):
                _ledger(db).admit(release, minimum_cohort)

    def record(self, run: str, release: Release, minimum_cohort: int) -> None:
        """Check, and keep the release for good: to be called before anything of it leaves. On disk when it returns. Raises as `check`."""
        with self._changing() as db:
            if _repeats(db, run, release):
                return
            before = _ledger(db)
            before.admit(release, minimum_cohort)
            after = before.with_release(run, release)
            known = len(before.rows)
            if len(after.rows) > known:
                db.execute("INSERT INTO seen (hashes, firms) VALUES (?, ?)", _piece(after.rows[known:], after.firms[known:]))
            _insert(db, after.entries[-1])

    def history(self) -> tuple[Entry, ...]:
        """The releases that are remembered, oldest first."""
        with self._reading() as db:
            return _ledger(db).entries

    def forget(self, run: str) -> bool:
        """Drop a run's release and every row that it alone had; its name and digest stay, so that it is not recorded anew, and its study
        still counts it. Whether there was one. Later releases are no longer compared with it.
        """
        with self._changing() as db:
            before = _ledger(db)
            gone = next((entry for entry in before.entries if entry.run == run), None)
            if gone is None:
                return False
            after = before.without(run)
            db.execute("INSERT INTO forgotten VALUES (?, ?, ?)", (run, gone.study, gone.digest))
            db.execute("DELETE FROM release")
            db.execute("DELETE FROM seen")
            db.execute("INSERT INTO seen (hashes, firms) VALUES (?, ?)", _piece(after.rows, after.firms))
            for entry in after.entries:
                _insert(db, entry)
            return True

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        with self._told_plainly(), closing(self._connect()) as db:
            db.execute("BEGIN")  # one moment: another process may be writing
            yield db

    @contextmanager
    def _changing(self, *, create: bool = False) -> Iterator[sqlite3.Connection]:
        """One transaction, taken back whole by any error."""
        with self._told_plainly(), closing(self._connect()) as db:
            if create:
                db.executescript(_SCHEMA)
            db.execute("BEGIN IMMEDIATE")
            yield db  # closing the connection takes back what is not committed
            db.execute("COMMIT")

    def _connect(self) -> sqlite3.Connection:
        db = sqlite3.connect(self._path, isolation_level=None, timeout=_PATIENCE)
        db.execute("PRAGMA journal_mode = DELETE")
        db.execute("PRAGMA synchronous = FULL")
        db.execute("PRAGMA secure_delete = ON")
        return db

    @contextmanager
    def _told_plainly(self) -> Iterator[None]:
        """What a damaged file raises, as a DataError."""
        try:
            yield
        except (sqlite3.DatabaseError, zlib.error, msgspec.MsgspecError) as problem:
            raise DataError(str(self._path), f"the file of releases cannot be used ({type(problem).__name__})", _RESTORE) from None


def _repeats(db: sqlite3.Connection, run: str, release: Release) -> bool:
    """Whether the run is recorded with this very release."""
    row = db.execute("SELECT facts FROM release WHERE run = ?", (run,)).fetchone()
    if row is not None and msgspec.json.decode(row[0], type=_Facts).digest == release.digest():
        return True
    if row is not None or db.execute("SELECT 1 FROM forgotten WHERE run = ?", (run,)).fetchone() is not None:
        raise LocalError(
            "disclosure control", f"run {run!r} is recorded with another release, or ended long ago", "Name the new run otherwise."
        )
    return False


def _ledger(db: sqlite3.Connection) -> ReleaseLedger:
    pieces = db.execute("SELECT hashes, firms FROM seen ORDER BY piece").fetchall()
    none = np.empty(0, np.uint64)
    rows = [np.frombuffer(hashes, "<u8").astype(np.uint64) for hashes, _ in pieces]
    firms = [np.frombuffer(firms or hashes, "<u8").astype(np.uint64) for hashes, firms in pieces]
    entries = []
    for run, facts, members in db.execute("SELECT run, facts, members FROM release ORDER BY place"):
        said = msgspec.json.decode(facts, type=_Facts)
        bits = np.frombuffer(zlib.decompress(members), np.uint8)
        entries.append(Entry(run, frozenset(said.columns), said.kind, said.purpose, said.study, said.digest, bits))
    ended = db.execute("SELECT study, COUNT(*) FROM forgotten WHERE study IS NOT NULL GROUP BY study ORDER BY study").fetchall()
    return ReleaseLedger(np.concatenate([none, *rows]), np.concatenate([none, *firms]), tuple(entries), tuple(ended))


def _piece(rows: Hashes, firms: Hashes) -> tuple[bytes, bytes]:
    """Both columns of `seen`; firms empty where every row is a firm."""
    return rows.astype("<u8").tobytes(), b"" if np.array_equal(rows, firms) else firms.astype("<u8").tobytes()


def _insert(db: sqlite3.Connection, entry: Entry) -> None:
    facts = _Facts(tuple(sorted(entry.columns)), entry.kind, entry.purpose, entry.study, entry.digest)
    db.execute(
        "INSERT INTO release (run, facts, members) VALUES (?, ?, ?)",
        (entry.run, msgspec.json.encode(facts), zlib.compress(entry.members.tobytes(), 1)),
    )
