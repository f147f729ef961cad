"""How a message travels: whole where it is short, in Flower's pieces where it is long.

Flower's programs send everything in pieces, each a call and some ten statements of SQL: three for a message of 1 KB. Its messages have a place
for their content, too, and its state keeps it.
"""

from __future__ import annotations

import secrets
from typing import Final

from flwr.app import ArrayRecord, Message
from flwr.app.message import remove_content_from_message
from flwr.proto.message_pb2 import Message as Sent
from flwr.proto.message_pb2 import ObjectTree
from flwr.supercore.inflatable.inflatable_object import (
    InflatableObject,
    get_all_nested_objects,
    get_object_tree,
    is_valid_sha256_hash,
    no_object_id_recompute,
)

WHOLE: Final = 1 << 20
"""Bytes of arrays up to which a message travels whole; a longer one is faster in pieces."""


def sent(message: Message) -> tuple[Message, ObjectTree, dict[str, InflatableObject]]:
    """A message as it is sent, the tree of its pieces and the pieces: none where it is whole. Its tree is then a name that nobody looks up."""
    if is_short(message):
        message.metadata.__dict__["_message_id"] = secrets.token_hex(32)
        return message, ObjectTree(object_id=message.metadata.message_id), {}
    message.metadata.__dict__["_message_id"] = ""  # the hash is of a message without
    message.metadata.__dict__["_message_id"] = message.object_id
    with no_object_id_recompute():
        return remove_content_from_message(message), get_object_tree(message), get_all_nested_objects(message)


def is_short(message: Message) -> bool:
    """Whether a message travels whole."""
    return message.has_error() or sum(map(_bytes, message.content.array_records.values())) <= WHOLE


def _bytes(record: ArrayRecord) -> int:
    return sum(len(array.data) for array in record.values())


def is_whole(came: Sent, tree: ObjectTree) -> bool:
    """Whether a message has come as `sent` sends a short one."""
    named = is_valid_sha256_hash(came.metadata.message_id) and tree.object_id == came.metadata.message_id
    return bool(named and len(came.content.items) and not tree.children)


def has_records(head: Message) -> bool:
    """Whether a message has come with its content, so that there are no pieces to fetch."""
    return bool(head.has_content() and len(head.content) > 0)
