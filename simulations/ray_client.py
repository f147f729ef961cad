"""What runs in a worker process of the `ray` back end: the ClientApp that a deployment runs, and bounds on what the process keeps.

A worker answers for many clients, one after the other, and may die or be given other clients at any message. It keeps nodes in memory as
`clients.residents` allows; what it does not keep is in the client's own home, its journal above all.
"""

from __future__ import annotations

import contextlib
import functools
import json
import logging
import os
import resource
import time
import warnings
from pathlib import Path
from typing import Any

from threadpoolctl import threadpool_limits

FILES_PER_NODE = 4
"""A journal and its two side files, and one that is read or written for a moment."""
FILES_OF_THE_PROCESS = 256
PROGRESS = "progress.jsonl"
"""In an institution's folder of results."""


@functools.cache
def client_app(residents: int, megabytes: float) -> Any:
    """Flower's ClientApp, after this process was set up once. residents, megabytes: as `clients.residents.Residents` bounds them."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from clients.app import app
        from clients.residents import RESIDENTS, node_of
    threadpool_limits(1)  # floating-point sums must not depend on the number of cores
    logging.getLogger("creditfed.node").setLevel(logging.CRITICAL)  # each node's failure.json has it
    RESIDENTS.most, RESIDENTS.megabytes = min(residents, most_by_files()), megabytes
    if RESIDENTS.make is node_of:
        RESIDENTS.make = observed
    return app


def observed(root: Path) -> Any:
    """A node whose figures for its institution's own screen go into its own home, where a simulation's progress bar finds them."""
    from simulations.founding import simulated

    node = simulated(root)

    def note(_name: str, figures: dict[str, float | str]) -> None:
        with (node.home.results / PROGRESS).open("a") as file:
            file.write(json.dumps(figures) + "\n")

    node.observer = note
    return node


def most_by_files() -> int:
    """So many nodes' files may be open at once, after the process was given as many as the system allows it."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):  # some systems name a hard limit that they do not grant
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return 1 << 20 if soft == resource.RLIM_INFINITY else max(1, (soft - FILES_OF_THE_PROCESS) // FILES_PER_NODE)


def measured(kind: str) -> Any:
    """In place of a ClientApp: a function that tells of its process `peak` memory in MB, `cpu` seconds, nodes `made` and `kept`, or `pid`."""

    def answer(message: Any, context: Any) -> float:  # noqa: ARG001  # Flower calls it so
        from clients.residents import RESIDENTS

        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        found = {"peak": peak, "cpu": time.process_time(), "made": RESIDENTS.made, "kept": len(RESIDENTS), "pid": os.getpid()}
        return float(found[kind])

    return answer
