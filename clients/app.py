"""The institution's Flower ClientApp: one message type, and an edge that lets no text of an error out.

`query.mailbox` carries a parcel to this node; `clients.node` answers it. The node's home folder comes from its own configuration
(`node_config`), never from a message.
"""

from __future__ import annotations

import logging
from pathlib import Path

from flwr.app import Context, Message
from flwr.clientapp import ClientApp

from clients.course import told_refusal
from clients.node import Node
from clients.residents import resident
from federation.carriage.mailbox import QUERY, Parcel, pack, unpack
from federation.kernel.errors import AbortCode, CreditfedError
from federation.kernel.role import COORDINATOR

app = ClientApp()
_log = logging.getLogger("creditfed.node")


@app.query(QUERY)
def mailbox(message: Message, context: Context) -> Message:
    """Answer one parcel. Whatever goes wrong, the coordinator gets a reason code and the node's own log the rest."""
    parcel = Parcel("", "", b"")
    try:
        node = resident(Path(str(context.node_config["home"])))
        parcel = unpack(message.content, COORDINATOR)
        answer = answered(node, parcel)
    except CreditfedError as error:
        told_refusal(parcel.run, error)
        answer = Parcel("refused", parcel.run, error.code.value.encode())
    except Exception as error:  # noqa: BLE001  # the adapter's edge: an exception's text would travel to the server
        _log.error("internal error: %s", type(error).__name__)  # a traceback can quote values
        answer = Parcel("refused", parcel.run, AbortCode.INTERNAL.value.encode())
    return Message(pack(answer), reply_to=message)


def answered(node: Node, parcel: Parcel) -> Parcel:
    """The node's answer; a bug in it ends the run for its peers too, with a code, and its own log names the kind of error alone."""
    try:
        return node.answer(parcel)
    except CreditfedError:
        raise
    except Exception as error:  # noqa: BLE001  # a run must not hang on one party's bug
        _log.error("internal error: %s", type(error).__name__)
        return node.broken(parcel, type(error).__name__)
