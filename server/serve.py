"""`creditfed coordinator start`: one process with Flower's SuperLink behind the guard, and a thread for each run under way.

Operators speak to it by way of the run store alone (`enrol`, `submit`, `stop`, `status`): no port takes orders.
"""

from __future__ import annotations

import json
import logging
import os
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from threadpoolctl import threadpool_limits

from federation.carriage.flower import SuperLink
from federation.kernel.errors import AbortCode, ConfigurationError, CreditfedError
from privacy.store.durable import READABLE, put
from server.app import Kept
from server.conducting import Conducting, Orders, moment
from server.enrolment import let_in
from server.guard import Guard
from server.place import Place
from server.port import served
from server.store.records import Failure, Node, Run
from server.store.run_store import RunStore, RunTaken

TICK = 0.5
BEAT = 10.0
LINGER = 15.0
"""Seconds that runs have to come to a place where they can be let go, when the server ends."""
_log = logging.getLogger("creditfed.server")


@dataclass(frozen=True)
class _Work:
    run: Run
    orders: Orders
    thread: threading.Thread


class Server:
    """The coordinator's process, a worker of the run store. now: the moment as the store has it."""

    def __init__(self, place: Place, store: RunStore, now: Callable[[], str] = moment) -> None:
        self._place, self._store, self._now = place, store, now
        self._link = SuperLink(str(place.root / "superlink.db"))
        self._kept = Kept.of(place.root, place.identity)
        self._worker = f"{os.getpid()}-{secrets.token_hex(8)}"
        self._works: dict[str, _Work] = {}
        self._nodes: tuple[Node, ...] | None = None
        self._numbers: dict[str, int] = {}
        self._beaten = self._told = 0.0
        self._said: dict[str, object] = {}
        self._online: set[str] = set()

    def run(self, over: threading.Event) -> None:
        """Serve until told that it is over. Raises ConfigurationError where the port or the certificates cannot be used."""
        settings = self._place.settings
        self._let_in()
        with listening(Guard(self._link), self._place) as serving, threadpool_limits(1):
            while not over.wait(TICK):
                if not serving.is_alive():
                    where = f"{settings.host}:{settings.port}"
                    raise ConfigurationError(
                        where, "the server cannot listen there", "Another program may have the port: change coordinator.toml."
                    )
                self._tick(settings.at_once)
            self._shut_down()

    def _tick(self, at_once: int) -> None:
        """Let in who was enrolled, take up runs, tell those under way what operators want, and say that all is well."""
        self._let_in()
        self._beat()
        while len(self._works) < at_once and (run := self._store.claim(self._worker, self._now())) is not None:
            self._begin(run)
        self._status()

    def _let_in(self) -> None:
        """Whoever is enrolled; for the first time before the port is open, lest a node be told that it is not."""
        if (nodes := self._store.nodes()) != self._nodes:
            self._told_of(nodes)
            self._nodes, self._numbers = nodes, let_in(self._link, nodes)

    def _told_of(self, nodes: tuple[Node, ...]) -> None:
        """A line for each institution that was enrolled or revoked since this process began."""
        before = {node.name for node in self._nodes or () if node.revoked_at is None}
        now = {node.name for node in nodes if node.revoked_at is None}
        if self._nodes is not None:
            for word, names in (("enrolled", now - before), ("revoked", before - now)):
                for name in sorted(names):
                    _log.info("%s: %s", name, word)

    def _begin(self, run: Run) -> None:
        orders = Orders()
        conducting = Conducting(self._place, self._store, self._link, self._kept, run, self._worker, orders, self._now)
        thread = threading.Thread(target=self._guarded(conducting, run), name=f"run {run.name}", daemon=True)
        self._works[run.name] = _Work(run, orders, thread)
        _log.info("run %s: taken up (%s)", run.name, run.state)
        thread.start()

    def _guarded(self, conducting: Conducting, run: Run) -> Callable[[], None]:
        def conduct() -> None:
            try:
                conducting()
            except RunTaken:
                _log.error("run %s: another process works on it", run.name)
            except Exception as error:  # noqa: BLE001  # the thread's edge: a run must not end in silence, and a traceback can quote data
                _log.error("run %s: an internal error (%s)", run.name, type(error).__name__)
                text = f"run {run.name}: an internal error ({type(error).__name__})\n  This is a bug: report it with the server's log."
                with suppress(CreditfedError):
                    self._store.fail(run.name, self._worker, self._now(), Failure(AbortCode.INTERNAL.value, type(error).__name__, text, 1))

        return conduct

    def _beat(self) -> None:
        due = time.monotonic() - self._beaten >= BEAT
        for name, work in list(self._works.items()):
            if not work.thread.is_alive():
                del self._works[name]
                _over(self._store.run(name))
                continue
            try:
                found = self._store.beat(name, self._worker, self._now()) if due else self._store.run(name)
            except RunTaken:
                continue  # it has just ended
            if found.stop_requested:
                work.orders.stop.set()
        if due:
            self._beaten = time.monotonic()

    def _status(self) -> None:
        online = self._link.online()
        names = sorted(name for name, number in self._numbers.items() if number in online)
        for word, who in (("connected", set(names) - self._online), ("gone", self._online - set(names))):
            for name in sorted(who):
                _log.info("%s: %s", name, word)
        self._online = set(names)
        said: dict[str, object] = {"pid": os.getpid(), "online": names, "runs": sorted(self._works)}
        if said == self._said and time.monotonic() - self._told < BEAT:
            return
        self._said, self._told = said, time.monotonic()
        document = said | {"at": self._now()}
        put(self._place.root / "server.json", json.dumps(document).encode(), READABLE)

    def _shut_down(self) -> None:
        for work in self._works.values():
            work.orders.shut_down.set()
        end = time.monotonic() + LINGER
        for work in self._works.values():
            work.thread.join(max(0.0, end - time.monotonic()))
        (self._place.root / "server.json").unlink(missing_ok=True)


@contextmanager
def listening(guard: Guard, place: Place) -> Iterator[threading.Thread]:
    """The guard on the place's port, in a thread that ends early where it cannot listen there."""
    web = served(guard, place.settings.host, place.settings.port, place.tls)
    serving = threading.Thread(target=_quietly(web.run), daemon=True, name="fleet")
    serving.start()
    try:
        yield serving
    finally:
        web.should_exit = True
        serving.join(LINGER)


def _over(run: Run) -> None:
    """The last line on a run in this process: how it ended, or that it waits for the next."""
    if run.failure is not None:
        _log.warning("run %s: failed (reason: %s): %s", run.name, run.failure.code, run.failure.text)
    elif run.over:
        _log.info("run %s: %s after %d exchanges", run.name, run.state.value, run.exchanges)
    else:
        _log.info("run %s: let go; it goes on with the next start", run.name)


def _quietly(serve: Callable[[], None]) -> Callable[[], None]:
    """Uvicorn ends its process where it cannot listen; here that is its thread alone."""

    def run() -> None:
        with suppress(SystemExit):
            serve()

    return run
