"""The post to one institution that takes its batches as files: a question is put into one folder, its answer awaited in another.

    out     what a courier takes to the institution: one question at a time for a run
    into    where a courier puts its answers

A question that was not answered is kept as the same file, also for a coordinator that has been restarted and asks it again (`memory`); another
question takes its place. An answer counts for the question whose digest it names, once, if the institution signed it. Answers to questions that
are over are removed; everything else in the folder is left where it is, and counted.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import msgspec

from federation.carriage.mailbox import Parcel
from federation.carriage.parcel_folder import READABLE, Found, content, file_name, found
from federation.carriage.sealing import seal_to
from federation.kernel import suite
from federation.kernel.errors import ConfigurationError, PeerError
from federation.kernel.joining import Joining
from federation.kernel.known import known
from federation.kernel.sealed_parcel import Answer, Ends, Question, about, numbered, read, write
from federation.kernel.secret import Secret
from privacy.store.durable import put
from server.post import LostNode

POLL = 0.2
"""Seconds between two looks into the folder."""
_log = logging.getLogger("creditfed.exchange")


@dataclass(frozen=True)
class Correspondent:
    """An institution as the coordinator enrolled it. key: Ed25519 identity key; exchange_key: X25519; 32 bytes each."""

    name: str
    key: bytes
    exchange_key: bytes

    @classmethod
    def of(cls, joining: Joining) -> Self:
        """As it joined."""
        return cls(joining.name, bytes.fromhex(joining.key), bytes.fromhex(joining.exchange_key))


class _Asked(msgspec.Struct, frozen=True):
    """The question that was written last. parcel: its digest, nothing once it was answered; raw: its file, to put out again as it was."""

    number: int
    parcel: bytes = b""
    raw: bytes = b""

    @property
    def name(self) -> str:
        """The file's."""
        return file_name(numbered(self.number))

    @property
    def ticket(self) -> bytes:
        """Its answer's."""
        return about(self.raw)


