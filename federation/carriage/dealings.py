"""What each node was given by the coordinator's server, and so may fetch and answer.

Flower checks who speaks, and hardly what about: whoever is enrolled may fetch any piece whose hash it knows, throw any message's pieces away,
announce for one reply as many trees of pieces as it likes, and make its handlers fail with a number that is no run. Here a request has to be
about a message that this very node was given; and a reply is one message, whole, or with the one tree that its own hash binds.
"""

from __future__ import annotations

import itertools
import math
import threading
from dataclasses import dataclass
from typing import Final

from flwr.common.serde import message_from_proto
from flwr.proto.fleet_pb2 import PullMessagesResponse, PushMessagesRequest
from flwr.proto.message_pb2 import ObjectTree, PullObjectRequest, PushObjectRequest
from flwr.supercore.inflatable.inflatable_object import is_valid_sha256_hash, iterate_object_tree

from federation.carriage.whole import has_records

MOST_OBJECTS: Final = 512
"""Pieces of one message: a parcel of 2 GiB has some 420."""
LONGEST_PIECE: Final = 6 << 20
"""Bytes of one: Flower cuts at 5 MiB."""
MOST_GIVEN: Final = 256
"""Messages that are remembered for a node, the newest: one for each run under way."""
MOST_TRIES: Final = 8
"""How often a node may send its reply to one message: each leaves a row in Flower's state until the run is over."""


class NotFlowers(ValueError):
    """What came is no message that Flower could have sent."""


class NotTheirs(ValueError):
    """A node asked for, or spoke about, what it was not given."""


@dataclass
class _Given:
    run: int
    pieces: frozenset[str]
    tries: int = 0


class Dealings:
    """Of every node, by its number. May be used by many threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._given: dict[int, dict[str, _Given]] = {}

    def gave(self, node: int, answer: bytes) -> None:
        """Note what a node was given. answer: Flower's, to its question for messages."""
        told = PullMessagesResponse.FromString(answer)
        with self._lock:
            mine = self._given.setdefault(node, {})
            for head, tree in zip(told.messages_list, told.message_object_trees, strict=False):
                pieces = frozenset(each.object_id for each in iterate_object_tree(tree))
                mine[head.metadata.message_id] = _Given(head.metadata.run_id, pieces)
            for oldest in list(mine)[: max(0, len(mine) - MOST_GIVEN)]:
                del mine[oldest]

    def require(self, name: str, node: int, body: bytes) -> None:
        """A request is about what the node was given. name: the route's. Raises NotTheirs, NotFlowers, DecodeError."""
        if name == "pull-object":
            asked = PullObjectRequest.FromString(body)
            if not any(asked.run_id == given.run and asked.object_id in given.pieces for given in self._of(node)):
                raise NotTheirs("a piece of no message of its own")
        elif name == "push-object":
            pushed = PushObjectRequest.FromString(body)
            if not pushed.session_id or not any(pushed.run_id == given.run for given in self._of(node)):
                raise NotTheirs("a piece of no reply of its own")
        elif name == "push-messages":
            self._require_reply(node, body)

    def _require_reply(self, node: int, body: bytes) -> None:
        asked = PushMessagesRequest.FromString(body)
        if len(asked.messages_list) != 1 or len(asked.message_object_trees) != 1:
            raise NotFlowers("not one message with its tree")
        head, tree = asked.messages_list[0].metadata, asked.message_object_trees[0]
        if head.src_node_id != node:
            raise NotTheirs("a message of another node")
        if tree.object_id != head.message_id:
            raise NotFlowers("a tree that is not the message's own")  # else one reply could announce pieces without end
        require_tree(tree)
        if not (math.isfinite(head.ttl) and math.isfinite(head.created_at) and all(map(math.isfinite, asked.clientapp_runtime_list))):
            raise NotFlowers("a time that is no number")
        try:
            told = message_from_proto(asked.messages_list[0])
        except Exception as error:  # noqa: BLE001  # the adapter's edge: Flower's parsers raise whatever the bytes lead them to
            raise NotFlowers(type(error).__name__) from None
        if has_records(told) and tree.children:
            raise NotFlowers("a message with its content beside it, and in pieces")
        given = self._answered(node, head.reply_to_message_id, head.run_id)
        given.tries += 1
        if given.tries > MOST_TRIES:
            raise NotTheirs("a message that was answered")

    def _answered(self, node: int, message: str, run: int) -> _Given:
        given = self._given.get(node, {}).get(message)
        if given is None or given.run != run:
            raise NotTheirs("a message that it was not given")
        return given

    def _of(self, node: int) -> list[_Given]:
        with self._lock:
            return list(self._given.get(node, {}).values())


def pieces_of(tree: ObjectTree) -> list[str]:
    """The identifiers in a tree, each once, what others need before them. Raises NotFlowers where there are too many."""
    found = [node.object_id for node in itertools.islice(iterate_object_tree(tree), MOST_OBJECTS + 1)]
    if len(found) > MOST_OBJECTS:
        raise NotFlowers("more pieces than any parcel has")
    return list(dict.fromkeys(found))


def require_tree(tree: ObjectTree) -> None:
    """A tree as Flower's state takes it. Raises NotFlowers."""
    pieces_of(tree)
    children: dict[str, set[str]] = {}
    for node in iterate_object_tree(tree):
        own = [child.object_id for child in node.children]
        if not is_valid_sha256_hash(node.object_id) or len(own) != len(set(own)):
            raise NotFlowers("a tree with a piece that has no hash, or has one twice")
        if children.setdefault(node.object_id, set(own)) != set(own):
            raise NotFlowers("a tree with two forms of one piece")
