"""Bodies that no node would send, for each route of the public port, from a seed."""

from __future__ import annotations

import gzip
import random
from collections.abc import Iterator
from typing import Any

from flwr.proto.fleet_pb2 import (
    ActivateNodeRequest,
    DeactivateNodeRequest,
    PullMessagesRequest,
    PushMessagesRequest,
)
from flwr.proto.heartbeat_pb2 import SendNodeHeartbeatRequest
from flwr.proto.message_pb2 import ObjectTree, PullObjectRequest, PushObjectRequest
from flwr.proto.node_pb2 import Node

from tests.port_scene import (
    MARKER,
)


class Bodies:
    """Malformed bodies for a route, from a seed."""

    def __init__(self, name: str, valid: list[bytes], seed: int) -> None:
        self._random, self._name, self._valid = random.Random(f"{seed}-{name}"), name, valid

    def __iter__(self) -> Iterator[tuple[bytes, dict[str, str]]]:
        makers = (self._noise, self._cut, self._turned, self._spliced, self._varint, self._fields, self._numbers, self._deep, self._wide,
                  self._typed, self._zipped, self._empty, self._long)  # fmt: skip
        while True:
            body, headers = self._random.choice(makers)()
            yield body, headers

    def _of(self) -> bytes:
        return self._random.choice(self._valid)

    def _noise(self) -> tuple[bytes, dict[str, str]]:
        return MARKER.encode() + self._random.randbytes(self._random.randrange(200)), {}

    def _cut(self) -> tuple[bytes, dict[str, str]]:
        body = self._of()
        return body[: self._random.randrange(len(body) + 1)], {}

    def _turned(self) -> tuple[bytes, dict[str, str]]:
        body = bytearray(self._of() or b"\0")
        for _ in range(self._random.randrange(1, 5)):
            body[self._random.randrange(len(body))] = self._random.randrange(256)
        return bytes(body), {}

    def _spliced(self) -> tuple[bytes, dict[str, str]]:
        one, other = self._of(), self._of()
        return one[: self._random.randrange(len(one) + 1)] + other[self._random.randrange(len(other) + 1) :], {}

    def _varint(self) -> tuple[bytes, dict[str, str]]:
        return bytes([self._random.randrange(1, 16) << 3]) + b"\xff" * self._random.randrange(1, 40) + b"\x01", {}

    def _fields(self) -> tuple[bytes, dict[str, str]]:
        text = MARKER.encode()
        return self._of() + b"".join(bytes([(self._random.randrange(1, 15) << 3) | 2, len(text)]) + text for _ in range(3)), {}

    def _numbers(self) -> tuple[bytes, dict[str, str]]:
        number = self._random.choice([0, 1, 2**63, 2**64 - 1])
        node, word = Node(node_id=number), self._random.choice([MARKER, "0" * 64, "", "\0", "f" * 64])
        message: Any = {
            "activate-node": lambda: ActivateNodeRequest(public_key=word.encode(), heartbeat_interval=self._random.choice([-1.0, float("nan"), float("inf"), 1e308])),
            "deactivate-node": lambda: DeactivateNodeRequest(node_id=number),
            "send-node-heartbeat": lambda: SendNodeHeartbeatRequest(node=node, heartbeat_interval=self._random.choice([-1.0, float("nan"), 1e308])),
            "pull-messages": lambda: PullMessagesRequest(node=node, message_ids=[word] * 3),
            "push-messages": lambda: self._reply(number, word),
            "push-object": lambda: PushObjectRequest(node=node, run_id=number, object_id=word, session_id=word, object_content=word.encode()),
            "pull-object": lambda: PullObjectRequest(node=node, run_id=number, object_id=word),
        }[self._name]()  # fmt: skip
        body = message.SerializeToString()
        return self._of() + body if self._random.random() < 0.5 else body, {}  # protobuf: what comes later holds

    def _reply(self, number: int, word: str) -> PushMessagesRequest:
        request = PushMessagesRequest.FromString(self._of())
        if not request.messages_list:
            request.messages_list.add()
        head = request.messages_list[0].metadata
        what = self._random.choice(
            ["run_id", "message_id", "src_node_id", "dst_node_id", "reply_to_message_id", "ttl", "created_at", "message_type", "group_id"]
        )
        value: Any = number if what in ("run_id", "src_node_id", "dst_node_id") else word
        setattr(head, what, self._random.choice([float("nan"), float("-inf"), -1.0, 1e300]) if what in ("ttl", "created_at") else value)
        return request

    def _tree(self, tree: ObjectTree) -> bytes:
        request = PushMessagesRequest.FromString(self._of())
        del request.message_object_trees[:]
        request.message_object_trees.append(tree)
        return bytes(request.SerializeToString())

    def _deep(self) -> tuple[bytes, dict[str, str]]:
        body = b""
        for _ in range(self._random.choice([50, 90, 110, 3000])):
            body = b"\x0a\x01a" + b"\x12" + _varint(len(body)) + body
        return b"\x1a" + _varint(len(body)) + body, {}

    def _wide(self) -> tuple[bytes, dict[str, str]]:
        if self._name != "push-messages":
            return self._noise()
        tree = ObjectTree(object_id="0" * 64)
        for number in range(self._random.choice([2, 600, 800, 10**5])):
            tree.children.add(object_id=self._random.choice([f"{number:064x}", "0" * 64, MARKER]))
        return self._tree(tree), {}

    def _typed(self) -> tuple[bytes, dict[str, str]]:
        return self._of(), {
            "content-type": self._random.choice(["application/json", "text/plain", MARKER, "", "multipart/form-data; boundary=x"])
        }

    def _zipped(self) -> tuple[bytes, dict[str, str]]:
        return gzip.compress(bytes(10**6)), {"content-encoding": "gzip"}

    def _empty(self) -> tuple[bytes, dict[str, str]]:
        return b"", {}

    def _long(self) -> tuple[bytes, dict[str, str]]:
        return MARKER.encode() * 4000, {}


def _varint(number: int) -> bytes:
    found = bytearray()
    while number > 127:
        found.append(number & 127 | 128)
        number >>= 7
    return bytes([*found, number])
