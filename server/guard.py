"""What stands before Flower's Fleet API on the coordinator's one public port: an ASGI application that lets through what a node needs alone.

A node needs seven calls. The others of the Fleet API are refused (register, unregister: the operator enrols; get-fab, get-run: no code is given
out; confirm-message-received: a reply says it), and every other path is not there, Control and Runtime above all: nothing behind it would
answer them. Who has not signed with the key of an enrolled node is told so before anything of its body is read; Flower checks the signature
again, and that the key is that of the node which the body names. What a node says must be about what it was given (`Dealings`). A body has a
size limit for its route before it is read, and no word of its content comes into a log.

A node's question for messages is held while there is none: only the empty answer to a node that is enrolled waits, and is asked again when the
doorbell rings.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Awaitable, Callable, MutableMapping
from http import HTTPStatus
from typing import Any, Final

from google.protobuf.message import DecodeError
from starlette.concurrency import run_in_threadpool

from federation.carriage.dealings import LONGEST_PIECE, Dealings, NotTheirs
from federation.carriage.flower import NotFlowers, SuperLink
from federation.carriage.whole import WHOLE

Scope = MutableMapping[str, Any]
Event = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Event]]
Send = Callable[[Event], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

PREFIX: Final = "/v1/fleet/"
SMALL, MIDDLE, LARGE = 1 << 16, WHOLE + (1 << 18), LONGEST_PIECE + (1 << 16)
"""Bytes of a request: a tree of the most pieces has some 40 KB, a message travels whole up to 1 MiB, and Flower cuts pieces of 5 MiB."""
ROUTES: Final = {
    "activate-node": SMALL, "deactivate-node": SMALL, "send-node-heartbeat": SMALL, "pull-messages": SMALL, "push-messages": MIDDLE,
    "push-object": LARGE, "pull-object": SMALL,
}  # fmt: skip
"""What a node may call, and how long its request may be."""
FORBIDDEN: Final = ("register-node", "unregister-node", "get-fab", "get-run", "confirm-message-received")
HOLD: Final = 20.0
"""Seconds that a question for messages is held; Flower's client waits 30."""
AT_ONCE: Final = 32
"""Requests of one node at one time: it has three."""
SILENT: Final = 10.0
"""Seconds between two lines in the log about one node."""
UPLOAD: Final = 300.0
"""Seconds that a body may take: 6 MiB in that time are 170 kbit/s."""
_log = logging.getLogger("creditfed.server")


