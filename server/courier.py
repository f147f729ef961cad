"""The courier: parcels to nodes and back through any Flower Grid, with our own polling instead of the Grid's three seconds."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from flwr.app import Message
from flwr.serverapp import Grid

from federation.carriage.mailbox import MESSAGE_TYPE, Parcel, pack, unpack
from federation.kernel.errors import AbortCode, CreditfedError

POLL = 0.02
PATIENCE = 3600.0


class LostNode(CreditfedError):
    """A node that did not answer, or whose process ended."""

    exit_code = 4
    default_code = AbortCode.STOPPED


class Refused(CreditfedError):
    """A node's answer was a refusal; the reason is all that it tells."""

    exit_code = 4


class Courier:
    """Exchanges parcels with named nodes. bytes_sent, messages: by node; wait: sleeps between polls; patience: seconds until a node that
    has not answered is lost.
    """

    def __init__(
        self, grid: Grid, nodes: Mapping[str, int], wait: Callable[[float], None] = time.sleep, patience: float = PATIENCE
    ) -> None:
        self._grid, self.nodes, self._wait, self.patience = grid, dict(nodes), wait, patience
        self.bytes_sent = dict.fromkeys(nodes, 0)
        self.messages = dict.fromkeys(nodes, 0)

    def count(self, bytes_sent: Mapping[str, int], messages: Mapping[str, int]) -> None:
        """Add what an earlier process had counted."""
        for name in self.nodes:
            self.bytes_sent[name] += bytes_sent.get(name, 0)
            self.messages[name] += messages.get(name, 0)

    def exchange(self, parcels: Mapping[str, Parcel]) -> dict[str, Parcel]:
        """One parcel to each named node, all at once; their answers by name. Raises LostNode or Refused."""
        answers, lost = self.ask(parcels)
        for error in lost.values():
            raise error
        return answers

    def ask(self, parcels: Mapping[str, Parcel]) -> tuple[dict[str, Parcel], dict[str, LostNode]]:
        """As `exchange`, with those who did not answer beside the answers. Raises Refused."""
        messages = [
            Message(content=pack(parcel), message_type=MESSAGE_TYPE, dst_node_id=self.nodes[name]) for name, parcel in parcels.items()
        ]
        names = dict(zip(self._grid.push_messages(messages), parcels, strict=True))
        answers: dict[str, Parcel] = {}
        lost: dict[str, LostNode] = {}
        waited = 0.0
        while len(answers) + len(lost) < len(parcels):
            for reply in self._grid.pull_messages([i for i, name in names.items() if name not in answers and name not in lost]):
                name = names[reply.metadata.reply_to_message_id]
                if reply.has_error():
                    what = f"the node's process ended (Flower error {reply.error.code})"
                    lost[name] = LostNode(name, what, "Restart the node, then resume the run.")
                else:
                    answers[name] = self._opened(name, reply)
            if len(answers) + len(lost) < len(parcels):
                if waited >= self.patience:
                    action = "Check that the node runs and reaches the coordinator."
                    silent = [name for name in parcels if name not in answers and name not in lost]
                    lost |= {name: LostNode(name, f"no answer within {self.patience:g} s", action) for name in silent}
                    break
                self._wait(POLL)
                waited += POLL
        return {name: answers[name] for name in parcels if name in answers}, lost

    def _opened(self, name: str, reply: Message) -> Parcel:
        parcel = unpack(reply.content, name)
        self.messages[name] += 1
        self.bytes_sent[name] += len(parcel.payload)
        if parcel.operation == "refused":
            code = next((code for code in AbortCode if code.value.encode() == parcel.payload), AbortCode.INTERNAL)
            raise Refused(name, f"refused (reason: {code.value})", "Ask that institution: its own log has the details.", code)
        return parcel
