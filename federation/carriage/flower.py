"""All of Flower 1.42.0's insides that creditfed uses and Flower does not promise, with `fleet`, `dealings`, `whole`: the coordinator's side.

    Fleet       a node's connection (`fleet`)
    SuperLink   Flower's own state and Fleet handlers, in this process; those of the Control and Runtime APIs are not there at all.
    Line        a Grid over that state: what a ServerApp sends and receives with.

Three things are done otherwise than in Flower's programs, whose waits are seconds: nobody sleeps between two questions (a `Doorbell` says when
there is something), what belongs together is one transaction, and a short message travels whole. tests/unit/test_flower_contract.py names what
has changed when this breaks.
"""

from __future__ import annotations

import asyncio
import math
import threading
import time
import warnings
from base64 import b64decode
from collections.abc import Awaitable, Callable, Iterable, Iterator, MutableMapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric import ec
from flwr.app import Message, RecordDict
from flwr.common.constant import HEARTBEAT_DEFAULT_INTERVAL, NOOP_ACCOUNT_NAME, NOOP_FLWR_AID, Status, SubStatus
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
from flwr.supercore.constant import FLEET_HTTP_PUBLIC_KEY_HEADER, NOOP_FEDERATION_ID, NodeStatus, TaskType
from flwr.supercore.inflatable.inflatable_object import iterate_object_tree, no_object_id_recompute
from flwr.supercore.object_store import NoObjectInStoreError
from flwr.supercore.primitives.asymmetric import public_key_to_bytes
from flwr.supercore.protobuf.constants import PROTOBUF_MEDIA_TYPE
from flwr.supercore.state.schema.linkstate_models import MessageRes
from flwr.supercore.task_identity import TaskIdentity
from sqlalchemy import event, select

from federation.carriage.bells import Bells, Doorbell
from federation.carriage.dealings import NotFlowers, pieces_of
from federation.carriage.fleet import HEARTBEAT, Fleet, context, failed, inflated, waits
from federation.carriage.whole import has_records, is_short, sent

__all__ = ["HEARTBEAT", "VERSION", "Fleet", "Line", "NotFlowers", "SuperLink", "context", "failed"]

VERSION = "1.42.0"
SERVER = 1
"""The SuperLink's own node number."""
LOOK = 1.0
"""Seconds between two looks for replies that no node has sent."""
TOGETHER = 0.02
"""Seconds for which replies are waited for once one has come: a look for them costs the same for one and for fifty."""
CALLS: Final[dict[str, tuple[Any, ...]]] = {
    "activate-node": (ActivateNodeRequest,), "deactivate-node": (DeactivateNodeRequest,), "send-node-heartbeat": (SendNodeHeartbeatRequest,),
    "pull-messages": (PullMessagesRequest, "object_store"), "push-messages": (PushMessagesRequest,), "push-object": (PushObjectRequest,),
    "pull-object": (PullObjectRequest,),
}  # fmt: skip
"""The calls of the Fleet API that are there: what each is asked with, and what of the state its handler takes beside it."""
_THREADS = 4
"""Calls at one time: a transaction is one thread's, the others check keys meanwhile."""
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


def _settle(state: Any) -> None:
    """Write less: what is deleted is not overwritten where that would be a write of its own, and the log is copied at 64 MB, not at 4."""

    def settle(connection: Any, _record: object) -> None:
        for pragma in ("secure_delete = FAST", "wal_autocheckpoint = 16384"):
            connection.execute(f"PRAGMA {pragma}").close()

    event.listen(state._engine, "connect", settle)  # noqa: SLF001  # Flower has no setting for it
    state._engine.dispose()  # noqa: SLF001  # what is connected already


