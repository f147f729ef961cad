"""An agency's node and a platform's, both real, with a coordinator between them that a test plays: what it carries it may alter or keep."""

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
from clients.agency import AgencyNode
from clients.budget_commands import ledger_path
from clients.consent import audited
from clients.consent_key import give_key, shared_key, take_key
from clients.consortium import Member, write
from clients.founding import found
from clients.home import Home
from clients.node import Node
from federation.carriage.mailbox import Parcel
from federation.kernel import suite
from federation.kernel.batch import Batch
from federation.kernel.codec import decode, encode
from federation.kernel.manifest import AgencyDeclaration, Description, Manifest, PartyDeclaration
from federation.kernel.role import COORDINATOR
from federation.kernel.secret import Secret
from federation.kernel.signatures import Opening, Signature, sign_manifest
from privacy.approval.learning import contracts_of
from privacy.budget.limits import Limits
from privacy.consent.statement import Statement, Told, unseal
from privacy.store.budget_file import BudgetFile
from privacy.store.consent_import import import_csv
from tests.post import identity, manifest

AGENCY, PLATFORM, OTHERS = "agency", "platform", ("bank", "tax")
FIRMS = [f"firm{i}" for i in range(60)]
CONSENTING = FIRMS[:48]
STRANGER = "a firm that the platform does not know"
NOW, TOMORROW, ENDS = "2026-05-01T12:00:00Z", "2026-05-02T12:00:00Z", "2026-06-01T00:00:00Z"
replace = msgspec.structs.replace


class Held:
    """Both nodes, founded, pinned and with the key that they share; the agency's ledger knows who consents. privacy: of the run."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch, consenting: list[str] | None = None) -> None:
        self.now = NOW
        for module in (clients.clock, clients.gate):
            monkeypatch.setattr(module, "utc_now", lambda: self.now)
        self.homes = {name: Home(root / name) for name in (AGENCY, PLATFORM)}
        own = {"name": PLATFORM, "role": "platform", "source": "p.csv", "legal_basis": "agency", "through": AGENCY}
        keys = {AGENCY: found(self.homes[AGENCY].root, {"name": AGENCY, "role": "agency"}, lambda: self.now, ("alice",)).key}
        self.homes[PLATFORM].root.mkdir()
        table = {"id": FIRMS, "turnover": np.arange(60.0), "age": np.arange(60.0) % 7}
        pd.DataFrame(table).to_csv(self.homes[PLATFORM].root / "p.csv", index=False)
        keys[PLATFORM] = found(self.homes[PLATFORM].root, own, lambda: self.now, ("bob",)).key
        BudgetFile(ledger_path(self.homes[PLATFORM].root)).set_limits("p", "any", Limits(), "risk officer")
        keys |= {name: suite.signing_public(identity(name)).hex() for name in OTHERS}
        roles: dict[str, Any] = {AGENCY: "agency", PLATFORM: "platform", "bank": "bank", "tax": "tax"}
        for home in self.homes.values():
            write(
                home.root, suite.signing_public(identity(COORDINATOR)).hex(), [Member(name, roles[name], key) for name, key in keys.items()]
            )
        self.keys = keys
        give_key(self.homes[AGENCY], PLATFORM, root / "key.toml")
        take_key(self.homes[PLATFORM], root / "key.toml")
        lines = [
            f"{firm},decide,3,bank;tax,2020-01-01,2099-12-31,form {i}" for i, firm in enumerate([*(consenting or CONSENTING), STRANGER])
        ]
        (root / "consents.csv").write_text("\n".join(["id,purpose,levels,recipients,from,until,evidence", *lines]))
        with closing(audited(self.homes[AGENCY], PLATFORM)) as ledger:
            import_csv(ledger, root / "consents.csv", NOW)
        self.restart()

    def restart(self) -> None:
        """Both processes end and begin again."""
        self.agency, self.platform = AgencyNode(self.homes[AGENCY].root, at_once=True), Node(self.homes[PLATFORM].root, at_once=True)

    @property
    def shared(self) -> Secret:
        return shared_key(self.homes[AGENCY], PLATFORM)

    def ask(self, node: Node, operation: str, payload: bytes = b"", run: str = "test") -> Parcel:
        return node.answer(Parcel(operation, run, payload))

    def drafted(self, **changes: Any) -> Manifest:
        mine = msgspec.json.decode(self.ask(self.platform, "describe").payload, type=Description).party
        bank, tax = (PartyDeclaration(name=n, role=n, identity=self.keys[n], label=n == "bank") for n in OTHERS)
        base = replace(
            manifest("bank"), parties=(bank, mine, tax), agencies=(AgencyDeclaration(name=AGENCY, identity=self.keys[AGENCY]),),
            purpose="decide", expires=ENDS,
        )  # fmt: skip
        made = replace(base, **changes)
        return replace(made, contracts=contracts_of(made))

    # -- what an honest coordinator does, step by step ----------------------------------------------------------------------------

    def signed(self, node: Node, made: Manifest) -> Signature:
        return msgspec.json.decode(self.ask(node, "propose", made.canonical(), made.run).payload, type=Signature)

    def told(self, run: str = "test") -> Told:
        """What the agency has for the platform."""
        return self.told_in(self.ask(self.agency, "consents", run=run))

    @staticmethod
    def told_in(answer: Parcel) -> Told:
        return msgspec.msgpack.decode(msgspec.msgpack.decode(answer.payload, type=dict[str, bytes])[PLATFORM], type=Told)

    def opened_statement(self, told: Told) -> Statement:
        return unseal(told, AGENCY, bytes.fromhex(self.keys[AGENCY]), self.shared)

    def hear(self, told: Told) -> bytes:
        """The platform is given a statement; its acknowledgement."""
        return self.ask(self.platform, "consents", msgspec.msgpack.encode(told)).payload

    def heard(self, acknowledgement: bytes, run: str = "test") -> None:
        self.ask(self.agency, "heard", msgspec.msgpack.encode({PLATFORM: acknowledgement}), run)

    def proposed(self, made: Manifest) -> dict[str, Signature]:
        """The agency signs, its statement is carried, the platform signs."""
        agency = self.signed(self.agency, made)
        self.heard(self.hear(self.told(made.run)), made.run)
        return {AGENCY: agency, PLATFORM: self.signed(self.platform, made)}

    def opening(self, made: Manifest, signatures: dict[str, Signature]) -> bytes:
        others = tuple(sign_manifest(made, name, bytes(32), identity(name)) for name in OTHERS)
        return msgspec.json.encode(Opening(made.canonical(), (*signatures.values(), *others)))

    def open(self) -> Manifest:
        """A run that is open at both."""
        made = self.drafted()
        opening = self.opening(made, self.proposed(made))
        for node in (self.agency, self.platform):
            self.ask(node, "open", opening)
        return made

    def rows(self, made: Manifest) -> set[str]:
        """The firms that the platform's vault gives to a run."""
        return set(self.platform.table(made).firms)

    def hello(self) -> Batch:
        """What the platform begins with."""
        return decode(self.ask(self.platform, "deliver", encode(Batch(0))).payload, Batch, PLATFORM, 1 << 20)

    def relay(self, number: int, batch: Batch) -> Parcel:
        """What the agency does with what the platform sent."""
        onward = tuple(envelope for envelope in batch.envelopes if envelope.recipient != AGENCY)
        return self.ask(self.agency, "deliver", encode(Batch(number, onward)))

    def withdraw(self, *firms: str) -> None:
        with closing(audited(self.homes[AGENCY], PLATFORM)) as ledger:
            ledger.withdraw(firms, self.now)
