"""The way of an envelope past the agencies that stand before its sender and its recipient, and how each of them signs that it let it pass.

A countersignature is an agency's Ed25519 signature, with the identity key that the manifest pins, over the way and the envelope's own signature,
which binds every byte of it. Whoever receives an envelope of a relayed party, or is one, refuses it without every countersignature of its way:
so nothing goes past an agency behind its back, and an agency can pass nothing but what the sender signed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import msgspec

from federation.kernel import suite
from federation.kernel.envelope import Envelope
from federation.kernel.errors import PeerError
from federation.kernel.manifest import Manifest
from federation.kernel.secret import Secret


@dataclass(frozen=True)
class Passage:
    """through: by party, the agency that stands before it; agencies: their identity keys, 32 bytes each."""

    through: Mapping[str, str]
    agencies: Mapping[str, bytes]

    @classmethod
    def of(cls, manifest: Manifest) -> Self:
        """As a manifest says."""
        through = {party.name: party.through for party in manifest.parties if party.through}
        return cls(through, {agency.name: bytes.fromhex(agency.identity) for agency in manifest.agencies})

    def stations(self, sender: str, recipient: str) -> tuple[str, ...]:
        """The agencies on the way: the sender's, then the recipient's, each once; none where an agency itself sends or receives."""
        way = (self.through.get(sender, ""), self.through.get(recipient, ""))
        return tuple(dict.fromkeys(agency for agency in way if agency and agency not in (sender, recipient)))

    def next_stop(self, at: str, envelope: Envelope) -> str | None:
        """Who gets an envelope that `at` has given out; None where it is not for `at` to give out."""
        way = (envelope.sender, *self.stations(envelope.sender, envelope.recipient), envelope.recipient)
        return way[way.index(at) + 1] if at in way[:-1] else None

    def require(self, envelope: Envelope) -> None:
        """Every agency on the way has countersigned, and nobody else. Raises PeerError."""
        self.require_so_far(envelope, self.stations(envelope.sender, envelope.recipient))

    def require_so_far(self, envelope: Envelope, stations: tuple[str, ...]) -> None:
        """As `require`, of the first stations of the way."""
        if len(envelope.countersigned) != len(stations):
            what = f"an envelope with {len(envelope.countersigned)} countersignatures"
            raise PeerError(envelope.sender, what, f"those of {', '.join(stations)}" if stations else "none: it goes by no agency")
        for agency, signature in zip(stations, envelope.countersigned, strict=True):
            if not suite.verifies(self.agencies[agency], _statement(agency, envelope), signature):
                raise PeerError(agency, "a countersignature that does not hold", "one of this envelope with its identity key")


def _statement(agency: str, envelope: Envelope) -> bytes:
    return suite.frame("let pass", agency, envelope.session, envelope.sender, envelope.recipient, envelope.signature)


def countersign(envelope: Envelope, agency: str, identity: Secret) -> Envelope:
    """The envelope with this agency's countersignature behind those that it has."""
    signature = suite.sign(identity, _statement(agency, envelope))
    return msgspec.structs.replace(envelope, countersigned=(*envelope.countersigned, signature))
