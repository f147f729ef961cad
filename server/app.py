"""The coordinator's Flower ServerApp: drafts the manifest, collects signatures, opens the session, and carries envelopes until all are done.

It sees no record, no key between institutions and no single contribution. What it is in a protocol (a summer, a matcher, a router) is its
own participant's program, the same coroutines as everybody's.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
from flwr.app import Context
from flwr.serverapp import Grid, ServerApp

from federation.carriage.journal_file import JournalFile
from federation.carriage.mailbox import Parcel
from federation.kernel import suite
from federation.kernel.codec import decode, encode
from federation.kernel.envelope import Envelope
from federation.kernel.errors import CreditfedError
from federation.kernel.journal import Journal, MemoryJournal
from federation.kernel.manifest import Description, Manifest, Opening, Signature, check_signatures
from federation.kernel.participant import Batch, Participant
from federation.kernel.role import COORDINATOR
from federation.kernel.secret import Secret
from federation.models.training import Coordinator, Progress
from server.courier import Courier, LostNode
from server.draft import draft_manifest
from server.run_file import RunFile, load

LARGEST_BATCH = 1 << 30


@dataclass
class Conduct:
    """What came of a run, for its record: no contribution and no sum is in it."""

    manifest: Manifest
    session: bytes = b""
    seconds: dict[str, float] = field(default_factory=dict)
    bytes_sent: dict[str, int] = field(default_factory=dict)
    messages: dict[str, int] = field(default_factory=dict)
    exchanges: int = 0
    failure: CreditfedError | None = None
    state: Progress | None = None

    def document(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "manifest": msgspec.to_builtins(self.manifest), "manifest_hash": self.manifest.hash.hex(), "session": self.session.hex(),
            "seconds": self.seconds, "bytes_sent": self.bytes_sent, "messages": self.messages, "exchanges": self.exchanges,
            "universe": self.state.universe if self.state else 0, "model_hash": self.state.model_hash.hex() if self.state else "",
            "failure": failure_document(self.failure) if self.failure else None,
        }  # fmt: skip


def failure_document(error: CreditfedError) -> dict[str, Any]:
    """What went wrong, as JSON values."""
    return {"exit_code": error.exit_code, "code": error.code.value, "kind": type(error).__name__, "text": str(error)}


Watcher = Callable[[str, int], None]
watchers: list[Watcher] = []
"""Called with the coordinator's stage and the number of exchanges so far; a simulation draws its progress bar from it."""


def conduct(grid: Grid, run_file: RunFile, run: str, identity: Secret, journal: Journal) -> Conduct:
    """Run a run file over a grid's nodes. Raises CreditfedError; a failure inside the session is in the result."""
    started = time.monotonic()
    courier = Courier(grid, {str(node): node for node in grid.get_node_ids()})
    answers = courier.exchange({name: Parcel("describe", run, b"") for name in courier.nodes})
    descriptions = {name: msgspec.json.decode(answer.payload, type=Description) for name, answer in answers.items()}
    courier = Courier(grid, {descriptions[name].party.name: node for name, node in courier.nodes.items()})
    manifest = draft_manifest(run_file, run, tuple(descriptions.values()), suite.signing_public(identity).hex())
    proposals = courier.exchange({name: Parcel("propose", run, manifest.canonical()) for name in manifest.members})
    signatures = tuple(msgspec.json.decode(answer.payload, type=Signature) for answer in proposals.values())
    check_signatures(manifest, signatures)
    opening = msgspec.json.encode(Opening(manifest.canonical(), signatures))
    courier.exchange({name: Parcel("open", run, opening) for name in manifest.members})
    participant = Participant(manifest, COORDINATOR, identity, Coordinator(manifest), journal, entropy=os.urandom)
    record = Conduct(manifest)
    record.seconds["manifest"] = time.monotonic() - started
    _carry(courier, participant, record, run)
    record.session, record.failure, record.state = participant.session, participant.failure, participant.state
    record.bytes_sent, record.messages = courier.bytes_sent, courier.messages
    return record


def _carry(courier: Courier, participant: Participant[Progress], record: Conduct, run: str) -> None:
    """Batches to and fro until every party has finished or failed."""
    waiting: dict[str, list[Envelope]] = {name: [] for name in (COORDINATOR, *courier.nodes)}
    numbers = dict.fromkeys(waiting, -1)
    done = dict.fromkeys(waiting, False)
    while not all(done.values()):
        clock, phase = time.monotonic(), participant.stage
        due = [name for name in waiting if waiting[name] or numbers[name] < 0]
        if not due:
            unfinished = ", ".join(name for name in waiting if not done[name])
            raise LostNode(
                unfinished, "the run stands still: nobody has anything to send", "Resume the run; if it happens again, report it."
            )
        batches: dict[str, Batch] = {}
        for name in due:
            numbers[name] += 1
            batches[name] = Batch(numbers[name], tuple(waiting[name]))
            waiting[name] = []
        replies = {}
        if COORDINATOR in batches:
            mine = batches.pop(COORDINATOR)
            replies[COORDINATOR] = participant.deliver(mine.number, mine.envelopes)
        answers = courier.exchange({name: Parcel("deliver", run, encode(batch)) for name, batch in batches.items()})
        replies |= {name: answer.payload for name, answer in answers.items()}
        for name, raw in replies.items():
            batch = decode(raw, Batch, name, LARGEST_BATCH)
            done[name] = done[name] or batch.done
            for envelope in batch.envelopes:
                if envelope.recipient in waiting:
                    waiting[envelope.recipient].append(envelope)
        record.exchanges += 1
        record.seconds[_phase(phase)] = record.seconds.get(_phase(phase), 0.0) + time.monotonic() - clock
        for watch in watchers:
            watch(participant.stage, record.exchanges)
        if any(done.values()) and not any(waiting.values()) and not all(done.values()):
            break


def _phase(stage: str) -> str:
    return stage.split(" ", maxsplit=1)[0]


def file_key(path: Path) -> Secret:
    """A 32-byte key of the coordinator, made from the operating system's entropy when first asked for; mode 600."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with os.fdopen(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb") as file:
            file.write(os.urandom(32))
    return Secret(path.read_bytes())


app = ServerApp()


@app.main()
def main(grid: Grid, context: Context) -> None:
    """Flower's entry. run_config: folder (the coordinator's own), run-file, run (its name), journal ("memory" or "disk").

    Leaves `conduct.json` in the folder: what was computed, what it cost, and how it ended.
    """
    config = {key: str(value) for key, value in context.run_config.items()}
    folder = Path(config["folder"])
    identity = file_key(folder / "keys" / "identity.key")
    journal: Journal = MemoryJournal()
    if config["journal"] == "disk":
        journal = JournalFile(folder / "journal" / f"{config['run']}.db", file_key(folder / "keys" / "storage.key"))
    try:
        record = conduct(grid, load(Path(config["run-file"])), config["run"], identity, journal).document()
    except CreditfedError as error:
        record = {"failure": failure_document(error)}
    (folder / "conduct.json").write_text(json.dumps(record, indent=1))
