"""One run of the deployed coordinator, from its run file in the store to its record there: the work of one thread.

What a thread says goes through the run store, so that `status` sees it, a stop reaches it, and after a crash another process goes on where
journal and outbox were left.
"""

from __future__ import annotations

import datetime as dt
import json
import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from federation.carriage.flower import Line, SuperLink
from federation.carriage.journal_file import JournalFile
from federation.carriage.sealed_file import SealedFile
from federation.kernel.errors import ConfigurationError, CreditfedError, PeerError
from federation.kernel.manifest import Description
from privacy.store.durable import READABLE, put
from server.app import Conduct, Desk, Kept, carry_out, described, failure_document
from server.courier import Courier, Stopped
from server.drafts import forget_session
from server.enrolment import let_in
from server.file_post import Correspondent, FilePost
from server.line_post import LinePost
from server.outbox import Outbox
from server.place import Place
from server.post import Post
from server.run_file import RunFile, load_deployed
from server.store.records import Failure, Node, Run
from server.store.run_store import RunStore, RunTaken
from server.store.states import RunState

ASK_AGAIN = (1.0, 1.0, 2.0, 5.0)
"""Seconds until institutions that have not approved are asked again; the last one from then on."""
UNTIL_IT_EXPIRES = 366 * 86400.0
LOG_EVERY = 60.0
"""Seconds between two lines in the log on one run, where no other phase of it begins."""
TELL_EVERY = 0.5
"""Seconds between two words to the store about how far a run is."""


_log = logging.getLogger("creditfed.server")


class ShuttingDown(Exception):
    """The server ends; the run stays as it is for the next one. No fault of anybody's, and so no CreditfedError, which would end the run."""


