"""A deployment on one machine, by the code of the commands: a coordinator's folder, a home for each institution, and a process for each.

For benchmarks and tests. Everything is as in a deployment (TLS, node authentication, journals on disk, processes that share nothing) but that
one hand plays all people: nobody telephones about a fingerprint, and every owner's key lies in the home.
"""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clients.approvals import Approvals
from clients.budget_commands import first_limits
from clients.clock import utc_now
from clients.consortium import read_file, write
from clients.founding import found
from clients.home import Home
from clients.joined import accept, write_joining
from clients.party_config import PartyConfig
from clients.persons import Persons
from clients.resident_node import resident_says
from federation.kernel.errors import ConfigurationError, LocalError
from server import enrolment
from server.certificates import issue
from server.conducting import moment
from server.place import Place, Settings
from server.run_file import load
from server.store.records import Run, Way
from server.store.run_store import RunStore

ROOT = Path(__file__).resolve().parent.parent
HOST = "127.0.0.1"
OWNER = "owner"
RELEASES = 1_000_000
"""Of a node's first budget: it shall not be what ends a benchmark."""
_LOOK = 0.2


@dataclass(frozen=True)
class Deployed:
    """A coordinator's folder and its institutions' homes."""

    place: Place
    homes: dict[str, Path]

    def store(self) -> RunStore:
        """The run store."""
        return RunStore.open(self.place.store_url)

    @property
    def online(self) -> int:
        """How many nodes say that they are connected."""
        return sum(resident_says(home).get("state") == "connected" for home in self.homes.values())


def free_port() -> int:
    """A port of this machine that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def sections(run_file: Path) -> dict[str, dict[str, Any]]:
    """A node.toml for each institution of a simulation's run file, as a deployment would have it."""
    settings = load(run_file)
    own = {"legal_basis": "contract", "journal": "disk"}
    return {name: settings.node_section(name) | own for name in settings.nodes}


def found_deployment(root: Path, nodes: Mapping[str, Mapping[str, Any]], by_files: tuple[str, ...] = ()) -> Deployed:
    """What `coordinator init`, then for each institution `node init`, `coordinator enrol` and `node approve consortium.toml` leave behind.

    nodes: a node.toml for each name; by_files: whose batches are carried.
    """
    place = Place(root / "coordinator")
    (place.root / "joining").mkdir(parents=True)
    issue(place.tls, (HOST,), moment())
    invited = place.found(Settings(host=HOST, port=free_port(), hosts=(HOST,)))
    made = Deployed(place, {name: root / "nodes" / name for name in nodes})
    store = made.store()
    for name, home in made.homes.items():
        founded = found(home, nodes[name], utc_now, (OWNER,))
        accept(founded.home, invited)
        first_limits(founded.home, PartyConfig.from_dict(nodes[name], home).budget_dataset, RELEASES, OWNER)
        way: Way = "files" if name in by_files else "connected"
        enrolment.enrol(place, store, founded.fingerprint, (write_joining(founded.home),), way, moment())
    store.close()
    pinned = read_file(place.root / "consortium.toml")
    for home in made.homes.values():
        write(home, pinned.coordinator, pinned.members)
    return made


@contextmanager
def process(*words: str, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """`python WORDS` as long as the context lasts."""
    with running([sys.executable, "-W", "ignore", *words], ROOT, log) as started:
        yield started


@contextmanager
def running(
    words: Sequence[str], folder: Path, log: Path, environment: Mapping[str, str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """A program as long as the context lasts, ended as a service manager would; what it says is in the log. environment: ours, where None."""
    with log.open("ab") as said:
        started = subprocess.Popen(words, cwd=folder, env=environment, stdout=said, stderr=said)  # noqa: S603  # ourselves, or Flower
        try:
            yield started
        finally:
            started.terminate()
            try:
                started.wait(60)
            except subprocess.TimeoutExpired:
                started.kill()
                started.wait()


def command(*words: str) -> tuple[str, ...]:
    """`creditfed WORDS`, for `process`."""
    return ("-m", "simulations.command", *words)


@contextmanager
def coordinator(made: Deployed) -> Iterator[subprocess.Popen[bytes]]:
    """`creditfed coordinator start`."""
    with process(*command("coordinator", "start", "--home", str(made.place.root)), log=made.place.root / "log") as started:
        yield started


@contextmanager
def nodes(made: Deployed, without: tuple[str, ...] = ()) -> Iterator[dict[str, subprocess.Popen[bytes]]]:
    """`creditfed node start` for every institution but those without a connection."""
    with ExitStack() as stack:
        started = {
            name: stack.enter_context(process(*command("node", "start", "--home", str(home)), log=home / "log"))
            for name, home in made.homes.items() if name not in without
        }  # fmt: skip
        try:
            yield started
        finally:
            for each in started.values():
                each.terminate()  # all at once; the stack waits for them


@contextmanager
def couriers(made: Deployed, names: tuple[str, ...]) -> Iterator[dict[str, subprocess.Popen[bytes]]]:
    """`creditfed node exchange --watch 1` for institutions whose batches are carried, through the coordinator's own folders."""
    with ExitStack() as stack:
        started = {}
        for name in names:
            out, into = made.place.exchange(name)
            for folder in (out, into):
                folder.mkdir(parents=True, exist_ok=True)
            words = command("node", "exchange", "--in", str(out), "--out", str(into), "--watch", "1", "--home", str(made.homes[name]))
            started[name] = stack.enter_context(process(*words, log=made.homes[name] / "log"))
        yield started


def until(there: Callable[[], bool], seconds: float, what: str, look: float = _LOOK) -> float:
    """Wait for something; returns how long it took. Raises LocalError where it does not come."""
    started = time.monotonic()
    while not there():
        if time.monotonic() - started > seconds:
            raise LocalError("deployment", f"{what}: not within {seconds:g} s", "Look at the files named log in its folders.")
        time.sleep(look)
    return time.monotonic() - started


def submit(made: Deployed, run: str, run_file: Path) -> None:
    """As `creditfed coordinator submit`."""
    store = made.store()
    store.submit(run, run_file.read_bytes(), moment())
    store.close()


def approve(made: Deployed, run: str, seconds: float) -> None:
    """Every owner approves the run as soon as it is proposed. Raises LocalError."""
    for name, home in made.homes.items():
        approvals = Approvals(Home(home))
        until(lambda approvals=approvals: _proposed(approvals, run), seconds, f"{name} was not asked for {run}")  # type: ignore[misc]
        Persons(approvals.home).vote(run, approvals.proposal(run).hash, "approve", OWNER, None)


def _proposed(approvals: Approvals, run: str) -> bool:
    try:
        approvals.proposal(run)
    except ConfigurationError:
        return False
    return True


def finished(made: Deployed, run: str, seconds: float) -> Run:
    """The run once it is over. Raises LocalError."""
    store = made.store()
    try:
        until(lambda: store.run(run).over, seconds, f"{run} is not over")
        return store.run(run)
    finally:
        store.close()
