"""What one party sent to and received from each other in a stage: counts and digests, for its audit log.

A digest chains the signatures of the envelopes, which bind all of their content; so two parties that logged the same saw the same, and the log
holds nothing that a body could be guessed from.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal, TypeAlias

import msgspec

from federation.kernel import suite
from federation.kernel.envelope import Envelope
from federation.kernel.known import known

Direction = Literal["sent", "received"]
SENT = "tally: sent"
"""Where a journal keeps what was sent, among its effects; no stage has that name."""
Counts: TypeAlias = dict[str, dict[str, dict[str, tuple[int, bytes]]]]
"""By direction, stage and peer: how many envelopes, and the digest of them in their order."""

Witness: TypeAlias = Callable[[str, str, Mapping[str, Mapping[str, tuple[int, bytes]]]], None]
"""Takes the session (hexadecimal), a stage that has ended and, by direction and peer, counts and digests."""


class Tally:
    """Counts of stages that have not ended. A message may come before its stage begins here, so stages are counted apart."""

    def __init__(self, counts: Counts | None = None) -> None:
        self._counts: Counts = {
            direction: {s: dict(p) for s, p in (counts or {}).get(direction, {}).items()} for direction in ("sent", "received")
        }

    def note(self, direction: Direction, envelope: Envelope) -> None:
        """Count an envelope under the stage that its step names."""
        stage = envelope.step.partition(":")[0]
        peer = envelope.recipient if direction == "sent" else envelope.sender
        peers = self._counts[direction].setdefault(stage, {})
        count, digest = peers.get(peer, (0, b""))
        peers[peer] = (count + 1, suite.digest("tally", digest, envelope.signature))

    def take(self, stage: str) -> dict[str, dict[str, tuple[int, bytes]]]:
        """What was counted of a stage, by direction and peer; it is counted no longer."""
        return {direction: stages.pop(stage, {}) for direction, stages in self._counts.items()}

    def sent(self) -> bytes:
        """What left, to be stored with the reply that it left in."""
        return msgspec.msgpack.encode(self._counts["sent"])

    def sent_was(self, stored: bytes | None) -> None:
        """After a replay: what left counts, not what was made again and discarded, whose bytes may be others (fresh encryption's are).

        stored: None where nothing has left.
        """
        if stored is not None:
            self._counts["sent"] = msgspec.msgpack.decode(stored, type=known(dict[str, dict[str, tuple[int, bytes]]]))

    def counts(self) -> Counts:
        """All that is counted, to be stored."""
        return {direction: {s: dict(p) for s, p in stages.items()} for direction, stages in self._counts.items()}
