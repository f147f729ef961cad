"""A participant's journal on disk: SQLite, every write one synced transaction, every value encrypted, file mode 600.

Values are ChaCha20-Poly1305 under the node's storage key with a random nonce and the row's name as associated data, so that a stolen disk
gives neither keys nor batches, and rows cannot be swapped. Rolling the whole file back is caught by batch numbers and by the peers.
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
        except InvalidTag:
            raise DataError(
                str(self._path),
                f"the journal's row {name.split(':', maxsplit=1)[0]!r} does not decrypt",
                "Restore the node's storage key, or abandon the run.",
            ) from None

    def load(self) -> Record | None:
        """All that was kept, or None."""
        kept = dict(self._db.execute("SELECT name, value FROM kept"))
        if "snapshot" not in kept:
            return None
        return Record(
            self._unseal("snapshot", kept["snapshot"]),
            [self._unseal(f"entry:{n}", v) for n, v in self._db.execute("SELECT number, value FROM entry ORDER BY number")],
            int(kept["number"]),
            self._unseal("reply", kept["reply"]),
            {label: self._unseal(f"effect:{label}", v) for label, v in self._db.execute("SELECT label, value FROM effect")},
        )

    def answered(self, number: int, batch: bytes, reply: bytes, snapshot: bytes | None, effects: dict[str, bytes]) -> None:
        """A batch and what was sent for it, in one transaction."""
        db = self._db
        db.execute("BEGIN IMMEDIATE")
        try:
            if snapshot is not None:
                db.execute("DELETE FROM entry")
                db.execute("DELETE FROM effect")
                db.execute("REPLACE INTO kept VALUES ('snapshot', ?)", (self._seal("snapshot", snapshot),))
                for label, value in effects.items():
                    db.execute("REPLACE INTO effect VALUES (?, ?)", (label, self._seal(f"effect:{label}", value)))
            else:
                db.execute("REPLACE INTO entry VALUES (?, ?)", (number, self._seal(f"entry:{number}", batch)))
            db.execute("REPLACE INTO kept VALUES ('number', ?)", (str(number).encode(),))
            db.execute("REPLACE INTO kept VALUES ('reply', ?)", (self._seal("reply", reply),))
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
