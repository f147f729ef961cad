"""A parcel as the bytes of one file: sealed to whom it is for, signed by who wrote it, and telling whoever carries it as little as can be.

    8    MAGIC
    32   ticket      of a question: its number, which counts up; of an answer: SHA-256 of the question's file
    n    sealed      HPKE (RFC 9180) of the parcel, padded to whole blocks
    64   signature   Ed25519, by the sender's identity key, of SHA-256 over all of the above

Both the sealing and the signature are bound to suite, direction (the kind of message), the sender's and the recipient's identity keys, and the
ticket. Those keys are in no file: a reader knows whom it hears. The run is inside; an answer is bound to it by the digest of the question.
Sealing draws a fresh key pair, so it is an argument (`Sealer`), and nothing here draws or opens anything.

In order: the size, the head, the signature, and only then the sealing, the padding and the message.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Final, TypeVar

import msgspec

from federation.kernel import suite
from federation.kernel.codec import Message, decode, encode
from federation.kernel.errors import LocalError, PeerError
from federation.kernel.secret import Secret

MAGIC: Final = b"parcel-1"
TICKET_BYTES: Final = 32
HEAD_BYTES: Final = len(MAGIC) + TICKET_BYTES
BLOCK: Final = 4096
"""Bytes: a refusal, a signature and most batches of a run are of one length."""
MOST_PAYLOAD: Final = 1 << 30
LARGEST: Final = MOST_PAYLOAD + 2 * BLOCK
"""Bytes of a file that anyone looks at: a payload, and what stands around it."""
_SIGNATURE_BYTES: Final = 64
_LENGTH_BYTES: Final = 8

Sealer = Callable[[bytes, bytes, bytes], bytes]
"""Takes the recipient's X25519 key, info and plaintext; `carriage.sealing.seal_to`."""
Word = Annotated[str, msgspec.Meta(max_length=128)]


class Question(Message, frozen=True, tag="exchange/question"):
    """From the coordinator to a node. operation: of `clients.node`; run: the run's name; payload: the operation's bytes."""

    operation: Word
    run: Word
    payload: bytes


class Answer(Message, frozen=True, tag="exchange/answer"):
    """From a node to the coordinator. operation: the question's, "refused" or "consents"; run: the question's; payload: its bytes."""

    operation: Word
    run: Word
    payload: bytes


M = TypeVar("M", Question, Answer)


@dataclass(frozen=True)
class Ends:
    """Ed25519 identity keys of who writes and of whom it is for."""

    sender: bytes
    recipient: bytes


def numbered(number: int) -> bytes:
    """A question's ticket."""
    return number.to_bytes(TICKET_BYTES, "big")


def number_of(ticket: bytes) -> int:
    """The number that a question's ticket says."""
    return int.from_bytes(ticket, "big")


def about(question: bytes) -> bytes:
    """The ticket of the answer to a question's file."""
    return suite.plain_digest(question)


def write(message: Question | Answer, ticket: bytes, ends: Ends, identity: Secret, exchange_key: bytes, sealer: Sealer) -> bytes:
    """The file's bytes. identity: the sender's; exchange_key: the recipient's X25519 public key.

    Raises LocalError for a payload above `MOST_PAYLOAD`, a ticket that is none, or an identity that is not the sender's.
    """
    if len(message.payload) > MOST_PAYLOAD or len(ticket) != TICKET_BYTES or suite.signing_public(identity) != ends.sender:
        raise LocalError("file exchange", "a parcel that is too large, or with another's key or ticket", "Report this bug.")
    encoded = encode(message)
    length = len(encoded).to_bytes(_LENGTH_BYTES, "big")
    padding = bytes(_padded(_LENGTH_BYTES + len(encoded)) - _LENGTH_BYTES - len(encoded))
    place = bound(type(message), ends, ticket)
    body = MAGIC + ticket + sealer(exchange_key, place, b"".join((length, encoded, padding)))
    return body + suite.sign(identity, signed(place, body))


def ticket_of(head: bytes, sender: str) -> bytes:
    """The ticket that a file's first `HEAD_BYTES` say, which nobody has vouched for yet. Raises PeerError."""
    if len(head) < HEAD_BYTES or not head.startswith(MAGIC):
        raise PeerError(sender, "a file of another form", "a sealed parcel")
    return head[len(MAGIC) : HEAD_BYTES]


def read(raw: bytes, kind: type[M], ends: Ends, exchange: Secret, sender: str, limit: int = LARGEST) -> M:
    """The message in a file of this kind from this sender to this recipient. exchange: the recipient's X25519 private key; sender: what an
    error calls the other side; limit: on the file's bytes. Raises PeerError, which tells nothing of what is in the file.
    """
    least = HEAD_BYTES + BLOCK + suite.HPKE_BYTES + _SIGNATURE_BYTES
    if not least <= len(raw) <= limit or (len(raw) - least) % BLOCK:
        raise PeerError(sender, f"a file of {len(raw)} bytes", f"whole blocks, at most {limit} bytes")
    place = bound(kind, ends, ticket_of(raw[:HEAD_BYTES], sender))
    body, signature = raw[:-_SIGNATURE_BYTES], raw[-_SIGNATURE_BYTES:]
    if not suite.verifies(ends.sender, signed(place, body), signature):
        raise PeerError(sender, "a file whose signature does not hold", "the sender's own, unchanged, for this recipient")
    plain = suite.open_sealed(exchange, place, body[HEAD_BYTES:])
    if plain is None:
        raise PeerError(sender, "a file that this party's exchange key does not open", "one sealed to it")
    return decode(_unpadded(plain, sender), kind, sender, limit)


def bound(kind: type[Question | Answer], ends: Ends, ticket: bytes) -> bytes:
    """What a file's sealing and signature hold for, and nothing else."""
    return suite.frame("exchange", suite.NAME, kind.kind(), ends.sender, ends.recipient, ticket)


def signed(place: bytes, body: bytes) -> bytes:
    """What is signed, in a domain of its own. place: of `bound`; body: the file but for its signature, as its digest, since what is checked is
    remembered.
    """
    return suite.frame("exchange signature", place, suite.plain_digest(body))


def _padded(size: int) -> int:
    return -(-size // BLOCK) * BLOCK


def _unpadded(plain: bytes, sender: str) -> bytes:
    """Without length and padding, of which there is one form for a message. Raises PeerError."""
    length = int.from_bytes(plain[:_LENGTH_BYTES], "big")
    end = _LENGTH_BYTES + length
    if len(plain) != _padded(end) or any(plain[end:]):
        raise PeerError(sender, "another padding", "zeros up to a whole block")
    return plain[_LENGTH_BYTES:end]
