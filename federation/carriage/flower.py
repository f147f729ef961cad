"""All of Flower 1.42.0's insides that creditfed uses and Flower does not promise, a node's side and the coordinator's.

    Fleet       a node's connection: Flower's Fleet API over HTTPS with node authentication. It never asks for code: it has no call that could.
    SuperLink   Flower's own state and Fleet routes, in this process; the Control and Runtime routes are not mounted at all.
    Line        a Grid over that state: what a ServerApp sends and receives with.

Two things are done otherwise than in Flower's programs, whose waits are seconds: nobody sleeps between two questions (a `Doorbell` says when
there is something), and what belongs together is one transaction. tests/unit/test_flower_contract.py names what has changed when this breaks.
"""

from __future__ import annotations

import itertools
import threading
import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, NoReturn

import httpx
from cryptography.hazmat.primitives.asymmetric import ec
from flwr.app import Context, Error, Message, RecordDict
from flwr.app.message import remove_content_from_message
from flwr.common.constant import HEARTBEAT_DEFAULT_INTERVAL, NOOP_ACCOUNT_NAME, NOOP_FLWR_AID, ErrorCode, SubStatus
from flwr.common.serde import message_from_proto, message_to_proto
from flwr.proto.fleet_pb2 import (
    ActivateNodeRequest,
    ActivateNodeResponse,
    DeactivateNodeRequest,
    PullMessagesRequest,
    PushMessagesRequest,
)
from flwr.proto.heartbeat_pb2 import SendNodeHeartbeatRequest
from flwr.proto.message_pb2 import ConfirmMessageReceivedRequest, ObjectTree, PullObjectRequest, PushObjectRequest
from flwr.proto.node_pb2 import Node
from flwr.serverapp import Grid
from flwr.supercore.constant import NOOP_FEDERATION_ID, NodeStatus, TaskType
from flwr.supercore.inflatable.inflatable_object import (
    get_all_nested_objects,
    get_object_id,
    get_object_tree,
    iterate_object_tree,
    no_object_id_recompute,
)
from flwr.supercore.inflatable.inflatable_utils import inflate_object_from_contents
from flwr.supercore.interceptors.http.runtime_version import RuntimeVersionHttpInterceptor
from flwr.supercore.primitives.asymmetric import public_key_to_bytes
from flwr.supercore.task_identity import TaskIdentity
from flwr.supernode.fleet_http_client import FleetHttpClient
from flwr.supernode.node_auth_http_interceptor import NodeAuthHttpInterceptor

VERSION = "1.42.0"
HEARTBEAT = HEARTBEAT_DEFAULT_INTERVAL / 3
"""Seconds between two signs of life; after `HEARTBEAT_DEFAULT_INTERVAL` without one a node is offline."""
MOST_OBJECTS = 4096
"""Pieces of one message: a parcel of 2 GiB has some 400."""
OBJECT_WAIT = 60.0
"""Seconds that a piece which was announced may take to arrive."""
SERVER = 1
"""The SuperLink's own node number."""


class NotFlowers(ValueError):
    """What came is no message that Flower could have sent."""


