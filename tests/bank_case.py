"""A run over many banks in memory: small tables, a manifest of banks, real participants, and what the members opened on the way."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec
import numpy as np

from federation.kernel import suite
from federation.kernel.envelope import Envelope
from federation.kernel.manifest import ColumnDeclaration, Manifest, PartyDeclaration
from federation.kernel.role import COORDINATOR
from federation.models.bins import Bins
from federation.models.horizontal.bank import bank_of
from federation.models.horizontal.plan import Reals
from federation.models.horizontal.program import Adder, Bank, Standing
from federation.models.table import Column, Table
from federation.models.training import Local
from tests.post import Post, identity, manifest


def bank_table(seed: int, rows: int, *, categorical: bool = True, shift: float = 0.0) -> Table:
    """Firms with a few numbers and, if wanted, a region; bad firms have more debt."""
    rng = np.random.default_rng(seed)
    label = (rng.random(rows) < 0.3).astype(np.int8)
    if rows > 1:
        label[:2] = 0, 1
    columns = {
        "size": Column("size", "numeric", rng.lognormal(2.0, 1.0, rows)),
        "debt": Column("debt", "numeric", rng.normal(shift, 1.0, rows) + 0.8 * label),
    }
    if categorical:
        columns["region"] = Column("region", "categorical", rng.choice(np.array(["north", "south", "west"], object), rows))
    firms = tuple(f"{seed}-{row}" for row in range(rows))
    return Table(firms, firms, columns, suite.digest("table", str(seed)), None, label)


def bank_manifest(tables: Mapping[str, Table], **changes: Any) -> Manifest:
    """A manifest of these banks, each with the columns of its table."""
    parties = tuple(
        PartyDeclaration(
            name=name, role="bank", identity=suite.signing_public(identity(name)).hex(), label=True,
            columns=tuple(ColumnDeclaration(name=column.name, kind=column.kind) for column in table.columns.values()),
        )
        for name, table in tables.items()
    )  # fmt: skip
    return manifest(*tables, parties=parties, **changes)


def settled(**settings: Any) -> Manifest:
    """A manifest of three banks with these settings, each by its own name, wherever in the manifest it stands."""
    made = manifest("bank0", "bank1", "bank2", seed=0)
    for table in ("sample", "settings", "binning", "banks", "privacy"):
        part = getattr(made, table)
        mine = {key: settings.pop(key) for key in part.__struct_fields__ if key in settings}
        made = msgspec.structs.replace(made, **{table: msgspec.structs.replace(part, **mine)})
    return msgspec.structs.replace(made, **settings)


@dataclass
class BankCase:
    """tables: by bank; changes: of the manifest; bins: given by hand, by bank; make: a bank's program, for weakened copies."""

    tables: Mapping[str, Table]
    changes: dict[str, Any] = field(default_factory=dict)
    bins: Mapping[str, Mapping[str, Bins]] = field(default_factory=dict)
    make: Callable[[Manifest, str, Local], Bank[Any]] = bank_of

    def __post_init__(self) -> None:
        self.manifest = bank_manifest(self.tables, **self.changes)
        self.banks = {
            name: self.make(self.manifest, name, Local(table, bins=self.bins.get(name, {}))) for name, table in self.tables.items()
        }

    def post(self, **hostile: Any) -> Post:
        """Ready to be played. hostile: of the post."""
        programs: dict[str, Any] = {name: (lambda bank=bank: bank) for name, bank in self.banks.items()}
        return Post(self.manifest, programs | {COORDINATOR: lambda: Adder(self.manifest)}, **hostile)

    def play(self, dies: Mapping[str, str] | None = None) -> Post:
        """To the end. dies: stage at whose beginning a bank falls silent for good and is given up, by bank."""
        post = self.post()
        if not dies:
            post.play()
            return post
        gone: set[str] = set()

        def passes(envelope: Envelope) -> Envelope | None:
            if envelope.step.split(":")[0] == dies.get(envelope.sender):
                gone.add(envelope.sender)
            return None if gone & {envelope.sender, envelope.recipient} else envelope

        def delivers(post: Post, name: str, number: int, batch: tuple[Envelope, ...]) -> bytes:
            return post.parties[name].deliver(number, batch, tuple(sorted(gone)) if name == COORDINATOR else ())

        post.tamper, post.delivers = passes, delivers
        post.play()
        return post

    def state(self, post: Post, name: str) -> Any:
        """A bank's plan's state at its end."""
        standing: Standing = post.parties[name].state
        return self.banks[name].state_of(standing)


def five(rows: tuple[int, ...] = (160, 120, 90, 60, 40), **changes: Any) -> dict[str, Table]:
    """Five uneven banks."""
    return {f"bank{place}": bank_table(place, count, **changes) for place, count in enumerate(rows)}


@dataclass(frozen=True)
class Opened:
    """A sum as a member sees it: what it put in, (k,), the total, (k,), and over how many banks."""

    own: Reals
    total: Reals
    banks: int


def opened(bank: Bank[Any]) -> list[Opened]:
    """Every sum that this bank opens from now on."""
    make, heard = bank.make, list[Opened]()

    def listening(levels: dict[str, tuple[str, ...]]) -> Any:
        plan: Any = make(levels)
        take = plan.take

        def hears(state: Any, total: Reals, banks: int) -> Any:
            heard.append(Opened(plan.ask(state), total, banks))
            return take(state, total, banks)

        plan.take = hears
        return plan

    bank.make = listening
    return heard
