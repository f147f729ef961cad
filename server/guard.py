"""What stands before Flower's Fleet handlers on the coordinator's one public port: an ASGI application that lets through what a node needs.

A node needs seven calls. The others of the Fleet API are refused (register, unregister: the operator enrols; get-fab, get-run: no code is given
out; confirm-message-received: a run clears up after itself), and every other path is not there, Control and Runtime above all: nothing behind
it would answer them. A body has a size limit for its route before it is read, and whatever Flower's handlers make of a malformed one is an
answer of class 4xx, with no word of its content in a log.

A node's question for messages is held while there is none: first it is answered by Flower, which checks who asks; only the empty answer to a
node that is enrolled waits, and is asked again when the doorbell rings.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, MutableMapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

from google.protobuf.message import DecodeError

from federation.carriage.flower import SuperLink, require_own_reply, who_asks
from federation.carriage.pieces import NotFlowers

Scope = MutableMapping[str, Any]
Event = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Event]]
Send = Callable[[Event], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

PREFIX: Final = "/v1/fleet/"
SMALL, MIDDLE, LARGE = 1 << 16, 2 << 20, 16 << 20
"""Bytes of a request: a message travels whole up to 1 MB, and of a longer one the pieces have some 5 MB."""
ROUTES: Final = {
    "activate-node": SMALL, "deactivate-node": SMALL, "send-node-heartbeat": SMALL, "pull-messages": SMALL, "push-messages": MIDDLE,
    "push-object": LARGE, "pull-object": SMALL,
}  # fmt: skip
"""What a node may call, and how long its request may be."""
FORBIDDEN: Final = ("register-node", "unregister-node", "get-fab", "get-run", "confirm-message-received")
_THREADS: Final = 4
"""Calls at one time: a transaction is one thread's, the others check keys meanwhile."""
HOLD: Final = 20.0
"""Seconds that a question for messages is held; Flower's client waits 30."""
_MALFORMED: Final = (ValueError, LookupError, TypeError, AttributeError, ArithmeticError, DecodeError)
"""What Flower's handlers raise where a request has not the form that they rely on."""
_log = logging.getLogger("creditfed.server")


class Guard:
    """The public application. hold: seconds that a question for messages is held."""

    def __init__(self, link: SuperLink, *, hold: float = HOLD) -> None:
        self._link, self._hold = link, hold
        self._threads = ThreadPoolExecutor(_THREADS, "fleet call")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request. What is neither HTTP nor the server's own start and end is not served."""
        if scope["type"] == "lifespan":
            await _lifespan(receive, send)
        elif scope["type"] == "http":
            await self._http(scope, receive, send)

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        name = str(scope["path"]).removeprefix(PREFIX) if str(scope["path"]).startswith(PREFIX) else ""
        limit = ROUTES.get(name)
        if limit is None:
            await _answer(send, 403 if name in FORBIDDEN else 404)
        elif scope["method"] != "POST":
            await _answer(send, 405)
        elif (body := await _body(scope, receive, limit)) is None:
            await _answer(send, 413)
        else:
            await _answer(send, *await self._handled(scope, body, name, receive))

    async def _handled(self, scope: Scope, body: bytes, name: str, receive: Receive) -> tuple[int, bytes]:
        """Flower's answer, or a status in its place."""
        try:
            if name == "push-messages":
                require_own_reply(body)
            asked = self._held(scope, body, receive) if name == "pull-messages" else self._flower(scope, name, body)
            status, said = await asked
        except (*_MALFORMED, NotFlowers) as error:
            _log.info("%s: a malformed request (%s)", name, type(error).__name__)
            return 400, b""
        except Exception as error:  # noqa: BLE001  # the server's edge: a traceback could quote the request
            _log.error("%s: the request could not be served (%s)", name, type(error).__name__)
            return 503, b""
        if status >= 500:
            _log.info("%s: Flower answered with %d", name, status)
            return (400 if status == 500 else 503), b""
        if status == 200:
            self._note(name, said)
        return status, said

    def _note(self, name: str, said: bytes) -> None:
        if name == "activate-node":
            self._link.noted_activation(said)
        elif name in ("push-messages", "push-object"):
            self._link.replied.ring()

    async def _held(self, scope: Scope, body: bytes, receive: Receive) -> tuple[int, bytes]:
        """Flower's answer once it is one; the empty one at the end of the hold, or where nobody listens any more."""
        loop, rung = asyncio.get_running_loop(), asyncio.Event()
        end = loop.time() + self._hold
        gone = asyncio.ensure_future(receive())  # ends when the node hangs up: what was claimed for it then would be lost
        try:
            with self._link.sent.listening(who_asks(body), lambda: loop.call_soon_threadsafe(rung.set)):
                while True:
                    rung.clear()
                    status, said = await self._flower(scope, "pull-messages", body)
                    left = end - loop.time()
                    if status != 200 or said or left <= 0:
                        return status, said
                    bell = asyncio.ensure_future(rung.wait())
                    await asyncio.wait({bell, gone}, timeout=left, return_when=asyncio.FIRST_COMPLETED)
                    bell.cancel()
                    if gone.done() or not rung.is_set():
                        return status, said
        finally:
            gone.cancel()

    async def _flower(self, scope: Scope, name: str, body: bytes) -> tuple[int, bytes]:
        """What Flower answers, from a thread: it waits for the disk."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._link.answer, name, scope["headers"], body)


async def _body(scope: Scope, receive: Receive, limit: int) -> bytes | None:
    """The request's body, None where it is longer than the limit."""
    declared = next((value for key, value in scope["headers"] if key == b"content-length"), b"0")
    if not declared.isdigit() or int(declared) > limit:
        return None
    body = bytearray()
    while True:
        event = await receive()
        body += event.get("body", b"")
        if len(body) > limit:
            return None
        if event["type"] != "http.request" or not event.get("more_body", False):
            return bytes(body)


async def _answer(send: Send, status: int, body: bytes = b"") -> None:
    headers = [(b"content-type", b"application/protobuf"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def _lifespan(receive: Receive, send: Send) -> None:
    while True:
        event = await receive()
        await send({"type": f"{event['type']}.complete"})
        if event["type"] == "lifespan.shutdown":
            return
