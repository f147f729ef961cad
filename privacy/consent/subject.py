"""A person or firm as a keyed hash: the ledger knows its subjects by HMAC-SHA256 (RFC 2104) under the institution's consent key, and no id.

Hashes are cut to 128 bits (RFC 2104, section 5: no less than half): among 10^8 subjects two share one with probability 2e-23. Identifiers are
few enough to be tried one by one, so a hash without a key would hide nothing; with the key kept apart from the database, whoever copies the
database has neither ids nor a way to test a guess.

A firm and its owner are subjects of two kinds, under two keys: where both are named by an institution's own numbers, firm 17's consent is not
that of owner 17 (docs/adr/0039-linked-subjects.md).

The spelling does not depend on how an identifier is declared: a valid Unified Social Credit Code counts as that, anything else as any text
(`federation.align.uscc.in_any_kind`). What is no identifier has no hash and never has a consent.
"""

from __future__ import annotations

import hmac
from collections.abc import Sequence
from typing import Final, Literal

from federation.align import uscc
from federation.kernel import suite
from federation.kernel.errors import DataError
from federation.kernel.secret import Secret

SubjectKind = Literal["firm", "owner"]
"""firm: whom a row's id names; owner: the person behind it, whom a column of its own names."""
HASH_BYTES: Final = 16
NOBODY: Final = b""
"""In place of the hash of what is no identifier."""


class Pseudonyms:
    """Hashes of subjects, and evidence that only the key opens. key: the institution's consent key, 32 bytes."""

    def __init__(self, key: Secret) -> None:
        self._keys = {
            "firm": suite.derive(key, "consent", "subject").reveal(), "owner": suite.derive(key, "consent", "subject", "owner").reveal(),
        }  # fmt: skip
        self._evidence = suite.derive(key, "consent", "evidence mark").reveal()
        self._nonce = suite.derive(key, "consent", "evidence nonce").reveal()
        self._seal = suite.derive(key, "consent", "evidence")
        self.fingerprint: Final = suite.derive(key, "consent", "fingerprint").reveal()

    def of(self, ids: Sequence[str], kind: SubjectKind = "firm") -> list[bytes]:
        """The hash of each id, 16 bytes, in the ids' order and with their repeats; NOBODY for what is no identifier."""
        key = self._keys[kind]
        return [hmac.digest(key, name.encode(), "sha256")[:HASH_BYTES] if name else NOBODY for name in uscc.in_any_kind(ids)]

    def mark(self, evidence: str) -> bytes:
        """The hash by which a reference to evidence is found again, 16 bytes, whatever space is around it."""
        return hmac.digest(self._evidence, evidence.strip().encode(), "sha256")[:HASH_BYTES]

    def seal(self, subject: bytes, evidence: str) -> bytes:
        """A reference to evidence, which may name a person, for this subject's grant alone.

        The nonce is 96 bits of a keyed hash of subject and reference: the same is sealed to the same, and 10^9 others share none (1e-11).
        """
        text = evidence.encode()
        nonce = hmac.digest(self._nonce, suite.frame(subject, text), "sha256")[: suite.NONCE_BYTES]
        return nonce + suite.seal(self._seal, int.from_bytes(nonce, "little"), subject, text)

    def unseal(self, subject: bytes, sealed: bytes) -> str:
        """The reference. Raises DataError where it was altered or belongs to another subject."""
        nonce, body = sealed[: suite.NONCE_BYTES], sealed[suite.NONCE_BYTES :]
        text = suite.unseal(self._seal, int.from_bytes(nonce, "little"), subject, body)
        if text is None:
            raise DataError("consent ledger", "a reference to evidence was altered", "Restore the ledger from a backup.")
        return text.decode()