class SuperLink:
    """Flower's Fleet API (`routes`, an ASGI application) over its state in a SQLite file, with node authentication.

    Flower's own web application is not used, but what it calls: `authenticate_node`, and a handler for each call. One transaction is under way
    at a time, and all that a call does is one: SQLite lets one write, and who has to wait for it sleeps longer and longer.
    sent, replied: ring when there is something for a node, and when a node has said something. activated: when each node last came online;
    lines: by their runs.
    """

    def __init__(self, database: str) -> None:
        from flwr.superlink.config_loader import get_federation_manager, get_objectstore_linkstate_factories
        from starlette.datastructures import State

        _, factory = get_objectstore_linkstate_factories(database, get_federation_manager())
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of alembic, about how Flower configures it
            self.state: Any = factory.state()
        _settle(self.state)
        self._application = SimpleNamespace(state=State({"linkstate_factory": factory}))  # as Flower's authentication knows it
        self._alone, self._threads = threading.RLock(), ThreadPoolExecutor(_THREADS, "fleet call")
        self.sent, self.replied = Bells(), Doorbell()
        self.activated: dict[int, float] = {}
        self.lines: dict[int, Line] = {}
        self._forget_earlier()

    @contextmanager
    def transaction(self) -> Iterator[Any]:
        """Nobody else changes the state meanwhile, and it is changed as a whole, or not."""
        with self._alone, self.state.session() as session:
            yield session

    async def routes(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """One call of the Fleet API, whose body comes at once."""
        name, body = str(scope["path"]).rpartition("/")[2], (await receive())["body"]
        work = asyncio.get_running_loop().run_in_executor(self._threads, self._called, name, list(scope["headers"]), body)
        status, said = await work
        headers = [(b"content-type", PROTOBUF_MEDIA_TYPE.encode()), (b"content-length", b"%d" % len(said))]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": said})

    def _called(self, name: str, headers: list[tuple[bytes, bytes]], body: bytes) -> tuple[int, bytes]:
        """Flower's answer to a call: status and body. Raises DecodeError."""
        from fastapi import HTTPException, Request
        from flwr.supercore.error import FlowerError
        from flwr.supercore.error.catalog import API_ERROR_MAP
        from flwr.superlink.routers.fleet.node_auth import authenticate_node
        from flwr.superlink.servicer.fleet import fleet_handlers

        kind, *more = CALLS[name]
        asked = kind.FromString(body)
        request = Request({"type": "http", "headers": headers, "app": self._application})
        request.state.protobuf_request = asked
        try:
            authenticate_node(request)
            with self.transaction():
                said = getattr(fleet_handlers, name.replace("-", "_"))(asked, self.state, *(getattr(self.state, what) for what in more))
        except FlowerError as error:
            return API_ERROR_MAP[error.code].http_status_code, b""
        except HTTPException as error:
            return error.status_code, b""
        except Exception:  # noqa: BLE001  # Flower's handlers rely on a form that nothing has checked; as its own server answers
            return 500, b""
        for head in asked.messages_list if name == "push-messages" else ():
            if line := self.lines.get(head.metadata.run_id):
                line.noted(head.metadata.reply_to_message_id)
        return 200, bytes(said.SerializeToString())

    def _forget_earlier(self) -> None:
        """What a process that was killed has left goes: its runs are none any more, and nobody would fetch or delete their pieces."""
        with self.transaction():
            for run in self.state.get_run_info(statuses=[Status.PENDING, Status.STARTING, Status.RUNNING]):
                self.state.finish_task(run.primary_task_id, SubStatus.STOPPED, "")
                self.state.cleanup_run(run.run_id)
            self.state.object_store.clear()

    def register(self, public: ec.EllipticCurvePublicKey, name: str) -> int:
        """Let a node in, by its key; returns its number, the same where it was let in before."""
        key = public_key_to_bytes(public)
        with self.transaction():  # the server's main thread and every run's ask for it
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

    def signer(self, scope: MutableMapping[str, Any]) -> int | None:
        """The node whose key has signed a request, by its headers alone; None where no such node was let in."""
        from fastapi import HTTPException, Request
        from flwr.superlink.routers.fleet.node_auth import authenticate_node

        request = Request({**scope, "app": self._application, "state": {}})
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
        with self.transaction():
            return {int(node.node_id) for node in self.state.get_node_info(statuses=[NodeStatus.ONLINE])}

    def noted_activation(self, body: bytes) -> None:
        """A node has come online. body: of Flower's answer to it."""
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
            self.lines.pop(run, None)
            with self.transaction():
                self.state.finish_task(task, SubStatus.COMPLETED, "")
                self.state.cleanup_run(run)


class Line(Grid):
    """The Grid of one Flower run, over the SuperLink's state. May be used by one thread at a time, but for `noted`."""

    def __init__(self, link: SuperLink, run: int) -> None:
        self._link, self._state, self._run_id, self._seen, self._looked = link, link.state, run, 0, -LOOK
        self._asked: set[str] = set()
        self._answered: set[str] = set()
        link.lines[run] = self

    def noted(self, identifier: str) -> None:
        """A node has sent a reply to a message."""
        if identifier in self._asked:
            self._answered.add(identifier)

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
        """Give each message out, the short ones at once; returns their identifiers."""
        given = list(messages)
        short = [message for message in given if is_short(message)]
        for together in (short, *([message] for message in given if not is_short(message))):
            with self._link.transaction():
                for message in together:
                    self._push(message)
            for message in together:
                self._link.sent.ring(message.metadata.dst_node_id)
        return [str(message.metadata.message_id) for message in given]

    def _push(self, message: Message) -> None:
        message.metadata.__dict__.update(_run_id=self._run_id, _src_node_id=SERVER)
        head, tree, pieces = sent(message)
        if self._state.store_message_ins(head) is None:
            raise NotFlowers("Flower's state refused a message: the run is over, or the node is not registered")
        if not pieces:
            self._state.object_store.preregister(self._run_id, tree)  # whoever is given the message is told its tree
        else:
            session = self._state.start_session(self._run_id)
            with no_object_id_recompute():
                for piece in self._state.preregister_object_tree(tree, session):
                    self._state.store_object(self._run_id, session, piece, pieces[piece].deflate())
        self._asked.add(message.metadata.message_id)

    def pull_messages(self, message_ids: Iterable[str]) -> list[Message]:
        """The replies that have come, whole; one that cannot be read comes as one without records, which no mailbox takes."""
        self._seen = self._link.replied.rung
        asked, now = set(message_ids), time.monotonic()
        if now - self._looked < LOOK:
            asked &= self._answered
        else:
            self._looked = now  # Flower makes replies itself, for nodes that are offline
        if not asked:
            return []
        with self._link.transaction():
            heads = self._state.get_message_res(message_ids=set(asked), run_id=self._run_id)
        found = [self._whole(head) for head in heads]
        self.withdraw(head.metadata.reply_to_message_id for head in heads)
        return found

    def withdraw(self, identifiers: Iterable[str]) -> None:
        """Forget messages that were given out and whatever was announced as a reply to them, with all pieces: nothing piles up in a run."""
        given = set(identifiers)
        if not given:
            return
        self._asked -= given
        self._answered -= given
        with self._link.transaction() as session:
            replies = session.scalars(select(MessageRes.message_id).where(MessageRes.reply_to_message_id.in_(given))).all()
            self._state.delete_messages(message_ins_ids=given)
            for identifier in given.union(replies):
                self._state.object_store.delete(identifier)

    def _whole(self, head: Message) -> Message:
        """A reply with what Flower has checked about it as its head, whatever its own pieces say."""
        identifier = head.metadata.message_id
        if has_records(head):
            return head
        if head.has_error():
            with self._link.transaction():
                self._state.object_store.delete(identifier)  # Flower's own errors have pieces, too
            return head
        try:
            with self._link.transaction():
                pieces = pieces_of(self._state.object_store.get_object_tree(identifier))
            found = inflated(identifier, {piece: self._content(piece) for piece in pieces})
            head.content = found.content if found.has_content() else RecordDict()
        except (NotFlowers, NoObjectInStoreError):
            head.content = RecordDict()
        return head

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
        """Until a node has said something since the last pull and a moment has passed for others to, or so many seconds have passed."""
        self._link.replied.wait(self._seen, seconds)
        end = time.monotonic() + TOGETHER
        while 0 < len(self._answered) < len(self._asked) and (left := end - time.monotonic()) > 0:
            self._link.replied.wait(self._link.replied.rung, left)

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> list[Message]:
        """Flower's interface: push, and pull until every reply is there or so many seconds have passed."""
        due, found = set(self.push_messages(messages)), list[Message]()
        end = math.inf if timeout is None else time.monotonic() + timeout
        while due and (left := end - time.monotonic()) > 0:
            found += self.pull_messages(due)
            due -= {reply.metadata.reply_to_message_id for reply in found}
            if due:
                self.wait(min(left, LOOK))
        return found
