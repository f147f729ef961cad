"""All of Flower 1.42.0's insides that creditfed uses and Flower does not promise, a node's side and the coordinator's.

    Fleet       a node's connection: Flower's Fleet API over HTTPS with node authentication. It never asks for code: it has no call that could.
    SuperLink   Flower's own state and Fleet handlers, in this process; those of the Control and Runtime APIs are not there at all.
    Line        a Grid over that state: what a ServerApp sends and receives with.

Three things are done otherwise than in Flower's programs, whose waits are seconds: nobody sleeps between two questions (a `Doorbell` says when
there is something), what belongs together is one transaction, and a short message travels whole (`federation.carriage.pieces`).
tests/unit/test_flower_contract.py names what has changed when this breaks.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from types import SimpleNamespace
from typing import Any, Final, NoReturn

import httpx
from cryptography.hazmat.primitives.asymmetric import ec
from flwr.app import Context, Error, Message, RecordDict
from flwr.common.constant import HEARTBEAT_DEFAULT_INTERVAL, NOOP_ACCOUNT_NAME, NOOP_FLWR_AID, ErrorCode, SubStatus
from flwr.common.serde import message_to_proto
from flwr.proto.fleet_pb2 import (
    ActivateNodeRequest,
    ActivateNodeResponse,
    DeactivateNodeRequest,
    PullMessagesRequest,
    PushMessagesRequest,
)
from flwr.proto.heartbeat_pb2 import SendNodeHeartbeatRequest
from flwr.proto.message_pb2 import PullObjectRequest, PushObjectRequest
from flwr.proto.node_pb2 import Node
from flwr.serverapp import Grid
from flwr.supercore.constant import NOOP_FEDERATION_ID, NodeStatus, TaskType
from flwr.supercore.inflatable.inflatable_object import (
    get_object_id,
    no_object_id_recompute,
)
from flwr.supercore.interceptors.http.runtime_version import RuntimeVersionHttpInterceptor
from flwr.supercore.primitives.asymmetric import public_key_to_bytes
from flwr.supercore.task_identity import TaskIdentity
from flwr.supernode.fleet_http_client import FleetHttpClient
from flwr.supernode.node_auth_http_interceptor import NodeAuthHttpInterceptor

from federation.carriage.bells import Bells, Doorbell
from federation.carriage.pieces import NotFlowers, headed, identifiers, inflated, is_whole, sent, waits

VERSION = "1.42.0"
HEARTBEAT = HEARTBEAT_DEFAULT_INTERVAL / 3
"""Seconds between two signs of life; after `HEARTBEAT_DEFAULT_INTERVAL` without one a node is offline."""
SERVER = 1
"""The SuperLink's own node number."""
CALLS: Final[dict[str, tuple[Any, ...]]] = {
    "activate-node": (ActivateNodeRequest,), "deactivate-node": (DeactivateNodeRequest,), "send-node-heartbeat": (SendNodeHeartbeatRequest,),
    "pull-messages": (PullMessagesRequest, "store"), "push-messages": (PushMessagesRequest,), "push-object": (PushObjectRequest,),
    "pull-object": (PullObjectRequest,),
}  # fmt: skip
"""Calls of the Fleet API that a node needs: what each is asked with, and what its handler takes beside the state."""


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
        head = headed(answer.messages_list[0])
        if is_whole(head):
            return head
        pieces = identifiers(answer.message_object_trees[0])
        contents = {piece: self._pull(head.metadata.run_id, piece) for piece in pieces}
        return inflated(head.metadata.message_id, contents)

    def _pull(self, run: int, piece: str) -> bytes:
        for wait in waits():
            answer = self._client.PullObject(PullObjectRequest(node=self._node, run_id=run, object_id=piece))
            if not answer.object_found or (answer.object_available and get_object_id(answer.object_content) != piece):
                break
            if answer.object_available:
                return bytes(answer.object_content)
            time.sleep(wait)
        raise NotFlowers("a piece that is not there, or is another")

    def reply(self, reply: Message, seconds: float) -> None:
        """Send the reply to a message. seconds: that the application took."""
        head, tree, pieces = sent(reply)
        asked = PushMessagesRequest(node=self._node, messages_list=[message_to_proto(head)], message_object_trees=[tree])
        asked.clientapp_runtime_list.append(seconds)
        answer = self._client.PushMessages(asked)
        for piece in answer.objects_to_push if pieces else ():
            with no_object_id_recompute():
                content = pieces[piece].deflate()
            self._client.PushObject(
                PushObjectRequest(
                    node=self._node, run_id=reply.metadata.run_id, session_id=answer.session_id, object_id=piece, object_content=content
                )
            )

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
    identifiers(asked.message_object_trees[0])


