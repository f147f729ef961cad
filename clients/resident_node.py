"""The resident node: one long-lived process that fetches messages from the coordinator's server and answers them by the installed ClientApp.

It speaks Flower's Fleet API and runs no code that comes over it (`federation.carriage.fleet` has no call that fetches any). What it must not
lose is in the node's home, so that it may be killed at any moment: the coordinator asks again.
"""

from __future__ import annotations

import json
import logging
import os
import ssl
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
from flwr.app import Message
from flwr.clientapp import ClientApp
from threadpoolctl import threadpool_limits

from clients.alone import at_work
from clients.app import app
from clients.clock import utc_now
from clients.home import Home
from clients.joined import link, node_key
from clients.residents import dismiss, under_way
from federation.carriage.dealings import NotFlowers
from federation.carriage.fleet import HEARTBEAT, Fleet, context, failed
from federation.kernel.errors import ConfigurationError

RESIDENT = "resident.json"
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 15.0
"""Seconds between two tries to reach the server."""
AT_ONCE, IDLE = 0.05, 1.0
"""Seconds to the next question where the server does not hold the last: more and more while there is nothing."""
_HELD = 0.5
LINGER = 30.0
"""Seconds that an answer under way has when the node is told to end."""
_log = logging.getLogger("creditfed.node")


class ResidentNode:
    """One node's process. told: for each change of state, a line for the operator; application: the installed ClientApp, which answers."""

    def __init__(self, home: Home, told: Callable[[str], None] | None = None, application: ClientApp = app) -> None:
        self._home, self._told, self._application = home, told or _say, application
        self._invited, self._key = link(home), node_key(home)
        self._counts: Counter[str] = Counter()
        self._facts: dict[str, Any] = {"pid": os.getpid(), "started": utc_now(), "address": self._invited.address, "state": "", "since": ""}
        self._busy, self._over, self._lost = threading.Event(), threading.Event(), threading.Event()
        self._ended: BaseException | None = None

    def run(self, over: threading.Event) -> None:
        """Serve until told that it is over. Raises ConfigurationError where the server is not the one that the invitation names."""
        self._over = over
        worker = threading.Thread(target=self._guarded, daemon=True, name="resident")
        with threadpool_limits(1):  # floating-point sums must not depend on the number of cores
            worker.start()
            while not over.wait(0.2) and worker.is_alive():
                pass
            end = time.monotonic() + LINGER
            while self._busy.is_set() and time.monotonic() < end:
                time.sleep(0.05)
        self._goodbye()
        (self._home.root / RESIDENT).unlink(missing_ok=True)
        if self._ended is not None:
            raise self._ended

    def _guarded(self) -> None:
        try:
            self._serve()
        except BaseException as error:  # noqa: BLE001  # the thread's edge: `run` raises it again
            self._ended = error

    def _serve(self) -> None:
        pause = FIRST_PAUSE
        while not self._over.is_set():
            fleet = Fleet(self._invited.address, self._invited.authority.encode(), self._key)
            try:
                fleet.activate(self._former())
                pause = FIRST_PAUSE
                self._is("connected", node=fleet.node_id)
                self._connected(fleet)
            except httpx.HTTPStatusError as error:
                self._is("refused", _refusal(error.response.status_code))
            except (httpx.RequestError, NotFlowers) as error:
                self._require_trusted(error)
                self._is("unreachable", _unreachable(self._invited.address, error))
            finally:
                fleet.close()
            self._over.wait(pause)
            pause = min(2 * pause, LONGEST_PAUSE)

    def _connected(self, fleet: Fleet) -> None:
        """Answer what comes. Raises httpx.HTTPError once the connection is no more."""
        self._lost.clear()
        beating = threading.Thread(target=self._beat, args=(fleet, self._lost), daemon=True, name="heartbeat")
        beating.start()
        pause = AT_ONCE
        try:
            while not (self._over.is_set() or self._lost.is_set()):
                asked = time.monotonic()
                try:
                    message = fleet.receive()
                    if message is not None:
                        pause = AT_ONCE
                        self._answer(fleet, message)
                        continue
                except NotFlowers as error:
                    self._counts["malformed"] += 1
                    self._write()
                    _log.warning("a message that did not come whole, or is none of Flower's (%s): not answered; it is asked again", error)
                if time.monotonic() - asked < _HELD:
                    self._over.wait(pause)
                    pause = min(2 * pause, IDLE)
        finally:
            self._lost.set()

    def _answer(self, fleet: Fleet, message: Message) -> None:
        self._busy.set()
        try:
            started = time.monotonic()
            try:
                reply = self._application(message, context(fleet.node_id, {"home": str(self._home.root.absolute())}))
            except Exception as error:  # noqa: BLE001  # the adapter's edge: what is no mailbox message is not answered, and an error's text stays
                _log.warning("a message that this node does not answer (%s)", type(error).__name__)
                self._counts["not answered"] += 1
                reply = _failed(message)
            fleet.reply(reply, time.monotonic() - started)
            self._counts["answered"] += 1
            self._write(last=utc_now(), runs=under_way(self._home.root.absolute()))
        except httpx.HTTPStatusError as error:  # the run is over, or the server would not have it; it asks again if it wants to
            _log.warning("the server did not take an answer (status %d)", error.response.status_code)
            if error.response.status_code == httpx.codes.UNAUTHORIZED:
                raise
        finally:
            self._busy.clear()

    @staticmethod
    def _beat(fleet: Fleet, lost: threading.Event) -> None:
        """Signs of life. Where the server does not know this node any more, the connection is lost."""
        while not lost.wait(HEARTBEAT):
            try:
                known = fleet.heartbeat()
            except (httpx.RequestError, NotFlowers):
                continue  # whoever asks for messages notices, too
            except httpx.HTTPStatusError:
                known = False
            if not known:
                lost.set()

    def _former(self) -> int:
        """The number under which this node was online last: a process of it may have been killed."""
        return int(self._facts.get("node") or resident_says(self._home.root).get("node") or 0)

    def _goodbye(self) -> None:
        dismiss(self._home.root.absolute())
        if self._facts["state"] != "connected":
            return
        fleet = Fleet(self._invited.address, self._invited.authority.encode(), self._key)
        fleet.node_id = int(self._facts["node"])
        try:
            fleet.deactivate()
        except (httpx.HTTPError, NotFlowers):
            _log.info("the server was not told that this node ends")
        finally:
            fleet.close()

    def _is(self, state: str, text: str = "", **facts: Any) -> None:
        if (state, text) != (self._facts["state"], self._facts.get("text")):
            self._told(f"{state}: {text}" if text else f"{state} to {self._invited.address}")
            self._facts |= {"since": utc_now()}
        self._write(state=state, text=text, **facts)

    def _write(self, **facts: Any) -> None:
        self._facts |= facts | {"counts": dict(self._counts)}
        path = self._home.root / RESIDENT
        partial = path.with_suffix(".partial")
        with os.fdopen(os.open(partial, os.O_CREAT | os.O_TRUNC | os.O_WRONLY, 0o600), "w") as file:
            json.dump(self._facts, file)
        partial.replace(path)  # not synced: it tells of a process that would be gone, too

    def _require_trusted(self, error: BaseException) -> None:
        """Raises ConfigurationError where the server's certificate is not one of the invitation's authority."""
        cause: BaseException | None = error
        while cause is not None:
            if isinstance(cause, ssl.SSLCertVerificationError):
                why = cause.verify_message.rstrip(".")
                what = f"the server at {self._invited.address} shows a certificate that the invitation's authority has not signed for it ({why})"
                action = "Do not go on. Ask the coordinator, by telephone; a new invitation: creditfed node start --invitation FILE."
                raise ConfigurationError("server certificate", what, action) from None
            cause = cause.__cause__ or cause.__context__


