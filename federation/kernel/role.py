"""What a protocol role is made of: steps out, batches in, and a `Run` for everything that is not a message.

A role is a generator. It yields a `Step` (what it sends, what it waits for) and receives just that, a `Received`; its return value is the
protocol's output. The driver feeds it; after a crash the driver runs it again over the same batches, so a role must be a function of its
arguments, its batches and its `Run` alone: no clock, no files, no randomness but the run's.

    def holder(run: Run, owner: str) -> Role[int]:
        received = yield from run.step("answer", send={owner: Answer(...)}, expect={owner: Total})
        return received.of(owner, Total).value
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from typing import Protocol, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from federation.kernel import suite
from federation.kernel.codec import SMALL, Message
from federation.kernel.errors import LocalError
from federation.kernel.loss import Loss
from federation.kernel.secret import Secret

T = TypeVar("T")
M = TypeVar("M", bound=Message)

COORDINATOR = "coordinator"


class Received(dict[str, Message]):
    """The messages of one step, by sender."""

    def of(self, sender: str, kind: type[M]) -> M:
        """The sender's message, which the driver has already checked to be of this kind."""
        message = self[sender]
        if not isinstance(message, kind):
            raise LocalError("kernel", f"step took {kind.__name__}, the driver gave {type(message).__name__}", "This is a bug: report it.")
        return message


@dataclass(frozen=True)
class Step:
    """One exchange: messages to send, and the kind of message awaited from each sender (nothing awaited: send and go on).

    name: unique within the role's `Run` path; limit: the most bytes that each awaited message may have; quorum: None where everyone must
    answer, or how many must, once the driver has given the others up (only the coordinator's driver gives anyone up).
    """

    name: str
    send: Mapping[str, Message] = field(default_factory=dict)
    expect: Mapping[str, type[Message]] = field(default_factory=dict)
    limit: int = SMALL
    quorum: int | None = None


Role: TypeAlias = Generator["tuple[Run, Step]", Received, T]


