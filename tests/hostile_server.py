"""A server that speaks as Flower's does and then otherwise, over real TLS, and the resident node that it serves."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from flwr.app import Message, RecordDict
from flwr.common.serde import message_to_proto
from flwr.proto.fleet_pb2 import ActivateNodeResponse, PullMessagesResponse, PushMessagesRequest, PushMessagesResponse
from flwr.proto.heartbeat_pb2 import SendNodeHeartbeatResponse
from flwr.proto.message_pb2 import ObjectTree, PullObjectRequest, PullObjectResponse, PushObjectResponse
from flwr.supercore.inflatable.inflatable_object import get_all_nested_objects, get_object_tree
from flwr.supercore.task_identity import TaskIdentity

import clients.resident_node
import federation.carriage.fleet
from clients.founding import found
from clients.home import Home
from clients.joined import accept
from clients.resident_node import ResidentNode, resident_says
from federation.carriage.mailbox import MESSAGE_TYPE, Parcel, pack
from federation.kernel.invitation import invitation
from federation.kernel.secret import Secret
from federation.kernel.suite import agreement_public
from server.pki import CA, make_ca, make_server
from tests.port_scene import now, serving

NODE, RUN = 77, 9
FLEET = "/v1/fleet/"
Answer = tuple[int, dict[str, str], bytes]
IDENTITY, EXCHANGE = Secret(bytes(range(32))), Secret(bytes(range(1, 33)))
ENDLESS = b"without end"


def quick(monkeypatch):
    monkeypatch.setattr(clients.resident_node, "FIRST_PAUSE", 0.05)
    monkeypatch.setattr(clients.resident_node, "LINGER", 1.0)
    monkeypatch.setattr(federation.carriage.fleet, "OBJECT_WAIT", 0.2)
    logging.getLogger("flwr").setLevel(logging.CRITICAL)
    TaskIdentity.run_id, TaskIdentity.node_id, TaskIdentity.task_id = RUN, 1, 1


class Hostile:
    """A server. Each path's answer may be replaced; what it was asked is counted and kept."""

    def __init__(self) -> None:
        self.asked: Counter[str] = Counter()
        self.bodies: dict[str, list[bytes]] = {}
        self.headers: list[dict[str, str]] = []
        self.messages: list[tuple[Any, ObjectTree]] = []
        self.pieces: dict[str, bytes] = {}
        self.replaced: dict[str, Callable[[bytes], Answer]] = {}
        self.poured = 0

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            while True:
                event = await receive()
                await send({"type": f"{event['type']}.complete"})
                if event["type"] == "lifespan.shutdown":
                    return
        body, more = b"", True
        while more:
            event = await receive()
            body, more = body + event.get("body", b""), event.get("more_body", False)
        name = scope["path"].removeprefix(FLEET)
        self.asked[name] += 1
        self.bodies.setdefault(name, []).append(body)
        self.headers.append({key.decode(): value.decode() for key, value in scope["headers"]})
        status, headers, content = self.replaced.get(name, self._plain(name))(body)
        sent = [(key.encode(), value.encode()) for key, value in headers.items()]
        await send({"type": "http.response.start", "status": status, "headers": sent})
        if content is ENDLESS:
            self.poured = await _pour(receive, send)
        else:
            await send({"type": "http.response.body", "body": content})

    def _plain(self, name: str) -> Callable[[bytes], Answer]:
        return getattr(self, "on_" + name.replace("-", "_"), lambda _: (404, {}, b""))

    def on_activate_node(self, _: bytes) -> Answer:
        return said(ActivateNodeResponse(node_id=NODE))

    def on_deactivate_node(self, _: bytes) -> Answer:
        return said(ActivateNodeResponse())

    def on_send_node_heartbeat(self, _: bytes) -> Answer:
        return said(SendNodeHeartbeatResponse(success=True))

    def on_pull_messages(self, _: bytes) -> Answer:
        if not self.messages:
            return said(PullMessagesResponse())
        head, tree = self.messages.pop(0)
        return said(PullMessagesResponse(messages_list=[head], message_object_trees=[tree]))

    def on_pull_object(self, body: bytes) -> Answer:
        content = self.pieces.get(PullObjectRequest.FromString(body).object_id)
        return said(PullObjectResponse(object_found=content is not None, object_available=bool(content), object_content=content or b""))

    def on_push_messages(self, body: bytes) -> Answer:
        from federation.carriage.dealings import pieces_of

        wanted = pieces_of(PushMessagesRequest.FromString(body).message_object_trees[0])
        return said(PushMessagesResponse(objects_to_push=wanted, session_id="s"))

    def on_push_object(self, _: bytes) -> Answer:
        return said(PushObjectResponse(stored=True))

    def give(self, message: Message) -> None:
        """A message with its pieces."""
        message.metadata.__dict__.update(_run_id=RUN, _src_node_id=1, _message_id="")
        message.metadata.__dict__["_message_id"] = message.object_id
        self.pieces |= {piece: thing.deflate() for piece, thing in get_all_nested_objects(message).items()}
        head = message_to_proto(message)
        head.ClearField("content")
        self.messages.append((head, get_object_tree(message)))