class Fleet:
    """One node's connection. address: host:port; authority: PEM of the CA that signed the server's certificate; key: P-384, this node's.

    Every call raises httpx.HTTPError where the server cannot be reached (TransportError) or refuses (HTTPStatusError).
    """

    def __init__(self, address: str, authority: bytes, key: ec.EllipticCurvePrivateKey) -> None:
        public = key.public_key()
        self._public = public_key_to_bytes(public)
        self._client = FleetHttpClient.from_server_address(
            address, insecure=False, root_certificates=authority,
            interceptors=[RuntimeVersionHttpInterceptor(component_name="SuperNode"), NodeAuthHttpInterceptor(key, public)],
        )  # fmt: skip
        self.node_id = 0

    @property
    def _node(self) -> Node:
        return Node(node_id=self.node_id)

    def activate(self, former: int = 0) -> int:
        """Come online; returns the node's number. former: the number of a process that may have been killed and still counts as online."""
        if former:
            with suppress(httpx.HTTPStatusError):  # it was offline, or the number is another's
                self._client.DeactivateNode(DeactivateNodeRequest(node_id=former))
        asked = ActivateNodeRequest(public_key=self._public, heartbeat_interval=HEARTBEAT_DEFAULT_INTERVAL)
        self.node_id = int(self._client.ActivateNode(asked).node_id)
        return self.node_id

    def heartbeat(self) -> bool:
        """Say that this node lives; False where the server does not know it."""
        asked = SendNodeHeartbeatRequest(node=self._node, heartbeat_interval=HEARTBEAT_DEFAULT_INTERVAL)
        return bool(self._client.SendNodeHeartbeat(asked).success)

    def deactivate(self) -> None:
        """Go offline."""
        self._client.DeactivateNode(DeactivateNodeRequest(node_id=self.node_id))

    def receive(self) -> Message | None:
        """The next message, whole, or None; the coordinator's server holds the question for a while. Raises NotFlowers."""
        answer = self._client.PullMessages(PullMessagesRequest(node=self._node))
        if not answer.messages_list or not answer.message_object_trees:
            return None
        head = message_from_proto(answer.messages_list[0])
        pieces = _identifiers(answer.message_object_trees[0])
        contents = {piece: self._pull(head.metadata.run_id, piece) for piece in pieces}
        return _inflated(head.metadata.message_id, contents)

    def _pull(self, run: int, piece: str) -> bytes:
        for wait in _waits():
            answer = self._client.PullObject(PullObjectRequest(node=self._node, run_id=run, object_id=piece))
            if not answer.object_found or (answer.object_available and get_object_id(answer.object_content) != piece):
                break
            if answer.object_available:
                return bytes(answer.object_content)
            time.sleep(wait)
        raise NotFlowers("a piece that is not there, or is another")

    def reply(self, reply: Message, seconds: float) -> None:
        """Send the reply to a message, and say that the message was received. seconds: that the application took."""
        reply.metadata.__dict__["_message_id"] = reply.object_id
        run = reply.metadata.run_id
        with no_object_id_recompute():
            tree, pieces = get_object_tree(reply), get_all_nested_objects(reply)
            head = message_to_proto(remove_content_from_message(reply) if reply.has_content() else reply)
            answer = self._client.PushMessages(
                PushMessagesRequest(node=self._node, messages_list=[head], message_object_trees=[tree], clientapp_runtime_list=[seconds])
            )
            for piece in answer.objects_to_push:
                self._client.PushObject(
                    PushObjectRequest(
                        node=self._node, run_id=run, session_id=answer.session_id, object_id=piece, object_content=pieces[piece].deflate()
                    )
                )  # fmt: skip
        confirmed = ConfirmMessageReceivedRequest(node=self._node, run_id=run, message_object_id=reply.metadata.reply_to_message_id)
        self._client.ConfirmMessageReceived(confirmed)

    def close(self) -> None:
        """Let the connection go."""
        self._client._client.close()  # noqa: SLF001  # Flower's own client has no close in every version


def context(node_id: int, config: dict[str, str]) -> Context:
    """What a ClientApp is called with beside the message. config: this node's own."""
    return Context(run_id=0, node_id=node_id, node_config=dict(config), state=RecordDict(), run_config={})


def failed(message: Message) -> Message:
    """The reply where the application could not answer: it tells nothing."""
    return Message(Error(code=ErrorCode.CLIENT_APP_RAISED_EXCEPTION, reason="the application could not answer"), reply_to=message)


def who_asks(body: bytes) -> int:
    """The number of the node whose question for messages this is. Raises DecodeError."""
    return int(PullMessagesRequest.FromString(body).node.node_id)


def require_own_reply(body: bytes) -> None:
    """A node speaks for itself alone, and says one thing at a time; Flower checks the node's key and not this. body: of push-messages.

    Raises NotFlowers, DecodeError.
    """
    asked = PushMessagesRequest.FromString(body)
    if len(asked.messages_list) != 1 or len(asked.message_object_trees) != 1:
        raise NotFlowers("not one message with its tree")
    if asked.messages_list[0].metadata.src_node_id != asked.node.node_id:
        raise NotFlowers("a message of another node")
    _identifiers(asked.message_object_trees[0])


def _identifiers(tree: ObjectTree) -> list[str]:
    found = [node.object_id for node in itertools.islice(iterate_object_tree(tree), MOST_OBJECTS + 1)]
    if len(found) > MOST_OBJECTS:
        raise NotFlowers("more pieces than any parcel has")
    return list(dict.fromkeys(found))


def _waits() -> Iterator[float]:
    """Seconds to wait between questions for a piece: short at first."""
    wait, total = 0.005, 0.0
    while total < OBJECT_WAIT:
        yield wait
        total += wait
        wait = min(2 * wait, 0.5)


