"""What has arrived at a party and is not used yet: letters by sender, each in its turn, and envelopes of a session that is not open yet.

A sender may be ahead of what is awaited of it, but not without end; whatever is taken is just what a step names, or the run ends.
"""

from __future__ import annotations

from collections.abc import Iterable

from federation.kernel import suite
from federation.kernel.codec import SMALL, decode
from federation.kernel.envelope import Envelope, Letter
from federation.kernel.errors import LostParty, PeerError
from federation.kernel.role import COORDINATOR, Received, Step

_MOST_SEALED = 64
_MOST_EARLY = 256
_MOST_EARLY_BYTES = 1 << 30
"""What one sender may be ahead of what is awaited of it: far beyond any protocol here, and an end to what a hostile one can pile up."""
Kept = tuple[str, str, str, bytes]


class Inbox:
    """One party's. kept: letters of an earlier process's, as `letters` gives them."""

    def __init__(self, kept: Iterable[Kept] = ()) -> None:
        self._early: dict[str, list[Letter]] = {}
        self._sealed: list[Envelope] = []
        for sender, step, kind, body in kept:
            self._early.setdefault(sender, []).append(Letter(sender, step, kind, body))

    def letters(self) -> tuple[Kept, ...]:
        """Every letter that is not used, as (sender, step, kind, body), each sender's in order."""
        return tuple((x.sender, x.step, x.kind, x.body) for letters in self._early.values() for x in letters)

    def seal(self, envelope: Envelope) -> None:
        """Keep an envelope of the session to come: a peer that has every hello already speaks in it. Raises PeerError for many or large ones."""
        if len(self._sealed) >= _MOST_SEALED or len(envelope.body) > SMALL:
            raise PeerError(COORDINATOR, "many or large envelopes of a session that is not open", "the parties' hellos")
        self._sealed.append(envelope)

    def unseal(self) -> list[Envelope]:
        """Those envelopes, once the session is open."""
        sealed, self._sealed = self._sealed, []
        return sealed

    def put(self, letter: Letter) -> None:
        """Keep a letter until it is awaited. Raises PeerError where its sender is ahead without end."""
        early = self._early.setdefault(letter.sender, [])
        early.append(letter)
        if len(early) > _MOST_EARLY or sum(len(kept.body) for kept in early) > _MOST_EARLY_BYTES:
            raise PeerError(letter.sender, f"{len(early)} messages that nobody waits for", "messages in their turn")

    def awaited(self, step: Step) -> list[str]:
        """Of whom nothing is there yet."""
        return [sender for sender in step.expect if not self._early.get(sender)]

    def take(self, step: Step, place: str, view: bytes) -> tuple[Received, bytes]:
        """A step's messages, of those of whom something is there, and the digest of all broadcasts with theirs. Raises PeerError for another
        message than is awaited.
        """
        received = Received()
        for sender, kind in step.expect.items():
            if not self._early.get(sender):
                continue
            letter = self._early[sender].pop(0)
            if letter.kind != kind.kind() or letter.step != place:
                raise PeerError(sender, f"{letter.kind!r} at {letter.step!r}", f"{kind.kind()!r} at {place!r}")
            received[sender] = decode(letter.body, kind, sender, step.limit)
            if kind.broadcast:
                view = suite.digest(view, letter.kind, letter.step, letter.body)
        return received, view


def require_quorum(step: Step, lost: list[str], drop_outs: str) -> None:
    """Raises LostParty where a step cannot go on without those who are lost. drop_outs: the run's rule for banks."""
    answered, needed = len(step.expect) - len(lost), len(step.expect) if step.quorum is None else step.quorum
    if answered < needed:
        rule = "here everyone must" if step.quorum is None else f"{answered} did, and {needed} must (rule: threshold)"
        if drop_outs == "stop":
            rule = 'the run ends where a bank is lost (rule: [privacy] drop_outs = "stop")'
        raise LostParty(
            ", ".join(sorted(lost)), f"did not answer in time; {rule}", "Nothing was opened. Start a new run when these parties are back."
        )
