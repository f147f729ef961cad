"""A participant's journal on disk: SQLite, every write one synced transaction, every value encrypted, file mode 600.

Values are ChaCha20-Poly1305 under the node's storage key with a random nonce and the row's name as associated data, so that a stolen disk
gives neither keys nor batches, and rows can be neither swapped nor left out: the snapshot and the reply carry the numbers of their batches,
between which every batch must be there. A whole file exchanged for an earlier one does not show here; batch numbers and peers catch it
where the coordinator is honest.
"""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from federation.kernel.errors import DataError
from federation.kernel.journal import Record
from federation.kernel.secret import Secret

_SCHEMA = """
CREATE TABLE IF NOT EXISTS kept (name TEXT PRIMARY KEY, value BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS entry (number INTEGER PRIMARY KEY, value BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS effect (label TEXT PRIMARY KEY, value BLOB NOT NULL);
"""

_NUMBER = 8
_ABANDON = "Restore the node's storage key, or abandon the run."


class JournalFile:
    """The journal of one session at one party. key: 32 bytes."""

    def __init__(self, path: Path, key: Secret) -> None:
        self._path, self._cipher = path, ChaCha20Poly1305(key.reveal())
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        if not path.exists():
            os.close(os.open(path, os.O_CREAT | os.O_WRONLY, 0o600))
        self._connect()

    def _connect(self) -> None:
        self._db = sqlite3.connect(self._path, isolation_level=None, check_same_thread=False)
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = FULL")
        self._db.execute("PRAGMA secure_delete = ON")
        self._db.executescript(_SCHEMA)

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
        kept = dict(self._db.execute("SELECT name, value FROM kept"))
        if not kept:
            return None
        start, snapshot = self._numbered("snapshot", kept)
        number, reply = self._numbered("reply", kept)
        entries = dict(self._db.execute("SELECT number, value FROM entry ORDER BY number"))
        if list(entries) != list(range(start + 1, number + 1)):
            raise DataError(str(self._path), "the journal lacks batches, or has others'", _ABANDON)
        effects = self._db.execute("SELECT label, value FROM effect")
        return Record(
            snapshot,
            [self._unseal(f"entry:{place}", value) for place, value in entries.items()],
            number,
            reply,
            {label: self._unseal(f"effect:{label}", value) for label, value in effects},
        )

    def _numbered(self, name: str, kept: dict[str, bytes]) -> tuple[int, bytes]:
        """A value and the number of the batch at which it was stored."""
        if name not in kept:
            raise DataError(str(self._path), f"the journal's row {name!r} is missing", _ABANDON)
        value = self._unseal(name, kept[name])
        return int.from_bytes(value[:_NUMBER], "little", signed=True), value[_NUMBER:]

    def _put(self, name: str, number: int, value: bytes) -> None:
        sealed = self._seal(name, number.to_bytes(_NUMBER, "little", signed=True) + value)
        self._db.execute("REPLACE INTO kept VALUES (?, ?)", (name, sealed))

    def answered(self, number: int, batch: bytes, reply: bytes, snapshot: bytes | None, effects: dict[str, bytes]) -> None:
        """A batch and what was sent for it, in one transaction."""
        db = self._db
        db.execute("BEGIN IMMEDIATE")
        try:
            if snapshot is not None:
                db.execute("DELETE FROM entry")
                db.execute("DELETE FROM effect")
                self._put("snapshot", number, snapshot)
                for label, value in effects.items():
                    db.execute("REPLACE INTO effect VALUES (?, ?)", (label, self._seal(f"effect:{label}", value)))
            else:
                db.execute("REPLACE INTO entry VALUES (?, ?)", (number, self._seal(f"entry:{number}", batch)))
            self._put("reply", number, reply)
            db.execute("COMMIT")
        except BaseException:
            db.execute("ROLLBACK")
            raise

    def keep(self, label: str, value: bytes) -> None:
        """An effect of the current stage."""
        self._db.execute("REPLACE INTO effect VALUES (?, ?)", (label, self._seal(f"effect:{label}", value)))

    def erase(self) -> None:
        """Delete the journal and its side files."""
        self._db.close()
        for suffix in ("", "-wal", "-shm"):
            Path(f"{self._path}{suffix}").unlink(missing_ok=True)
