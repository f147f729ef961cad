"""A participant at its stage's start, as bytes for its own journal; and a failure that a restart must not forget.

A failed participant keeps neither keys nor state: it has sent its abort, and must never again send anything under that session's keys,
least of all under a sequence number that the abort has used.
"""

from __future__ import annotations

from typing import Self

import msgspec

from federation.kernel.errors import (
    AbortCode,
    ConfigurationError,
    CreditfedError,
    DataError,
    LocalError,
    LostParty,
    PeerAborted,
    PeerError,
    PolicyRefusal,
)
from federation.kernel.known import known
from federation.kernel.session import Keys
from federation.kernel.tally import Counts
from federation.kernel.withdrawal import Withdrawals

_KINDS: dict[str, type[CreditfedError]] = {
    kind.__name__: kind for kind in (ConfigurationError, DataError, LocalError, LostParty, PeerAborted, PeerError, PolicyRefusal)
}


class Failure(msgspec.Struct, frozen=True):
    """How a participant ended before its program did; the texts are those of the error, which quote no value of the data."""

    kind: str
    where: str
    what: str
    action: str
    code: AbortCode

    @classmethod
    def of(cls, error: CreditfedError) -> Self:
        """What is kept of an error."""
        return cls(type(error).__name__, error.where, error.what, error.action, error.code)

    def error(self) -> CreditfedError:
        """The error again, of its own kind."""
        kind = _KINDS.get(self.kind, CreditfedError)
        error = kind.__new__(kind)
        CreditfedError.__init__(error, self.where, self.what, self.action, self.code)
        return error


class Snapshot(msgspec.Struct, frozen=True):
    """phase: of the session; state: of the program; sent, received: next sequence numbers; view: digest of broadcasts;
    early: letters that came before they were awaited, as (sender, step, kind, body); missing: parties that the coordinator gave up; tally: of
    messages of stages that have not ended; withdrawals: rows without which the stage begins.
    """

    phase: str
    keys: Keys
    state: bytes
    sent: dict[str, int]
    received: dict[str, int]
    view: bytes
    early: tuple[tuple[str, str, str, bytes], ...] = ()
    failure: Failure | None = None
    missing: tuple[str, ...] = ()
    tally: Counts = {}
    withdrawals: Withdrawals = Withdrawals()

    def encoded(self) -> bytes:
        """For the journal."""
        return msgspec.msgpack.encode(self)


def failed(error: CreditfedError) -> Snapshot:
    """What is left of a participant that failed: its failure."""
    return Snapshot("failed", Keys(b""), b"", {}, {}, b"", (), Failure.of(error))


def read_snapshot(raw: bytes) -> Snapshot:
    """From the journal's bytes."""
    return msgspec.msgpack.decode(raw, type=known(Snapshot))