def _inflated(identifier: str, contents: dict[str, bytes]) -> Message:
    try:
        message = inflate_object_from_contents(identifier, contents)
    except Exception as error:  # noqa: BLE001  # the adapter's edge: Flower's parsers raise whatever the bytes lead them to
        raise NotFlowers(type(error).__name__) from None
    if not isinstance(message, Message):
        raise NotFlowers("an object that is not a message")
    message.metadata.__dict__["_message_id"] = identifier
    return message


class Doorbell:
    """Tells those who wait that something has come; who looked before it rang is not kept waiting."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self.rung = 0

    def ring(self) -> None:
        """Something has come."""
        with self._condition:
            self.rung += 1
            self._condition.notify_all()

    def wait(self, seen: int, seconds: float) -> None:
        """Until it has rung more often than `seen`, or so many seconds have passed."""
        with self._condition:
            self._condition.wait_for(lambda: self.rung != seen, seconds)


class Bells:
    """A bell for each node: whoever listens for a node is told when there is something for it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._listeners: dict[int, list[Callable[[], object]]] = {}

    def ring(self, node: int) -> None:
        """There is something for a node."""
        with self._lock:
            for told in self._listeners.get(node, ()):
                told()

    @contextmanager
    def listening(self, node: int, told: Callable[[], object]) -> Iterator[None]:
        """Be told, as long as the context lasts."""
        with self._lock:
            self._listeners.setdefault(node, []).append(told)
        try:
            yield
        finally:
            with self._lock:
                self._listeners[node].remove(told)
                if not self._listeners[node]:
                    del self._listeners[node]


class SuperLink:
    """Flower's Fleet routes (`routes`, an ASGI application) over its state in a SQLite file, with node authentication.

    sent, replied: ring when there is something for a node, and when a node has said something. activated: when each node last came online.
    """

    def __init__(self, database: str) -> None:
        from fastapi import FastAPI
        from flwr.supercore.error import http_error_translator
        from flwr.supercore.protobuf.translation import ProtobufTranslationMiddleware
        from flwr.superlink.config_loader import get_federation_manager, get_objectstore_linkstate_factories
        from flwr.superlink.routers.fleet.node_auth import NodeAuthMiddleware
        from flwr.superlink.routers.fleet.router import router
        from starlette.middleware import Middleware
        from starlette.middleware.base import BaseHTTPMiddleware

        _, factory = get_objectstore_linkstate_factories(database, get_federation_manager())
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of alembic, about how Flower configures it
            self.state: Any = factory.state()
        self.routes = FastAPI(
            docs_url=None, redoc_url=None, openapi_url=None,
            middleware=[
                Middleware(BaseHTTPMiddleware, dispatch=http_error_translator),
                Middleware(ProtobufTranslationMiddleware),
                Middleware(NodeAuthMiddleware),
            ],
        )  # fmt: skip
        self.routes.state.linkstate_factory = factory
        self.routes.state.enable_supernode_auth = True  # no node registers itself
        self.routes.include_router(router)
        self.sent, self.replied = Bells(), Doorbell()
        self.activated: dict[int, float] = {}

    def register(self, public: ec.EllipticCurvePublicKey, name: str) -> int:
        """Let a node in, by its key; returns its number, the same where it was let in before."""
        key = public_key_to_bytes(public)
        known = self.state.get_node_id_by_public_key(key)
        if known is None:
            known = self.state.create_node(NOOP_FLWR_AID, NOOP_ACCOUNT_NAME, key, HEARTBEAT_DEFAULT_INTERVAL, name=name)
        return int(known)

    def unregister(self, public: ec.EllipticCurvePublicKey) -> None:
        """Let a node in no longer."""
        known = self.state.get_node_id_by_public_key(public_key_to_bytes(public))
        if known is not None:
            self.state.delete_node(NOOP_FLWR_AID, known)

    def online(self) -> set[int]:
        """The nodes that have given a sign of life."""
        return {int(node.node_id) for node in self.state.get_node_info(statuses=[NodeStatus.ONLINE])}

    def noted_activation(self, body: bytes) -> None:
        """A node has come online. body: of Flower's answer to it."""
        self.activated[int(ActivateNodeResponse.FromString(body).node_id)] = time.monotonic()
        self.replied.ring()

    @contextmanager
    def line(self) -> Iterator[Line]:
        """A Flower run for as long as the context lasts, kept alive meanwhile, and the Grid of it."""
        run = int(self.state.create_run(None, None, None, {}, NOOP_FEDERATION_ID, None, NOOP_FLWR_AID, TaskType.SERVER_APP))
        task = int(self.state.get_run_info(run_ids=[run])[0].primary_task_id)
        self.state.claim_task(task)
        self.state.activate_task(task)
        TaskIdentity.run_id, TaskIdentity.node_id, TaskIdentity.task_id = (
            run,
            SERVER,
            task,
        )  # a Message is not made without; `Line` puts its own
        over = threading.Event()

        def beat() -> None:
            while not over.wait(HEARTBEAT):
                self.state.acknowledge_task_heartbeat(task)

        beating = threading.Thread(target=beat, daemon=True, name=f"heartbeat of Flower run {run}")
        beating.start()
        try:
            yield Line(self, run)
        finally:
            over.set()
            beating.join()
            self.state.finish_task(task, SubStatus.COMPLETED, "")
            self.state.cleanup_run(run)


