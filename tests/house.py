"""A bank's node whose people must vote, for tests of what its gate lets through: a stopped clock, and the other members' keys."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pandas as pd
import pytest

import clients.clock
import clients.gate
from clients.budget_commands import ledger_path
from clients.consortium import Member, write
from clients.founding import found
from clients.node import Node
from federation.carriage.mailbox import Parcel
from federation.kernel import suite
from federation.kernel.batch import Abort, Batch
from federation.kernel.codec import decode, encode
from federation.kernel.errors import AbortCode, PolicyRefusal
from federation.kernel.manifest import Description, Manifest, PartyDeclaration
from federation.kernel.role import COORDINATOR
from federation.kernel.signatures import Opening, Signature, sign_manifest
from privacy.approval.learning import contracts_of
from privacy.approval.vote import Verdict, cast
from privacy.budget.limits import Limits
from privacy.store.budget_file import BudgetFile
from tests.post import identity, manifest

OTHERS = ("platform", "tax")
NOW = "2026-05-01T12:00:00Z"
ENDS = "2026-06-01T00:00:00Z"
replace = msgspec.structs.replace


class House:
    """A bank's node whose people must vote (at_once: their keys approve every run), a stopped clock, and the other members' keys."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch, *, at_once: bool = False, **settings: Any) -> None:
        self.at_once, self.root, self.now, self._patch = at_once, root, NOW, monkeypatch
        for module in (clients.clock, clients.gate):  # a command reads the clock itself, a gate was given it
            monkeypatch.setattr(module, "utc_now", lambda: self.now)
        root.mkdir()
        rng, rows = np.random.default_rng(3), 60
        table = {
            "id": [f"firm{i}" for i in range(rows)],
            "label": rng.integers(0, 2, rows),
            "turnover": rng.random(rows),
            "age": rng.random(rows),
        }
        pd.DataFrame(table).to_csv(root / "bank.csv", index=False)
        section = {"name": "bank", "role": "bank", "source": "bank.csv", "label": "label", "legal_basis": "simulation"} | settings
        self.founded = found(root, section, lambda: self.now, ("alice", "bob"))
        BudgetFile(ledger_path(root)).set_limits("bank", "any", Limits(), "risk officer")
        self.pin()
        self.restart()

    def pin(self, **changed: dict[str, Any]) -> None:
        members = [
            Member("bank", "bank", self.founded.key),
            *(Member(n, "platform", suite.signing_public(identity(n)).hex()) for n in OTHERS),
        ]
        write(self.root, suite.signing_public(identity(COORDINATOR)).hex(), [replace(m, **changed.get(m.name, {})) for m in members])

    def restart(self) -> None:
        self.node = Node(self.root, at_once=self.at_once)

    def ask(self, operation: str, payload: bytes = b"", run: str = "test") -> bytes:
        return self.node.answer(Parcel(operation, run, payload)).payload

    def drafted(self, **changes: Any) -> Manifest:
        mine = msgspec.json.decode(self.ask("describe"), type=Description).party
        others = tuple(PartyDeclaration(name=n, role="platform", identity=suite.signing_public(identity(n)).hex()) for n in OTHERS)
        base = replace(manifest("bank", *OTHERS), parties=(mine, *others), purpose="decide", expires=ENDS)
        changed = replace(base, **changes)
        return changed if "contracts" in changes else replace(changed, contracts=contracts_of(changed))

    def vote(self, about: bytes, who: str = "alice", verdict: Verdict = "approve") -> None:
        approvals = self.node.gate.approvals
        approvals.record_vote(cast("bank", who, about, verdict, self.now, approvals.key_of(who)))

    def proposed(self, made: Manifest) -> Signature:
        return msgspec.json.decode(self.ask("propose", made.canonical(), made.run), type=Signature)

    def signatures(self, made: Manifest) -> tuple[Signature, ...]:
        return (self.proposed(made), *(sign_manifest(made, n, bytes(32), identity(n)) for n in OTHERS))

    def open(self, made: Manifest, signatures: tuple[Signature, ...] | None = None, run: str = "") -> bytes:
        """All sign, and the run is opened; signatures: others than theirs."""
        signed = self.signatures(made) if signatures is None else signatures
        return self.ask("open", msgspec.json.encode(Opening(made.canonical(), signed)), run or made.run)

    def opened(self, **changes: Any) -> Manifest:
        """A run that is open, and that without a vote was refused."""
        made = self.drafted(**changes)
        if not self.at_once:
            refused(self, made)
            self.vote(made.hash)
        self.open(made)
        return made

    def hello(self, run: str = "test") -> Batch:
        return decode(self.ask("deliver", encode(Batch(0)), run), Batch, "bank", 1 << 20)


def refused(house: House, made: Manifest) -> AbortCode:
    with pytest.raises(PolicyRefusal) as caught:
        house.proposed(made)
    return caught.value.code


def aborted(house: House, number: int = 0) -> set[AbortCode]:
    batch = decode(house.ask("deliver", encode(Batch(number))), Batch, "bank", 1 << 20)
    assert batch.done and {envelope.kind for envelope in batch.envelopes} == {Abort.kind()}
    return {decode(e.body, Abort, "bank", 1 << 20).reason for e in batch.envelopes if e.recipient == COORDINATOR}


def spent(house: House) -> int:
    with closing(BudgetFile(ledger_path(house.root))) as file:
        return file.current().spent("bank", "any").counts.releases
