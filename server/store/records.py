"""What the store gives out: frozen records, times as texts such as 2026-05-01T12:00:00Z (UTC, to the second), hashes as hexadecimal."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, Self

from federation.kernel.errors import CreditfedError
from federation.kernel.joining import Joining, node_key_pem
from server.store.states import OVER, RunState

Way = Literal["connected", "files"]
"""How envelopes travel to a node and back: it connects to the server, or people carry files."""


@dataclass(frozen=True)
class Node:
    """An institution's node that may take part.

    key: Ed25519 identity key; node_key: P-384 public key as a SubjectPublicKeyInfo in PEM, the bytes by which Flower's server knows a node;
    exchange_key: X25519; revoked_at: None until it may not any more.
    """

    name: str
    role: str
    key: str
    node_key: bytes
    exchange_key: str
    way: Way
    enrolled_at: str
    revoked_at: str | None = None

    @classmethod
    def of(cls, joining: Joining, way: Way, now: str) -> Self:
        """The node that a joining file, read and so verified, speaks of."""
        return cls(joining.name, joining.role, joining.key, node_key_pem(joining.node_key), joining.exchange_key, way, now)


@dataclass(frozen=True)
class Failure:
    """Why a run failed. code: an AbortCode; kind: the error's type; text: for people; exit_code: of the command that waits for the run."""

    code: str
    kind: str
    text: str
    exit_code: int

    @classmethod
    def of(cls, error: CreditfedError) -> Self:
        """From the error that ended the run."""
        return cls(error.code.value, type(error).__name__, str(error), error.exit_code)


@dataclass(frozen=True)
class Run:
    """A run that was asked for, and how far it is.

    digest: SHA-256 of run_file; state_at: when it came into its state; stage, exchanges: of the coordinator's participant, for people to see
    that it goes on; conduct: JSON, what was computed and what it cost; worker: of the process that works on it, and beat_at when that was last
    known to live, both None when nobody does.
    """

    name: str
    run_file: bytes = field(repr=False)
    digest: str
    submitted_at: str
    state: RunState
    state_at: str
    stage: str = ""
    exchanges: int = 0
    attempt: int = 1
    manifest_hash: str | None = None
    session: str | None = None
    model_hash: str | None = None
    failure: Failure | None = None
    stop_requested: bool = False
    conduct: bytes | None = field(default=None, repr=False)
    worker: str | None = None
    beat_at: str | None = None

    @property
    def over(self) -> bool:
        """Whether nothing more will come of it."""
        return self.state in OVER
