"""How a Flower message travels: whole where it is short, in Flower's content-addressed pieces where it is long. Of Flower's insides, as
`federation.carriage.flower`.
"""

from __future__ import annotations

import itertools
import secrets
from collections.abc import Iterator

from flwr.app import ArrayRecord, Message
from flwr.app.message import remove_content_from_message
from flwr.common.serde import message_from_proto
from flwr.proto.message_pb2 import Message as Sent
from flwr.proto.message_pb2 import ObjectTree
from flwr.supercore.inflatable.inflatable_object import (
    InflatableObject,
    get_all_nested_objects,
    get_object_tree,
    iterate_object_tree,
    no_object_id_recompute,
)
from flwr.supercore.inflatable.inflatable_utils import inflate_object_from_contents

WHOLE = 1 << 20
"""Bytes of arrays up to which a message travels whole."""
MOST_OBJECTS = 4096
"""Pieces of one message: a parcel of 2 GiB has some 400."""
OBJECT_WAIT = 60.0
"""Seconds that a piece which was announced may take to arrive."""


class NotFlowers(ValueError):
    """What came is no message that Flower could have sent."""


def sent(message: Message) -> tuple[Message, ObjectTree, dict[str, InflatableObject]]:
    """How a message travels: whole, or, where it is long, a head, the tree of its pieces and the pieces.

    What is whole needs no more calls than its own; Flower's programs send everything in pieces. Its tree is a name that nobody looks up.
    """
    if message.has_error() or sum(map(_bytes, message.content.array_records.values())) <= WHOLE:
        message.metadata.__dict__["_message_id"] = secrets.token_hex(32)
        return message, ObjectTree(object_id=message.metadata.message_id), {}
    message.metadata.__dict__["_message_id"] = ""
    message.metadata.__dict__["_message_id"] = message.object_id
    with no_object_id_recompute():
        return remove_content_from_message(message), get_object_tree(message), get_all_nested_objects(message)


def _bytes(record: ArrayRecord) -> int:
    return sum(len(array.data) for array in record.values())


def headed(came: Sent) -> Message:
    """A message as it came, whole or without what is in its pieces. Raises NotFlowers."""
    try:
        message = message_from_proto(came)
        _ = message.has_error() or message.content
    except Exception as error:  # noqa: BLE001  # the adapter's edge: Flower's parsers raise whatever the bytes lead them to
        raise NotFlowers(type(error).__name__) from None
    return message


def is_whole(head: Message) -> bool:
    """Whether there is nothing more to fetch."""
    return head.has_error() or len(head.content) > 0


def identifiers(tree: ObjectTree) -> list[str]:
    """Of the pieces, each once. Raises NotFlowers."""
    found = [node.object_id for node in itertools.islice(iterate_object_tree(tree), MOST_OBJECTS + 1)]
    if len(found) > MOST_OBJECTS:
        raise NotFlowers("more pieces than any parcel has")
    return list(dict.fromkeys(found))


def waits() -> Iterator[float]:
    """Seconds to wait between questions for a piece: short at first."""
    wait, total = 0.005, 0.0
    while total < OBJECT_WAIT:
        yield wait
        total += wait
        wait = min(2 * wait, 0.5)


def inflated(identifier: str, contents: dict[str, bytes]) -> Message:
    """The message that the pieces make. Raises NotFlowers."""
    try:
        message = inflate_object_from_contents(identifier, contents)
    except Exception as error:  # noqa: BLE001  # the adapter's edge: Flower's parsers raise whatever the bytes lead them to
        raise NotFlowers(type(error).__name__) from None
    if not isinstance(message, Message):
        raise NotFlowers("an object that is not a message")
    message.metadata.__dict__["_message_id"] = identifier
    return message
