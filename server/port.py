"""How the public port is served: uvicorn over TLS, for callers who may mean ill.

Uvicorn waits for ever for a request that has begun: a stranger could hold every connection open with a few bytes. Here the head of a request
must come within `HEAD` seconds, the first one of a connection as much as a later one. Heads are parsed by h11, which has a limit on their
length, and there are no web sockets.
"""

from __future__ import annotations

import asyncio
import resource
from pathlib import Path
from typing import Final

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from server.guard import Application

HEAD: Final = 10.0
"""Seconds."""
CONNECTIONS: Final = 4096
LONGEST_HEAD: Final = 1 << 14
"""Bytes: a node's own has some 700."""


class Prompt(H11Protocol):
    """A connection that is closed where the head of its next request does not come in time."""

    head = HEAD
    _due: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """The first head is due."""
        super().connection_made(transport)
        self._wait()

    def data_received(self, data: bytes) -> None:
        """Part of a head, or more."""
        super().data_received(data)
        if self.conn.their_state is h11.IDLE:
            self._wait()
        else:
            self._wait_no_more()

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing is due."""
        self._wait_no_more()
        super().connection_lost(exc)

    def _wait(self) -> None:
        if self._due is None:
            self._due = self.loop.call_later(self.head, self.transport.abort)

    def _wait_no_more(self) -> None:
        if self._due is not None:
            self._due.cancel()
            self._due = None


def served(application: Application, host: str, port: int, tls: Path, protocol: type[Prompt] = Prompt) -> uvicorn.Server:
    """The server, not started. tls: the folder of server.key and server.pem."""
    _make_room()
    config = uvicorn.Config(
        application, host=host, port=port, ssl_keyfile=str(tls / "server.key"), ssl_certfile=str(tls / "server.pem"), log_config=None,
        access_log=False, server_header=False, timeout_keep_alive=75, limit_concurrency=CONNECTIONS, backlog=512, http=protocol, ws="none",
        h11_max_incomplete_event_size=LONGEST_HEAD,
    )  # fmt: skip
    return uvicorn.Server(config)


def _make_room() -> None:
    """A descriptor for every connection, as far as the system allows: where they run out, the state's file cannot be opened either."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 2 * CONNECTIONS if hard == resource.RLIM_INFINITY else min(2 * CONNECTIONS, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
