"""Participants exchanging real envelopes in memory, with a post office that a test can corrupt and participants it can kill."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from federation.kernel import suite
from federation.kernel.batch import Batch
from federation.kernel.codec import decode
from federation.kernel.envelope import Envelope
from federation.kernel.journal import Journal, MemoryJournal
from federation.kernel.manifest import Manifest, PartyDeclaration, PrivacySettings
from federation.kernel.participant import Participant
from federation.kernel.passage import Passage
from federation.kernel.program import Program
from federation.kernel.role import COORDINATOR
from federation.kernel.secret import Secret


def identity(name: str) -> Secret:
    """A test identity key, from the name."""
    return Secret(hashlib.sha256(b"identity " + name.encode()).digest())


def manifest(*names: str, **changes: Any) -> Manifest:
    """A manifest of these parties; the first has the label."""
    parties = tuple(
        PartyDeclaration(name=n, role="bank" if i == 0 else "platform", identity=suite.signing_public(identity(n)).hex(), label=i == 0)
        for i, n in enumerate(names)
    )
    settings: dict[str, Any] = {
        "run": "test", "task": "train", "model": "logistic", "purpose": "test", "seed": 7, "contracts": (),
        "coordinator": suite.signing_public(identity(COORDINATOR)).hex(), "parties": parties,
        "privacy": PrivacySettings(single_partner_disclosure=len(names) == 2),
    }  # fmt: skip
    return Manifest(**(settings | changes))


@dataclass
class Post:
    """programs: by party, the coordinator's among them; tamper: sees every envelope and returns what is delivered (None: nothing).

    killed: called before each delivery with (party, number); when it returns True the party is first rebuilt from its journal; opened: opens
    a party's journal, where it is not one in memory; delivers: how a batch is delivered, where something is to happen meanwhile.
    """

    manifest: Manifest
    programs: Mapping[str, Callable[[], Program[Any]]]
    tamper: Callable[[Envelope], Envelope | None] = lambda envelope: envelope
    killed: Callable[[str, int], bool] = lambda party, number: False
    opened: Callable[[str], Journal] | None = None
    journals: dict[str, Journal] = field(default_factory=dict)
    parties: dict[str, Participant[Any]] = field(default_factory=dict)
    passed: list[Envelope] = field(default_factory=list)
    salt: bytes = b""
    more: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """By party, further arguments of its Participant: commitment, approved, notice, heard."""
    delivers: Callable[[Post, str, int, tuple[Envelope, ...]], bytes] = lambda post, name, number, batch: post.parties[name].deliver(
        number, batch
    )

    def build(self, name: str) -> Participant[Any]:
        """A participant from its journal, as a new process would."""

        def entropy(count: int) -> bytes:
            return hashlib.sha256(b"entropy" + self.salt + name.encode()).digest()[:count]

        return Participant(
            self.manifest, name, identity(name), self.programs[name](), self.journal(name), entropy=entropy, **self.more.get(name, {})
        )

    def next_stop(self, at: str, envelope: Envelope) -> str | None:
        """Where an envelope goes that a party gave out: past the agencies that the manifest names, if any."""
        return Passage.of(self.manifest).next_stop(at, envelope) if self.manifest.agencies else envelope.recipient

    def journal(self, name: str) -> Journal:
        """The journal that a new process of this party opens."""
        if self.opened is not None:
            return self.opened(name)
        return self.journals.setdefault(name, MemoryJournal())

    def play(self, rounds: int = 10_000) -> dict[str, Participant[Any]]:
        """Exchange batches until all have finished or failed, or nothing moves."""
        self.parties = {name: self.build(name) for name in self.programs}
        waiting: dict[str, list[Envelope]] = {name: [] for name in self.programs}
        numbers = dict.fromkeys(self.programs, -1)
        for _ in range(rounds):
            moved = False
            for name in self.programs:
                if numbers[name] >= 0 and not waiting[name]:
                    continue
                batch, waiting[name] = tuple(waiting[name]), []
                numbers[name] += 1
                if self.killed(name, numbers[name]):
                    self.parties[name] = self.build(name)
                reply = self.delivers(self, name, numbers[name], batch)
                moved = True
                for envelope in decode(reply, Batch, name, len(reply)).envelopes:
                    self.passed.append(envelope)
                    if (after := self.tamper(envelope)) is not None and (to := self.next_stop(name, after)) is not None:
                        waiting[to].append(after)
            if not moved:
                break
        return self.parties
