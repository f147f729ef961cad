"""A node's connection to the coordinator's server: Flower's Fleet API over HTTPS, and no call in it that could fetch code.

The node trusts the server with nothing but its own time: it follows no redirect (Flower's client follows wherever the server points, into the
institution's own network, with the signed headers), unpacks nothing, reads no answer longer than a piece, and does not end its process because
an answer says so, as Flower's check of versions does. Whatever is not Flower's is `NotFlowers`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import TypeVar

import httpx
from cryptography.hazmat.primitives.asymmetric import ec
from flwr.app import Context, Error, Message, RecordDict
from flwr.common.constant import HEARTBEAT_DEFAULT_INTERVAL, ErrorCode
from flwr.common.serde import message_from_proto, message_to_proto
from flwr.proto.fleet_pb2 import ActivateNodeRequest, DeactivateNodeRequest, PullMessagesRequest, PushMessagesRequest
from flwr.proto.heartbeat_pb2 import SendNodeHeartbeatRequest
from flwr.proto.message_pb2 import Message as Sent
from flwr.proto.message_pb2 import PullObjectRequest, PushObjectRequest
from flwr.proto.node_pb2 import Node
from flwr.supercore.inflatable.inflatable_object import get_object_id, no_object_id_recompute
from flwr.supercore.inflatable.inflatable_utils import inflate_object_from_contents
from flwr.supercore.primitives.asymmetric import public_key_to_bytes
from flwr.supernode.fleet_http_client import FleetHttpClient
from flwr.supernode.node_auth_http_interceptor import NodeAuthHttpInterceptor

from federation.carriage.dealings import LONGEST_PIECE, NotFlowers, pieces_of
from federation.carriage.whole import is_whole, sent

HEARTBEAT = HEARTBEAT_DEFAULT_INTERVAL / 3
"""Seconds between two signs of life; after `HEARTBEAT_DEFAULT_INTERVAL` without one a node is offline."""
OBJECT_WAIT = 60.0
"""Seconds that a piece which was announced may take to arrive."""
Question = TypeVar("Question")
Answer = TypeVar("Answer")


class _AtMost(httpx.SyncByteStream):
    """An answer's bytes, up to a limit."""

    def __init__(self, stream: httpx.SyncByteStream, limit: int) -> None:
        self._stream, self._limit = stream, limit

    def __iter__(self) -> Iterator[bytes]:
        length = 0
        for part in self._stream:
            length += len(part)
            if length > self._limit:
                raise NotFlowers("an answer that does not end")
            yield part

    def close(self) -> None:
        self._stream.close()


def _bounded(answer: httpx.Response) -> None:
    """Before an answer is read. Raises NotFlowers where it would have to be unpacked first."""
    if answer.headers.get("content-encoding", "identity") != "identity" or not isinstance(answer.stream, httpx.SyncByteStream):
        raise NotFlowers("a compressed answer")
    answer.stream = _AtMost(answer.stream, LONGEST_PIECE)


