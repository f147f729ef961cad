"""Clients whose messages come to changing processes: the same bytes as from one, and what goes wrong without the look at the journal.

Two nodes on one home, each with its own memory, are two workers; Ray itself is in tests/end_to_end/test_ray.py.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, Generic, TypeVar

import pytest
from flwr.app import Context, Message

import clients.app
import clients.gate
import clients.node
import server.app
from clients.app import answered
from clients.node import Node
from federation.carriage.journal_file import JournalFile
from federation.carriage.mailbox import pack, unpack
from federation.kernel.errors import CreditfedError
from federation.kernel.journal import MemoryJournal
from federation.kernel.participant import Participant
from federation.kernel.role import COORDINATOR
from federation.kernel.state import State
from server.app import Conduct, Kept
from server.keys import file_key
from server.outbox import Outbox
from server.run_file import load
from simulations.founding import simulated
from simulations.inline import InlineGrid
from simulations.simulate import prepare_homes
from tests.end_to_end.bank_scene import make_banks, run_file

S = TypeVar("S", bound=State)
BANKS, SEED = ("bank-a", "bank-b", "bank-c"), 5
Chosen = Callable[[str, int], int]
"""From a home and the number of the message to it, the worker that gets it."""


class Seeded(Participant[S], Generic[S]):
    """A participant whose session secret is always the same, so that two runs can be compared byte for byte."""

    def __init__(self, manifest: Any, me: str, *arguments: Any, **named: Any) -> None:
        named["entropy"] = lambda count: hashlib.sha256(b"entropy " + me.encode()).digest()[:count]
        super().__init__(manifest, me, *arguments, **named)


class Workers:
    """Worker processes in this one. replies: what each home sent; made: nodes."""

    def __init__(self, chosen: Chosen) -> None:
        self.chosen, self.nodes, self.counts = chosen, dict[tuple[int, str], Node](), dict[str, int]()
        self.replies: dict[str, list[bytes]] = {}

    def __call__(self, message: Message, context: Context) -> Message:
        home = str(context.node_config["home"])
        number = self.counts[home] = self.counts.get(home, -1) + 1
        key = (self.chosen(home, number), home)
        if key not in self.nodes:
            self.nodes[key] = simulated(Path(home))
        parcel = unpack(message.content, COORDINATOR)
        try:
            answer = answered(self.nodes[key], parcel)
        except CreditfedError as error:
            answer = type(parcel)("refused", parcel.run, error.code.value.encode())
        self.replies.setdefault(Path(home).name, []).append(answer.payload)
        return Message(pack(answer), reply_to=message)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three banks, and their homes with keys."""
    root = make_banks(tmp_path_factory.mktemp("workers"), BANKS, 600, SEED, None)
    run_file(root, "run", BANKS)
    for home in prepare_homes(load(root / "run.toml"), root / "start", "run-x", "disk").values():
        Node(home).home.key("snapshot salt")
    return root


@pytest.fixture(autouse=True)
def seeded(monkeypatch: pytest.MonkeyPatch) -> None:
    moment = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)  # manifests and logs carry times, and two runs are compared to the byte
    monkeypatch.setattr(clients.gate, "utc_now", lambda: "2026-01-01T00:00:00Z")
    monkeypatch.setattr(server.app, "clock", lambda: moment)
    monkeypatch.setattr(clients.node, "Participant", Seeded)
    monkeypatch.setattr(server.app, "Participant", Seeded)


def run(folder: Path, out: Path, chosen: Chosen) -> tuple[Conduct, Workers]:
    """A run by workers, from the same homes each time."""
    shutil.copytree(folder / "start", out)
    workers = Workers(chosen)
    grid = InlineGrid(workers, {11 + i: {"home": str(out / "parties" / name)} for i, name in enumerate(BANKS)})
    identity = file_key(out / "coordinator" / "keys" / "identity.key")
    conduct = server.app.conduct(
        grid, load(folder / "run.toml"), "run-x", identity, MemoryJournal(), Outbox(), Kept.of(out / "coordinator", identity)
    )
    return conduct, workers


@pytest.mark.slow
def test_workers_that_change_at_every_message_send_the_same_bytes_as_one(folder: Path, tmp_path: Path) -> None:
    one, alone = run(folder, tmp_path / "one", lambda _home, _number: 0)
    assert one.failure is None and one.state.model_hash
    for name, chosen in (("two", lambda _home, number: number % 2), ("new", lambda _home, number: number)):
        conduct, workers = run(folder, tmp_path / name, chosen)
        print(f"{len(workers.nodes)} nodes answered {sum(workers.counts.values()) + len(BANKS)} messages")
        assert conduct.failure is None
        assert workers.replies == alone.replies
        assert conduct.state.model_hash == one.state.model_hash


def test_control_a_worker_that_does_not_look_at_the_journal_goes_wrong(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(JournalFile, "overtaken", lambda _: False)
    with pytest.raises(CreditfedError, match="refused"):
        run(folder, tmp_path / "out", lambda _home, number: number % 2)


def test_two_workers_on_one_batch_at_the_same_time_send_the_same_bytes(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One was thought dead, had looked at the journal, and comes to write when the other has: its work is thrown away, nothing else happens."""
    calm, alone = run(folder, tmp_path / "calm", lambda _home, _number: 0)
    pairs: dict[str, tuple[Node, Node]] = {}
    same: list[bool] = []
    looks = JournalFile.overtaken

    def both(node: Node, parcel: Any) -> Any:
        home = node.home.root
        first, second = pairs.setdefault(str(home), (node, simulated(home)))
        if parcel.operation != "deliver":
            return clients.app.answered(first, parcel)
        second._current(parcel.run) or second._resume(parcel.run)
        answer = clients.app.answered(first, parcel)
        monkeypatch.setattr(JournalFile, "overtaken", lambda _: False)
        same.append(clients.app.answered(second, parcel) == answer)
        monkeypatch.setattr(JournalFile, "overtaken", looks)
        return answer

    monkeypatch.setattr(f"{__name__}.answered", both)
    stormy, workers = run(folder, tmp_path / "stormy", lambda _home, _number: 0)
    print(f"{len(same)} batches twice at once, {len(same) - sum(same)} answered otherwise")
    assert len(same) > 30 and all(same)
    assert workers.replies == alone.replies and stormy.state.model_hash == calm.state.model_hash


def test_a_node_that_was_closed_holds_nothing_and_can_be_made_anew(folder: Path, tmp_path: Path) -> None:
    _, workers = run(folder, tmp_path / "out", lambda _home, _number: 0)
    for node in workers.nodes.values():
        node.close()
        assert not node._runs and not node.vault._tables
