"""A licensed credit agency's node: the same four operations as an institution's, and no records behind them.

    describe, propose, open, deliver    as `clients.node`; its gate opens no vault, and what it delivers is what it lets pass
    close                               the coordinator says that the run is over: the log tells the last stage, and nothing passes any more

A coordinator that closes too early stops the run, which it can in any case; one that never does leaves the log without the last stage, which
shows when accounts are compared.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from clients.node import LARGEST_BATCH, Node
from federation.carriage.journal_file import JournalFile
from federation.carriage.mailbox import Parcel
from federation.kernel import suite
from federation.kernel.batch import Batch
from federation.kernel.codec import decode
from federation.kernel.errors import ConfigurationError, PolicyRefusal
from federation.kernel.journal import Journal, MemoryJournal
from federation.kernel.manifest import Description, Manifest, PartyDeclaration
from federation.kernel.manifest_rules import read_manifest
from federation.kernel.participant import Participant
from federation.kernel.relay import Relay, Silent
from federation.kernel.role import COORDINATOR
from federation.kernel.signatures import Opening, Signature, sign_manifest

NO_ROWS = bytes(suite.KEY_BYTES)
"""What an agency's signature says of its data: it has none."""


class AgencyNode(Node):
    """An agency's node over its home folder."""

    def __init__(self, root: Path, *, at_once: bool = False) -> None:
        super().__init__(root, at_once=at_once)
        self._relays: dict[str, Relay] = {}
        self._ways: dict[str, Journal] = {}

    def _answer_other(self, parcel: Parcel) -> Parcel:
        if parcel.operation == "close":
            self.close_run(parcel.run)
            return self._reply(parcel, b"")
        return super()._answer_other(parcel)

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
        self.gate.admit_relay(manifest, NO_ROWS)
        return sign_manifest(manifest, self.name, NO_ROWS, self.identity, self.gate.witness(manifest).seen())

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

    def _note_opening(self, manifest: Manifest, opening: Opening) -> None:
        self.gate.opened_relay(manifest, opening.signatures)

    def _participant(self, opening: Opening, journal: Journal) -> Participant[Any]:
        manifest = read_manifest(opening.manifest)
        self._openings[manifest.run] = opening
        witness = self.gate.witness(manifest)
        participant = self._in_session(opening, Silent(), journal, NO_ROWS)
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
        journal = self._ways.pop(run, None)
        if isinstance(journal, JournalFile):
            journal.close()
