"""Consents that an agency holds for platforms: the statements that it makes for a run, and who is gone since.

Before a run: one statement for each platform whose consents are held here, to which the signature of the manifest commits. While it is open:
before anything passes the ledgers are looked at, and where somebody is gone a next statement is made; until the platform has acknowledged the
last one, with its identity key, the agency lets nothing pass. So a coordinator that keeps a statement back stops the run, and no more.

What was made for a run lies beside its journal (RUN.statements), before it leaves.
"""

from __future__ import annotations

import datetime as dt
import os
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import msgspec

from clients.consent import into_log, open_ledger
from clients.consent_key import shared_key
from clients.home import Home
from federation.kernel import suite
from federation.kernel.errors import AbortCode, DataError, PeerError
from federation.kernel.known import known
from federation.kernel.manifest import Manifest
from federation.kernel.manifest_rules import read_manifest
from federation.kernel.role import COORDINATOR
from federation.kernel.secret import Secret
from privacy.consent.days import day_of, moment
from privacy.consent.decide import Ask
from privacy.consent.statement import Statement, Told, acknowledges, commitment, seal
from privacy.consent.withdrawals import Gone, Mark
from privacy.store.audit_file import AuditFile
from privacy.store.consent_ledger import ConsentLedger

NO_ROWS = bytes(suite.KEY_BYTES)
"""What an agency's signature says of its data where it holds no consents: it has none."""


class _Made(msgspec.Struct, frozen=True):
    """A platform's last statement. nonce, sealed: as it travels; mark: how far the ledger was looked at; heard: the platform has said so."""

    statement: Statement
    nonce: bytes
    sealed: bytes
    mark: Mark
    heard: bool = False


class _Run(msgspec.Struct, frozen=True):
    """manifest: canonical bytes; roll: digests of the first statements; made: the last one, both by platform."""

    manifest: bytes
    roll: dict[str, bytes]
    made: dict[str, _Made]


