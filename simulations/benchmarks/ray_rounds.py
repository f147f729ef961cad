"""Seconds a round of a masked sum over n simulated banks, on the `ray` back end and inline: `python -m simulations.benchmarks.ray_rounds`.

A round adds one vector of every bank: the same apps, sessions, envelopes, journals and sums with drop-outs as in a run over many banks, with
a plan that only adds in the place of a model. Every bank checks every total. A long vector goes in slices, so that what the coordinator
holds in one exchange stays below half a gigabyte (and the batch that it journals below SQLite's one).

n x length is at most 5e8. Each line is a process of its own, so that peaks of memory are its own.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import json
import logging
import os
import resource
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import tomli_w

from clients.node import Node
from clients.open_run import OpenRun
from clients.residents import RESIDENTS
from federation.carriage.journal_file import JournalFile
from federation.carriage.sealed_file import SealedFile
from federation.kernel import suite
from federation.kernel.journal import Journal, MemoryJournal
from federation.kernel.manifest import ColumnDeclaration, Description, Manifest, PartyDeclaration
from federation.kernel.manifest_rules import read_manifest
from federation.kernel.participant import Participant
from federation.kernel.secret import Secret
from federation.kernel.signatures import Opening
from federation.kernel.state import State
from federation.models.horizontal.plan import Reals
from federation.models.horizontal.program import Bank
from federation.models.horizontal.size import LONGEST
from federation.models.horizontal.task import Task
from federation.models.table import Table
from federation.models.training import Local
from server.app import Kept, conduct, watchers
from server.keys import file_key
from server.outbox import Outbox
from server.run_file import load
from simulations.inline import InlineGrid
from simulations.simulate import PARTITION, prepare_homes

LARGEST = 5 * 10**8
NUMBERS_AT_ONCE = 2 * 10**7
"""All banks together, in one exchange: 24 bytes each."""
COUNTS, LENGTHS = (5, 50, 500, 2000), (10**4, 10**5, 10**6, 10**7)
QUICK = ((5, 10**4), (5, 10**5), (50, 10**4))
INLINE_AT_MOST = 5 * 10**7
RUN = "run-bench"


class Place(State, frozen=True):
    """number: of the next slice."""

    number: int = 0


class Rounds:
    """A plan that adds vectors: bank b's is (b + 1) times one that all know."""

    kind = Place

    def __init__(self, bank: int, length: int, width: int, rounds: int) -> None:
        self._bank, self._length, self._width = bank, length, width
        self._slices = -(-length // width)
        self._all = self._slices * rounds

    def begin(self) -> Place:
        """Before the first slice."""
        return Place()

    def _known(self, state: Place) -> Reals:
        start = state.number % self._slices * self._width
        return np.arange(start, min(start + self._width, self._length), dtype=np.float64) % 1009

    def ask(self, state: Place) -> Reals | None:
        """The next slice."""
        return None if state.number == self._all else self._known(state) * (self._bank + 1)

    def take(self, state: Place, total: Reals, banks: int) -> Place:
        """Raises ValueError for a wrong total."""
        if not np.array_equal(total, self._known(state) * (banks * (banks + 1) // 2)):
            msg = "a wrong sum"
            raise ValueError(msg)
        return Place(state.number + 1)


class Summer(Node):
    """A node whose program adds vectors, without records."""

    def __init__(self, root: Path, length: int, width: int, rounds: int) -> None:
        super().__init__(root)
        self._shape = (length, width, rounds)

    def describe(self) -> Description:
        """One column that is never looked at."""
        key = suite.signing_public(self.identity).hex()
        column = ColumnDeclaration(name="x", kind="numeric", level=3)
        return Description(PartyDeclaration(name=self.name, role="bank", identity=key, label=True, columns=(column,)), "any")

    def table(self, manifest: Manifest) -> Table:  # noqa: ARG002  # as Node has it
        """No rows."""
        return Table((), (), {}, bytes(32))

    def _report(self, open_run: OpenRun) -> None:
        """No results to write."""

    def _open_run(self, opening: Opening, journal: Journal) -> OpenRun:
        manifest = read_manifest(opening.manifest)
        plan = Rounds(int(self.name.removeprefix("bank")), *self._shape)
        task: Task[Any, Any] = Task(lambda *_: plan, lambda _plan, state: [str(state.number)])
        program = Bank(manifest, self.name, Local(self.table(manifest)), task)
        participant = Participant[Any](manifest, self.name, self.identity, program, journal, entropy=os.urandom)
        return OpenRun(opening, participant, program, journal, 0)


def summing_app(length: int, width: int, rounds: int, residents: int, megabytes: float) -> Any:
    """In a worker: the ClientApp of a deployment, with nodes that add."""
    from simulations.ray_client import client_app

    RESIDENTS.make = functools.partial(Summer, length=length, width=width, rounds=rounds)
    return client_app(residents, megabytes)


def one(backend: str, count: int, length: int, rounds: int, residents: int, folder: Path) -> dict[str, float]:
    """A session of so many rounds; its figures."""
    logging.getLogger("flwr").setLevel(logging.ERROR)
    width = min(LONGEST, max(1, NUMBERS_AT_ONCE // count), length)
    sections = [{"name": f"bank{b:04d}", "role": "bank", "source": "none.parquet", "label": "label"} for b in range(count)]
    (folder / "none.parquet").touch()
    path = folder / "run.toml"
    path.write_text(tomli_w.dumps({"run": {"task": "statistics"}, "party": sections}))
    kept = "disk" if backend == "ray" else "memory"
    homes = prepare_homes(load(path), folder / "out", RUN, kept)
    nodes = {11 + i: {"home": str(home), PARTITION: str(i)} for i, home in enumerate(homes.values())}
    app = functools.partial(summing_app, length, width, rounds)
    journal: Journal = MemoryJournal()
    outbox, key = Outbox(), Secret(os.urandom(32))
    found: dict[str, float] = {}
    with contextlib.ExitStack() as stack:
        begun = time.perf_counter()
        if backend == "ray":
            from simulations.ray_workers import RayWorkers

            workers = stack.enter_context(RayWorkers(None, count, residents=residents, app=app))
            journal, outbox = JournalFile(folder / "coordinator.db", key), Outbox(SealedFile(folder / "coordinator.outbox", key))
            grid = InlineGrid(workers, nodes, 2 * workers.count)
        else:
            grid = InlineGrid(app(1 << 20, 1e9), nodes, os.cpu_count() or 1)
        found["start"] = time.perf_counter() - begun

        def cpu() -> float:
            return time.process_time() + (sum(workers.measure("cpu")) if backend == "ray" else 0.0)

        before: list[float] = []

        def opened(stage: str, _exchanges: int) -> None:
            if stage.startswith("sum") and not before:
                before.append(cpu())

        watchers.append(opened)
        stack.callback(watchers.remove, opened)
        begun = time.perf_counter()
        identity = file_key(folder / "out" / "coordinator" / "keys" / "identity.key")
        done = conduct(grid, load(path), RUN, identity, journal, outbox, Kept.of(folder / "out" / "coordinator", identity))
        if done.failure is not None:
            raise done.failure
        summing = done.cost.seconds["sum"]
        found |= {
            "round": summing / rounds, "cpu": (cpu() - before[0]) / rounds, "opening": time.perf_counter() - begun - summing,
            "slices": -(-length // width), "sent": sum(done.cost.bytes_sent.values()) / 1e6,
            "coordinator": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        }  # fmt: skip
        if backend == "ray":
            found |= {
                "worker": max(workers.measure("peak")), "made": sum(workers.measure("made")), "kept": sum(workers.measure("kept")),
            }  # fmt: skip
    return found


def apart(backend: str, count: int, length: int, options: argparse.Namespace) -> dict[str, float] | str:
    """`one` in a process of its own; why there are no figures where there are none."""
    words = [
        "--one",
        backend,
        "--counts",
        str(count),
        "--lengths",
        str(length),
        "--rounds",
        str(options.rounds),
        "--residents",
        str(options.residents),
    ]
    start = "from simulations.benchmarks.ray_rounds import main; main()"  # by its name: a worker imports it, and gets no copy of __main__
    command = [sys.executable, "-W", "ignore", "-c", start, *words]
    try:
        run = subprocess.run(command, capture_output=True, text=True, timeout=60 * options.minutes, check=False)  # noqa: S603  # ourselves
    except subprocess.TimeoutExpired:
        return f"not within {options.minutes:g} minutes"
    if run.returncode != 0:
        return f"failed: {run.stderr.strip().splitlines()[-1] if run.stderr.strip() else run.returncode}"
    found: dict[str, float] = json.loads(run.stdout.strip().splitlines()[-1])
    return found


def line(count: int, length: int, options: argparse.Namespace) -> str:
    """A line of the table."""
    ray = apart("ray", count, length, options)
    if isinstance(ray, str):
        return f"{count:>6} {length:>11,}  ray {ray}"
    inline: dict[str, float] | str = "inline left out"
    if count * length <= options.inline_at_most:
        inline = apart("inline", count, length, options)
    if isinstance(inline, str):
        beside = f"{inline:>26}"
    else:
        beside = f"{inline['round']:>9.2f} {inline['cpu']:>8.2f} {ray['round'] / inline['round']:>7.2f}"
    cells = [
        f"{count:>6} {length:>11,} {int(ray['slices']):>7} {ray['round']:>9.2f} {ray['cpu']:>8.2f}", beside,
        f"{ray['opening']:>9.1f} {ray['start']:>7.1f} {ray['worker']:>9.0f} {ray['coordinator']:>9.0f}",
        f"{ray['sent'] / options.rounds:>10.0f} {int(ray['made']):>7} {int(ray['kept']):>6}",
    ]  # fmt: skip
    return " ".join(cells)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m simulations.benchmarks.ray_rounds", description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="the smallest combinations only")
    parser.add_argument("--counts", type=int, nargs="*", default=COUNTS)
    parser.add_argument("--lengths", type=int, nargs="*", default=LENGTHS)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--residents", type=int, default=1024, help="nodes that a worker keeps at most")
    parser.add_argument("--minutes", type=float, default=30.0, help="for one combination at most")
    parser.add_argument("--inline-at-most", type=float, default=INLINE_AT_MOST, help="n x length above which inline is left out")
    parser.add_argument("--one", choices=("ray", "inline"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        with tempfile.TemporaryDirectory(prefix="creditfed-bench-") as folder, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            print(json.dumps(one(options.one, options.counts[0], options.lengths[0], options.rounds, options.residents, Path(folder))))
        return
    pairs = QUICK if options.quick else [(n, k) for n in options.counts for k in options.lengths if n * k <= LARGEST]
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}; seconds a round (mean of {options.rounds}); peaks of memory; nodes made")
    print(
        f"{'banks':>6} {'numbers':>11} {'slices':>7} {'ray s':>9} {'CPU s':>8} {'inline s':>9} {'CPU s':>8} {'ratio':>7} {'opening s':>9}"
        f" {'start s':>7} {'worker MB':>9} {'coord. MB':>9} {'sent MB':>10} {'made':>7} {'kept':>6}"
    )
    for count, length in pairs:
        print(line(count, length, options), flush=True)


if __name__ == "__main__":
    main()
