"""A deployment on this machine: a coordinator and institutions in processes and folders of their own, joined by the commands of the guides."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import tomli_w

from server.place import Place
from server.store.records import Run
from server.store.run_store import RunStore
from server.store.states import RunState
from tests.end_to_end.scene import ROOT, Answer, creditfed


def free_port() -> int:
    """One that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def said(answer: Answer) -> str:
    """What a command that must succeed has said."""
    assert answer.code == 0, answer.err + answer.out
    return answer.out


def fingerprint_in(text: str) -> str:
    """The first fingerprint that a command has printed."""
    return next(line.split("fingerprint", 1)[1].strip() for line in text.splitlines() if "fingerprint" in line)


def until(happened: Callable[[], object], seconds: float = 60.0, what: str = "") -> None:
    """Wait for something that must come to pass."""
    end = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < end, f"waited {seconds:g} s in vain: {what}"
        time.sleep(0.05)


@dataclass
class Deployment:
    """folder: has coordinator/ and a home for each institution; processes: by name, "coordinator" or an institution's."""

    folder: Path
    port: int = field(default_factory=free_port)
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    @property
    def coordinator(self) -> Path:
        return self.folder / "coordinator"

    def home(self, name: str) -> Path:
        return self.folder / name

    def found(self, *options: str) -> str:
        """The coordinator."""
        return said(creditfed("coordinator", "init", "--host", "localhost", "--port", self.port, "--home", self.coordinator, *options))

    def invite(
        self, name: str, role: str, source: Path | None, more: Mapping[str, Any] | None = None, *options: str, by_files: bool = False
    ) -> str:
        """Found an institution's node and enrol it. more: keys of its node.toml that `init` has no option for; returns its fingerprint."""
        table = [] if source is None else ["--source", str(source), "--first-budget", "200", "--legal-basis", "contract"]
        words = ["--name", name, "--role", role, *table, "--owner", "alice", "--home", self.home(name), *options]
        fingerprint = fingerprint_in(said(creditfed("node", "init", *words, "--invitation", self.coordinator / "invitation.toml")))
        config = self.home(name) / "node.toml"
        config.write_text(tomli_w.dumps(tomllib.loads(config.read_text()) | dict(more or {})))
        (self.coordinator / "joining" / f"{name}.join.toml").write_bytes((self.home(name) / f"{name}.join.toml").read_bytes())
        said(creditfed("coordinator", "enrol", fingerprint, *(["--files"] if by_files else []), "--home", self.coordinator))
        return fingerprint

    def carry(self, name: str) -> str:
        """As a courier does: take what is there, have the node answer it, bring the answers back; what the node's command has said."""
        with_coordinator, with_node = self.coordinator / "exchange" / name, self.folder / f"{name}-files"
        for folder in (with_node / "in", with_node / "out"):
            folder.mkdir(parents=True, exist_ok=True)
        _move(with_coordinator / "out", with_node / "in")
        answer = creditfed("node", "exchange", "--in", with_node / "in", "--out", with_node / "out", "--home", self.home(name))
        _move(with_node / "out", with_coordinator / "in")
        return answer.out + answer.err

    def pin(self, *names: str) -> None:
        """Every node pins the members."""
        for name in names:
            said(creditfed("node", "approve", self.coordinator / "consortium.toml", "--yes", "--home", self.home(name)))

    def start(self, *names: str) -> None:
        """Processes of their own, each with a log beside its folder."""
        for name in names:
            words = ["coordinator", "start"] if name == "coordinator" else ["node", "start"]
            home = self.coordinator if name == "coordinator" else self.home(name)
            with (self.folder / f"{name}.log").open("ab") as log:
                self.processes[name] = subprocess.Popen(
                    [sys.executable, "-m", "simulations.command", *words, "--home", str(home)], cwd=ROOT, stdout=log, stderr=log,
                    env=os.environ | {"PYTHONUNBUFFERED": "1"},
                )  # fmt: skip

    def log(self, name: str) -> str:
        """What a process has said."""
        return (self.folder / f"{name}.log").read_text()

    def kill(self, *names: str) -> None:
        """As a power cut would."""
        for name in names:
            self.processes[name].kill()
            self.processes.pop(name).wait()

    def end(self, name: str) -> int:
        """As a service manager would; the exit code."""
        self.processes[name].send_signal(signal.SIGTERM)
        return self.processes.pop(name).wait(60)

    @contextmanager
    def store(self) -> Iterator[RunStore]:
        """The run store, as a command opens it."""
        store = RunStore.open(Place.there(self.coordinator).store_url)
        try:
            yield store
        finally:
            store.close()

    def submit(self, run_file: Path, *options: str) -> str:
        """The run's name."""
        out = said(creditfed("coordinator", "submit", run_file, "--home", self.coordinator, *options))
        return next(line.split(" is submitted", 1)[0] for line in out.splitlines() if " is submitted" in line)

    def approve(self, run: str, *names: str, seconds: float = 60.0) -> None:
        """Every owner, once the run was proposed there."""
        for name in names:
            proposal = self.home(name) / "approvals" / f"{run}.json"
            until(proposal.exists, seconds, f"{run} is not proposed to {name}\n{self.logs()}")
            said(creditfed("node", "approve", run, "--as", "alice", "--yes", "--home", self.home(name)))

    def run(self, name: str) -> Run:
        """A run's record."""
        with self.store() as store:
            return store.run(name)

    def over(self, name: str, seconds: float = 240.0) -> Run:
        """Wait for a run's end."""
        until(lambda: self.run(name).over, seconds, f"{name} does not end\n{self.logs()}")
        return self.run(name)

    def finished(self, name: str, seconds: float = 240.0) -> Run:
        """Wait for a run's good end."""
        run = self.over(name, seconds)
        assert run.state is RunState.FINISHED, (run.failure, self.logs())
        return run

    def logs(self) -> str:
        """Of all processes, the last lines."""
        return "\n".join(f"-- {path.stem}\n{path.read_text()[-2000:]}" for path in sorted(self.folder.glob("*.log")))


def _move(here: Path, there: Path) -> None:
    for path in sorted(here.iterdir()) if here.exists() else ():
        if not path.name.endswith(".partial"):
            shutil.move(path, there / path.name)


@contextmanager
def deployed(folder: Path) -> Iterator[Deployment]:
    """A deployment whose processes end with the test."""
    folder.mkdir(parents=True, exist_ok=True)
    deployment = Deployment(folder)
    try:
        yield deployment
    finally:
        for process in deployment.processes.values():
            process.kill()
        for process in deployment.processes.values():
            process.wait()