class FilePost:
    """One institution's. identity, exchange: the coordinator's private keys (Ed25519, X25519); memory: a file of this run and institution in the
    coordinator's own folder, None where a restart need not be survived; clock: nanoseconds, by which questions are numbered.

    Raises ConfigurationError where a folder is missing.
    """

    def __init__(
        self, out: Path, into: Path, node: Correspondent, identity: Secret, exchange: Secret, memory: Path | None = None, *,
        clock: Callable[[], int] = time.time_ns, sleep: Callable[[float], None] = time.sleep,
    ) -> None:  # fmt: skip
        for folder in (out, into):
            if not folder.is_dir():
                raise ConfigurationError(str(folder), "there is no such folder to exchange files through", "Make it, or mount its disk.")
        self._out, self._into, self.node = out, into, node
        self._identity, self._exchange, self._memory, self._clock, self._sleep = identity, exchange, memory, clock, sleep
        me = suite.signing_public(identity)
        self._there, self._back = Ends(me, node.key), Ends(node.key, me)
        self._asked = self._remembered()
        self._due: tuple[bytes, Parcel] | None = None
        self._answered = False
        self._over: set[bytes] = set()
        self._judged: dict[tuple[Path, tuple[int, int, int]], str] = {}
        self.ignored: Counter[str] = Counter()

    def send(self, parcels: Mapping[str, Parcel]) -> None:
        """Put the question out, or leave it there where it is out already."""
        if not parcels:
            return
        ((name, parcel),) = parcels.items()
        if name != self.node.name:
            raise ConfigurationError(name, f"is not the institution behind these folders, {self.node.name}", "Give each its own post.")
        digest = suite.digest("asked", parcel.operation, parcel.run, suite.plain_digest(parcel.payload))
        before = self._asked
        try:
            if before.parcel != digest:
                self._asked = self._question(parcel, digest)
                self._remember()  # first: a question that is out is remembered
                self._take_in(before)
                self._over.add(before.ticket)
            self._put_out(self._asked)
        except OSError as error:
            what = f"its folder cannot be written ({error.strerror})"
            raise LostNode(self.node.name, what, "Make room, or mount its disk; then resume the run.") from None
        self._due = self._asked.ticket, parcel

    def _question(self, parcel: Parcel, digest: bytes) -> _Asked:
        number = max(self._clock(), self._asked.number + 1)
        said = Question(parcel.operation, parcel.run, parcel.payload)
        return _Asked(number, digest, write(said, numbered(number), self._there, self._identity, self.node.exchange_key, seal_to))

    def _put_out(self, asked: _Asked) -> None:
        path = self._out / asked.name
        if not path.exists() or about(path.read_bytes()) != asked.ticket:
            put(path, asked.raw, READABLE)

    def _take_in(self, asked: _Asked) -> None:
        for name in (asked.name, f"{asked.name}.partial"):  # a write that was cut short leaves the latter
            (self._out / name).unlink(missing_ok=True)

    def _remember(self) -> None:
        if self._memory is not None:
            put(self._memory, msgspec.msgpack.encode(self._asked))

    def _remembered(self) -> _Asked:
        if self._memory is None or not self._memory.exists():
            return _Asked(0)
        try:
            return msgspec.msgpack.decode(self._memory.read_bytes(), type=known(_Asked))
        except (msgspec.MsgspecError, UnicodeDecodeError):
            raise ConfigurationError(
                str(self._memory), "is not what a file post remembers", "Delete it: the question is asked anew."
            ) from None

    def collect(self) -> dict[str, Parcel | LostNode]:
        """The answer, once it is there. The files stay until `forget`, for a coordinator that is killed before it has made use of them."""
        if self._due is None:
            return {}
        (ticket, parcel), ignored, judged = self._due, Counter[str](), dict[tuple[Path, tuple[int, int, int]], str]()
        answer: Parcel | None = None
        for file in self._files():
            if file.ticket in self._over:
                _remove(file.path)  # of a question that was answered, or that nobody asks any more
                continue
            verdict = self._judged.get((file.path, file.mark)) if file.ticket == ticket else "not an answer that is due"
            if verdict is None and answer is None:
                opened = self._read(file, parcel.run)
                verdict, answer = (opened, None) if isinstance(opened, str) else (None, opened)
            if verdict is not None:
                ignored[verdict] += 1
                judged[file.path, file.mark] = verdict
        self._judged = judged
        self._tell(ignored)
        if answer is None:
            return {}
        self._due, self._answered = None, True
        return {self.node.name: answer}

    def _files(self) -> list[Found]:
        """What lies in the folder; nothing while its disk is away."""
        try:
            return found(self._into)
        except OSError as error:
            _log.warning("%s: the folder of its answers cannot be read (%s)", self.node.name, error.strerror)
            return []

    def _tell(self, ignored: Counter[str]) -> None:
        """How many files are ignored, and why, when that changes."""
        if ignored != self.ignored:
            self.ignored = ignored
            said = ", ".join(f"{number} {why}" for why, number in ignored.items())
            _log.warning("%s: files that are ignored: %s", self.node.name, said or "none")

    def _read(self, file: Found, run: str) -> Parcel | str:
        """The answer in a file that says that it is one, or why it is not taken."""
        raw = content(file)
        if raw is None:
            return "too large or not readable"
        try:
            answer = read(raw, Answer, self._back, self._exchange, self.node.name)
        except PeerError:
            return "cut short, altered or not from this institution"
        return Parcel(answer.operation, answer.run, answer.payload) if answer.run == run else "of another run"

    def forget(self) -> None:
        """Wait no longer for what has not come: its file stays out. What has come need not be carried any more."""
        self._due = None
        if not self._answered:
            return
        asked, self._asked, self._answered = self._asked, _Asked(self._asked.number), False
        self._over.add(asked.ticket)
        with suppress(OSError):  # a disk that is away: what lies on it is ignored when it is back
            self._remember()
            self._take_in(asked)
        for file in self._files():
            if file.ticket == asked.ticket:
                _remove(file.path)

    def wait(self) -> None:
        """A moment, where something is awaited."""
        if self._due is not None:
            self._sleep(POLL)


def _remove(path: Path) -> None:
    """Where the folder can be written."""
    with suppress(OSError):
        path.unlink(missing_ok=True)
