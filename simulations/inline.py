"""The `inline` back end: Flower's Grid in one process, no ports and no Ray. The `ray` back end puts its workers behind the same Grid.

It calls the same ClientApp and ServerApp that a deployment runs, and serialises and parses every message on the way, both ways, so that a
value Flower cannot carry fails here as it would there. Parties share a process but no object: each works from its own home folder.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from flwr.app import Context, Message, RecordDict
from flwr.common.serde import message_from_proto, message_to_proto
from flwr.serverapp import Grid
from flwr.supercore.task_identity import TaskIdentity

_RUN = 1


def _carried(message: Message) -> Message:
    """The message as it arrives on the other side of a wire."""
    identifier = message.metadata.message_id
    parsed = message_from_proto(message_to_proto(message))
    parsed.metadata.__dict__["_message_id"] = identifier
    return parsed


class InlineGrid(Grid):
    """app: answers a message with its node's context; node_configs: by node id, what that node's Context carries; workers: threads."""

    def __init__(self, app: Callable[[Message, Context], Message], node_configs: Mapping[int, Mapping[str, str]], workers: int = 1) -> None:
        TaskIdentity.run_id, TaskIdentity.node_id, TaskIdentity.task_id = _RUN, 1, 1
        self._app, self._numbers = app, itertools.count(1)
        self._replies: dict[str, Message] = {}
        self._pool = ThreadPoolExecutor(max_workers=workers)
        self.contexts = {
            node: Context(run_id=_RUN, node_id=node, node_config=dict(config), state=RecordDict(), run_config={})
            for node, config in node_configs.items()
        }

    def set_run(self, run: Any) -> None:
        """Flower's interface: the run this grid serves."""
        self._run = run

    @property
    def run(self) -> Any:
        """Flower's interface: the run this grid serves."""
        return self._run

    def create_message(self, content: RecordDict, message_type: str, dst_node_id: int, group_id: str, ttl: float | None = None) -> Message:
        """Flower's interface: a message to a node."""
        return Message(content, dst_node_id, message_type, ttl=ttl, group_id=group_id)

    def get_node_ids(self) -> list[int]:
        """Flower's interface: all nodes."""
        return list(self.contexts)

    def push_messages(self, messages: Iterable[Message]) -> list[str]:
        """Carry each message to its node and keep the reply until it is pulled. Nodes work side by side in threads."""
        queued = []
        for message in messages:
            identifier = f"m{next(self._numbers)}"
            message.metadata.__dict__.update(_message_id=identifier, _run_id=_RUN, _src_node_id=1)
            queued.append((identifier, message))
        for identifier, reply in self._pool.map(self._answer, queued):
            self._replies[identifier] = reply
        return [identifier for identifier, _ in queued]

    def _answer(self, item: tuple[str, Message]) -> tuple[str, Message]:
        identifier, message = item
        reply = self._app(_carried(message), self.contexts[message.metadata.dst_node_id])
        reply.metadata.__dict__["_message_id"] = f"r{identifier}"
        return identifier, _carried(reply)

    def pull_messages(self, message_ids: Iterable[str]) -> list[Message]:
        """Flower's interface: the replies that have come."""
        return [self._replies.pop(identifier) for identifier in list(message_ids) if identifier in self._replies]

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> list[Message]:  # noqa: ARG002  # replies are there at once
        """Flower's interface: push and pull."""
        return self.pull_messages(self.push_messages(messages))
