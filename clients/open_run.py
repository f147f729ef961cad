"""A run that is open at a node: what the process keeps of it between messages, all of which can be made anew from the node's files."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from federation.carriage.journal_file import JournalFile
from federation.kernel.journal import Journal
from federation.kernel.manifest import Manifest
from federation.kernel.participant import Participant
from federation.kernel.relay import Relay
from federation.kernel.signatures import Opening


@dataclass(frozen=True)
class OpenRun:
    """opening: manifest and signatures; program: the participant's; rows: of this institution that take part, 0 at an agency."""

    opening: Opening
    participant: Participant[Any]
    program: Any
    journal: Journal
    rows: int

    @property
    def manifest(self) -> Manifest:
        """What everybody signed."""
        return self.participant.manifest

    def overtaken(self) -> bool:
        """Whether another process has gone on with the run since."""
        return isinstance(self.journal, JournalFile) and self.journal.overtaken()

    def release(self) -> None:
        """Let go of memory and files; the journal stays."""
        self.participant.release()
        _close(self.journal)


@dataclass(frozen=True)
class RelayedRun(OpenRun):
    """At an agency. relay: lets envelopes pass; way: its own journal, beside the participant's."""

    relay: Relay
    way: Journal

    def release(self) -> None:
        """As of any run, and the relay's journal."""
        super().release()
        _close(self.way)


def _close(journal: Journal) -> None:
    if isinstance(journal, JournalFile):
        journal.close()