class HeldConsents:
    """One agency's."""

    def __init__(self, home: Home, name: str, identity: Secret, log: Callable[[], AuditFile], clock: Callable[[], str]) -> None:
        self._home, self._name, self._identity, self._log, self._clock = home, name, identity, log, clock
        self._runs: dict[str, _Run] = {}

    def platforms(self, manifest: Manifest) -> tuple[str, ...]:
        """The platforms of a run whose consents this agency holds."""
        return tuple(party.name for party in manifest.parties if party.consents_at_agency and party.through == self._name)

    def state(self, manifest: Manifest) -> bytes:
        """Make the first statements of a run that is not open, or keep those that still say the same; what the signature commits to."""
        if not (platforms := self.platforms(manifest)):
            return NO_ROWS
        before = self._stored(manifest.run)
        if before is not None and before.manifest != manifest.canonical():
            before = None
        made = {name: self._first(manifest, name, None if before is None else before.made.get(name)) for name in platforms}
        roll = {name: each.statement.digest for name, each in made.items()}
        self._keep(manifest.run, _Run(manifest.canonical(), roll, made))
        return commitment(roll)

    def told(self, name: str) -> bytes:
        """The statements of a run that platforms have not acknowledged, by platform and encoded; empty where there is none."""
        run = self._stored(name)
        if run is None or all(made.heard for made in run.made.values()):
            return b""
        unheard = {name: Told(run.manifest, run.roll, made.nonce, made.sealed) for name, made in run.made.items() if not made.heard}
        return msgspec.msgpack.encode({name: msgspec.msgpack.encode(told) for name, told in unheard.items()})

    def heard(self, name: str, payload: bytes) -> None:
        """Take acknowledgements of a run's statements, by platform. Raises PeerError for one that is not of the last statement."""
        run = self._needed(name)
        manifest = read_manifest(run.manifest)
        try:
            signatures = msgspec.msgpack.decode(payload, type=known(dict[str, bytes]))
        except msgspec.MsgspecError:
            raise PeerError(COORDINATOR, "malformed bytes", "acknowledgements of consent statements") from None
        for platform, signature in signatures.items():
            made, public = run.made.get(platform), manifest.identities().get(platform, b"")
            if made is None or not acknowledges(public, made.statement, signature):
                raise PeerError(
                    COORDINATOR, "an acknowledgement that does not hold", "one of the last consent statement, with its identity key"
                )
            if not made.heard:
                run = _with(run, platform, msgspec.structs.replace(made, heard=True))
                self._note(name, "statement heard", made.statement)
        self._keep(name, run)

    def opened(self, manifest: Manifest) -> None:
        """A run begins: for each subject of a statement the ledger notes that it may be used, before anything passes."""
        if not self.platforms(manifest):
            return
        until = dt.date.fromisoformat(manifest.expires[:10])
        for name, made in self._needed(manifest.run).made.items():
            with closing(self._ledger(name)) as ledger:
                ledger.record_use_of(manifest.run, made.statement.hashes, made.statement.ask, until, self._clock())

    def look(self, manifest: Manifest) -> None:
        """Make the next statement where somebody is gone. Raises DataError where a ledger cannot be read, or went back."""
        if not self.platforms(manifest):
            return
        run = self._needed(manifest.run)
        for name, made in run.made.items():
            if not made.heard:  # nothing passes until it is; then the next look comes to it
                continue
            found, former = self._gone(name, made), made.statement
            if found.mask.any():
                left = [subject for subject, gone in zip(former.hashes, found.mask, strict=True) if not gone]
                run = _with(run, name, self._made(manifest, name, former.ask, left, found.mark, former))
                self._keep(manifest.run, run)
            elif found.mark.revision != made.mark.revision:  # of others: the next look need not come to them again
                run = self._runs[manifest.run] = _with(run, name, msgspec.structs.replace(made, mark=found.mark))

    def forget(self, run: str) -> None:
        """What is in memory alone: another process has gone on with the run."""
        self._runs.pop(run, None)

    # -- one statement ----------------------------------------------------------------------------------------------------------

    def _first(self, manifest: Manifest, platform: str, before: _Made | None) -> _Made:
        ask = Ask.of(manifest, platform)
        with closing(self._ledger(platform)) as ledger:
            mark = ledger.mark(self._clock())  # first, so that nothing falls between the two
            subjects = ledger.consenting(ask, self._clock())
        same = before is not None and before.statement.day == day_of(mark.at) and before.statement.hashes == subjects
        return before if before is not None and same else self._made(manifest, platform, ask, subjects, mark, None)

    def _gone(self, platform: str, made: _Made) -> Gone:
        said = made.statement
        with closing(self._ledger(platform)) as ledger:
            return ledger.gone_of(said.count, lambda: said.hashes, said.ask, made.mark, self._clock())

    def _made(self, manifest: Manifest, platform: str, ask: Ask, subjects: list[bytes], mark: Mark, former: Statement | None) -> _Made:
        number, chained = (0, b"") if former is None else (former.number + 1, former.digest)
        statement = Statement(
            manifest.hash, self._name, platform, number, chained, ask, day_of(moment(self._clock())), b"".join(subjects),
            os.urandom(suite.KEY_BYTES),
        )  # fmt: skip
        nonce = os.urandom(suite.KEY_BYTES)
        sealed = seal(statement, self._identity, shared_key(self._home, platform), nonce)
        self._note(manifest.run, "statement made", statement)
        return _Made(statement, nonce, sealed, mark)

    def _note(self, run: str, change: str, statement: Statement) -> None:
        self._log().append(
            "consent", run, change=change, platform=statement.platform, number=statement.number,
            statement=statement.digest.hex(), subjects=statement.count,
        )  # fmt: skip
        self._log().sync()

    def _ledger(self, platform: str) -> ConsentLedger:
        return open_ledger(self._home, into_log(self._log(), platform=platform), platform)

    # -- what is kept -----------------------------------------------------------------------------------------------------------

    def _needed(self, name: str) -> _Run:
        if (run := self._stored(name)) is None:
            what = f"the consent statements of run {name} are not here"
            raise DataError(self._name, what, "Start the run anew, under another name.", AbortCode.CONSENT)
        return run

    def _stored(self, name: str) -> _Run | None:
        path = self._path(name)
        if name not in self._runs and path.exists():
            try:
                self._runs[name] = msgspec.msgpack.decode(path.read_bytes(), type=known(_Run))
            except msgspec.MsgspecError:
                raise DataError(path.name, "it cannot be read", "Start the run anew, under another name.", AbortCode.CONSENT) from None
        return self._runs.get(name)

    def _keep(self, name: str, run: _Run) -> None:
        self._home.keep(self._path(name), msgspec.msgpack.encode(run))
        self._runs[name] = run

    def _path(self, run: str) -> Path:
        return self._home.journal(run).with_suffix(".statements")


def _with(run: _Run, platform: str, made: _Made) -> _Run:
    return msgspec.structs.replace(run, made=run.made | {platform: made})
