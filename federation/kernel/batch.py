"""What one exchange carries between the coordinator and a party, and the message by which a party ends a run."""

from __future__ import annotations

from typing import Annotated

import msgspec

from federation.kernel.codec import Message, decode, encode
from federation.kernel.envelope import Channel, Envelope
from federation.kernel.errors import AbortCode

MOST_ENVELOPES = 4096
"""In one batch, and parties in its list of the missing."""


class Abort(Message, frozen=True, tag="kernel/abort"):
    """A party ended the run; the reason is one of a fixed list and tells no detail."""

    reason: AbortCode


class Batch(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What one exchange carries one way. number: counts exchanges with this party; done: the party has finished its program;
    missing: parties that did not answer and are given up, told to the coordinator's own participant and to no one else.
    """

    number: int
    envelopes: Annotated[tuple[Envelope, ...], msgspec.Meta(max_length=MOST_ENVELOPES)] = ()
    done: bool = False
    missing: Annotated[tuple[str, ...], msgspec.Meta(max_length=MOST_ENVELOPES)] = ()


def silence(number: int) -> bytes:
    """A failed participant's answer to whatever comes after its abort."""
    return encode(Batch(number, (), done=True))


def sent_just(reply: bytes, channel: Channel, me: str) -> bool:
    """Whether a channel's next sequence numbers are those after a reply, an encoded `Batch` or nothing: a replay that took another course (other
    code or data) would use one twice.
    """
    envelopes = decode(reply, Batch, me, len(reply)).envelopes if reply else ()
    following = {envelope.recipient: envelope.sequence + 1 for envelope in envelopes if envelope.session == channel.session}
    return all(channel.sent.get(name) == number for name, number in following.items())
