"""A participant: drives one party's program through a session, one batch of envelopes at a time, and survives being killed.

Sans-IO: `deliver(number, batch)` returns the bytes to send. Inside a stage recovery is replay over a durable outbox: batch and reply are
journalled in one transaction before the reply leaves; a new process loads the stage's snapshot, runs the generator again over the stage's
batches, throws away what it regenerates, and answers a repeated batch with the stored bytes. No generator is ever serialised.

Order rules: 1. batch numbers count up by one, and the last may be repeated; 2. every envelope passes `Channel.open`, or the run ends; 3. a
role gets just what its step names, and anything else that reaches it ends the run; 4. a snapshot is stored when a stage has ended; 5. a
failure is stored before its abort leaves and is final: no restart sends anything more under the keys of a failed session.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from typing import Any, Generic, TypeVar

import msgspec
import numpy as np
from numpy.typing import NDArray

from federation.kernel import state as states
from federation.kernel import suite
from federation.kernel.batch import Abort, Batch, sent_just, silence
from federation.kernel.codec import decode, encode
from federation.kernel.envelope import Channel, Envelope
from federation.kernel.errors import CreditfedError, DataError, LocalError, PeerAborted, PeerError
from federation.kernel.inbox import Inbox, require_quorum
from federation.kernel.journal import Journal, Record
from federation.kernel.loss import Loss
from federation.kernel.manifest import Manifest
from federation.kernel.program import Program
from federation.kernel.role import COORDINATOR, Context, Received, Run, Step
from federation.kernel.secret import Secret
from federation.kernel.session import (
    MANY,
    Entropy,
    Hello,
    Keys,
    agree_on_group_key,
    draw_lots,
    open_session,
    opening_channel,
    require_approved,
    session_channel,
)
from federation.kernel.snapshot import Snapshot, failed, read_snapshot
from federation.kernel.tally import SENT, Tally, Witness
from federation.kernel.withdrawal import RESULTS, Withdrawal, Withdrawals, packed, without

S = TypeVar("S", bound=states.State)
_OPEN, _LOTS, _GROUP, _PROGRAM = "open", "lots", "group", "program"


def _ignore(*_: object) -> None:
    pass


class Participant(Generic[S]):
    """One party of one session.

    identity: the party's identity key; commitment: to its data snapshot (32 bytes); entropy: fresh bytes from the operating system, used
    once for the session's root; observer: takes progress figures for the party's own screen; approved: the snapshot that each institution
    signed the manifest for, which its hello must repeat (None: not looked at); notice: of this party's audit log, for its hello; heard: takes
    the hellos of all, and the session, before it is used, and may raise; witness: takes what was sent and received in each stage that ends,
    before anything of the next leaves (a stage that ends again after a crash is told again); withdrawn: which rows of this party's table, as
    the program has it, have lost their consent since it was opened, (n,) bool, True = gone (None or all False: nobody's); asked when a stage
    of the program begins, and once more when the last has ended; spent: takes the name and loss of each release with noise, and returns when
    they are booked on disk, before anything of the release leaves (told again on a replay); what it raises ends the run.
    """

    def __init__(
        self,
        manifest: Manifest,
        me: str,
        identity: Secret,
        program: Program[S],
        journal: Journal,
        *,
        entropy: Entropy,
        commitment: bytes = bytes(32),
        observer: Callable[[dict[str, float | str]], None] = _ignore,
        approved: Mapping[str, bytes] | None = None,
        notice: bytes = b"",
        heard: Callable[[Mapping[str, Hello], bytes], None] = _ignore,
        witness: Witness = _ignore,
        withdrawn: Callable[[], NDArray[np.bool_] | None] | None = None,
        spent: Callable[[str, Loss], None] = _ignore,
    ) -> None:
        self.manifest, self.me = manifest, me
        self._identity, self._program, self._journal = identity, program, journal
        self._entropy, self._commitment, self._observer = entropy, commitment, observer
        self._approved, self._notice, self._heard, self._witness = approved, notice, heard, witness
        self._withdrawn, self._withdrawals, self._spent = withdrawn, Withdrawals(), spent
        self._tally = Tally()
        self.failure: CreditfedError | None = None
        self.finished = False
        self._role: Generator[tuple[Run, Step], Received, Any] | None = None
        self._waiting: tuple[Run, Step] | None = None
        self._number, self._reply = -1, b""
        self._changed = False
        self._effects: dict[str, bytes] = {}
        self._stage = ""
        self._sent_before: dict[str, int] = {}
        self._session_before = b""
        self._missing: frozenset[str] = frozenset()
        record = journal.load()
        if record is None:
            self._fresh()
        else:
            self._restore(record)

    # -- what the carriage calls ------------------------------------------------------------------------------------------------

    def deliver(self, number: int, envelopes: tuple[Envelope, ...], missing: tuple[str, ...] = ()) -> bytes:
        """The encoded `Batch` to send back. A repeated number gives the same bytes again; nothing is done twice.

        missing: at the coordinator, parties that are given up. Raises PeerError, and changes nothing, for a number that is neither the last
        nor the next, and for parties said to be missing at an institution, which hears so from its protocols alone.
        """
        if number == self._number and number >= 0:
            return self._reply
        if self.failure is not None and number > self._number:
            return silence(number)  # nothing is kept: a failed run must not let anyone fill the disk
        if number != self._number + 1:
            raise PeerError(COORDINATOR, f"batch {number}", f"batch {self._number + 1}")
        if missing and self.me != COORDINATOR:
            raise PeerError(COORDINATOR, "a list of missing parties", "an announcement by the protocol")
        outgoing: list[Envelope] = []
        self._changed = False
        self._guarded(envelopes, outgoing, missing, first=number == 0)
        return self._commit(number, envelopes, outgoing, missing)

    def abort(self, error: CreditfedError) -> bytes:
        """End the run at this party, from outside its role, also in the midst of a batch: the batch to send."""
        if self.failure is not None:
            return silence(self._number + 1)
        outgoing: list[Envelope] = []
        self._fail(error, outgoing)
        return self._commit(self._number + 1, (), outgoing)

    def release(self) -> None:
        """Let go of the role under way, whose frames hold arrays as large as the data; nothing may be delivered after."""
        if self._role is not None:
            self._role.close()
        self._role, self._waiting = None, None

    def _commit(self, number: int, envelopes: tuple[Envelope, ...], outgoing: list[Envelope], missing: tuple[str, ...] = ()) -> bytes:
        reply = encode(Batch(number, tuple(outgoing), self.finished or self.failure is not None))
        if self.failure is not None:
            self._effects = {}
            self._journal.answered(number, b"", reply, failed(self.failure).encoded(), {})
        elif self._changed:
            mine = f"{self._stage}:"
            self._effects = {label: value for label, value in self._effects.items() if label.startswith(mine)}
            self._journal.answered(number, b"", reply, self._image, self._effects | {SENT: self._tally.sent()})
        else:
            self._journal.answered(number, encode(Batch(number, envelopes, missing=missing)), reply, None, {SENT: self._tally.sent()})
        self._number, self._reply = number, reply
        self._mark()
        return reply

    def _mark(self) -> None:
        """Where a batch that fails goes back to: what it would have sent is not sent, and its sequence numbers are free again."""
        self._sent_before, self._session_before = dict(self._channel.sent), self._channel.session

    @property
    def state(self) -> S:
        """The latest state between stages."""
        return self._state

    @property
    def session(self) -> bytes:
        """The session identifier (of the opening, before there is a session)."""
        return self._channel.session

    @property
    def run_keys(self) -> dict[str, bytes]:
        """Everyone's public run keys, once the session is open; empty before."""
        return {} if self._phase == _OPEN else {name: hello.run_key for name, hello in self._keys.hellos.items()}

    @property
    def stage(self) -> str:
        """The stage under way, for progress."""
        return self._stage

    @property
    def withdrawals(self) -> tuple[Withdrawal, ...]:
        """How many rows were withdrawn, and from which stage on the run went on without them."""
        return self._withdrawals.log

    # -- stages -----------------------------------------------------------------------------------------------------------------

    def _fresh(self) -> None:
        self._keys = Keys(self._entropy(suite.KEY_BYTES), notice=self._notice)
        self._state = self._program.begin()
        self._view = suite.digest("view")
        self._inbox = Inbox()
        self._channel: Channel = opening_channel(self.manifest, self.me, self._identity)
        self._phase = _OPEN
        self._image = self._snapshot()
        self._journal.answered(-1, b"", b"", self._image, {})  # the session's secrets are on disk before they are used
        self._begin()
        self._mark()

    def _restore(self, record: Record) -> None:
        image = read_snapshot(record.snapshot)
        self._number, self._reply, self._image = record.number, record.reply, record.snapshot
        if image.failure is not None:
            self.failure = image.failure.error()
            self._state, self._channel = self._program.begin(), opening_channel(self.manifest, self.me, self._identity)
            return
        self._keys, self._phase, self._view = image.keys, image.phase, image.view
        if image.keys.hellos and image.keys.hellos[self.me].commitment != self._commitment:
            raise DataError(self.me, "the data are not those that this run began with", "Restore them, or start a new run.")
        self._state = states.load(image.state, self._program.kind)
        self._inbox = Inbox(image.early)
        opening = self._phase == _OPEN
        self._channel = (
            opening_channel(self.manifest, self.me, self._identity) if opening else session_channel(self.manifest, self.me, self._keys)
        )
        self._channel.sent, self._channel.received = dict(image.sent), dict(image.received)
        self._effects, self._missing = dict(record.effects), frozenset(image.missing)
        self._tally = Tally(image.tally)
        self._withdrawals = image.withdrawals
        self._begin()
        discarded: list[Envelope] = []
        if record.number >= 0:
            self._guarded((), discarded, first=True)
        for entry in record.entries:
            batch = decode(entry, Batch, self.me, len(entry))
            self._guarded(batch.envelopes, discarded, batch.missing)
        self._tally.sent_was(record.effects.get(SENT))
        self._mark()
        if self.failure is not None or not sent_just(self._reply, self._channel, self.me):  # before a sequence number serves twice
            raise LocalError(
                self.me, "the journal of this run does not replay to where it was", "Abandon the run: code or data changed since it began."
            )

    def _snapshot(self) -> bytes:
        channel = self._channel
        return Snapshot(
            self._phase, self._keys, states.dump(self._state), channel.sent, channel.received, self._view, self._inbox.letters(),
            missing=tuple(sorted(self._missing)), tally=self._tally.counts(), withdrawals=self._withdrawals,
        ).encoded()  # fmt: skip

    def _begin(self) -> None:
        """Start the generator of the current phase."""
        self._role, self._waiting, self._stage = None, None, self._phase
        if self._phase == _PROGRAM:
            stage = self._program.stage(self._state)
            if stage is None:
                self.finished = True
            else:
                self._role = stage.role(self._run(stage.name))
        elif self._phase == _OPEN:
            self._role = open_session(self._run(_OPEN), self.manifest, self._keys.hello(self._commitment), self._identity)
        elif self._phase == _LOTS:
            self._role = draw_lots(self._run(_LOTS), self._keys.lot, self._keys.hellos)
        elif self.me in self.manifest.members:
            self._role = agree_on_group_key(self._run(_GROUP))

    def _run(self, stage: str) -> Run:
        keys, self._stage = self._keys, stage
        opening = stage == _OPEN
        pairs = {} if opening else keys.pairs(self.manifest, self.me)
        return Run(
            Context(
                self.me, self.manifest.members, self._channel.session, stage, keys.secret, pairs, Secret(keys.group), self.manifest.seed, self,
                lambda: self._view, keys.signing, {name: hello.run_key for name, hello in keys.hellos.items()}, keys.lots,
            )
        )  # fmt: skip

    def _ended(self, value: Any) -> None:
        """A stage returned: its value becomes state, and the next stage begins."""
        ended = self._stage
        if self._phase == _OPEN:
            require_approved(value, self._approved or {})
            self._keys = msgspec.structs.replace(self._keys, hellos=value)
            self._phase = _LOTS if len(self.manifest.members) > MANY else _GROUP
            self._channel = session_channel(self.manifest, self.me, self._keys)
            self._heard(value, self._channel.session)
            for envelope in self._inbox.unseal():
                self._accept(envelope)
        elif self._phase == _LOTS:
            self._keys = msgspec.structs.replace(self._keys, lots=value)
            self._phase = _GROUP
        elif self._phase == _GROUP:
            self._keys = msgspec.structs.replace(self._keys, group=value or b"")
            self._phase = _PROGRAM
        else:
            self._state = value
        self._witness(self._channel.session.hex(), ended, self._tally.take(ended))
        if self._phase == _PROGRAM:
            self._hear_withdrawals()
        self._image = self._snapshot()
        self._changed = True
        self._begin()

    def _hear_withdrawals(self) -> None:
        """Raises PolicyRefusal (code CONSENT) where rows are gone and the run may not go on, or its program cannot go on, without them.

        When the last stage has ended there is nothing to end: the rows are then left out of what this party writes for itself.
        """
        ask = self._withdrawn
        if ask is None:
            return
        stage = self._program.stage(self._state)
        name = stage.name if stage else RESULTS
        answer = self.effect(f"{name}: withdrawn", lambda: packed(ask(), self.me))
        found = self._withdrawals.heard(answer, name, self.me)
        if found is not self._withdrawals:
            rule = "" if stage is None else self.manifest.privacy.withdrawal
            self._state, self._withdrawals = without(self._program, self._state, found.gone, rule, self.me), found

    # -- messages ---------------------------------------------------------------------------------------------------------------

    def _guarded(
        self, envelopes: tuple[Envelope, ...], outgoing: list[Envelope], missing: tuple[str, ...] = (), *, first: bool = False
    ) -> None:
        self._mark()
        self._missing |= frozenset(missing)
        try:
            for envelope in envelopes:  # all of them first: a snapshot taken below then holds every envelope not yet used
                self._accept(envelope)
            if first:
                self._advance(None, outgoing)
            self._pump(outgoing)
        except CreditfedError as error:
            self._fail(error, outgoing)

    def _fail(self, error: CreditfedError, outgoing: list[Envelope]) -> None:
        self.failure = error
        del outgoing[:]
        self._channel.sent = dict(self._sent_before) if self._channel.session == self._session_before else {}
        if not isinstance(error, PeerAborted):
            others = [name for name in (COORDINATOR, *self.manifest.signers) if name != self.me]
            outgoing += [self._channel.wrap(name, "abort", Abort(error.code)) for name in others]

    def _accept(self, envelope: Envelope) -> None:
        if self._phase == _OPEN and envelope.session != self._channel.session:
            self._inbox.seal(envelope)
            return
        if envelope.sender in self._missing:
            return  # it was given up: what comes too late changes nothing any more
        letter = self._channel.open(envelope)
        self._tally.note("received", envelope)
        if letter.kind == Abort.kind():
            raise PeerAborted(letter.sender, decode(letter.body, Abort, letter.sender).reason)
        self._inbox.put(letter)

    def _pump(self, outgoing: list[Envelope]) -> None:
        """Feed the role as long as what it waits for has arrived."""
        while self.failure is None and not self.finished:
            if self._role is None:  # the empty part of coordinator and agencies in agreeing on a group key
                self._ended(None)
                self._advance(None, outgoing)
                continue
            if self._waiting is None:
                return
            run, step = self._waiting
            awaited = self._inbox.awaited(step)
            if any(sender not in self._missing for sender in awaited):
                return
            require_quorum(step, awaited, self.manifest.banks.drop_outs)
            received, self._view = self._inbox.take(step, run.address, self._view)
            self._advance(received, outgoing)

    def _advance(self, received: Received | None, outgoing: list[Envelope]) -> None:
        while self._role is not None:
            try:
                run, step = self._role.send(received)  # type: ignore[arg-type]  # a new generator takes None
            except StopIteration as end:
                self._ended(end.value)
                received = None
                continue
            place = run.address
            sent = [self._channel.wrap(recipient, place, message) for recipient, message in step.send.items()]
            for envelope in sent:
                self._tally.note("sent", envelope)
            outgoing += sent
            self._waiting = (run, step)
            return

    # -- the shelf that a run sees ----------------------------------------------------------------------------------------------

    def effect(self, label: str, produce: Callable[[], bytes]) -> bytes:
        """Stored before it is used; the same bytes on replay."""
        if label not in self._effects:
            value = produce()
            self._journal.keep(label, value)
            self._effects[label] = value
        return self._effects[label]

    def spend(self, release: str, loss: Loss) -> None:
        """Booked before what it is about leaves; the same again on replay."""
        self._spent(release, loss)

    def report(self, **figures: float | str) -> None:
        """To the party's own screen."""
        self._observer(figures)
