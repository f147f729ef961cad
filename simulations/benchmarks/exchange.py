"""Seconds per exchange, ours beside stock Flower: `python -m simulations.benchmarks.exchange`.

An exchange is one parcel to each of three nodes and as many bytes back from each. Both sides have TLS, node authentication, SQLite state on
disk and every node in processes of its own. Ours: the SuperLink behind the guard as in `creditfed coordinator start`, resident nodes whose
application echoes. Stock: flower-superlink, flower-supernode and `flwr run` of a ServerApp that calls `grid.send_and_receive`.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import signal
import statistics
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from federation.carriage.mailbox import Parcel
from simulations.benchmarks.echo import client, parcels
from simulations.benchmarks.meter import Peak, cpu, megabytes, tree
from simulations.deployed import found_deployment, process, until

NODES = 3
SIZES = {"1 KB": 1_000, "5 MB": 5_000_000}
TARGETS, AIMS = {"1 KB": 0.3, "5 MB": 1.0}, {"1 KB": 0.15, "5 MB": 0.5}
"""Seconds per exchange."""
WARM = 2
"""Exchanges that are not counted."""


@dataclass(frozen=True)
class Cost:
    """Of one size. seconds: of each exchange; node_cpu, server_cpu: CPU seconds of one exchange, of a node and of the server; node, server: the
    most memory, megabytes with shared pages divided among those who share them.
    """

    seconds: list[float]
    node_cpu: float
    server_cpu: float
    node: float
    server: float


def resident(home: Path) -> None:
    """A resident node whose application echoes, until it is terminated."""
    from clients.home import Home
    from clients.resident_node import ResidentNode

    over = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: over.set())
    ResidentNode(Home(home), application=client).run(over)


def metered(run: Callable[[], list[float]], exchanges: int, nodes: list[int], server: int) -> Cost:
    """A run of so many exchanges, whose seconds it returns, and what it costs processes and all that they start."""

    def used() -> tuple[float, float]:
        return cpu(set().union(*map(tree, nodes))), cpu(tree(server) - set().union(*map(tree, nodes)))

    before = used()
    with (
        Peak(lambda: max(megabytes(tree(pid)) for pid in nodes)) as node,
        Peak(lambda: megabytes(tree(server) - set().union(*map(tree, nodes)))) as main,
    ):
        seconds = run()
    after = used()
    return Cost(seconds, (after[0] - before[0]) / NODES / exchanges, (after[1] - before[1]) / exchanges, node.value, main.value)


def ours(root: Path, times: dict[str, int]) -> dict[str, Cost]:
    """The server is in this process."""
    from federation.carriage.flower import SuperLink
    from server.courier import Courier
    from server.enrolment import let_in
    from server.guard import Guard
    from server.line_post import LinePost
    from server.serve import listening

    root.mkdir()
    (root / "none.csv").touch()
    sections = {f"node-{n}": {"name": f"node-{n}", "role": "tax", "source": str(root / "none.csv")} for n in range(NODES)}
    made = found_deployment(root, sections)
    link, store = SuperLink(str(made.place.root / "superlink.db")), made.store()
    numbers = let_in(link, store.nodes())
    store.close()
    with ExitStack() as stack:
        stack.enter_context(listening(Guard(link), made.place))
        words = ("-m", "simulations.benchmarks.exchange", "--node")
        nodes = [stack.enter_context(process(*words, str(home), log=home / "log")).pid for home in made.homes.values()]
        until(lambda: made.online == NODES, 120, "the nodes are not online")
        courier = Courier(dict.fromkeys(numbers, LinePost(stack.enter_context(link.line()), numbers)), patience=300)

        def exchange(size: int) -> float:
            sent: dict[str, Parcel] = dict(zip(numbers, parcels(NODES, size), strict=True))
            begun = time.perf_counter()
            courier.exchange(sent)
            return time.perf_counter() - begun

        def run(name: str) -> Cost:
            for _ in range(WARM):
                exchange(SIZES[name])
            return metered(lambda: [exchange(SIZES[name]) for _ in range(times[name])], times[name], nodes, os.getpid())

        return {name: run(name) for name in SIZES}


def stocks(root: Path, times: dict[str, int]) -> dict[str, Cost]:
    """Stock Flower. Its figures are of whole runs, whose ServerApp begins and ends with each."""
    from simulations.stock import stock, write_app

    root.mkdir()
    reference = "simulations.benchmarks.echo"
    app = write_app(root / "app", f"{reference}:client", f"{reference}:server", ("size", "times", "out"))
    with stock(root, {f"node-{n}": {"number": str(n)} for n in range(NODES)}) as running:
        nodes = [each.pid for each in running.nodes.values()]

        def run(name: str) -> Cost:
            def exchanges() -> list[float]:
                config = {"size": str(SIZES[name]), "times": str(times[name] + WARM), "out": str(root / "seconds.json")}
                running.run(app, config, 60.0 * (times[name] + WARM))
                return list(json.loads((root / "seconds.json").read_text()))[WARM:]

            return metered(exchanges, times[name] + WARM, nodes, running.superlink.pid)

        return {name: run(name) for name in SIZES}


def line(name: str, whose: str, cost: Cost) -> str:
    """A line of the table."""
    middle, most = statistics.median(cost.seconds), max(cost.seconds)
    return (
        f"  {name:5} {whose:6} {middle:>8.3f} {most:>8.3f} {len(cost.seconds):>4}"
        f" {cost.node_cpu:>10.3f} {cost.server_cpu:>10.3f} {cost.node:>8.0f} {cost.server:>9.0f}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m simulations.benchmarks.exchange", description=__doc__.splitlines()[0])
    parser.add_argument("--small", type=int, default=50, help="exchanges of 1 KB, ours")
    parser.add_argument("--large", type=int, default=15, help="exchanges of 5 MB, ours")
    parser.add_argument("--stock", type=int, default=5, help="exchanges of each size, stock Flower; 0: leave it out")
    parser.add_argument("--node", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.node is not None:
        resident(options.node)
        return
    logging.getLogger("flwr").setLevel(logging.CRITICAL)
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}; {NODES} nodes, TLS, node authentication, SQLite state")
    print(f"  {'':12} {'median s':>8} {'most s':>8} {'of':>4} {'node CPU s':>10} {'server':>10} {'node MB':>8} {'server MB':>9}")
    with tempfile.TemporaryDirectory(prefix="creditfed-exchange-") as folder:
        mine = ours(Path(folder) / "ours", {"1 KB": options.small, "5 MB": options.large})
        for name, cost in mine.items():
            print(line(name, "ours", cost), flush=True)
        theirs = stocks(Path(folder) / "stock", dict.fromkeys(SIZES, options.stock)) if options.stock else {}
    for name, cost in theirs.items():
        print(line(name, "stock", cost))
    met = True
    for name, cost in mine.items():
        middle = statistics.median(cost.seconds)
        target, aim = TARGETS[name], AIMS[name]
        met &= middle <= target
        beside = f"; stock takes {statistics.median(theirs[name].seconds) / middle:.0f} times as long" if theirs else ""
        print(f"  {name}: {middle / target:.2f} of the target {target:g} s, {middle / aim:.2f} of the aim {aim:g} s{beside}")
    print("all targets met" if met else "NOT all targets met")


if __name__ == "__main__":
    main()
