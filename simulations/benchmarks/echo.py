"""What is exchanged in `simulations.benchmarks.exchange`: a ClientApp that gives back what comes, and for stock Flower a ServerApp that sends.

It imports nothing else, since stock Flower begins a process for every message.
"""

from __future__ import annotations

import json
import os
import time
from dataclasses import replace
from pathlib import Path

from flwr.app import Context, Message
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid, ServerApp

from federation.carriage.mailbox import MESSAGE_TYPE, QUERY, Parcel, pack, unpack

client = ClientApp()
server = ServerApp()


@client.query(QUERY)
def answer(message: Message, _context: Context) -> Message:
    """As many bytes, but others: Flower sends what it has already no second time."""
    parcel = unpack(message.content, "server")
    return Message(pack(replace(parcel, payload=parcel.payload[::-1])), reply_to=message)


def parcels(count: int, size: int) -> list[Parcel]:
    """One for each node, no two alike."""
    return [Parcel("echo", "run", os.urandom(size)) for _ in range(count)]


@server.main()
def main(grid: Grid, context: Context) -> None:
    """run_config: size in bytes, times, out: the file that gets each exchange's seconds."""
    config = {key: str(value) for key, value in context.run_config.items()}
    nodes, seconds = sorted(grid.get_node_ids()), []
    for _ in range(int(config["times"])):
        sent = [
            Message(pack(parcel), node, MESSAGE_TYPE) for node, parcel in zip(nodes, parcels(len(nodes), int(config["size"])), strict=True)
        ]
        begun = time.perf_counter()
        replies = list(grid.send_and_receive(sent, timeout=300))
        seconds.append(time.perf_counter() - begun)
        if len(replies) != len(nodes) or any(reply.has_error() for reply in replies):
            break
    Path(config["out"]).write_text(json.dumps(seconds))
