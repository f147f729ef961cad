"""A consent statement: all subjects whose consent an agency holds and who may be used in one run, told to one platform and to nobody else.

It lists everyone and not those who were asked for, so that the agency does not learn whose records the platform has. The agency's identity key
signs it, and its signature of the manifest commits to the first one of a run; later ones follow when somebody is gone, number by number, each
chained to the one before, and only ever list fewer. It travels sealed under a key of its own, derived from the key that the two share and a
nonce of 32 random bytes, and padded to a power of two: who carries it learns at most the count of subjects up to a factor of two.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Annotated

import msgspec

from federation.kernel import suite
from federation.kernel.errors import PeerError
from federation.kernel.known import known
from federation.kernel.role import COORDINATOR
from federation.kernel.secret import Secret
from privacy.consent.decide import Ask
from privacy.consent.subject import HASH_BYTES

LEAST_SEALED = 1 << 14
"""Bytes to which a short statement is padded: about a thousand subjects."""
_LENGTH = 8
_Digest = Annotated[bytes, msgspec.Meta(min_length=32, max_length=32)]


class Statement(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """manifest: its hash; number: from 0; former: the digest of the one before, empty of the first; day: on which the consents were found valid
    (`consent.days`); subjects: keyed hashes, 16 bytes each, ascending; salt: 32 random bytes, so that its digest tells nothing.
    """

    manifest: _Digest
    agency: str
    platform: str
    number: Annotated[int, msgspec.Meta(ge=0)]
    former: bytes
    ask: Ask
    day: int
    subjects: bytes
    salt: _Digest

    @property
    def digest(self) -> bytes:
        """What signatures, commitments, acknowledgements and logs name it by, 32 bytes."""
        return suite.digest("consent statement", msgspec.msgpack.encode(self))

    @property
    def count(self) -> int:
        """How many subjects it lists."""
        return len(self.subjects) // HASH_BYTES

    @property
    def hashes(self) -> list[bytes]:
        """The subjects, one by one."""
        return [self.subjects[start : start + HASH_BYTES] for start in range(0, len(self.subjects), HASH_BYTES)]


class Told(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A statement on its way. manifest: canonical bytes; roll: digest of the run's first statement to each platform, by name, to which the
    agency's signature commits; nonce: 32 random bytes; sealed: signature and statement.
    """

    manifest: bytes
    roll: dict[str, _Digest]
    nonce: _Digest
    sealed: bytes


class _Signed(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    statement: Statement
    signature: bytes


def ledger_key(shared: Secret) -> Secret:
    """Under which the agency's ledger for a platform knows its subjects, and the platform finds them. shared: the key of the two, 32 bytes."""
    return suite.derive(shared, "consent at an agency", "ledger")


def commitment(roll: Mapping[str, bytes]) -> bytes:
    """What an agency's signature of the manifest says of the statements that it made, 32 bytes."""
    return suite.digest("consent statements", *(part for name in sorted(roll) for part in (name, roll[name])))


def seal(statement: Statement, identity: Secret, shared: Secret, nonce: bytes) -> bytes:
    """Signed with the agency's identity key, padded and sealed to the platform. nonce: 32 fresh random bytes, never used again."""
    signed = msgspec.msgpack.encode(_Signed(statement, suite.sign(identity, _statement("made", statement))))
    raw = len(signed).to_bytes(_LENGTH, "big") + signed
    padded = raw.ljust(max(LEAST_SEALED, 1 << (len(raw) - 1).bit_length()), b"\0")
    return suite.seal(_sealing(shared, nonce), 0, b"", padded)  # one key, one nonce, one use


def unseal(told: Told, agency: str, public: bytes, shared: Secret) -> Statement:
    """The statement that this agency signed with its identity key, and sealed under the key that the two share. Raises PeerError."""
    raw = suite.unseal(_sealing(shared, told.nonce), 0, b"", told.sealed)
    if raw is None:
        raise PeerError(COORDINATOR, "a consent statement that was altered or is sealed to another", f"one of {agency}")
    try:
        signed = msgspec.msgpack.decode(raw[_LENGTH : _LENGTH + int.from_bytes(raw[:_LENGTH], "big")], type=known(_Signed))
    except msgspec.MsgspecError:
        raise PeerError(agency, "malformed bytes", "a consent statement") from None
    statement: Statement = signed.statement
    if not suite.verifies(public, _statement("made", statement), signed.signature):
        raise PeerError(agency, "a consent statement whose signature does not hold", "one signed with its identity key")
    return statement


def require(statement: Statement, manifest: bytes, agency: str, platform: str, ask: Ask) -> None:
    """It is about this run, whole, and in its form. manifest: its hash. Raises PeerError, which says what it is about instead."""
    said = statement.ask
    for what, found, wanted in (
        ("manifest", statement.manifest, manifest),
        ("agency or platform", (statement.agency, statement.platform), (agency, platform)),
        ("purpose", said.purpose, ask.purpose),
        ("columns or levels", said.columns, ask.columns),
        ("recipients", said.recipients, ask.recipients),
    ):
        if found != wanted:
            raise PeerError(agency, f"a consent statement for another {what}", "one for this run as its manifest has it")
    if len(statement.subjects) % HASH_BYTES or not all(one < other for one, other in pairwise(statement.hashes)):
        raise PeerError(agency, "a consent statement whose subjects are not each listed once, in order", "ascending hashes")


def require_first(statement: Statement, today: int) -> None:
    """It is the first of a run that is not open, and of today. Raises PeerError."""
    if statement.number or statement.former:
        raise PeerError(statement.agency, f"consent statement number {statement.number}", "the first: the run is not open")
    if statement.day != today:
        raise PeerError(statement.agency, "a consent statement of another day", "one of today: start the run again, and check both clocks")


def require_next(statement: Statement, former: Statement, today: int) -> None:
    """It follows the one before, and lists nobody whom that one did not. Raises PeerError."""
    if statement.number != former.number + 1 or statement.former != former.digest:
        raise PeerError(
            statement.agency, f"consent statement number {statement.number}", f"number {former.number + 1}, chained to the last"
        )
    if not former.day <= statement.day <= today:
        raise PeerError(statement.agency, "a consent statement of another day", "one of today: check both clocks")
    if not set(statement.hashes) < set(former.hashes):
        raise PeerError(statement.agency, "a consent statement that adds a subject or drops none", "the last one without some")


def acknowledge(statement: Statement, identity: Secret) -> bytes:
    """The platform's signature, with its identity key, that it keeps this statement and works by it from its next stage on; 64 bytes."""
    return suite.sign(identity, _statement("heard", statement))


def acknowledges(public: bytes, statement: Statement, signature: bytes) -> bool:
    """Whether it is the platform's acknowledgement of just this statement."""
    return suite.verifies(public, _statement("heard", statement), signature)


def _statement(what: str, statement: Statement) -> bytes:
    return suite.frame("consent statement", what, statement.digest)


def _sealing(shared: Secret, nonce: bytes) -> Secret:
    return suite.derive(shared, "consent at an agency", "statement", nonce)
