"""An agency's part of a session: a participant without a program, and the passage of what others send to and from the parties behind it.

It reads headers and can open no body. Order rules: 1. batch numbers as at a participant, and a repeated one gives the same bytes; 2. an
envelope passes only if it goes this way, holds the countersignatures of the stations before, is signed by its sender and is the next of its way;
3. one that does not ends the run, and nothing passes any more; 4. what has passed is kept before it leaves, and told to the log when its stage
is over on that way (the tally of sender and recipient, `kernel.tally`, is the same); 5. another party's abort is let through.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import msgspec

from federation.kernel import suite
from federation.kernel.batch import Batch
from federation.kernel.codec import decode, encode
from federation.kernel.envelope import Envelope
from federation.kernel.errors import CreditfedError, PeerAborted, PeerError
from federation.kernel.journal import Journal
from federation.kernel.known import known
from federation.kernel.participant import Participant
from federation.kernel.passage import Passage, countersign
from federation.kernel.program import Stage
from federation.kernel.role import COORDINATOR
from federation.kernel.secret import Secret
from federation.kernel.session import opening_session
from federation.kernel.state import State

Passed: TypeAlias = Callable[[str, str, str, str, int, bytes], None]
"""Takes session (hexadecimal), stage, sender, recipient, the number of envelopes and their digest."""


class Idle(State, frozen=True):
    """An agency's state: it computes nothing. model_hash: none, as of a run without a model."""

    model_hash: bytes = b""


class Silent:
    """An agency's program: no stage."""

    kind = Idle

    def begin(self) -> Idle:
        """Nothing."""
        return Idle()

    def stage(self, state: Idle) -> Stage[Idle] | None:  # noqa: ARG002  # the interface of a program
        """None ever."""
        return None


class _Way(msgspec.Struct, frozen=True):
    """From one sender to one recipient. opening, session: next sequence numbers; stage, count, digest: of the stage under way."""

    opening: int = 0
    session: int = 0
    stage: str = ""
    count: int = 0
    digest: bytes = b""


class _State(msgspec.Struct, frozen=True):
    """ways: by "sender recipient"; run_keys, session: of everyone, once they are known; ended: by this agency; closed: by the coordinator."""

    ways: dict[str, _Way] = {}
    run_keys: dict[str, bytes] = {}
    session: bytes = b""
    ended: bool = False
    closed: bool = False