@dataclass
class Orders:
    """What the server's main thread tells a run's thread."""

    stop: threading.Event = field(default_factory=threading.Event)
    shut_down: threading.Event = field(default_factory=threading.Event)

    def stopped(self) -> bool:
        """Whether an operator has stopped the run. Raises ShuttingDown."""
        if self.shut_down.is_set():
            raise ShuttingDown
        return self.stop.is_set()

    def sleep(self, seconds: float) -> None:
        """Raises ShuttingDown, Stopped."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if self.stopped():
                raise Stopped("run", "stopped by the coordinator's operator", "Submit it again to run it anew.")
            time.sleep(0.1)


@dataclass(frozen=True)
class Conducting:
    """One run and the process that works on it. now: the moment as the store has it."""

    place: Place
    store: RunStore
    link: SuperLink
    kept: Kept
    run: Run
    worker: str
    orders: Orders
    now: Callable[[], str]

    def __call__(self) -> None:
        """Conduct the run to its end, or to the server's."""
        try:
            conduct = self._conduct()
        except ShuttingDown:
            self.store.release(self.run.name, self.worker, self.now())
            return
        except RunTaken:
            raise  # another process works on the run: nothing here is this one's any more, its record and journals neither
        except CreditfedError as error:
            self._failed(error, None)
            return
        # what `_watching` said last may be half a second old
        self.store.advance(self.run.name, self.worker, self.now(), exchanges=conduct.cost.exchanges)
        if conduct.failure is not None:
            self._failed(conduct.failure, conduct)
            return
        record = self._record(conduct.document())
        model_hash = conduct.state.model_hash.hex() or None  # a check fits no model
        self.store.finish(self.run.name, self.worker, self.now(), conduct=record, model_hash=model_hash)
        self._over()

    def _failed(self, error: CreditfedError, conduct: Conduct | None) -> None:
        record = self._record({"failure": failure_document(error)} if conduct is None else conduct.document())
        if isinstance(error, Stopped):
            self.store.stop(self.run.name, self.worker, self.now(), conduct=record)
        else:
            self.store.fail(self.run.name, self.worker, self.now(), Failure.of(error), conduct=record)
        self._over()

    def _record(self, document: dict[str, object]) -> bytes:
        record = json.dumps(document, indent=1).encode()
        put(self.place.run(self.run.name) / "conduct.json", record, READABLE)
        return record

    def _over(self) -> None:
        """The session's secrets go, and what was asked by files."""
        forget_session(self.place.root / "journal", self.run.name)
        for node in self.store.nodes():
            self.place.asked(self.run.name, node.name).unlink(missing_ok=True)

    def _conduct(self) -> Conduct:
        started = time.monotonic()
        settings, _ = load_deployed(put(self.place.run(self.run.name) / "run.toml", self.run.run_file, READABLE))
        nodes = self._nodes(settings)
        storage, folder = self.place.key("storage"), self.place.root / "journal"
        if self.run.state is RunState.SUBMITTED:
            self._say(state=RunState.WAITING, stage=f"asking {', '.join(nodes)}")
        journal = JournalFile(folder / f"{self.run.name}.db", storage)
        try:
            with self.link.line() as line:
                courier = Courier(self._posts(line, nodes), UNTIL_IT_EXPIRES, self.orders.stopped)
                desk = Desk(
                    settings, self.run.name, self.place.identity, journal, Outbox(SealedFile(folder / f"{self.run.name}.outbox", storage)),
                    self.kept, waiting=self._waiting(), drafted=lambda manifest: self._say(manifest_hash=manifest.hash.hex()),
                    watch=self._watching(),
                )  # fmt: skip
                said = described(courier, self.run.name)
                for name, description in said.items():
                    _require_enrolled(nodes[name], description)
                return carry_out(courier, tuple(said.values()), desk, started)
        finally:
            journal.close()

    def _nodes(self, settings: RunFile) -> dict[str, Node]:
        """The enrolled nodes that the run file names. Raises ConfigurationError."""
        enrolled = {node.name: node for node in self.store.nodes() if node.revoked_at is None}
        for name in settings.nodes:
            if name not in enrolled:
                action = "creditfed coordinator status lists who is; enrol it, then submit the run again."
                raise ConfigurationError(f"party {name}", "no node of this name is enrolled", action)
        return {name: enrolled[name] for name in settings.nodes}

    def _posts(self, line: Line, nodes: dict[str, Node]) -> dict[str, Post]:
        """One post for all who connect, and one for each who takes its batches as files."""
        numbers = let_in(self.link, tuple(nodes.values()))
        connected = LinePost(line, {name: numbers[name] for name, node in nodes.items() if node.way == "connected"})
        return {name: connected if node.way == "connected" else self._by_files(node) for name, node in nodes.items()}

    def _by_files(self, node: Node) -> FilePost:
        out, into = self.place.exchange(node.name)
        for folder in (out, into):
            folder.mkdir(parents=True, exist_ok=True)
        to = Correspondent(node.name, bytes.fromhex(node.key), bytes.fromhex(node.exchange_key))
        return FilePost(out, into, to, self.place.identity, self.place.key("exchange"), self.place.asked(self.run.name, node.name))

    def _say(self, state: RunState | None = None, stage: str | None = None, manifest_hash: str | None = None) -> None:
        self.store.advance(self.run.name, self.worker, self.now(), state=state, stage=stage, manifest_hash=manifest_hash)

    def _waiting(self) -> Callable[[tuple[str, ...]], None]:
        pauses, before = iter(ASK_AGAIN), list[tuple[str, ...]]()

        def wait(names: tuple[str, ...]) -> None:
            if [names] != before:
                _log.info("run %s: waits for approval at %s", self.run.name, ", ".join(names))
                before[:] = [names]
            self._say(stage=f"waiting for approval at {', '.join(names)}")
            self.orders.sleep(next(pauses, ASK_AGAIN[-1]))

        return wait

    def _watching(self) -> Callable[[str, int], None]:
        told, logged, phase = -TELL_EVERY, 0.0, ""
        running = self.run.state is RunState.RUNNING

        def watch(stage: str, exchanges: int) -> None:
            nonlocal running, told, logged, phase
            now = time.monotonic()
            if (kind := stage.partition(" ")[0]) != phase or now - logged >= LOG_EVERY:
                _log.info("run %s: at %s, exchange %d", self.run.name, stage, exchanges)
                logged, phase = now, kind
            if now - told < TELL_EVERY:
                return
            told = now
            state = None if running else RunState.RUNNING
            self.store.advance(self.run.name, self.worker, self.now(), state=state, stage=stage, exchanges=exchanges)
            running = True

        return watch


def _require_enrolled(node: Node, said: Description) -> None:
    """Who answers under a name is who was enrolled under it. Raises PeerError."""
    if (said.party.name, said.party.role, said.party.identity) != (node.name, node.role, node.key):
        raise PeerError(node.name, "another name, role or identity key than it was enrolled with", "those of its joining file")


def moment() -> str:
    """Now, as the store has it."""
    return dt.datetime.now(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