async def _pour(receive: Any, send: Any) -> int:
    """A body of 400 MB, until who reads it hangs up; returns how many."""
    gone = asyncio.ensure_future(receive())
    for megabyte in range(400):
        await send({"type": "http.response.body", "body": bytes(1 << 20), "more_body": True})
        await asyncio.sleep(0.001)
        if gone.done():
            return megabyte + 1
    gone.cancel()
    await send({"type": "http.response.body", "body": b""})
    return 400


def said(message: Any) -> Answer:
    return 200, {"content-type": "application/protobuf"}, message.SerializeToString()


def asking(kind: str = MESSAGE_TYPE, content: RecordDict | None = None) -> Message:
    made = Message(pack(Parcel("describe", "run", b"")) if content is None else content, NODE, MESSAGE_TYPE)
    made.metadata.__dict__["_message_type"] = kind
    return made


class Scene:
    """A node's home, an authority, and who serves."""

    def __init__(self, root: Path, server: Hostile) -> None:
        self.server, self.root, self.tls = server, root, root / "tls"
        self.tls.mkdir(parents=True)
        make_ca(self.tls, now())
        make_server(self.tls, ("localhost", "127.0.0.1"), now())
        found(root / "node", {"name": "agency", "role": "agency"}, now)
        self.home = Home(root / "node")
        self.home.key("exchange")
        self.told: list[str] = []
        self.failure: BaseException | None = None

    def invite(self, port: int, host: str = "localhost", authority: bytes | None = None) -> None:
        pem = (authority or (self.tls / CA).read_bytes()).decode()
        accept(self.home, invitation(f"{host}:{port}", pem, IDENTITY, agreement_public(EXCHANGE).hex()))

    @contextmanager
    def running(self, port: int | None = None, **invited: Any) -> Iterator[ResidentNode]:
        with serving(self.server, self.tls) as (number, _):
            self.invite(port or number, **invited)
            over, node = threading.Event(), ResidentNode(self.home, self.told.append)

            def run() -> None:
                try:
                    node.run(over)
                except BaseException as error:  # noqa: BLE001  # the test looks at it
                    self.failure = error

            thread = threading.Thread(target=run, daemon=True)
            thread.start()
            try:
                yield node
            finally:
                over.set()
                thread.join(10)
                assert not thread.is_alive(), "the node ends when it is told to"

    def until(self, condition: Callable[[], Any], seconds: float = 5.0) -> None:
        end = time.monotonic() + seconds
        while not condition() and time.monotonic() < end:
            time.sleep(0.01)
        assert condition(), (self.told, dict(self.server.asked), resident_says(self.home.root))

    @property
    def counts(self) -> dict[str, int]:
        return dict(resident_says(self.home.root).get("counts", {}))


def answers_still(scene: Scene) -> None:
    """The node is there, and answers the next honest message."""
    before = scene.server.asked["push-messages"]
    scene.server.replaced.clear()
    scene.server.give(asking())
    scene.until(lambda: scene.server.asked["push-messages"] > before)
    assert scene.failure is None
