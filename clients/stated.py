"""Consents that an agency holds for this institution: the statements that it was told, and what they let through.

The last one of a run lies beside its journal (RUN.statement), as it came: sealed. It is checked each time it is read. Nothing here is about a
person that the agency's ledger does not say; the institution keeps no ledger of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from clients.consent_key import shared_key
from clients.home import Home
from clients.party_config import PartyConfig
from federation.kernel.errors import AbortCode, ConfigurationError, PeerError, PolicyRefusal
from federation.kernel.known import known
from federation.kernel.manifest import Manifest
from federation.kernel.role import COORDINATOR
from federation.kernel.secret import Secret
from privacy.consent.days import day_of, moment
from privacy.consent.decide import Ask
from privacy.consent.statement import Statement, Told, acknowledge, commitment, ledger_key, require, require_first, require_next, unseal
from privacy.consent.subject import Pseudonyms
from privacy.store.audit_file import AuditFile

Mask = NDArray[np.bool_]


class StatedConsents:
    """One institution's, for rows whose legal basis is consent that an agency holds."""

    def __init__(self, home: Home, config: PartyConfig, log: Callable[[], AuditFile], clock: Callable[[], str]) -> None:
        self._home, self._config, self._log, self._clock = home, config, log, clock

    def hear(self, manifest: Manifest, payload: bytes, identity: Secret, *, opened: bool) -> bytes:
        """Take a statement: the first of a run that is not open, or the next; the one that is here already too. Returns the acknowledgement.

        Raises PeerError where it is not for this run, altered, stale or out of turn, ConfigurationError where none is awaited.
        """
        me = self._config.name
        if self._config.legal_basis != "agency" or me not in manifest.members or not manifest.party(me).consents_at_agency:
            what = "a consent statement came, and consents are not held at an agency here"
            raise ConfigurationError(me, what, 'Set legal_basis = "agency" in node.toml, and draft the run again.')
        statement, former = self._read(manifest, payload), self._stored(manifest)
        if former is not None and statement == former:
            return acknowledge(statement, identity)
        if opened and former is not None:
            require_next(statement, former, self._today)
        else:
            require_first(statement, self._today)
        self._log().append(
            "consent", manifest.run, change="statement heard", agency=statement.agency, number=statement.number,
            statement=statement.digest.hex(), subjects=statement.count,
        )  # fmt: skip
        self._log().sync()
        self._home.keep(self._path(manifest), payload)
        return acknowledge(statement, identity)

    def require_committed(self, manifest: Manifest, approved: Mapping[str, bytes]) -> None:
        """Before a run opens: the statement is the one to which the agency's signature of the manifest commits. Raises PeerError."""
        statement, roll = self._first(manifest), read_told(self._path(manifest).read_bytes()).roll
        if commitment(roll) != approved[statement.agency] or roll.get(self._config.name) != statement.digest:
            raise PeerError(
                COORDINATOR, "another consent statement than the agency's signature commits to", "that one: start the run again"
            )

    def permitted(self, manifest: Manifest, firms: Sequence[str]) -> Mask:
        """Which firms may be used, (n,), by the first statement. Raises PolicyRefusal where none came, PeerError for one of another day."""
        return self._listed(self._first(manifest), firms)

    def gone(self, manifest: Manifest, firms: Sequence[str]) -> Mask:
        """Which firms of an open run may no longer be used, (n,), by the last statement."""
        statement = self._needed(manifest)
        return ~self._listed(statement, firms) if statement.number else np.zeros(len(firms), bool)

    @property
    def _today(self) -> int:
        return day_of(moment(self._clock()))

    def _listed(self, statement: Statement, firms: Sequence[str]) -> Mask:
        listed = set(statement.hashes)
        subjects = Pseudonyms(ledger_key(shared_key(self._home, statement.agency))).of(firms)
        return np.fromiter((subject in listed for subject in subjects), bool, len(subjects))

    def _first(self, manifest: Manifest) -> Statement:
        statement = self._needed(manifest)
        require_first(statement, self._today)
        return statement

    def _needed(self, manifest: Manifest) -> Statement:
        statement = self._stored(manifest)
        if statement is None:
            what = f"no consent statement of {self._config.through} has come for run {manifest.run}"
            action = "Nothing was sent. The coordinator must be of a version that carries them; the agency's log says whether it made one."
            raise PolicyRefusal(self._config.name, what, action, AbortCode.CONSENT)
        return statement

    def _stored(self, manifest: Manifest) -> Statement | None:
        path = self._path(manifest)
        if not path.exists():
            return None
        payload = path.read_bytes()
        return self._read(manifest, payload) if read_told(payload).manifest == manifest.canonical() else None

    def _read(self, manifest: Manifest, payload: bytes) -> Statement:
        told, agency, me = read_told(payload), self._config.through, self._config.name
        public = manifest.identities().get(agency)
        if public is None or manifest.through(me) != agency:
            raise PeerError(COORDINATOR, "a consent statement for a run that does not go through this institution's agency", agency)
        statement = unseal(told, agency, public, shared_key(self._home, agency))
        require(statement, manifest.hash, agency, me, Ask.of(manifest, me))
        return statement

    def _path(self, manifest: Manifest) -> Path:
        return self._home.journal(manifest.run).with_suffix(".statement")


def read_told(payload: bytes) -> Told:
    """A statement as it travels. Raises PeerError."""
    try:
        return msgspec.msgpack.decode(payload, type=known(Told))
    except msgspec.MsgspecError:
        raise PeerError(COORDINATOR, "malformed bytes", "a consent statement") from None
