"""A licensed credit agency's node: the same four operations as an institution's, and no records behind them but the consents that it holds.

    describe, propose, open, deliver    as `clients.node`; its gate opens no vault, and what it delivers is what it lets pass
    consents                            -> the statements for the platforms whose consents it holds (`clients.held`); also its answer to
                                        `deliver` while a platform has not acknowledged the last one, and then nothing passes
    heard                               the platforms' acknowledgements
    close                               the coordinator says that the run is over: the log tells the last stage, and nothing passes any more

A coordinator that closes too early stops the run, which it can in any case; one that never does leaves the log without the last stage, which
shows when accounts are compared.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from clients.held import HeldConsents
from clients.node import LARGEST_BATCH, Node
from federation.carriage.journal_file import JournalFile
from federation.carriage.mailbox import Parcel
from federation.kernel import suite
from federation.kernel.batch import Batch
from federation.kernel.codec import decode
from federation.kernel.errors import ConfigurationError, CreditfedError, PeerError, PolicyRefusal
from federation.kernel.journal import Journal, MemoryJournal
from federation.kernel.manifest import Description, Manifest, PartyDeclaration
from federation.kernel.manifest_rules import read_manifest
from federation.kernel.participant import Participant
from federation.kernel.relay import Relay, Silent
from federation.kernel.role import COORDINATOR
from federation.kernel.signatures import Opening, Signature, sign_manifest


class AgencyNode(Node):
    """An agency's node over its home folder."""

    def __init__(self, root: Path, *, at_once: bool = False) -> None:
        super().__init__(root, at_once=at_once)
        self.held = HeldConsents(self.home, self.name, self.identity, lambda: self.gate.log, self.gate.clock)
        self._relays: dict[str, Relay] = {}
        self._ways: dict[str, Journal] = {}

    def _answer(self, parcel: Parcel) -> Parcel:
        if parcel.operation == "deliver":
            participant = self._current(parcel.run) or self._resume(parcel.run)
            if participant.failure is None:
                try:
                    self.held.look(participant.manifest)
                except CreditfedError as error:
                    return self._reply(parcel, self._reported_to_log(participant, self._relays[parcel.run].abort(error)))
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
        raise PeerError(COORDINATOR, "an unknown operation", "describe, propose, consents, heard, open, deliver or close")

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
        participant = self._current(run) or self._resume(run)
        relay = self._relays[run]
        batch = decode(payload, Batch, COORDINATOR, LARGEST_BATCH)
        try:
            self.gate.require_standing(participant.manifest)
        except PolicyRefusal as refusal:
            reply = relay.abort(refusal)
        else:
            reply = relay.deliver(batch.number, batch.envelopes)
        return self._reported_to_log(participant, reply)

    def _reported_to_log(self, participant: Participant[Any], reply: bytes) -> bytes:
        """The reply, once the log says why the run ended, where it did."""
        run = participant.manifest.run
        if participant.failure is not None and run not in self._reported:
            self._reported.add(run)
            self._note_failure(participant.failure)
            self.gate.ended(participant.manifest, participant.failure)
        return reply

    def close_run(self, run: str) -> None:
        """The run is over, as the coordinator says. Raises PeerError for one that is not open here."""
        participant = self._current(run) or self._resume(run)
        self._relays[run].close()
        if run not in self._reported:
            self._reported.add(run)
            self.gate.ended(participant.manifest, None, session=participant.session.hex(), relayed=self._relays[run].count)
            self.home.write("relayed.json", f'{{"messages": {self._relays[run].count}}}')

    def _require_consents(self, manifest: Manifest, approved: dict[str, bytes]) -> None:  # noqa: ARG002  # as at a platform
        """Every platform has acknowledged the statement that the run begins with."""
        if self.held.told(manifest.run):
            raise PeerError(COORDINATOR, "a run whose consent statements were not acknowledged", "each platform's acknowledgement")

    def _note_opening(self, manifest: Manifest, opening: Opening) -> None:
        self.held.opened(manifest)
        self.gate.opened_relay(manifest, opening.signatures)

    def _participant(self, opening: Opening, journal: Journal) -> Participant[Any]:
        manifest = read_manifest(opening.manifest)
        self._openings[manifest.run] = opening
        witness = self.gate.witness(manifest)
        snapshot = next(signature.snapshot for signature in opening.signatures if signature.party == self.name)
        participant = self._in_session(opening, Silent(), journal, snapshot)
        self._relays[manifest.run] = Relay(participant, self.identity, self._way_journal(manifest.run), witness.relayed)
        return participant

    def _way_journal(self, run: str) -> Journal:
        """The relay's own journal, beside the participant's."""
        if self.config.journal == "memory":
            return self._ways.setdefault(run, MemoryJournal())
        path = self.home.journal(run).with_suffix(".relay")
        self._ways[run] = JournalFile(path, self.home.key("storage"), shared=self.config.journal == "shared")
        return self._ways[run]

    def _forget(self, run: str) -> None:
        super()._forget(run)
        self._relays.pop(run, None)
        self.held.forget(run)
        journal = self._ways.pop(run, None)
        if isinstance(journal, JournalFile):
            journal.close()