class Relay:
    """participant: the agency's own, which says hello and hears aborts; journal: of the relay, beside the participant's; passed: takes each
    stage that is over on a way, before anything of the next leaves, and may be told one again after a crash.
    """

    def __init__(self, participant: Participant[Any], identity: Secret, journal: Journal, passed: Passed = lambda *_: None) -> None:
        self.participant, self._identity, self._journal, self._told = participant, identity, journal, passed
        self.manifest, self.me = participant.manifest, participant.me
        self._passage, self._opening = Passage.of(self.manifest), opening_session(self.manifest)
        record = journal.load()
        self._number, self._reply, self._state = -1, b"", _State()
        if record is None:
            journal.answered(-1, b"", b"", msgspec.msgpack.encode(self._state), {})
        else:
            self._number, self._reply = record.number, record.reply
            self._state = msgspec.msgpack.decode(record.snapshot, type=known(_State))

    @property
    def failure(self) -> CreditfedError | None:
        """Why the run ended, where it did."""
        return self.participant.failure

    @property
    def count(self) -> int:
        """How many envelopes have passed."""
        return sum(way.opening + way.session for way in self._state.ways.values())

    @property
    def stopped(self) -> bool:
        """Whether nothing passes any more. Another party's abort stops nothing: it is let through, and so is what others still say."""
        return self._state.ended or self._state.closed or (self.failure is not None and not isinstance(self.failure, PeerAborted))

    def deliver(self, number: int, envelopes: tuple[Envelope, ...]) -> bytes:
        """The encoded `Batch` to send back. Raises PeerError, and changes nothing, for a number that is neither the last nor the next."""
        if number == self._number and number >= 0:
            return self._reply
        if number != self._number + 1:
            raise PeerError(COORDINATOR, f"batch {number}", f"batch {self._number + 1}")
        if self.stopped:
            return self.participant.deliver(number, ())
        try:
            state, passing = self._let_pass([envelope for envelope in envelopes if envelope.recipient != self.me])
        except PeerError as error:
            return self.abort(error)
        raw = self.participant.deliver(number, tuple(envelope for envelope in envelopes if envelope.recipient == self.me))
        own = decode(raw, Batch, self.me, len(raw))
        if not self.stopped:
            self._state, raw = state, encode(Batch(number, (*own.envelopes, *passing), done=self.failure is not None))
        return self._commit(number, raw)

    def abort(self, error: CreditfedError) -> bytes:
        """End the run at this agency, also where another party has aborted it: nothing passes any more. The batch to send."""
        self._state = msgspec.structs.replace(self._state, ended=True)
        return self._commit(self._number + 1, self.participant.abort(error))

    def close(self) -> None:
        """The run is over: what is not told yet is told, and nothing passes any more."""
        if not self._state.closed:
            for name, way in self._state.ways.items():
                self._tell(self._state, name, way)
            self._state = msgspec.structs.replace(self._state, closed=True)
            self._commit(self._number, self._reply)

    def _commit(self, number: int, reply: bytes) -> bytes:
        self._journal.answered(number, b"", reply, msgspec.msgpack.encode(self._state), {})
        self._number, self._reply = number, reply
        return reply

    def _let_pass(self, envelopes: list[Envelope]) -> tuple[_State, list[Envelope]]:
        """What becomes of the state, and the envelopes with this agency's countersignature."""
        state, passing = self._state, []
        if not state.run_keys and self.failure is None and self.participant.run_keys:
            state = msgspec.structs.replace(state, run_keys=self.participant.run_keys, session=self.participant.session)
        ways = dict(state.ways)
        for envelope in envelopes:
            name = f"{envelope.sender} {envelope.recipient}"
            ways[name] = self._checked(state, name, ways.get(name, _Way()), envelope)
            passing.append(countersign(envelope, self.me, self._identity))
        return msgspec.structs.replace(state, ways=ways), passing

    def _checked(self, state: _State, name: str, way: _Way, envelope: Envelope) -> _Way:
        stations = self._passage.stations(envelope.sender, envelope.recipient)
        if self.me not in stations:
            raise PeerError(COORDINATOR, "an envelope that does not go by this agency", "one of, or for, a party behind it")
        self._passage.require_so_far(envelope, stations[: stations.index(self.me)])
        first = envelope.session == self._opening
        if not first and (not state.session or envelope.session != state.session):
            raise PeerError(envelope.sender, "an envelope of another session", "one of this session")
        public = (self.manifest.identities() if first else state.run_keys).get(envelope.sender)
        if public is None or not suite.verifies(public, envelope.signed(), envelope.signature):
            raise PeerError(envelope.sender, "an envelope whose signature does not hold", "one signed with the sender's key")
        expected = way.opening if first else way.session
        if envelope.sequence != expected:
            raise PeerError(envelope.sender, f"envelope number {envelope.sequence}", f"number {expected}")
        stage = envelope.step.partition(":")[0]
        if stage != way.stage:
            self._tell(state, name, way)
            way = msgspec.structs.replace(way, stage=stage, count=0, digest=b"")
        return msgspec.structs.replace(
            way, opening=way.opening + first, session=way.session + (not first), count=way.count + 1,
            digest=suite.digest("tally", way.digest, envelope.signature),
        )  # fmt: skip

    def _tell(self, state: _State, name: str, way: _Way) -> None:
        if way.count:
            sender, _, recipient = name.partition(" ")
            self._told((state.session or self._opening).hex(), way.stage, sender, recipient, way.count, way.digest)
