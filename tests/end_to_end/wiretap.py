"""A tap on the wire: every batch of envelopes that reaches a participant of a simulation, as it left the post, and what the party could open.

`Participant.deliver` is where everything that a party or the coordinator ever receives in a session comes in; parcels before the session
(descriptions, the manifest, signatures) pass through the Flower app. Both are recorded as bytes.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from unittest import mock

from federation.kernel.codec import encode
from federation.kernel.envelope import Channel, Envelope, Letter
from federation.kernel.participant import Participant
from federation.kernel.role import COORDINATOR


@dataclass
class Tap:
    """raw: what arrived, by recipient; opened: the letters a recipient opened; parcels: payloads between coordinator and nodes, both ways;
    sessions: by recipient, the last participant seen, whose state tells what the party may know.
    """

    raw: dict[str, list[Envelope]] = field(default_factory=dict)
    opened: dict[str, list[Letter]] = field(default_factory=dict)
    parcels: list[tuple[str, bytes]] = field(default_factory=list)
    parties: dict[str, Participant[Any]] = field(default_factory=dict)

    def envelopes(self) -> list[Envelope]:
        """All of them."""
        return [envelope for envelopes in self.raw.values() for envelope in envelopes]

    def seen_by(self, party: str) -> list[bytes]:
        """Everything that a party had before its eyes: the bodies it could open; at the coordinator also every envelope that it carried."""
        bodies = [letter.body for letter in self.opened.get(party, [])]
        if party == COORDINATOR:
            bodies += [encode(envelope) for envelope in self.envelopes()] + [payload for _, payload in self.parcels]
        return bodies


@contextlib.contextmanager
def wiretap() -> Iterator[Tap]:
    """Record what passes inside the block."""
    from federation.carriage import mailbox
    from server import post

    tap = Tap()
    deliver, unlock, unpack = Participant.deliver, Channel.open, mailbox.unpack

    def delivered(self: Participant[Any], number: int, envelopes: tuple[Envelope, ...], missing: tuple[str, ...] = ()) -> bytes:
        tap.raw.setdefault(self.me, []).extend(envelopes)
        tap.parties[self.me] = self
        return deliver(self, number, envelopes, missing)

    def opened(self: Channel, envelope: Envelope) -> Letter:
        letter = unlock(self, envelope)
        tap.opened.setdefault(self.me, []).append(letter)
        return letter

    def unpacked(records: Any, sender: str, limit: int = mailbox.LARGEST) -> mailbox.Parcel:
        parcel = unpack(records, sender, limit)
        tap.parcels.append((sender, parcel.payload))
        return parcel

    with (
        mock.patch.object(Participant, "deliver", delivered), mock.patch.object(Channel, "open", opened),
        mock.patch.object(post, "unpack", unpacked),
    ):  # fmt: skip
        yield tap
