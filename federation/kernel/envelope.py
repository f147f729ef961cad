"""The envelope: who says what to whom, at which step of which session, signed; and the channel that seals and opens it.

Header and ciphertext are signed with the sender's run key (Ed25519). Between institutions the body is ChaCha20-Poly1305 under one key per
direction, with the sequence number as nonce and the header as associated data; to the coordinator it rides in TLS, or is sealed too where an
agency relays it. A receiver takes just the next sequence number of each sender, so replayed, reordered, withheld-then-sent, cross-session and
cross-recipient envelopes are refused.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated

import msgspec
from msgspec import Meta

from federation.kernel import suite
from federation.kernel.codec import Message, encode
from federation.kernel.errors import PeerError
from federation.kernel.secret import Secret

_Name = Annotated[str, Meta(max_length=128)]


class Envelope(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """session: 32 bytes; protocol and kind: of the message; step: its place in the session; sequence: 0, 1, ... per sender and recipient;
    body: plain to and from the coordinator, sealed otherwise, and where an agency relays it; signature: 64 bytes over all of it;
    countersigned: of each agency on the way, in order (`kernel.passage`).
    """

    session: Annotated[bytes, Meta(max_length=suite.KEY_BYTES)]
    protocol: _Name
    step: Annotated[str, Meta(max_length=1024)]
    sender: _Name
    recipient: _Name
    sequence: Annotated[int, Meta(ge=0)]
    kind: _Name
    body: bytes
    signature: Annotated[bytes, Meta(max_length=64)] = b""
    countersigned: Annotated[tuple[Annotated[bytes, Meta(max_length=64)], ...], Meta(max_length=2)] = ()

    def header(self) -> bytes:
        """What the body is bound to: every field but body and signatures."""
        return suite.frame(self.session, self.protocol, self.step, self.sender, self.recipient, self.sequence, self.kind)

    def signed(self) -> bytes:
        """What the signature covers."""
        return suite.digest("envelope", self.header(), suite.plain_digest(self.body))


@dataclass(frozen=True)
class Letter:
    """An opened envelope."""

    sender: str
    step: str
    kind: str
    body: bytes


def _by_no_agency(envelope: Envelope) -> None:
    if envelope.countersigned:
        raise PeerError(envelope.sender, "an envelope that somebody countersigned", "one that goes by no agency")


class Channel:
    """One party's end of a session: its keys, its peers' public keys, and the sequence numbers in both directions.

    pairs: the secret shared with each other party whose bodies are sealed; without one (before keys are agreed) bodies are plain; passed:
    raises PeerError for an envelope that did not pass the agencies that it must.
    """

    def __init__(
        self,
        me: str,
        session: bytes,
        signing: Secret,
        publics: Mapping[str, bytes],
        pairs: Mapping[str, Secret] | None = None,
        passed: Callable[[Envelope], None] = _by_no_agency,
    ) -> None:
        self.me, self.session, self._passed = me, session, passed
        self._signing, self._publics, self._pairs = signing, dict(publics), pairs or {}
        self.sent: dict[str, int] = {}
        self.received: dict[str, int] = {}

    def _key(self, sender: str, recipient: str) -> Secret | None:
        pair = self._pairs.get(sender if recipient == self.me else recipient)
        if pair is None:
            return None
        return suite.derive(pair, "envelope", self.session, sender, recipient)

    def wrap(self, recipient: str, step: str, message: Message) -> Envelope:
        """Seal and sign a message, under the next sequence number to that recipient."""
        sequence = self.sent.get(recipient, 0)
        self.sent[recipient] = sequence + 1
        body = encode(message)
        draft = Envelope(self.session, message.protocol(), step, self.me, recipient, sequence, message.kind(), body)
        if (key := self._key(self.me, recipient)) is not None:
            draft = msgspec.structs.replace(draft, body=suite.seal(key, sequence, draft.header(), body))
        return msgspec.structs.replace(draft, signature=suite.sign(self._signing, draft.signed()))

    def open(self, envelope: Envelope) -> Letter:
        """Check and open an envelope, or PeerError; the sequence advances only when everything holds."""
        sender = envelope.sender
        public = self._publics.get(sender)
        if public is None or sender == self.me:
            raise PeerError("coordinator", "an envelope of an unknown sender", "one of this run's parties")
        if envelope.recipient != self.me:
            raise PeerError(sender, "an envelope for another recipient", f"one for {self.me}")
        if envelope.session != self.session:
            raise PeerError(sender, "an envelope of another session", "one of this session")
        if not suite.verifies(public, envelope.signed(), envelope.signature):
            raise PeerError(sender, "an envelope whose signature does not hold", "one signed with the sender's run key")
        self._passed(envelope)
        if envelope.kind.partition("/")[0] != envelope.protocol:
            raise PeerError(sender, "an envelope of two protocols", "the protocol of its message")
        expected = self.received.get(sender, 0)
        if envelope.sequence != expected:
            raise PeerError(sender, f"envelope number {envelope.sequence}", f"number {expected}")
        body: bytes | None = envelope.body
        if (key := self._key(sender, self.me)) is not None:
            body = suite.unseal(key, envelope.sequence, envelope.header(), envelope.body)
        if body is None:
            raise PeerError(sender, "a body that does not open", "one sealed for this party")
        self.received[sender] = expected + 1
        return Letter(sender, envelope.step, envelope.kind, body)
