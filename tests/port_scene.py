"""The coordinator's public port as it is deployed: guard, Flower's state and uvicorn over TLS, in a thread of the test's process."""

from __future__ import annotations

import datetime as dt
import logging
import ssl
import threading
import time
import warnings
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from cryptography.hazmat.primitives.asymmetric import ec
from flwr.app import Message
from flwr.common.constant import TIMESTAMP_HEADER
from flwr.supercore.constant import FLEET_HTTP_PUBLIC_KEY_HEADER, FLEET_HTTP_SIGNATURE_HEADER
from flwr.supercore.primitives.asymmetric import public_key_to_bytes, sign_message

from federation.carriage.fleet import Fleet
from federation.carriage.flower import SuperLink
from federation.carriage.mailbox import MESSAGE_TYPE, Parcel, pack
from server.guard import Guard
from server.pki import CA, make_ca, make_server
from server.port import Prompt, served

MEDIA = "application/protobuf"


def now() -> str:
    return dt.datetime.now(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def a_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP384R1())


def signed(key: ec.EllipticCurvePrivateKey, seconds_ago: float = 0.0, claims: ec.EllipticCurvePrivateKey | None = None) -> dict[str, str]:
    """A node's headers. claims: whose public key stands in them, where not its own."""
    at = (dt.datetime.now(dt.UTC) - dt.timedelta(seconds=seconds_ago)).isoformat()
    return {
        "content-type": MEDIA, TIMESTAMP_HEADER: at,
        FLEET_HTTP_PUBLIC_KEY_HEADER: b64encode(public_key_to_bytes((claims or key).public_key())).decode(),
        FLEET_HTTP_SIGNATURE_HEADER: b64encode(sign_message(key, at.encode())).decode(),
    }  # fmt: skip


@contextmanager
def serving(application: Any, tls: Path, protocol: type[Prompt] = Prompt) -> Iterator[tuple[int, threading.Thread]]:
    """An ASGI application on a free port, as `server.serve` serves it."""
    web = served(application, "127.0.0.1", 0, tls, protocol)
    thread = threading.Thread(target=web.run, daemon=True)
    thread.start()
    end = time.monotonic() + 20
    while not web.started and thread.is_alive() and time.monotonic() < end:
        time.sleep(0.005)
    assert web.started, "the server did not start"
    try:
        yield web.servers[0].sockets[0].getsockname()[1], thread
    finally:
        web.should_exit = web.force_exit = True
        thread.join(20)


@dataclass
class Port:
    """The deployed port, and those who are enrolled."""

    link: SuperLink
    guard: Guard
    number: int
    thread: threading.Thread
    authority: bytes
    keys: dict[str, ec.EllipticCurvePrivateKey] = field(default_factory=dict)

    @property
    def address(self) -> str:
        return f"localhost:{self.number}"

    def enrol(self, name: str) -> int:
        self.keys[name] = a_key()
        return self.link.register(self.keys[name].public_key(), name)

    def fleet(self, key: ec.EllipticCurvePrivateKey | str) -> Fleet:
        return Fleet(self.address, self.authority, self.keys[key] if isinstance(key, str) else key)

    def context(self) -> ssl.SSLContext:
        made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        made.load_verify_locations(cadata=self.authority.decode())
        return made

    def client(self) -> httpx.Client:
        return httpx.Client(base_url=f"https://{self.address}", verify=self.context(), timeout=20, trust_env=False)


def a_link(database: Path) -> SuperLink:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "No path_separator", DeprecationWarning)  # Flower's own migrations
        return SuperLink(str(database))


@contextmanager
def a_port(folder: Path, hold: float = 0.3, protocol: type[Prompt] = Prompt, **options: Any) -> Iterator[Port]:
    logging.getLogger("flwr").setLevel(logging.CRITICAL + 1)  # as `creditfed coordinator start` has it
    tls = folder / "tls"
    tls.mkdir(parents=True)
    make_ca(tls, now())
    make_server(tls, ("localhost", "127.0.0.1"), now())
    link = a_link(folder / "superlink.db")
    guard = Guard(link, hold=hold, **options)
    with serving(guard, tls, protocol) as (number, thread):
        yield Port(link, guard, number, thread, (tls / CA).read_bytes())


def a_message(node: int, payload: bytes = b"ask") -> Message:
    return Message(pack(Parcel("deliver", "run", payload)), node, MESSAGE_TYPE)


def replies(line: Any, sent: list[str], seconds: float = 10.0) -> list[Message]:
    """What has come back to these messages, once something has."""
    end = time.monotonic() + seconds
    while not (found := line.pull_messages(sent)) and time.monotonic() < end:
        line.wait(0.1)
    return list(found)
