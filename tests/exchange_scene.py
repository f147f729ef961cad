"""A run in which one institution is reached by files alone: two nodes behind a Grid, one behind two folders, and a courier in between.

The courier is what a test makes of it: it is called whenever the coordinator would wait, carries files, and lets the institution's node answer
what has come, in a new process's place (a node made anew from its home) each time.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from threadpoolctl import threadpool_limits

from clients.exchange import INVITATION, Exchange, Round
from clients.home import Home
from clients.residents import RESIDENTS, dismiss
from federation.carriage.journal_file import JournalFile
from federation.carriage.sealed_file import SealedFile
from federation.kernel import suite
from federation.kernel.invitation import invitation
from federation.kernel.secret import Secret
from server.app import Conduct, Desk, Kept, carry_out, described
from server.courier import Courier
from server.file_post import Correspondent, FilePost
from server.keys import file_key
from server.outbox import Outbox
from server.post import GridPost, Post
from server.run_file import RunFile, load
from simulations.founding import simulated
from simulations.inline import InlineGrid
from simulations.simulate import prepare_homes

_AUTHORITY = "-----BEGIN CERTIFICATE-----\nbm9uZQ==\n-----END CERTIFICATE-----\n"


def introduce(home: Path, identity: Secret, exchange: Secret) -> None:
    """Leave the coordinator's invitation in a node's home."""
    made = invitation("coordinator.example:9092", _AUTHORITY, identity, suite.agreement_public(exchange).hex())
    (home / INVITATION).write_text(made.text())


def correspondent(home: Path, name: str) -> Correspondent:
    """The node as it would have joined."""
    keys = Home(home)
    return Correspondent(name, suite.signing_public(keys.key("identity")), suite.agreement_public(keys.key("exchange")))


@dataclass
class Office:
    """A consortium in a folder, one member of which is reached by files. courier: called when the coordinator waits."""

    folder: Path
    run_file: Path
    run: str = "run-files"
    by_files: str = "tax"
    courier: Callable[[Office], None] = lambda office: office.trip()
    rounds: list[Round] = field(default_factory=list)
    waited: int = 0

    def __post_init__(self) -> None:
        self.settings: RunFile = load(self.run_file)
        self.homes = prepare_homes(self.settings, self.folder, self.run, "disk")
        self.coordinator = self.folder / "coordinator"
        self.identity = file_key(self.coordinator / "keys" / "identity.key")
        self.exchange = file_key(self.coordinator / "keys" / "exchange.key")
        introduce(self.home, self.identity, self.exchange)
        self.out, self.into = self.coordinator / "there", self.coordinator / "back"
        self.node_in, self.node_out = self.folder / "disk" / "in", self.folder / "disk" / "out"
        for folder in (self.out, self.into, self.node_in, self.node_out):
            folder.mkdir(parents=True, exist_ok=True)

    @property
    def home(self) -> Path:
        return self.homes[self.by_files]

    # -- the courier's ways -------------------------------------------------------------------------------------------------------

    def fetch(self) -> None:
        """Copies of what the coordinator has put out."""
        mirror(self.out, self.node_in)

    def bring(self) -> None:
        """Copies of what the institution has put out."""
        mirror(self.node_out, self.into)

    def answer(self) -> Round:
        """The institution's exchange, by a node of its own."""
        node = simulated(self.home)
        try:
            self.rounds.append(Exchange(node).carry(self.node_in, self.node_out))
        finally:
            node.close()
        return self.rounds[-1]

    def move(self) -> None:
        """There and back by a courier that leaves no copy."""
        for source, target in ((self.out, self.node_in), (self.node_out, self.into)):
            if source == self.node_out:
                self.answer()
            for path in source.glob("*.sealed"):
                shutil.move(path, target / path.name)

    def trip(self) -> None:
        """There and back."""
        self.fetch()
        self.answer()
        self.bring()

    # -- the coordinator ------------------------------------------------------------------------------------------------------------

    def post(self) -> FilePost:
        """The post to the institution, of a coordinator's process that has just begun."""

        def wait(_: float) -> None:
            self.waited += 1
            self.courier(self)

        memory = self.coordinator / "exchange" / f"{self.run}.{self.by_files}"
        node = correspondent(self.home, self.by_files)
        return FilePost(self.out, self.into, node, self.identity, self.exchange, memory, sleep=wait)

    def conduct(self, waiting: Callable[[tuple[str, ...]], None] | None = None) -> Conduct:
        """One process of the coordinator, from the beginning or from where an earlier one was killed."""
        from clients.app import app

        made, RESIDENTS.make = RESIDENTS.make, simulated
        numbers = {name: 11 + place for place, name in enumerate(self.homes) if name != self.by_files}
        grid = InlineGrid(app, {number: {"home": str(self.homes[name])} for name, number in numbers.items()})
        by_grid = GridPost(grid, numbers)
        posts: dict[str, Post] = {name: self.post() if name == self.by_files else by_grid for name in self.homes}
        storage, stem = file_key(self.coordinator / "keys" / "storage.key"), self.coordinator / "journal" / self.run
        journal = JournalFile(stem.with_suffix(".db"), storage)
        outbox, kept = Outbox(SealedFile(stem.with_suffix(".outbox"), storage)), Kept.of(self.coordinator, self.identity)
        try:
            with threadpool_limits(1):
                courier, started = Courier(posts), time.monotonic()
                said = described(courier, self.run)
                desk = Desk(self.settings, self.run, self.identity, journal, outbox, kept, waiting=waiting)
                return carry_out(courier, tuple(said.values()), desk, started)
        finally:
            journal.close()
            RESIDENTS.make = made
            for home in self.homes.values():
                dismiss(home)


def mirror(source: Path, target: Path) -> None:
    """As a scheduled copy does it: what is there, and nothing that is gone."""
    for path in target.iterdir():
        if not (source / path.name).exists():
            path.unlink()
    for path in source.iterdir():
        shutil.copy2(path, target / path.name)


def names(folder: Path) -> dict[str, bytes]:
    """A folder's files."""
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def outcomes(office: Office) -> dict[str, Any]:
    """How many of each kind the institution's rounds came to."""
    found: dict[str, Any] = {}
    for each in (done for round_ in office.rounds for done in round_.done):
        found[each.outcome] = found.get(each.outcome, 0) + 1
    return found