class SuperLink:
    """Flower's Fleet API over its state in a SQLite file, with node authentication.

    Flower's own server is not used, but what it calls: `authenticate_node` and a handler for each call. One transaction at a time is under way,
    and all that a call does is one: SQLite lets one write, and who has to wait for it sleeps longer and longer.
    sent, replied: ring when there is something for a node, and when a node has said something. activated: when each node last came online.
    """

    def __init__(self, database: str) -> None:
        from flwr.superlink.config_loader import get_federation_manager, get_objectstore_linkstate_factories
        from starlette.datastructures import State

        _, factory = get_objectstore_linkstate_factories(database, get_federation_manager())
        self.state: Any = factory.state()
        self._alone = threading.RLock()
        self._application = SimpleNamespace(state=State({"linkstate_factory": factory}))  # as Flower's authentication knows it
        self.sent, self.replied = Bells(), Doorbell()
        self.activated: dict[int, float] = {}

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Nobody else changes the state meanwhile, and it is changed as a whole, or not."""
        with self._alone, self.state.session():
            yield

    def answer(self, name: str, headers: Iterable[tuple[bytes, bytes]], body: bytes) -> tuple[int, bytes]:
        """The HTTP status and body by which Flower answers a node's call. name: one of `CALLS`.

        Raises NotFlowers, DecodeError and whatever Flower's handlers raise where a request has not the form that they rely on.
        """
        from fastapi import HTTPException, Request
        from flwr.supercore.error import FlowerError
        from flwr.supercore.error.catalog import API_ERROR_MAP
        from flwr.superlink.routers.fleet.node_auth import authenticate_node
        from flwr.superlink.servicer.fleet import fleet_handlers
        from sqlalchemy.exc import OperationalError, StatementError

        kind, *more = CALLS[name]
        asked = kind.FromString(body)
        request = Request({"type": "http", "headers": list(headers), "app": self._application})
        request.state.protobuf_request = asked
        store = {"store": self.state.object_store} if "store" in more else {}
        try:
            authenticate_node(request)
            with self.transaction():
                said = getattr(fleet_handlers, name.replace("-", "_"))(asked, self.state, **store)
        except FlowerError as error:
            return API_ERROR_MAP[error.code].http_status_code, b""
        except HTTPException as error:
            return error.status_code, b""
        except StatementError as error:
            if isinstance(error, OperationalError):  # the disk's fault and not the request's
                raise
            raise NotFlowers(type(error).__name__) from None
        return 200, bytes(said.SerializeToString())

    def register(self, public: ec.EllipticCurvePublicKey, name: str) -> int:
        """Let a node in, by its key; returns its number, the same where it was let in before."""
        key = public_key_to_bytes(public)
        with self.transaction():
            known = self.state.get_node_id_by_public_key(key)
            if known is None:
                known = self.state.create_node(NOOP_FLWR_AID, NOOP_ACCOUNT_NAME, key, HEARTBEAT_DEFAULT_INTERVAL, name=name)
        return int(known)

    def unregister(self, public: ec.EllipticCurvePublicKey) -> None:
        """Let a node in no longer."""
        with self.transaction():
            known = self.state.get_node_id_by_public_key(public_key_to_bytes(public))
            if known is not None:
                self.state.delete_node(NOOP_FLWR_AID, known)

    def online(self) -> set[int]:
        """The nodes that have given a sign of life."""
        with self.transaction():
            return {int(node.node_id) for node in self.state.get_node_info(statuses=[NodeStatus.ONLINE])}

    def noted_activation(self, body: bytes) -> None:
        """A node has come online. body: of the answer to it."""
        self.activated[int(ActivateNodeResponse.FromString(body).node_id)] = time.monotonic()
        self.replied.ring()

    @contextmanager
    def line(self) -> Iterator[Line]:
        """A Flower run for as long as the context lasts, kept alive meanwhile, and the Grid of it."""
        with self.transaction():
            run = int(self.state.create_run(None, None, None, {}, NOOP_FEDERATION_ID, None, NOOP_FLWR_AID, TaskType.SERVER_APP))
            task = int(self.state.get_run_info(run_ids=[run])[0].primary_task_id)
            self.state.claim_task(task)
            self.state.activate_task(task)
        # a Message is not made without; `Line` puts its own
        TaskIdentity.run_id, TaskIdentity.node_id, TaskIdentity.task_id = run, SERVER, task
        over = threading.Event()

        def beat() -> None:
            while not over.wait(HEARTBEAT):
                with self.transaction():
                    self.state.acknowledge_task_heartbeat(task)

        beating = threading.Thread(target=beat, daemon=True, name=f"heartbeat of Flower run {run}")
        beating.start()
        try:
            yield Line(self, run)
        finally:
            over.set()
            beating.join()
            with self.transaction():
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
        with self._link.transaction():
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
        message.metadata.__dict__.update(_run_id=self._run_id, _src_node_id=SERVER)
        head, tree, pieces = sent(message)
        with self._link.transaction():
            session = self._state.start_session(self._run_id)
            stored, missing = self._state.store_message_and_object_tree(head, tree, session)
            with no_object_id_recompute():
                for piece in missing if pieces else ():
                    self._state.store_object(self._run_id, session, piece, pieces[piece].deflate())
        if not stored:
            raise NotFlowers("Flower's state refused a message: the run is over, or the node is not registered")
        return str(head.metadata.message_id)

    def pull_messages(self, message_ids: Iterable[str]) -> list[Message]:
        """The replies that have come, whole; a reply of which pieces are missing is an error."""
        self._seen = self._link.replied.rung
        with self._link.transaction():
            heads = self._state.get_message_res(message_ids=set(message_ids), run_id=self._run_id)
        return [head if is_whole(head) else self._whole(head.metadata.message_id) for head in heads]

    def _whole(self, identifier: str) -> Message:
        with self._link.transaction():
            pieces = identifiers(self._state.object_store.get_object_tree(identifier))
        return inflated(identifier, {piece: self._content(piece) for piece in pieces})

    def clear(self) -> None:
        """Forget what was sent and what has come: every message of this run so far."""
        with self._link.transaction():
            self._state.cleanup_run(self._run_id)

    def _content(self, piece: str) -> bytes:
        for wait in waits():
            seen = self._link.replied.rung
            with self._link.transaction():
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
