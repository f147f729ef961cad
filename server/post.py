"""A post: how parcels come to some of a run's nodes and answers back. The courier has one for the nodes behind a Flower Grid, and one for each
institution that takes its batches as files (`server.file_post`).

    send      parcels to the post's nodes; it does not wait
    collect   the answers that have come since, by name, and who is lost
    wait      until there may be something to collect, or a moment has passed
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Protocol

from flwr.app import Message
from flwr.serverapp import Grid

from federation.carriage.mailbox import MESSAGE_TYPE, Parcel, pack, unpack
from federation.kernel.errors import AbortCode, CreditfedError

POLL = 0.02


class LostNode(CreditfedError):
    """A node that did not answer, or whose process ended."""

    exit_code = 4
    default_code = AbortCode.STOPPED


class Post(Protocol):
    """Carries parcels to nodes by name. Answers are checked for form alone."""

    def send(self, parcels: Mapping[str, Parcel]) -> None:
        """Give parcels out, one to each of these nodes."""

    def collect(self) -> dict[str, Parcel | LostNode]:
        """Answers to what was sent, each once."""

    def forget(self) -> None:
        """Wait no longer for what has not come."""

    def wait(self) -> None:
        """Until there may be something to collect, or a moment has passed."""


class GridPost:
    """Nodes behind a Flower Grid. nodes: their numbers by name; sleep: between two questions."""

    def __init__(self, grid: Grid, nodes: Mapping[str, int], sleep: Callable[[float], None] = time.sleep) -> None:
        self._grid, self.nodes, self._sleep = grid, dict(nodes), sleep
        self._due: dict[str, str] = {}  # Flower's identifier of a message, and whose answer it awaits

    def send(self, parcels: Mapping[str, Parcel]) -> None:
        """Give parcels out."""
        messages = [Message(content=pack(each), message_type=MESSAGE_TYPE, dst_node_id=self.nodes[name]) for name, each in parcels.items()]
        self._due |= dict(zip(self._grid.push_messages(messages), parcels, strict=True))

    def collect(self) -> dict[str, Parcel | LostNode]:
        """Answers, and who is lost: their process ended."""
        found: dict[str, Parcel | LostNode] = {}
        for reply in self._grid.pull_messages(list(self._due)) if self._due else ():
            name = self._due.pop(reply.metadata.reply_to_message_id, None)
            if name is not None:
                found[name] = self._failed(name, reply.error.code) if reply.has_error() else unpack(reply.content, name)
        return found

    @staticmethod
    def _failed(name: str, code: int) -> LostNode:
        return LostNode(name, f"the node's process ended (Flower error {code})", "Restart the node, then resume the run.")

    def forget(self) -> None:
        """Wait no longer for what has not come."""
        self._due.clear()

    def wait(self) -> None:
        """A moment."""
        self._sleep(POLL)
