"""One value on disk, encrypted, replaced whole: what the coordinator must not lose between two exchanges.

ChaCha20-Poly1305 under the owner's storage key with a random nonce and the file's name as associated data; mode 600. A write is on disk
before it returns, and a crash leaves the old value or the new one.
"""

from __future__ import annotations

import os
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from federation.kernel.errors import DataError
from federation.kernel.secret import Secret

_NONCE = 12


class SealedFile:
    """A file of one value. key: 32 bytes."""

    def __init__(self, path: Path, key: Secret) -> None:
        self._path, self._cipher = path, ChaCha20Poly1305(key.reveal())

    def load(self) -> bytes | None:
        """The value, or None where nothing was stored. Raises DataError for a file that does not decrypt."""
        try:
            sealed = self._path.read_bytes()
        except FileNotFoundError:
            return None
        try:
            return self._cipher.decrypt(sealed[:_NONCE], sealed[_NONCE:], self._path.name.encode())
        except (InvalidTag, ValueError):  # ValueError: too short to hold a nonce
            raise DataError(str(self._path), "the file does not decrypt", "Restore the storage key, or abandon the run.") from None

    def store(self, value: bytes) -> None:
        """Put a value in the place of the one before."""
        nonce = os.urandom(_NONCE)
        self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        partial = self._path.with_name(self._path.name + ".partial")
        with os.fdopen(os.open(partial, os.O_CREAT | os.O_TRUNC | os.O_WRONLY, 0o600), "wb") as file:
            file.write(nonce + self._cipher.encrypt(nonce, value, self._path.name.encode()))
            file.flush()
            os.fsync(file.fileno())
        partial.replace(self._path)