def _say(line: str) -> None:
    (_log.info if line.startswith("connected") else _log.warning)(line)


def _unreachable(address: str, error: BaseException) -> str:
    if isinstance(error, httpx.RequestError):
        return f"the server at {address} cannot be reached ({type(error).__name__}); it is tried again"
    return f"what answers at {address} is no server of Flower's ({error})"


def _refusal(status: int) -> str:
    if status in (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN):
        return f"the server does not know this node's key (status {status}): it is not enrolled yet, or was revoked; or the clocks differ"
    if status == httpx.codes.PRECONDITION_FAILED:
        return "the server still counts an earlier process of this node as online, for up to a minute"
    return f"the server did not serve this node (status {status})"


def _failed(message: Message) -> Message:
    """Raises NotFlowers for a message that nobody could answer."""
    try:
        return failed(message)
    except Exception as error:  # noqa: BLE001  # the adapter's edge: its head may hold what Flower's own types do not take
        raise NotFlowers(type(error).__name__) from None


def resident_now(root: Path) -> dict[str, Any]:
    """What the resident node of a home says of itself; empty where none runs, also where one was killed."""
    says = resident_says(root)
    return says if says and str(says.get("pid")) == at_work(root) else {}


def resident_says(root: Path) -> dict[str, Any]:
    """What the resident node of a home wrote last about itself; empty where one has ended, and not where one was killed."""
    try:
        return dict(json.loads((root / RESIDENT).read_bytes()))
    except (OSError, ValueError):
        return {}
