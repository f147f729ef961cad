"""Attacks on the exchange of files by whoever carries them, or can put a file into a folder.

A courier holds every file and knows all public keys. It should learn when a file goes which way and how many blocks it has, and be able to
withhold; nothing else. An outsider has keys of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from federation.kernel import sealed_parcel, suite
from federation.kernel.sealed_parcel import BLOCK, HEAD_BYTES, MAGIC, Answer, Ends, Question, Sealer, write
from federation.kernel.secret import Secret

_SIGNATURE = 64

Alteration = Callable[[bytes], bytes]

ALTERATIONS: dict[str, Alteration] = {
    "nothing": lambda _: b"",
    "the head alone": lambda raw: raw[:HEAD_BYTES],
    "half": lambda raw: raw[: len(raw) // 2],
    "one byte less": lambda raw: raw[:-1],
    "one byte more": lambda raw: raw + b"\0",
    "one block less": lambda raw: raw[: -BLOCK - _SIGNATURE] + raw[-_SIGNATURE:],
    "one block more": lambda raw: raw[:-_SIGNATURE] + bytes(BLOCK) + raw[-_SIGNATURE:],
    "twice": lambda raw: raw + raw,
    "without a signature": lambda raw: raw[:-_SIGNATURE],
    "a signature of zeros": lambda raw: raw[:-_SIGNATURE] + bytes(_SIGNATURE),
    "another number": lambda raw: raw[: HEAD_BYTES - 1] + bytes([raw[HEAD_BYTES - 1] ^ 1]) + raw[HEAD_BYTES:],
    "another version": lambda raw: b"parcel-2" + raw[len(MAGIC) :],
    "another fresh key": lambda raw: raw[:HEAD_BYTES] + bytes(32) + raw[HEAD_BYTES + 32 :],
    "zeros": lambda raw: bytes(len(raw)),
}
"""What a courier can make of one file."""


def flipped(raw: bytes) -> Iterator[bytes]:
    """The file with one bit turned over, for every byte of it."""
    for place in range(len(raw)):
        yield raw[:place] + bytes([raw[place] ^ (1 << place % 8)]) + raw[place + 1 :]


def spliced(one: bytes, other: bytes) -> Iterator[bytes]:
    """Files made of the parts of two: head, sealed part and signature of the one or the other, but for the two themselves."""
    parts = [(raw[:HEAD_BYTES], raw[HEAD_BYTES:-_SIGNATURE], raw[-_SIGNATURE:]) for raw in (one, other)]
    for choice in range(1, 7):
        yield b"".join(parts[choice >> part & 1][part] for part in range(3))


def signed_anew(raw: bytes, kind: type[Question | Answer], ends: Ends, identity: Secret) -> bytes:
    """The file with the attacker's own signature, made over just what a signature is made over."""
    body = raw[:-_SIGNATURE]
    return body + suite.sign(identity, sealed_parcel.signed(sealed_parcel.bound(kind, ends, raw[len(MAGIC) : HEAD_BYTES]), body))


def forged(message: Question | Answer, ticket: bytes, ends: Ends, own: Secret, exchange_key: bytes, sealer: Sealer) -> bytes:
    """A file as the sender would write it, sealed and bound as it must be, but for the signature, which is by a key of one's own."""
    raw = write(
        message, ticket, Ends(suite.signing_public(own), ends.recipient), own, exchange_key, _bound_to(message, ticket, ends, sealer)
    )
    return signed_anew(raw, type(message), ends, own)


def _bound_to(message: Question | Answer, ticket: bytes, ends: Ends, sealer: Sealer) -> Sealer:
    return lambda public, _info, plaintext: sealer(public, sealed_parcel.bound(type(message), ends, ticket), plaintext)


def containing(files: Iterable[bytes], needles: Iterable[bytes]) -> int:
    """In how many of the files one of the needles shows."""
    sought = tuple(needles)
    return sum(any(needle in raw for needle in sought) for raw in files)
