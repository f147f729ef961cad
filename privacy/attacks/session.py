"""Attacks on a session by whoever carries its envelopes: alter them, read them, and open what a sequence number used twice gives away.

The coordinator holds every envelope. It should learn who writes to whom, what kind and how much, and be able to withhold; nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import msgspec

from federation.kernel.codec import encode
from federation.kernel.envelope import Envelope

Alteration = Callable[[Envelope], "Envelope | None"]


def _with(**fields: object) -> Alteration:
    return lambda envelope: msgspec.structs.replace(envelope, **fields)


ALTERATIONS: dict[str, Alteration] = {
    "session": _with(session=bytes(32)),
    "no session": _with(session=b""),
    "protocol": _with(protocol="other"),
    "step": lambda e: msgspec.structs.replace(e, step=e.step + "/x"),
    "an unknown sender": _with(sender="court"),
    "the recipient as sender": lambda e: msgspec.structs.replace(e, sender=e.recipient),
    "a later sequence": lambda e: msgspec.structs.replace(e, sequence=e.sequence + 1),
    "an earlier sequence": lambda e: msgspec.structs.replace(e, sequence=max(e.sequence - 1, 0) if e.sequence else 1 << 60),
    "kind": lambda e: msgspec.structs.replace(e, kind=e.kind + "s"),
    "an abort": _with(kind="kernel/abort", protocol="kernel"),
    "first byte of the body": lambda e: msgspec.structs.replace(e, body=bytes([e.body[0] ^ 1]) + e.body[1:]),
    "last byte of the body": lambda e: msgspec.structs.replace(e, body=e.body[:-1] + bytes([e.body[-1] ^ 128])),
    "a shorter body": lambda e: msgspec.structs.replace(e, body=e.body[:-1]),
    "a longer body": lambda e: msgspec.structs.replace(e, body=e.body + b"\0"),
    "no body": _with(body=b""),
    "no signature": _with(signature=b""),
    "a signature of zeros": _with(signature=bytes(64)),
    "a bit of the signature": lambda e: msgspec.structs.replace(e, signature=bytes([e.signature[0] ^ 1]) + e.signature[1:]),
}
"""What a carrier without anyone's key can make of one envelope."""


def containing(envelopes: Iterable[Envelope], needle: bytes) -> list[Envelope]:
    """The envelopes in whose bytes the needle shows."""
    return [envelope for envelope in envelopes if needle in encode(envelope)]


def reused(envelopes: Iterable[Envelope]) -> list[tuple[Envelope, Envelope]]:
    """Pairs of different bodies of one direction of one session under one sequence number: one keystream for two texts."""
    first: dict[tuple[bytes, str, str, int], Envelope] = {}
    pairs = []
    for envelope in envelopes:
        place = (envelope.session, envelope.sender, envelope.recipient, envelope.sequence)
        other = first.setdefault(place, envelope)
        if other.body != envelope.body:
            pairs.append((other, envelope))
    return pairs


def opened(sealed: Envelope, known: Envelope, text: bytes) -> bytes:
    """The beginning of a sealed body, as long as `text`, which is what the other body under the same sequence number says."""
    return bytes(one ^ two ^ letter for one, two, letter in zip(sealed.body, known.body, text, strict=False))
