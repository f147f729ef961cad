"""Seconds per exchange, ours beside stock Flower: `python -m simulations.benchmarks.exchange`.

An exchange is one parcel to each of three nodes and the same bytes back from each. Both sides have TLS, node authentication, SQLite state on
disk and every node in processes of its own. Ours: the SuperLink behind the guard as in `creditfed coordinator start`, resident nodes whose
application echoes. Stock: flower-superlink, flower-supernode and `flwr run` with a ServerApp that calls `grid.send_and_receive`.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import threading
import time
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

from flwr.app import Context, Message
from flwr.clientapp import ClientApp

from federation.carriage.mailbox import QUERY, Parcel, pack, unpack
from simulations.benchmarks.meter import Peak, cpu, megabytes, tree
from simulations.deployed import Deployed, found_deployment, process, until

NODES = 3
SIZES = {"1 KB": 1_000, "5 MB": 5_000_000}
TARGETS, AIMS = {"1 KB": 0.3, "5 MB": 1.0}, {"1 KB": 0.15, "5 MB": 0.5}
"""Seconds per exchange."""
WARM = 2
"""Exchanges that are not counted."""

echo = ClientApp()


@echo.query(QUERY)
def answer(message: Message, _context: Context) -> Message:
    """As many bytes, but others: Flower sends what it has already no second time."""
    parcel = unpack(message.content, "server")
    return Message(pack(replace(parcel, payload=parcel.payload[::-1])), reply_to=message)


@dataclass(frozen=True)
class Found:
    """seconds: of each exchange, by size; cpu: seconds of one exchange of the small size, of a node and of the server; node, server: peak megabytes."""

    seconds: dict[str, list[float]]
    node_cpu: float
    server_cpu: float
    node: float
    server: float


def resident(home: Path) -> None:
    """A resident node whose application echoes, until it is terminated."""
    import signal

    from clients.home import Home
    from clients.resident_node import ResidentNode

    over = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: over.set())
    ResidentNode(Home(home), application=echo).run(over)


def ours(root: Path, times: dict[str, int]) -> Found:
    """The server is in this process."""
    from federation.carriage.flower import SuperLink
    from server.courier import Courier
    from server.enrolment import let_in
    from server.guard import Guard
    from server.line_post import LinePost
    from server.serve import listening

    root.mkdir(parents=True)
    (root / "none.csv").touch()
    sections = {f"node-{n}": {"name": f"node-{n}", "role": "tax", "source": str(root / "none.csv")} for n in range(NODES)}
    made: Deployed = found_deployment(root, sections)
    link, store = SuperLink(str(made.place.root / "superlink.db")), made.store()
    numbers = let_in(link, store.nodes())
    store.close()
    with ExitStack() as stack:
        stack.enter_context(listening(Guard(link), made.place))
        words = ("-m", "simulations.benchmarks.exchange", "--node")
        nodes = [stack.enter_context(process(*words, str(home), log=home / "log")).pid for home in made.homes.values()]
        until(lambda: made.online == NODES, 120, "nodes are not online")
        with link.line() as line:
            post = LinePost(line, numbers)
            courier = Courier(dict.fromkeys(numbers, post), patience=120)
            return _measured(times, lambda parcels: courier.exchange(dict(zip(numbers, parcels, strict=True))), nodes, [os.getpid()])


def _measured(times: dict[str, int], exchange, nodes: list[int], servers: list[int]) -> Found:
    seconds: dict[str, list[float]] = {}
    used = (0.0, 0.0)
    with Peak(lambda: max(megabytes([pid]) for pid in nodes)) as node, Peak(lambda: megabytes(servers)) as server:
        for name, size in SIZES.items():
            before, taken = (0.0, 0.0), []
            for place in range(-WARM, times[name]):
                parcels = [Parcel("echo", "run", os.urandom(size)) for _ in range(NODES)]
                if place == 0:
                    before, taken = (cpu(nodes), cpu(servers)), []
                begun = time.perf_counter()
                exchange(parcels)
                taken.append(time.perf_counter() - begun)
            seconds[name] = taken
            if not any(used):
                used = ((cpu(nodes) - before[0]) / NODES / len(taken), (cpu(servers) - before[1]) / len(taken))
    return Found(seconds, *used, node.value, server.value)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m simulations.benchmarks.exchange", description=__doc__.splitlines()[0])
    parser.add_argument("--node", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--small", type=int, default=30)
    parser.add_argument("--large", type=int, default=10)
    options = parser.parse_args()
    if options.node is not None:
        resident(options.node)
        return
    with tempfile.TemporaryDirectory(prefix="creditfed-exchange-") as folder:
        print(ours(Path(folder) / "ours", {"1 KB": options.small, "5 MB": options.large}))


if __name__ == "__main__":
    main()
