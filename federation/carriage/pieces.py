"""How a Flower message travels: whole where it is short, in Flower's content-addressed pieces where it is long.

Flower's own programs send everything in pieces, each a request of its own; most messages of a run are short.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator

from flwr.app import ArrayRecord, Message
from flwr.app.message import remove_content_from_message
from flwr.proto.message_pb2 import ObjectTree
from flwr.supercore.inflatable.inflatable_object import (
    InflatableObject,
    get_all_nested_objects,
    get_object_tree,
    no_object_id_recompute,
)
from flwr.supercore.inflatable.inflatable_utils import inflate_object_from_contents

from federation.carriage.dealings import NotFlowers

WHOLE = 1 << 20
"""Bytes of arrays up to which a message travels whole; larger ones are no faster so."""
OBJECT_WAIT = 60.0
"""Seconds that a piece which was announced may take to arrive."""


def sent(message: Message) -> tuple[Message, ObjectTree, dict[str, InflatableObject]]:
    """How a message travels: whole, with a tree that is its name alone; or a head, the tree of its pieces, and the pieces."""
    if message.has_error() or sum(map(_bytes, message.content.array_records.values())) <= WHOLE:
        message.metadata.__dict__["_message_id"] = secrets.token_hex(32)
        return message, ObjectTree(object_id=message.metadata.message_id), {}
    message.metadata.__dict__["_message_id"] = ""
    message.metadata.__dict__["_message_id"] = message.object_id
    with no_object_id_recompute():
        return remove_content_from_message(message), get_object_tree(message), get_all_nested_objects(message)


def _bytes(record: ArrayRecord) -> int:
    return sum(len(array.data) for array in record.values())


def waits() -> Iterator[float]:
    """Seconds to wait between questions for a piece: short at first."""
    wait, total = 0.005, 0.0
    while total < OBJECT_WAIT:
        yield wait
        total += wait
        wait = min(2 * wait, 0.5)


def inflated(identifier: str, contents: dict[str, bytes]) -> Message:
    """The message that pieces make. Raises NotFlowers where they make none."""
    try:
        message = inflate_object_from_contents(identifier, contents)
    except Exception as error:  # noqa: BLE001  # the adapter's edge: Flower's parsers raise whatever the bytes lead them to
        raise NotFlowers(type(error).__name__) from None
    if not isinstance(message, Message):
        raise NotFlowers("an object that is not a message")
    return message
