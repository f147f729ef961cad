"""A participant's journal on disk: SQLite, every write one synced transaction, every value encrypted, file mode 600.

Values are ChaCha20-Poly1305 under the node's storage key with a random nonce and the row's name as associated data, so that a stolen disk
gives neither keys nor batches, and rows can be neither swapped nor left out: the snapshot and the reply carry the numbers of their batches,
between which every batch must be there. A whole file exchanged for an earlier one does not show here; batch numbers and peers catch it
where the coordinator is honest.

Several processes may open one journal, one after the other (workers of a simulation, or a process that was thought dead): `overtaken` tells
one that another has written since, and a write on top of what it has not read is refused with `Overtaken`, so that an effect or a reply
that has left can never be replaced by another.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from federation.kernel.errors import DataError
from federation.kernel.journal import Record
from federation.kernel.secret import Secret

_SCHEMA = """
CREATE TABLE IF NOT EXISTS kept (name TEXT PRIMARY KEY, value BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS entry (number INTEGER PRIMARY KEY, value BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS effect (label TEXT PRIMARY KEY, value BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS rest (name TEXT, piece INTEGER, value BLOB NOT NULL, PRIMARY KEY (name, piece));
"""
PIECE = 1 << 28
"""Bytes of a sealed value in one row; what is longer goes on in `rest`. SQLite's rows end at 10^9, and hellos of 2,000 banks are more."""

_REPLACE = {
    "kept": "REPLACE INTO kept VALUES (?, ?)",
    "entry": "REPLACE INTO entry VALUES (?, ?)",
    "effect": "REPLACE INTO effect VALUES (?, ?)",
}
_NUMBER = 8
_ABANDON = "Restore the node's storage key, or abandon the run."


class Overtaken(Exception):
    """Another process has written to the journal since this one read it: begin anew from what is there. No fault of any party's, and so
    no CreditfedError, which would end the run.
    """


class JournalFile:
    """The journal of one session at one party. key: 32 bytes; shared: processes on several machines open it by way of a file system that
    they share, so that SQLite's write-ahead log, which needs memory in common, is not used.
    """

    def __init__(self, path: Path, key: Secret, *, shared: bool = False) -> None:
        self._path, self._cipher, self._shared = path, ChaCha20Poly1305(key.reveal()), shared
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        if not path.exists():
            os.close(os.open(path, os.O_CREAT | os.O_WRONLY, 0o600))
        self._connect()

    def _connect(self) -> None:
        self._db = sqlite3.connect(self._path, isolation_level=None, check_same_thread=False)
        self._db.execute(f"PRAGMA journal_mode = {'DELETE' if self._shared else 'WAL'}")
        self._db.execute("PRAGMA synchronous = FULL")
        self._db.execute("PRAGMA secure_delete = ON")
        self._db.executescript(_SCHEMA)
        self._seen = self._version()

    def _version(self) -> int:
        """A number that changes when another connection has written, and only then."""
        return int(self._db.execute("PRAGMA data_version").fetchone()[0])

    def overtaken(self) -> bool:
        """Whether another process has written since this one read or wrote last, or the journal is gone."""
        return not self._path.exists() or self._version() != self._seen

    def _require_latest(self) -> None:
        if self._version() != self._seen:
            raise Overtaken

    @contextmanager
    def _written(self) -> Iterator[sqlite3.Connection]:
        """One transaction on top of what was read. Raises Overtaken."""
        self._db.execute("BEGIN IMMEDIATE")
        try:
            self._require_latest()
            yield self._db
            self._db.execute("COMMIT")
        except BaseException:
            self._db.execute("ROLLBACK")
            raise

    def _seal(self, name: str, value: bytes) -> bytes:
        nonce = os.urandom(12)
        return nonce + self._cipher.encrypt(nonce, value, name.encode())

    def _unseal(self, name: str, blob: bytes) -> bytes:
        try:
            return self._cipher.decrypt(blob[:12], blob[12:], name.encode())
        except (InvalidTag, ValueError):  # ValueError: too short to hold a nonce
            raise DataError(
                str(self._path),
                f"the journal's row {name.split(':', maxsplit=1)[0]!r} does not decrypt",
                _ABANDON,
            ) from None

    def load(self) -> Record | None:
        """All that was kept, or None."""
        self._db.execute("BEGIN")  # one moment: another process may be writing
        try:
            rest: dict[str, bytes] = {}
            for name, value in self._db.execute("SELECT name, value FROM rest ORDER BY name, piece"):
                rest[name] = rest.get(name, b"") + value  # sealed with its first piece as one: none can be left out
            kept = {name: value + rest.get(name, b"") for name, value in self._db.execute("SELECT name, value FROM kept")}
            entries = {
                number: value + rest.get(f"entry:{number}", b"")
                for number, value in self._db.execute("SELECT number, value FROM entry ORDER BY number")
            }
            effects = {
                label: value + rest.get(f"effect:{label}", b"") for label, value in self._db.execute("SELECT label, value FROM effect")
            }
            self._seen = self._version()
        finally:
            self._db.execute("COMMIT")
        if not kept:
            return None
        start, snapshot = self._numbered("snapshot", kept)
        number, reply = self._numbered("reply", kept)
        if list(entries) != list(range(start + 1, number + 1)):
            raise DataError(str(self._path), "the journal lacks batches, or has others'", _ABANDON)
        return Record(
            snapshot,
            [self._unseal(f"entry:{place}", value) for place, value in entries.items()],
            number,
            reply,
            {label: self._unseal(f"effect:{label}", value) for label, value in effects.items()},
        )

    def _numbered(self, name: str, kept: dict[str, bytes]) -> tuple[int, bytes]:
        """A value and the number of the batch at which it was stored."""
        if name not in kept:
            raise DataError(str(self._path), f"the journal's row {name!r} is missing", _ABANDON)
        value = self._unseal(name, kept[name])
        return int.from_bytes(value[:_NUMBER], "little", signed=True), value[_NUMBER:]

    def _store(self, table: Literal["kept", "entry", "effect"], key: str | int, name: str, value: bytes) -> None:
        """One value in the place of the one before. name: that it is sealed under."""
        sealed = self._seal(name, value)
        self._db.execute("DELETE FROM rest WHERE name = ?", (name,))
        self._db.execute(_REPLACE[table], (key, sealed[:PIECE]))
        for piece, start in enumerate(range(PIECE, len(sealed), PIECE)):
            self._db.execute("INSERT INTO rest VALUES (?, ?, ?)", (name, piece, sealed[start : start + PIECE]))

    def _put(self, name: str, number: int, value: bytes) -> None:
        self._store("kept", name, name, number.to_bytes(_NUMBER, "little", signed=True) + value)

    def answered(self, number: int, batch: bytes, reply: bytes, snapshot: bytes | None, effects: dict[str, bytes]) -> None:
        """A batch and what was sent for it, in one transaction. Raises Overtaken."""
        with self._written() as db:
            if snapshot is not None:
                db.execute("DELETE FROM entry")
                db.execute("DELETE FROM effect")
                db.execute("DELETE FROM rest")
                self._put("snapshot", number, snapshot)
            else:
                self._store("entry", number, f"entry:{number}", batch)
            for label, value in effects.items():
                self._store("effect", label, f"effect:{label}", value)
            self._put("reply", number, reply)

    def keep(self, label: str, value: bytes) -> None:
        """An effect of the current stage. Raises Overtaken."""
        with self._written():
            self._store("effect", label, f"effect:{label}", value)

    def close(self) -> None:
        """Let the file go; nothing is lost."""
        self._db.close()
