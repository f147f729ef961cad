"""What a party's log says of a run while it goes on: who signed, the session, the heads of the others, what passed in each stage, the end.

The same at an institution and at the coordinator, so that `compare` can lay the accounts side by side.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Literal, Protocol

from federation.kernel import suite
from federation.kernel.errors import CreditfedError
from federation.kernel.manifest import Manifest
from federation.kernel.role import COORDINATOR
from federation.kernel.session import Hello
from federation.kernel.signatures import Signature
from privacy.audit.entry import Fact, Kind

MOST_PEERS, NEIGHBOURS = 64, 8
"""Above so many institutions an entry speaks of all of them, and a party keeps the heads of its neighbours alone, each of which has others."""


class Log(Protocol):
    """An audit log that can be written to."""

    def append(self, kind: Kind, run: str, /, **facts: Fact) -> object:
        """Write an entry."""

    def last_seen(self, identity: bytes) -> int | None:
        """Of how many entries a key's last head was."""

    def saw(self, peer: str, identity: bytes, notice: bytes, run: str = "", told: int | None = None) -> object:
        """Check and record a peer's head. told: from which size it owes a proof."""

    def head(self) -> object:
        """Sign the log as it is."""


class Witness:
    """One party's, of one run."""

    def __init__(self, log: Log, manifest: Manifest, me: str) -> None:
        self._log, self._manifest, self._me = log, manifest, me
        self._hash = manifest.hash.hex()

    @property
    def _watched(self) -> frozenset[str]:
        """Those whose heads and signatures this party keeps one by one."""
        members = self._manifest.members
        if len(members) <= MOST_PEERS or self._me == COORDINATOR:
            return frozenset((*self._manifest.signers, COORDINATOR)) - {self._me}
        place = members.index(self._me)
        return frozenset((COORDINATOR, *(members[(place + i) % len(members)] for i in range(1, NEIGHBOURS + 1))))

    def approved(self, signatures: Iterable[Signature]) -> None:
        """The institutions' signatures, this one's too, as they came with the opening."""
        for signed in signatures:
            if signed.party in self._watched or signed.party == self._me:
                self._log.append(
                    "signature", self._manifest.run, manifest=self._hash, party=signed.party, snapshot=signed.snapshot.hex(),
                    signature=signed.signature.hex(),
                )  # fmt: skip

    def seen(self) -> dict[str, int]:
        """Of the others' logs, how many entries the last head had that is here: what they are told before the session, and owe a proof from."""
        identities = self._manifest.identities()
        found = {name: self._log.last_seen(identities[name]) for name in sorted(self._watched)}
        return {name: size for name, size in found.items() if size}

    def heard(self, hellos: Mapping[str, Hello], session: bytes, told: Mapping[str, int]) -> None:
        """Keep the others' heads; one that contradicts what it gave before, or does not show that it goes on from it, ends the run. told: what
        `seen` gave when the run was signed. Raises PeerError.
        """
        identities = self._manifest.identities()
        for name in sorted(self._watched):
            self._log.saw(name, identities[name], hellos[name].notice, self._manifest.run, told.get(name))
        self._log.append("session", self._manifest.run, manifest=self._hash, session=session.hex())

    def stage(self, session: str, stage: str, counts: Mapping[str, Mapping[str, tuple[int, bytes]]]) -> None:
        """What was sent and received in a stage: an entry for each peer, or one for all institutions where they are many."""
        for direction, peers in counts.items():
            kind: Literal["sent", "received"] = "sent" if direction == "sent" else "received"
            told = dict(peers)
            if len(told) > MOST_PEERS:
                others = {name: told.pop(name) for name in sorted(told) if name != COORDINATOR}
                digest = suite.digest("all", *(part for name, (_, found) in others.items() for part in (name, found)))
                told[f"{len(others)} institutions"] = (sum(count for count, _ in others.values()), digest)
            for peer, (count, digest) in told.items():
                self._log.append(kind, self._manifest.run, session=session, stage=stage, peer=peer, messages=count, digest=digest.hex())

    def relayed(self, session: str, stage: str, sender: str, recipient: str, count: int, digest: bytes) -> None:
        """At an agency: what it let pass from one to another in a stage; the digest is that of the sender's and the recipient's entries."""
        self._log.append(
            "relayed",
            self._manifest.run,
            session=session,
            stage=stage,
            sender=sender,
            recipient=recipient,
            messages=count,
            digest=digest.hex(),
        )

    def ended(self, failure: CreditfedError | None, **facts: Fact) -> None:
        """The run is over at this party; the log is signed as it is then."""
        if failure is None:
            self._log.append("end", self._manifest.run, manifest=self._hash, **facts)
        else:
            code, kind = failure.code.value, type(failure).__name__
            self._log.append("abort", self._manifest.run, manifest=self._hash, code=code, kind=kind)
        self._log.head()
