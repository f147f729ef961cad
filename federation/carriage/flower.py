"""All of Flower 1.42.0's insides that creditfed uses and Flower does not promise, with `fleet` and `dealings`: the coordinator's side.

    Fleet       a node's connection (`fleet`)
    SuperLink   Flower's own state and Fleet routes, in this process; the Control and Runtime routes are not mounted at all.
    Line        a Grid over that state: what a ServerApp sends and receives with.

Two things are done otherwise than in Flower's programs, whose waits are seconds: nobody sleeps between two questions (a `Doorbell` says when
there is something), and what belongs together is one transaction. tests/unit/test_flower_contract.py names what has changed when this breaks.
"""

from __future__ import annotations

import threading
import time
import warnings
from base64 import b64decode
from collections.abc import Iterable, Iterator, MutableMapping
from contextlib import contextmanager
from typing import Any, NoReturn

from cryptography.hazmat.primitives.asymmetric import ec
from flwr.app import Message, RecordDict
from flwr.common.constant import HEARTBEAT_DEFAULT_INTERVAL, NOOP_ACCOUNT_NAME, NOOP_FLWR_AID, Status, SubStatus
from flwr.common.serde import message_from_proto, message_to_proto
from flwr.proto.fleet_pb2 import ActivateNodeResponse, PullMessagesRequest, PushMessagesRequest
from flwr.proto.node_pb2 import Node
from flwr.serverapp import Grid
from flwr.supercore.constant import FLEET_HTTP_PUBLIC_KEY_HEADER, NOOP_FEDERATION_ID, NodeStatus, TaskType
from flwr.supercore.inflatable.inflatable_object import iterate_object_tree, no_object_id_recompute
from flwr.supercore.object_store import NoObjectInStoreError
from flwr.supercore.primitives.asymmetric import public_key_to_bytes
from flwr.supercore.state.schema.linkstate_models import MessageRes
from flwr.supercore.task_identity import TaskIdentity
from sqlalchemy import select

from federation.carriage.bells import Bells, Doorbell
from federation.carriage.dealings import NotFlowers, is_whole, pieces_of
from federation.carriage.fleet import HEARTBEAT, Fleet, context, failed
from federation.carriage.pieces import inflated, sent, waits

__all__ = ["HEARTBEAT", "VERSION", "Fleet", "Line", "NotFlowers", "SuperLink", "context", "failed"]

VERSION = "1.42.0"
SERVER = 1
"""The SuperLink's own node number."""


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
        self._flower = self.routes
        self.sent, self.replied = Bells(), Doorbell()
        self.activated: dict[int, float] = {}
        self._registering = threading.Lock()
        self._forget_earlier()

    def _forget_earlier(self) -> None:
        """What a process that was killed has left goes: its runs are none any more, and nobody would fetch or delete their pieces."""
        for run in self.state.get_run_info(statuses=[Status.PENDING, Status.STARTING, Status.RUNNING]):
            self.state.finish_task(run.primary_task_id, SubStatus.STOPPED, "")
            self.state.cleanup_run(run.run_id)
        self.state.object_store.clear()

    def register(self, public: ec.EllipticCurvePublicKey, name: str) -> int:
        """Let a node in, by its key; returns its number, the same where it was let in before."""
        key = public_key_to_bytes(public)
        with self._registering:  # the server's main thread and every run's ask for it
            known = self.state.get_node_id_by_public_key(key)
            if known is None:
                known = self.state.create_node(NOOP_FLWR_AID, NOOP_ACCOUNT_NAME, key, HEARTBEAT_DEFAULT_INTERVAL, name=name)
        return int(known)

    def unregister(self, public: ec.EllipticCurvePublicKey) -> None:
        """Let a node in no longer."""
        with self._registering:
            known = self.state.get_node_id_by_public_key(public_key_to_bytes(public))
            if known is not None:
                self.state.delete_node(NOOP_FLWR_AID, known)

    def signer(self, scope: MutableMapping[str, Any]) -> int | None:
        """The node whose key has signed a request, by its headers alone; None where no such node was let in."""
        from fastapi import HTTPException, Request
        from flwr.superlink.routers.fleet.node_auth import authenticate_node

        request = Request({**scope, "app": self._flower, "state": {}})
        try:
            key = b64decode(request.headers[FLEET_HTTP_PUBLIC_KEY_HEADER], validate=True)
            known = self.state.get_node_id_by_public_key(key)
            request.state.protobuf_request = PullMessagesRequest(node=Node(node_id=known or 0))
            authenticate_node(request)
        except (KeyError, ValueError, HTTPException):
            return None
        return known and int(known)

    def fits(self, body: bytes) -> bool:
        """Whether the pieces that a reply announces are in the state as it says, or not at all. body: of push-messages."""
        for piece in iterate_object_tree(PushMessagesRequest.FromString(body).message_object_trees[0]):
            try:
                there = self.state.object_store.get_object_tree(piece.object_id)
            except NoObjectInStoreError:
                continue
            if {child.object_id for child in there.children} != {child.object_id for child in piece.children}:
                return False
        return True

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
        message.metadata.__dict__.update(_run_id=self._run_id, _src_node_id=SERVER)
        head, tree, pieces = sent(message)
        with self._state.session():
            session = self._state.start_session(self._run_id)
            stored, missing = self._state.store_message_and_object_tree(message_from_proto(message_to_proto(head)), tree, session)
            with no_object_id_recompute():
                for piece in missing if stored and pieces else ():
                    self._state.store_object(self._run_id, session, piece, pieces[piece].deflate())
        if not stored:
            raise NotFlowers("Flower's state refused a message: the run is over, or the node is not registered")
        return str(head.metadata.message_id)

    def pull_messages(self, message_ids: Iterable[str]) -> list[Message]:
        """The replies that have come, whole; one that cannot be read comes as one without records, which no mailbox takes."""
        self._seen = self._link.replied.rung
        heads = self._state.get_message_res(message_ids=set(message_ids), run_id=self._run_id)
        found = [self._whole(head) for head in heads]
        self.withdraw(head.metadata.reply_to_message_id for head in heads)
        return found

    def withdraw(self, identifiers: Iterable[str]) -> None:
        """Forget messages that were given out and whatever was announced as a reply to them, with all pieces: nothing piles up in a run."""
        given = set(identifiers)
        if not given:
            return
        with self._state.session() as session:
            replies = session.scalars(select(MessageRes.message_id).where(MessageRes.reply_to_message_id.in_(given))).all()
            self._state.delete_messages(message_ins_ids=given)
            for identifier in given.union(replies):
                self._state.object_store.delete(identifier)

    def _whole(self, head: Message) -> Message:
        """A reply with what Flower has checked about it as its head, whatever its own pieces say."""
        identifier = head.metadata.message_id
        if is_whole(head):
            self._state.object_store.delete(identifier)  # Flower's own errors have pieces, too
            return head
        try:
            contents = {piece: self._content(piece) for piece in pieces_of(self._state.object_store.get_object_tree(identifier))}
            found = inflated(identifier, contents)
            head.content = found.content if found.has_content() else RecordDict()
        except (NotFlowers, NoObjectInStoreError):
            head.content = RecordDict()
        return head

    def _content(self, piece: str) -> bytes:
        for wait in waits():
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
