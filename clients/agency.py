"""A licensed credit agency's node: the same four operations as an institution's, and no records behind them but the consents that it holds.

    describe, propose, voted, open, deliver    as `clients.node`; its gate opens no vault, and what it delivers is what it lets pass
    consents                            -> the statements for the platforms whose consents it holds (`clients.held`); also its answer to
                                        `deliver` while a platform has not acknowledged the last one, and then nothing passes
    heard                               the platforms' acknowledgements
    close                               the coordinator says that the run is over: the log tells the last stage, and nothing passes any more

A coordinator that closes too early stops the run, which it can in any case; one that never does leaves the log without the last stage, which
shows when accounts are compared.
"""

from __future__ import annotations

from pathlib import Path

from clients.held import HeldConsents
from clients.node import LARGEST_BATCH, Node
from clients.open_run import OpenRun, RelayedRun
from federation.carriage.journal_file import JournalFile
from federation.carriage.mailbox import Parcel
from federation.kernel import suite
from federation.kernel.batch import Batch
from federation.kernel.codec import decode
from federation.kernel.errors import ConfigurationError, CreditfedError, PeerError, PolicyRefusal
from federation.kernel.journal import Journal, MemoryJournal
from federation.kernel.manifest import Description, Manifest, PartyDeclaration
from federation.kernel.manifest_rules import read_manifest
from federation.kernel.relay import Relay, Silent
from federation.kernel.role import COORDINATOR
from federation.kernel.signatures import Opening, Signature, sign_manifest


class AgencyNode(Node):
    """An agency's node over its home folder."""

    def __init__(self, root: Path, *, at_once: bool = False) -> None:
        super().__init__(root, at_once=at_once)
        self.held = HeldConsents(self.home, self.name, self.identity, lambda: self.gate.log, self.gate.clock)

    def _answer(self, parcel: Parcel) -> Parcel:
        if parcel.operation == "deliver":
            open_run = self._relayed(parcel.run)
            if not open_run.relay.stopped:
                try:
                    self.held.look(open_run.manifest)
                except CreditfedError as error:
                    return self._reply(parcel, self._reported(open_run, open_run.relay.abort(error)))
                if unheard := self.held.told(parcel.run):
                    return Parcel("consents", parcel.run, unheard)
        return super()._answer(parcel)

    def _answer_other(self, parcel: Parcel) -> Parcel:
        if parcel.operation == "consents":
            return self._reply(parcel, self.held.told(parcel.run))
        if parcel.operation == "heard":
            self.held.heard(parcel.run, parcel.payload)
            return self._reply(parcel, b"")
        if parcel.operation == "close":
            self.close_run(parcel.run)
            return self._reply(parcel, b"")
        raise PeerError(COORDINATOR, "an unknown operation", "describe, propose, voted, consents, heard, open, deliver or close")

    def describe(self) -> Description:
        """Its name and key; the kind of ids is no matter of its own."""
        key = suite.signing_public(self.identity).hex()
        return Description(PartyDeclaration(name=self.name, role=self.config.role, identity=key), "any")

    def approve(self, manifest: Manifest) -> Signature:
        """Sign a manifest that declares this agency as it is, if the gate lets it through; again where the run is open already."""
        opened = self._opened(manifest.run)
        if opened is not None:
            self._require_open(manifest, opened)
            return next(signature for signature in opened.signatures if signature.party == self.name)
        self.gate.asked(manifest)
        key = suite.signing_public(self.identity).hex()
        if not any((agency.name, agency.identity) == (self.name, key) for agency in manifest.agencies):
            raise ConfigurationError(
                self.name, "the manifest declares this agency otherwise, or not at all", "Draft the manifest again from the node's description."
            )  # fmt: skip
        snapshot = self.gate.admit_relay(manifest, lambda: self.held.state(manifest))
        return sign_manifest(manifest, self.name, snapshot, self.identity, self.gate.witness(manifest).seen())

    def deliver(self, run: str, payload: bytes) -> bytes:
        """Envelopes in, those that pass out; nothing more of a run that has expired or was revoked."""
        open_run = self._relayed(run)
        batch = decode(payload, Batch, COORDINATOR, LARGEST_BATCH)
        try:
            self.gate.require_standing(open_run.manifest)
        except PolicyRefusal as refusal:
            reply = open_run.relay.abort(refusal)
        else:
            reply = open_run.relay.deliver(batch.number, batch.envelopes)
            if open_run.participant.failure is None:
                self.course.at(run, f"relaying, {open_run.relay.count:,} messages let pass")
        return self._reported(open_run, reply)

    def _relayed(self, run: str) -> RelayedRun:
        """The run, open here or resumed. Raises PeerError for one that is not open."""
        found = self._current(run) or self._resume(run)
        assert isinstance(found, RelayedRun)  # all that `_open_run` makes here
        return found

    def _reported(self, open_run: RelayedRun, reply: bytes) -> bytes:
        """The reply, once the log says why the run ended, where it did."""
        failure = open_run.participant.failure
        if failure is not None and not self.gate.assent.over(open_run.manifest):
            self._note_failure(failure)
            self.gate.ended(open_run.manifest, failure)
            self.course.ended(open_run.manifest.run, failure, "")
        return reply

    def close_run(self, run: str) -> None:
        """The run is over, as the coordinator says. Raises PeerError for one that is not open here."""
        open_run = self._relayed(run)
        open_run.relay.close()
        if not self.gate.assent.over(open_run.manifest):
            self.home.write("relayed.json", f'{{"messages": {open_run.relay.count}}}')
            self.gate.ended(open_run.manifest, None, session=open_run.participant.session.hex(), relayed=open_run.relay.count)
            self.course.ended(run, None, f"{open_run.relay.count:,} messages were let pass")

    def _require_consents(self, manifest: Manifest, approved: dict[str, bytes]) -> None:  # noqa: ARG002  # as at a platform
        """Every platform has acknowledged the statement that the run begins with."""
        if self.held.told(manifest.run):
            raise PeerError(COORDINATOR, "a run whose consent statements were not acknowledged", "each platform's acknowledgement")

    def _note_opening(self, manifest: Manifest, opening: Opening) -> None:
        self.held.opened(manifest)
        self.gate.opened_relay(manifest, opening.signatures)
        self.course.opened(manifest.run, manifest.members, None)

    def _open_run(self, opening: Opening, journal: Journal) -> OpenRun:
        manifest = read_manifest(opening.manifest)
        witness = self.gate.witness(manifest)
        snapshot = next(signature.snapshot for signature in opening.signatures if signature.party == self.name)
        program, way = Silent(), self._way_journal(manifest.run)
        participant = self._in_session(opening, program, journal, snapshot)
        return RelayedRun(opening, participant, program, journal, 0, Relay(participant, self.identity, way, witness.relayed), way)

    def _way_journal(self, run: str) -> Journal:
        """The relay's own journal, beside the participant's."""
        if self.config.journal == "memory":
            return MemoryJournal()
        path = self.home.journal(run).with_suffix(".relay")
        return JournalFile(path, self.home.key("storage"), shared=self.config.journal == "shared")

    def _forget(self, run: str) -> None:
        super()._forget(run)
        self.held.forget(run)
