"""The coordinator's public port as it is deployed: guard, Flower's state and uvicorn over TLS, in a thread of the test's process."""

from __future__ import annotations

import datetime as dt
import logging
import socket
import ssl
import threading
import time
from base64 import b64encode
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from cryptography.hazmat.primitives.asymmetric import ec
from flwr.app import Message
from flwr.app.message import remove_content_from_message
from flwr.common.constant import TIMESTAMP_HEADER
from flwr.common.serde import message_from_proto, message_to_proto
from flwr.proto.fleet_pb2 import ActivateNodeRequest, DeactivateNodeRequest, PullMessagesRequest, PullMessagesResponse, PushMessagesRequest
from flwr.proto.heartbeat_pb2 import SendNodeHeartbeatRequest
from flwr.proto.message_pb2 import PullObjectRequest, PushObjectRequest
from flwr.proto.node_pb2 import Node
from flwr.supercore.constant import FLEET_HTTP_PUBLIC_KEY_HEADER, FLEET_HTTP_SIGNATURE_HEADER
from flwr.supercore.inflatable.inflatable_object import get_object_tree
from flwr.supercore.primitives.asymmetric import public_key_to_bytes, sign_message

from federation.carriage.fleet import Fleet
from federation.carriage.flower import SuperLink
from federation.carriage.mailbox import MESSAGE_TYPE, Parcel, pack
from server.guard import PREFIX, Guard
from server.pki import CA, make_ca, make_server
from server.port import Prompt, served

MEDIA = "application/protobuf"
SEED = 20261130
MARKER = "marker-91-4403-0058"
REFUSED = {401, 403, 404, 405}


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
    web.config.timeout_graceful_shutdown = 3
    thread = threading.Thread(target=web.run, daemon=True)
    thread.start()
    end = time.monotonic() + 20
    while not web.started and thread.is_alive() and time.monotonic() < end:
        time.sleep(0.005)
    assert web.started, "the server did not start"
    try:
        yield web.servers[0].sockets[0].getsockname()[1], thread
    finally:
        web.should_exit = True
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


@contextmanager
def a_port(folder: Path, hold: float = 0.3, protocol: type[Prompt] = Prompt, **options: Any) -> Iterator[Port]:
    logging.getLogger("flwr").setLevel(logging.CRITICAL + 1)  # as `creditfed coordinator start` has it
    tls = folder / "tls"
    tls.mkdir(parents=True)
    make_ca(tls, now())
    make_server(tls, ("localhost", "127.0.0.1"), now())
    link = SuperLink(str(folder / "superlink.db"))
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


class Impatient(Prompt):
    """As deployed, in less time."""

    head = 1.0


def post(client: httpx.Client, path: str, body: bytes, headers: dict[str, str]) -> httpx.Response:
    return client.post(path, content=body, headers=headers)


def asked(port: Port, name: str, message: Any, key: Any = "bank", **options: Any) -> httpx.Response:
    with port.client() as client:
        return post(client, PREFIX + name, message.SerializeToString(), signed(port.keys.get(key, key), **options))


def spoken(port: Port, request: bytes, seconds: float = 5.0) -> bytes:
    """What the server says to bytes of our own."""
    with closing(dialled(port)) as tls:
        tls.settimeout(seconds)
        tls.sendall(request)
        heard = b""
        try:
            while part := tls.recv(65536):
                heard += part
        except (TimeoutError, OSError):
            pass
        return heard


def dialled(port: Port) -> ssl.SSLSocket:
    return port.context().wrap_socket(socket.create_connection(("127.0.0.1", port.number), 5), server_hostname="localhost")


def status_of(heard: bytes) -> int:
    return int(heard.split(b" ", 2)[1]) if heard.startswith(b"HTTP/1.") else 0


def requests(port: Port, node: int, key: Any) -> dict[str, Any]:
    public = public_key_to_bytes(key.public_key())
    return {
        "activate-node": ActivateNodeRequest(public_key=public, heartbeat_interval=30),
        "deactivate-node": DeactivateNodeRequest(node_id=node),
        "send-node-heartbeat": SendNodeHeartbeatRequest(node=Node(node_id=node), heartbeat_interval=30),
        "pull-messages": PullMessagesRequest(node=Node(node_id=node)),
        "push-messages": PushMessagesRequest(node=Node(node_id=node)),
        "push-object": PushObjectRequest(node=Node(node_id=node)),
        "pull-object": PullObjectRequest(node=Node(node_id=node)),
    }


def a_reply(port: Port, given: PullMessagesResponse, node: int) -> PushMessagesRequest:
    """As `Fleet.reply` announces it."""
    question = message_from_proto(given.messages_list[0])
    reply = Message(pack(Parcel("answer", "run", MARKER.encode())), reply_to=question)
    reply.metadata.__dict__["_message_id"] = reply.object_id
    return PushMessagesRequest(
        node=Node(node_id=node), messages_list=[message_to_proto(remove_content_from_message(reply))],
        message_object_trees=[get_object_tree(reply)], clientapp_runtime_list=[0.1],
    )  # fmt: skip


@contextmanager
def an_attacked_port(folder: Path) -> Iterator[Port]:
    """With two nodes that are enrolled."""
    with a_port(folder, protocol=Impatient) as made:
        for name in ("bank", "platform"):
            made.enrol(name)
        yield made
