"""Attacks by a licensed credit agency on what it relays, and by a coordinator that would go past it.

The agency holds its own identity key, every header and every body as it travels; the coordinator holds every envelope and no agency's key.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from federation.kernel import suite
from federation.kernel.envelope import Envelope
from federation.kernel.passage import countersign
from federation.kernel.secret import Secret
from privacy.attacks.session import Alteration


def altered_and_countersigned(alter: Alteration, agency: str, identity: Secret) -> Alteration:
    """An agency that alters an envelope as a carrier would, and signs what came of it."""

    def attack(envelope: Envelope) -> Envelope | None:
        after = alter(msgspec.structs.replace(envelope, countersigned=()))
        return None if after is None else countersign(after, agency, identity)

    return attack


def forged(like: Envelope, body: bytes, agency: str, identity: Secret) -> Envelope:
    """An envelope in a party's name that the agency made up: it has no key of that party, and signs with its own."""
    draft = msgspec.structs.replace(like, body=body, signature=b"", countersigned=())
    return countersign(msgspec.structs.replace(draft, signature=suite.sign(identity, draft.signed())), agency, identity)


def past_the_agency(envelope: Envelope) -> Envelope:
    """A coordinator that hands an envelope straight to its recipient, with a countersignature of its own making."""
    return msgspec.structs.replace(envelope, countersigned=(bytes(64),))


def readable(relayed: Iterable[Envelope], needle: bytes) -> int:
    """In how many of the bodies that an agency relays a known text shows."""
    return sum(needle in envelope.body for envelope in relayed)