class Line(Grid):
    """The Grid of one Flower run, over the SuperLink's state. May be used by one thread at a time."""

    def __init__(self, link: SuperLink, run: int) -> None:
        self._link, self._state, self._run_id, self._seen = link, link.state, run, 0

    def set_run(self, run: Any) -> None:
        """Flower's interface; a line has its run from the beginning."""

    @property
    def run(self) -> Any:
        """Flower's interface: the run this line serves."""
        return self._state.get_run_info(run_ids=[self._run_id])[0]

    def create_message(self, content: RecordDict, message_type: str, dst_node_id: int, group_id: str, ttl: float | None = None) -> Message:
        """Flower's interface: a message to a node."""
        return Message(content, dst_node_id, message_type, ttl=ttl, group_id=group_id)

    def get_node_ids(self) -> list[int]:
        """The nodes that are online."""
        return [int(node) for node in self._state.get_nodes(self._run_id)]

    def came_online(self, node: int) -> float:
        """When a node last did, by this process's monotonic clock; 0 where it did not."""
        return self._link.activated.get(node, 0.0)

    def push_messages(self, messages: Iterable[Message]) -> list[str]:
        """Give each message out; returns their identifiers."""
        identifiers = []
        for message in messages:
            identifiers.append(self._push(message))
            self._link.sent.ring(message.metadata.dst_node_id)
        return identifiers

    def _push(self, message: Message) -> str:
        message.metadata.__dict__.update(_run_id=self._run_id, _src_node_id=SERVER, _message_id="")
        message.metadata.__dict__["_message_id"] = message.object_id
        with no_object_id_recompute():
            tree, pieces = get_object_tree(message), get_all_nested_objects(message)
            head = message_from_proto(message_to_proto(remove_content_from_message(message)))
            with self._state.session():
                session = self._state.start_session(self._run_id)
                stored, missing = self._state.store_message_and_object_tree(head, tree, session)
                for piece in missing if stored else ():
                    self._state.store_object(self._run_id, session, piece, pieces[piece].deflate())
        if not stored:
            raise NotFlowers("Flower's state refused a message: the run is over, or the node is not registered")
        return str(head.metadata.message_id)

    def pull_messages(self, message_ids: Iterable[str]) -> list[Message]:
        """The replies that have come, whole; a reply of which pieces are missing is an error."""
        self._seen = self._link.replied.rung
        heads = self._state.get_message_res(message_ids=set(message_ids), run_id=self._run_id)
        self._state.delete_messages(message_ins_ids={head.metadata.reply_to_message_id for head in heads})
        return [self._whole(head) for head in heads]

    def _whole(self, head: Message) -> Message:
        if head.has_error():
            return head
        identifier = head.metadata.message_id
        contents = {piece: self._content(piece) for piece in _identifiers(self._state.object_store.get_object_tree(identifier))}
        self._state.object_store.delete(identifier)
        return _inflated(identifier, contents)

    def _content(self, piece: str) -> bytes:
        for wait in _waits():
            seen = self._link.replied.rung
            content = self._state.get_object(self._run_id, piece)
            if content is None:
                break
            if content:
                return bytes(content)
            self._link.replied.wait(seen, wait)
        raise NotFlowers("a piece of a reply that did not come")

    def wait(self, seconds: float) -> None:
        """Until a node has said something since the last pull, or so many seconds have passed."""
        self._link.replied.wait(self._seen, seconds)

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> NoReturn:
        """Flower's interface, which `server.courier` does not use."""
        raise NotImplementedError