class Randomness:
    """A cryptographic random stream: AES-256-CTR under a key used for nothing else, so that a replay draws the same."""

    def __init__(self, key: Secret) -> None:
        self._key, self._used = key, 0

    def words(self, count: int) -> NDArray[np.uint64]:
        """Uniform 64-bit words, (count,)."""
        out = suite.keystream(self._key, count, self._used)
        self._used += count
        return out

    def bytes(self, count: int) -> bytes:
        """Uniform bytes."""
        return self.words(-(-count // 8)).tobytes()[:count]

    def secret(self, count: int = suite.KEY_BYTES) -> Secret:
        """Uniform bytes that do not print."""
        return Secret(self.bytes(count))

    def below(self, bound: int) -> int:
        """A uniform integer in [0, bound), by rejection."""
        size = (bound - 1).bit_length()
        while True:
            value = int.from_bytes(self.bytes(-(-size // 8) or 1), "little") & ((1 << size) - 1)
            if value < bound:
                return value

    def permutation(self, count: int) -> NDArray[np.int64]:
        """A uniform permutation of range(count): the order of random 64-bit words, drawn again if two are equal."""
        while True:
            words = self.words(count)
            order = np.argsort(words, kind="stable")
            ranked = words[order]
            if count < 2 or (ranked[1:] != ranked[:-1]).all():
                return order


class Shelf(Protocol):
    """Where a run keeps what it may not lose, and says how far it is."""

    def effect(self, label: str, produce: Callable[[], bytes]) -> bytes:
        """Stored before it is used."""

    def spend(self, release: str, loss: Loss) -> None:
        """Booked before what it is about leaves."""

    def report(self, **figures: float | str) -> None:
        """To the party's own screen."""


@dataclass(frozen=True)
class Context:
    """What every role of one stage shares.

    me: this party; members: the institutions, in the manifest's order; session: 32 bytes; stage: its name, unique in the session;
    secret: the session secret; pair: a secret shared with each other institution; group: one shared by all institutions and not the
    coordinator (empty at the coordinator); seed: the manifest's seed; view: digest of all that the coordinator has broadcast so far;
    signing, publics: this party's Ed25519 run key and every party's public one; lots: public randomness that nobody could choose, where
    institutions are many (else empty).
    """

    me: str
    members: tuple[str, ...]
    session: bytes
    stage: str
    secret: Secret
    pair: Mapping[str, Secret]
    group: Secret
    seed: int
    shelf: Shelf
    view: Callable[[], bytes]
    signing: Secret
    publics: Mapping[str, bytes]
    lots: bytes = b""
    claimed: set[str] = field(default_factory=set)


class Run:
    """A role's handle: names, derived keys, randomness and effects, all bound to session, stage and path.

    `within(name)` gives the same run one path element deeper; each path, key label and random label is used once per stage, which is
    checked, so that no mask or nonce can ever serve two plaintexts.
    """

    def __init__(self, context: Context, path: str = "") -> None:
        self._context, self.path = context, path

    @property
    def me(self) -> str:
        """This party's name."""
        return self._context.me

    @property
    def members(self) -> tuple[str, ...]:
        """The institutions, in the manifest's order."""
        return self._context.members

    @property
    def peers(self) -> tuple[str, ...]:
        """The institutions other than this one."""
        return tuple(name for name in self.members if name != self.me)

    @property
    def session(self) -> bytes:
        """The session, 32 bytes."""
        return self._context.session

    @property
    def lots(self) -> bytes:
        """Public randomness that nobody could choose, 32 bytes; empty where institutions are few."""
        return self._context.lots

    @property
    def address(self) -> str:
        """Stage and path: what binds a message or a key to its place in the session."""
        return f"{self._context.stage}:{self.path}"

    def within(self, name: str) -> Run:
        """The run for a sub-protocol."""
        return Run(self._context, f"{self.path}/{name}")

    def random(self, label: str) -> Randomness:
        """A fresh secret stream for this label (reproduced by a replay, never by another session)."""
        context = self._context
        return Randomness(suite.derive(context.secret, context.session, self._claim("random", label)))

    def model_random(self, label: str) -> np.random.Generator:
        """A public, reproducible generator from the manifest's seed: the same in every session of the same manifest seed."""
        key = suite.derive(Secret(suite.digest("model", self._context.seed)), self.path, label)
        return np.random.Generator(np.random.Philox(int.from_bytes(key.reveal()[:16], "little")))

    def pair_key(self, peer: str, label: str, *, shown: bool = False) -> Secret:
        """A key that this party and the peer share, for one use.

        shown: bound to all broadcasts received so far, too: masks of two who were shown different ones then do not cancel, whoever adds them.
        """
        context = self._context
        self._claim(f"pair {peer}", label)
        view = (context.view(),) if shown else ()
        return suite.derive(context.pair[peer], context.session, *view, *sorted((self.me, peer)), f"{self.address} pair {label}")

    def group_key(self, label: str, members: tuple[str, ...] | None = None) -> Secret:
        """A key that all institutions share, and the coordinator does not, for one use; bound to all broadcasts received so far.

        Members who were shown different broadcasts derive different keys, so that nothing they then check together holds.
        """
        context = self._context
        return suite.derive(context.group, context.session, context.view(), *(members or ()), self._claim("group", label))

    def effect(self, label: str, produce: Callable[[], bytes]) -> bytes:
        """Bytes that cannot be produced again (a SEAL key, a noise draw): stored before they are used, given back on replay."""
        return self._context.shelf.effect(self._claim("effect", label), produce)

    def spend(self, release: str, loss: Loss) -> None:
        """Say what a release with noise costs, before anything of it is sent. release: its name, unique in the session.

        A replay says the same again. Raises what the party's ledger raises, and the release does not leave.
        """
        self._context.shelf.spend(release, loss)

    def report(self, **figures: float | str) -> None:
        """Progress for this party's own screen; it never leaves the party."""
        self._context.shelf.report(**figures)

    def step(
        self,
        name: str,
        send: Mapping[str, Message] | None = None,
        expect: Mapping[str, type[Message]] | None = None,
        limit: int = SMALL,
        quorum: int | None = None,
    ) -> Role[Received]:
        """Send and await: `received = yield from run.step("answer", {...}, {...})`; with a quorum, `received` may lack senders."""
        self._claim("step", name)
        return (yield self, Step(name, send or {}, expect or {}, limit, quorum))

    def attest(self, label: str, statement: bytes) -> bytes:
        """This party's signature (64 bytes) of a statement at this place of the session, for others to show to third parties."""
        context = self._context
        return suite.sign(context.signing, self._statement(label, statement))

    def attested(self, party: str, label: str, statement: bytes, signature: bytes) -> bool:
        """Whether a party attested a statement at this place of the session."""
        public = self._context.publics.get(party)
        return public is not None and suite.verifies(public, self._statement(label, statement), signature)

    def _statement(self, label: str, statement: bytes) -> bytes:
        return suite.digest("attest", self.session, self.address, label, statement)

    def _claim(self, use: str, label: str) -> str:
        name = f"{self.address} {use} {label}"
        if name in self._context.claimed:
            raise LocalError("kernel", f"the label {name!r} was used twice in one stage", "This is a bug: report it.")
        self._context.claimed.add(name)
        return name