class Fleet:
    """One node's connection. address: host:port; authority: PEM of the CA that signed the server's certificate; key: P-384, this node's.

    Every call raises httpx.RequestError where the server cannot be reached, httpx.HTTPStatusError where it refuses, and NotFlowers where its
    answer is none of Flower's.
    """

    def __init__(self, address: str, authority: bytes, key: ec.EllipticCurvePrivateKey) -> None:
        public = key.public_key()
        self._public = public_key_to_bytes(public)
        self._client = FleetHttpClient.from_server_address(
            address, insecure=False, root_certificates=authority, interceptors=[NodeAuthHttpInterceptor(key, public)]
        )
        inner = self._client._client  # noqa: SLF001  # Flower's follows the server wherever it points, with the signed headers
        inner.follow_redirects, inner.headers["accept-encoding"] = False, "identity"
        inner.event_hooks = {"response": [_bounded]}
        self.node_id = 0

    @property
    def _node(self) -> Node:
        return Node(node_id=self.node_id)

    @staticmethod
    def _asked(call: Callable[[Question], Answer], question: Question) -> Answer:
        try:
            return call(question)
        except ValueError:  # the client's own word for bytes that it cannot read, and `_bounded`'s
            raise NotFlowers("an answer that is none of Flower's") from None

    def activate(self, former: int = 0) -> int:
        """Come online; returns the node's number. former: the number of a process that may have been killed and still counts as online."""
        if former:
            with suppress(httpx.HTTPStatusError):  # it was offline, or the number is another's
                self._asked(self._client.DeactivateNode, DeactivateNodeRequest(node_id=former))
        asked = ActivateNodeRequest(public_key=self._public, heartbeat_interval=HEARTBEAT_DEFAULT_INTERVAL)
        self.node_id = int(self._asked(self._client.ActivateNode, asked).node_id)
        return self.node_id

    def heartbeat(self) -> bool:
        """Say that this node lives; False where the server does not know it."""
        asked = SendNodeHeartbeatRequest(node=self._node, heartbeat_interval=HEARTBEAT_DEFAULT_INTERVAL)
        return bool(self._asked(self._client.SendNodeHeartbeat, asked).success)

    def deactivate(self) -> None:
        """Go offline."""
        self._asked(self._client.DeactivateNode, DeactivateNodeRequest(node_id=self.node_id))

    def receive(self) -> Message | None:
        """The next message, whole, or None; the coordinator's server holds the question for a while."""
        answer = self._asked(self._client.PullMessages, PullMessagesRequest(node=self._node))
        if not answer.messages_list or not answer.message_object_trees:
            return None
        head, tree = answer.messages_list[0].metadata, answer.message_object_trees[0]
        if is_whole(answer.messages_list[0], tree):
            return _whole(answer.messages_list[0])
        contents = {piece: self._pull(head.run_id, piece) for piece in pieces_of(tree)}
        message = inflated(head.message_id, contents)
        message.metadata.__dict__["_message_id"] = head.message_id
        return message

    def _pull(self, run: int, piece: str) -> bytes:
        for wait in waits():
            answer = self._asked(self._client.PullObject, PullObjectRequest(node=self._node, run_id=run, object_id=piece))
            if not answer.object_found or (answer.object_available and get_object_id(answer.object_content) != piece):
                break
            if answer.object_available:
                return bytes(answer.object_content)
            time.sleep(wait)
        raise NotFlowers("a piece that is not there, or is another")

    def reply(self, reply: Message, seconds: float) -> None:
        """Send the reply to a message. seconds: that the application took."""
        run = reply.metadata.run_id
        head, tree, pieces = sent(reply)
        asked = PushMessagesRequest(
            node=self._node, messages_list=[message_to_proto(head)], message_object_trees=[tree], clientapp_runtime_list=[seconds]
        )  # fmt: skip
        answer = self._asked(self._client.PushMessages, asked)
        wanted = dict.fromkeys(answer.objects_to_push if pieces else ())
        if not pieces.keys() >= wanted.keys():
            raise NotFlowers("a wish for a piece that the reply does not have")
        with no_object_id_recompute():
            for piece in wanted:
                content = pieces[piece].deflate()
                self._asked(
                    self._client.PushObject,
                    PushObjectRequest(node=self._node, run_id=run, session_id=answer.session_id, object_id=piece, object_content=content),
                )

    def close(self) -> None:
        """Let the connection go."""
        self._client.close()


def context(node_id: int, config: dict[str, str]) -> Context:
    """What a ClientApp is called with beside the message. config: this node's own."""
    return Context(run_id=0, node_id=node_id, node_config=dict(config), state=RecordDict(), run_config={})


def failed(message: Message) -> Message:
    """The reply where the application could not answer: it tells nothing."""
    return Message(Error(code=ErrorCode.CLIENT_APP_RAISED_EXCEPTION, reason="the application could not answer"), reply_to=message)


def waits() -> Iterator[float]:
    """Seconds to wait between questions for a piece: short at first."""
    wait, total = 0.005, 0.0
    while total < OBJECT_WAIT:
        yield wait
        total += wait
        wait = min(2 * wait, 0.5)


def _whole(came: Sent) -> Message:
    """A message that came with its content. Raises NotFlowers."""
    try:
        return message_from_proto(came)
    except Exception as error:  # noqa: BLE001  # the adapter's edge, as in `inflated`
        raise NotFlowers(type(error).__name__) from None


def inflated(identifier: str, contents: dict[str, bytes]) -> Message:
    """The message that pieces make. Raises NotFlowers where they make none."""
    try:
        message = inflate_object_from_contents(identifier, contents)
    except Exception as error:  # noqa: BLE001  # the adapter's edge: Flower's parsers raise whatever the bytes lead them to
        raise NotFlowers(type(error).__name__) from None
    if not isinstance(message, Message):
        raise NotFlowers("an object that is not a message")
    return message