class Guard:
    """The public application. hold: seconds that a question for messages is held."""

    def __init__(self, link: SuperLink, *, hold: float = HOLD) -> None:
        self._link, self._hold = link, hold
        self._dealings = Dealings()
        self._busy: Counter[int] = Counter()
        self._told: dict[int, float] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request. What is neither HTTP nor the server's own start and end is not served."""
        if scope["type"] == "lifespan":
            await _lifespan(receive, send)
        elif scope["type"] == "http":
            await self._http(scope, receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        name = str(scope["path"]).removeprefix(PREFIX) if str(scope["path"]).startswith(PREFIX) else ""
        limit = ROUTES.get(name)
        if limit is None:
            await _answer(send, 403 if name in FORBIDDEN else 404)
        elif scope["method"] != "POST":
            await _answer(send, 405)
        elif isinstance(node := await self._signer(scope), HTTPStatus):
            await _answer(send, node)
        else:
            self._busy[node] += 1
            try:
                await self._enrolled(scope, name, node, limit, receive, send)
            finally:
                self._busy[node] -= 1
                self._busy += Counter()  # forgets those at zero

    async def _signer(self, scope: Scope) -> int | HTTPStatus:
        """Who asks, by the headers; or why that is not enough."""
        try:
            node = await run_in_threadpool(self._link.signer, scope)
        except Exception as error:  # noqa: BLE001  # the server's edge: a traceback could quote the request
            self._tell(0, f"who asks could not be told ({type(error).__name__})")
            return HTTPStatus.SERVICE_UNAVAILABLE
        if node is None:
            return HTTPStatus.UNAUTHORIZED
        return HTTPStatus.TOO_MANY_REQUESTS if self._busy[node] >= AT_ONCE else node

    async def _enrolled(self, scope: Scope, name: str, node: int, limit: int, receive: Receive, send: Send) -> None:
        try:
            async with asyncio.timeout(UPLOAD):
                body = await _body(scope, receive, limit)
        except TimeoutError:
            await _answer(send, 408)
            return
        except ConnectionError:
            return  # it hung up: what has come is not what it meant to say
        if body is None:
            await _answer(send, 413)
            return
        status, events = await self._handled(scope, body, name, node, receive)
        if status:
            await _answer(send, status)
        for event in events:
            await send(event)

    async def _handled(self, scope: Scope, body: bytes, name: str, node: int, receive: Receive) -> tuple[int, list[Event]]:
        """Flower's answer, or a status in its place."""
        try:
            self._dealings.require(name, node, body)
            events = await (self._held(scope, body, node, receive) if name == "pull-messages" else self._flower(scope, body))
            if events[0]["status"] == 200:
                self._note(name, node, b"".join(event.get("body", b"") for event in events))
            elif events[0]["status"] >= 500:
                theirs = name == "push-messages" and not await run_in_threadpool(self._link.fits, body)
                self._tell(node, f"{name}: Flower answered with {events[0]['status']}")
                return (409 if theirs else 503), []
        except NotTheirs as error:
            self._tell(node, f"{name}: refused ({error})")
            return 403, []
        except (DecodeError, NotFlowers) as error:
            self._tell(node, f"{name}: a malformed request ({type(error).__name__})")
            return 400, []
        except Exception as error:  # noqa: BLE001  # the server's edge: a traceback could quote the request
            self._tell(node, f"{name}: the request could not be served ({type(error).__name__})")
            return 503, []
        return 0, events

    def _tell(self, node: int, text: str) -> None:
        """A line about a node, and no more than one in some seconds: it could fill the log."""
        now = time.monotonic()
        if now - self._told.get(node, -SILENT) >= SILENT:
            self._told[node] = now
            _log.warning("node %d: %s", node, text)

    def _note(self, name: str, node: int, answer: bytes) -> None:
        if name == "activate-node":
            self._link.noted_activation(answer)
        elif name == "pull-messages" and answer:
            self._dealings.gave(node, answer)
        elif name in ("push-object", "push-messages"):
            self._link.replied.ring()

    async def _held(self, scope: Scope, body: bytes, node: int, receive: Receive) -> list[Event]:
        """Flower's answer once it is one; the empty one at the end of the hold, or where nobody listens any more."""
        loop, rung = asyncio.get_running_loop(), asyncio.Event()
        end = loop.time() + self._hold
        gone = asyncio.ensure_future(receive())  # ends when the node hangs up: what was claimed for it then would be lost
        try:
            with self._link.sent.listening(node, lambda: loop.call_soon_threadsafe(rung.set)):
                while True:
                    rung.clear()
                    events = await self._flower(scope, body)
                    left = end - loop.time()
                    if events[0]["status"] != 200 or any(event.get("body") for event in events) or left <= 0:
                        return events
                    bell = asyncio.ensure_future(rung.wait())
                    await asyncio.wait({bell, gone}, timeout=left, return_when=asyncio.FIRST_COMPLETED)
                    bell.cancel()
                    if gone.done() or not rung.is_set():
                        return events
        finally:
            gone.cancel()

    async def _flower(self, scope: Scope, body: bytes) -> list[Event]:
        """What Flower's application sends for a request."""
        events: list[Event] = []
        given = False

        async def receive() -> Event:
            nonlocal given
            if given:
                await asyncio.Event().wait()  # nobody hangs up on an application that answers at once
            given = True
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(event: Event) -> None:
            events.append(event)

        await self._link.routes({**scope, "state": {}}, receive, send)
        if not events:
            raise NotFlowers("no answer")
        return events


async def _body(scope: Scope, receive: Receive, limit: int) -> bytes | None:
    """The request's body, None where it is longer than the limit. Raises ConnectionError where the caller hangs up before its end."""
    declared = next((value for key, value in scope["headers"] if key == b"content-length"), b"0")
    if not declared.isdigit() or int(declared) > limit:
        return None
    body = bytearray()
    while True:
        event = await receive()
        if event["type"] != "http.request":
            raise ConnectionError
        body += event.get("body", b"")
        if len(body) > limit:
            return None
        if not event.get("more_body", False):
            return bytes(body)


async def _answer(send: Send, status: int) -> None:
    """A refusal; the connection ends with it, whatever else its caller would have sent."""
    headers = [(b"content-length", b"0"), (b"connection", b"close")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": b""})


async def _lifespan(receive: Receive, send: Send) -> None:
    while True:
        event = await receive()
        await send({"type": f"{event['type']}.complete"})
        if event["type"] == "lifespan.shutdown":
            return
