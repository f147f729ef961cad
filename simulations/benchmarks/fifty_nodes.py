"""Fifty banks in processes of their own on one machine: `python -m simulations.benchmarks.fifty_nodes`.

The coordinator as `creditfed coordinator start`, each bank as `creditfed node start`, with TLS, node authentication and journals on disk.
Printed are the times of start and run, memory of the coordinator and of a node, requests of the nodes while nothing happens and during the run,
and whether the model is the one of `creditfed simulate`.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from federation.carriage.flower import HEARTBEAT
from simulations.benchmarks.meter import cpu, megabytes
from simulations.deployed import approve, command, coordinator, finished, found_deployment, nodes, sections, submit, until

RUN = "fifty"
IDLE = 20.0
"""Seconds of idling that are measured: as long as a question is held."""
FIRMS_OF_A_BANK = 240
IDLE_CPU, NODE_MB = 0.1, 200.0
"""What is to be shown: CPU of the idle coordinator in seconds a second, and a node's memory where pages are shared."""


@dataclass(frozen=True)
class Figures:
    """founding, start, waiting, run: seconds; exchanges: of the run; idle, busy: CPU seconds a second of the coordinator; memory in megabytes:
    of a node and of the coordinator idle and after the run, and of all of them; node_cpu: seconds of a node over the run.
    """

    founding: float
    start: float
    waiting: float
    run: float
    exchanges: int
    messages: int
    idle_cpu: float
    busy_cpu: float
    node_cpu: float
    node_idle: tuple[float, float]
    node_after: tuple[float, float]
    node_resident: float
    coordinator_memory: tuple[float, float]
    everything: float
    model_hash: str


def world(folder: Path, banks: int, seed: int) -> None:
    """Tables of so many banks, and run files over them."""
    words = ("world", "generate", "--banks", str(banks), "--firms", str(FIRMS_OF_A_BANK * banks), "--seed", str(seed), "--out", str(folder))
    subprocess.run([sys.executable, "-W", "ignore", *command(*words)], check=True, stdout=subprocess.DEVNULL)  # noqa: S603  # ourselves


def in_one_process(run_file: Path, out: Path) -> str:
    """The hash of the same run's model by `creditfed simulate`."""
    words = command("simulate", str(run_file), "--out", str(out))
    subprocess.run([sys.executable, "-W", "ignore", *words], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # noqa: S603
    return str(json.loads((out / "coordinator" / "conduct.json").read_bytes())["model_hash"])


def measured(root: Path, run_file: Path, idle: float = IDLE) -> Figures:
    """Found, start, idle for a while, and run."""
    begun = time.monotonic()
    made = found_deployment(root, sections(run_file))
    founding, count = time.monotonic() - begun, len(made.homes)

    def of_each() -> tuple[float, float]:
        found = sorted(megabytes([pid]) for pid in pids)
        return statistics.median(found), found[-1]

    with coordinator(made) as server, nodes(made) as started:
        pids = [each.pid for each in started.values()]
        start = until(lambda: made.online == count, 30.0 + 6 * count, f"{count} nodes are not online")
        node_idle, server_idle, before = of_each(), megabytes([server.pid]), cpu([server.pid])
        time.sleep(idle)
        idle_cpu = (cpu([server.pid]) - before) / idle if idle else 0.0
        begun, node_before = time.monotonic(), cpu(pids)
        submit(made, RUN, run_file)
        approve(made, RUN, 120)
        before = cpu([server.pid])
        record = finished(made, RUN, 3600)
        whole = time.monotonic() - begun
        if record.failure is not None:
            raise SystemExit(record.failure.text)
        conduct = json.loads(record.conduct or b"{}")
        waiting = conduct["seconds"]["manifest"]
        run = whole - waiting
        return Figures(
            founding, start, waiting, run, conduct["exchanges"], sum(conduct["messages"].values()), idle_cpu,
            (cpu([server.pid]) - before) / run, (cpu(pids) - node_before) / count, node_idle, of_each(),
            max(megabytes([pid], "Rss") for pid in pids), (server_idle, megabytes([server.pid])), megabytes([server.pid, *pids]),
            str(record.model_hash),
        )  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m simulations.benchmarks.fifty_nodes", description=__doc__.splitlines()[0])
    parser.add_argument("--banks", type=int, default=50)
    parser.add_argument("--task", choices=("statistics", "binning", "logistic", "scorecard"), default="logistic")
    parser.add_argument("--seed", type=int, default=7)
    options = parser.parse_args()
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}; {options.banks} banks, {options.task}")
    with tempfile.TemporaryDirectory(prefix="creditfed-fifty-") as folder:
        world(Path(folder) / "world", options.banks, options.seed)
        run_file = Path(folder) / "world" / f"banks_{options.task}.toml"
        begun = time.monotonic()
        expected = in_one_process(run_file, Path(folder) / "inline")
        inline = time.monotonic() - begun
        found = measured(Path(folder) / "deployed", run_file)
    asked = options.banks * (1 / IDLE + 1 / HEARTBEAT)
    (median, most), (median_after, most_after) = found.node_idle, found.node_after
    each, start = found.run / found.exchanges, found.start / options.banks
    print(f"  founding                {found.founding:.1f} s; until all are online {found.start:.0f} s, {start:.2f} s a node")
    print(f"  waiting for approval    {found.waiting:.0f} s")
    print(f"  run                     {found.run:.0f} s, {found.exchanges} exchanges, {each:.2f} s each; inline {inline:.0f} s")
    print(f"  messages answered       {found.messages:,}, {found.messages / found.run:.0f} a second, each of three requests")
    print(f"  requests while idle     {asked:.1f} a second; the coordinator's CPU {found.idle_cpu:.3f} s a second   (<= {IDLE_CPU:g})")
    print(f"  CPU during the run      coordinator {found.busy_cpu:.2f} s a second, a node {found.node_cpu:.1f} s in all")
    print(
        f"  a node's memory         idle {median:.0f} MB (most {most:.0f}), after {median_after:.0f} MB ({most_after:.0f})   (<= {NODE_MB:g})"
    )
    print(f"  with all shared pages   {found.node_resident:.0f} MB at most; all processes together {found.everything:,.0f} MB")
    print(f"  coordinator's memory    idle {found.coordinator_memory[0]:.0f} MB, after {found.coordinator_memory[1]:.0f} MB")
    same = found.model_hash == expected
    print(f"  the model               {'is that of one process' if same else 'is ANOTHER than that of one process'}")
    print("all targets met" if same and found.idle_cpu <= IDLE_CPU and most_after <= NODE_MB else "NOT all targets met")


if __name__ == "__main__":
    main()
