"""A node's side of the exchange of files: questions of the coordinator in one folder, their answers in another.

    coordinator.toml     the coordinator's public keys, as its invitation says them
    exchange/RUN.answer  the last question of a run that was answered, by number and digest, and the answer's file: on disk before it goes out

The same question again has the same bytes for an answer. One with an earlier number is of a step gone by: it is left unanswered, since the
coordinator asks the next only when it has the answer to the last. What a run gives away is guarded as over the wire, by gate and journal:
here nothing is decided but what is answered at all.
"""

from __future__ import annotations

from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import msgspec

from clients.app import answered
from clients.consortium import FILE as CONSORTIUM
from clients.consortium import read as read_consortium
from clients.course import told_refusal
from clients.node import Node
from clients.pending import proposed
from federation.carriage.mailbox import Parcel
from federation.carriage.parcel_folder import READABLE, SUFFIX, Found, content, file_name, found
from federation.carriage.sealing import seal_to
from federation.kernel import suite
from federation.kernel.errors import ConfigurationError, CreditfedError, PeerError, PolicyRefusal
from federation.kernel.invitation import Invitation, read_invitation
from federation.kernel.known import known
from federation.kernel.manifest_rules import require_run_name
from federation.kernel.role import COORDINATOR
from federation.kernel.sealed_parcel import Answer, Ends, Question, about, number_of, read, write
from privacy.store.durable import put

KEY, INVITATION, FOLDER, ENDING = "exchange", "coordinator.toml", "exchange", ".answer"
MOST_KEPT = 1_000
"""Answers, one for each run; what runs have left goes with their journals."""
Outcome = Literal["answered", "refused", "answered before"]


class Kept(msgspec.Struct, frozen=True):
    """The last question of a run that was answered. question: its file's digest; code: of a refusal; answer: the file; before: the name of the
    answer before it.
    """

    number: int
    question: bytes
    operation: str
    answer: bytes
    code: str = ""
    before: str = ""

    @property
    def name(self) -> str:
        """The answer's file."""
        return file_name(self.question)


@dataclass(frozen=True)
class Done:
    """What became of one question of a run. code: of a refusal; exit_code: of the error for which it was refused or the run ended."""

    run: str
    operation: str
    outcome: Outcome
    code: str = ""
    exit_code: int = 0


@dataclass
class Round:
    """What one look into the folder came to. ignored: why, and how many files."""

    done: list[Done] = field(default_factory=list)
    ignored: Counter[str] = field(default_factory=Counter)

    @property
    def exit_code(self) -> int:
        """Of what was refused or ended just now: 3 where a policy did, else the first."""
        codes = [each.exit_code for each in self.done if each.exit_code]
        return 3 if 3 in codes else next(iter(codes), 0)


class Exchange:
    """One node's. Raises ConfigurationError where the node does not know its coordinator's keys, or knows two of them."""

    def __init__(self, node: Node) -> None:
        self._node, self._root = node, node.home.root
        self._coordinator = coordinator_of(self._root)
        self._private = node.home.key(KEY)
        theirs, mine = bytes.fromhex(self._coordinator.key), suite.signing_public(node.identity)
        self._there, self._back = Ends(theirs, mine), Ends(mine, theirs)

    def carry(self, incoming: Path, outgoing: Path) -> Round:
        """Answer what is in a folder, in the order in which it was asked. Raises ConfigurationError where a folder is missing, OSError."""
        for folder in (incoming, outgoing):
            if not folder.is_dir():
                raise ConfigurationError(str(folder), "there is no such folder to exchange files through", "Make it, or mount its disk.")
        if coordinator_of(self._root) != self._coordinator:  # also where one process looks again and again
            what = "the coordinator's keys have changed since this process began"
            raise ConfigurationError(str(self._root / INVITATION), what, "Start it again.")
        round_ = Round()
        for file in sorted(found(incoming), key=lambda each: (each.ticket or b"", each.path.name)):
            self._look(file, outgoing, round_)
        others = sum(each.is_file() and each.suffix != SUFFIX for each in incoming.iterdir())
        round_.ignored.update({"another kind of file": others} if others else {})
        return round_

    def _look(self, file: Found, outgoing: Path, round_: Round) -> None:
        raw = content(file)
        if raw is None or file.ticket is None:
            round_.ignored["too large, not readable or no sealed parcel"] += 1
            return
        try:
            question = read(raw, Question, self._there, self._private, COORDINATOR)
            require_run_name(question.run)
        except (PeerError, ConfigurationError):
            round_.ignored["not from the coordinator to this node, or cut short or altered"] += 1
            return
        kept, number, digest = self._kept(question.run), number_of(file.ticket), about(raw)
        if kept is not None and kept.question != digest and number <= kept.number:
            round_.ignored["of a step gone by"] += 1
            if number < kept.number:
                _discard(file.path)
            return
        if kept is not None and kept.question == digest:
            done = Done(question.run, question.operation, "answered before", kept.code)
        else:
            kept, done = self._work(question, number, digest, "" if kept is None else kept.name)
        self._give(kept, outgoing)
        if kept.before:
            _discard(outgoing / kept.before)  # that the next was asked says that it has arrived
        round_.done.append(done)

    def _work(self, question: Question, number: int, digest: bytes, before: str) -> tuple[Kept, Done]:
        """A question that was not asked before: its answer, on disk."""
        parcel = Parcel(question.operation, question.run, question.payload)
        failures = self._failures(question.run)
        try:
            said, exit_code = answered(self._node, parcel), 0
        except CreditfedError as error:
            told_refusal(parcel.run, error)
            said, exit_code = Parcel("refused", parcel.run, error.code.value.encode()), error.exit_code
        if self._failures(question.run) > failures:
            exit_code = self._exit_code()
        code = said.payload.decode() if said.operation == "refused" else ""
        answer, exchange_key = Answer(said.operation, said.run, said.payload), bytes.fromhex(self._coordinator.exchange_key)
        raw = write(answer, digest, self._back, self._node.identity, exchange_key, seal_to)
        kept = Kept(number, digest, question.operation, raw, code, before)
        self._make_room(question.run)
        put(self._path(question.run), msgspec.msgpack.encode(kept))
        return kept, Done(question.run, question.operation, "refused" if code else "answered", code, exit_code or int(bool(code)))

    @staticmethod
    def _give(kept: Kept, outgoing: Path) -> None:
        path = outgoing / kept.name
        if not path.exists() or path.read_bytes() != kept.answer:
            put(path, kept.answer, READABLE)

    # -- what is kept -----------------------------------------------------------------------------------------------------------

    def _path(self, run: str) -> Path:
        return self._root / FOLDER / f"{run}{ENDING}"

    def _kept(self, run: str) -> Kept | None:
        path = self._path(run)
        try:
            return msgspec.msgpack.decode(path.read_bytes(), type=known(Kept), strict=True)
        except FileNotFoundError:
            return None
        except (msgspec.MsgspecError, UnicodeDecodeError):
            what = "is not an answer that this node has kept"  # to answer anew would answer one question twice
            raise ConfigurationError(str(path), what, "Restore it, or abandon the run and move the file away.") from None

    def _make_room(self, run: str) -> None:
        """Forget answers of the longest ago where there are very many: a coordinator can ask about any number of runs that never come about."""
        others = [path for path in (self._root / FOLDER).glob(f"*{ENDING}") if path != self._path(run)]
        for path in sorted(others, key=lambda path: path.stat().st_mtime_ns)[: max(0, len(others) + 1 - MOST_KEPT)]:
            path.unlink()

    # -- what became of runs ----------------------------------------------------------------------------------------------------

    def _failures(self, run: str) -> int:
        return sum(event.run == run and event.event == "failed" for event in self._node.gate.approvals.events())

    def _exit_code(self) -> int:
        """Of the failure that the node noted last."""
        noted = msgspec.json.decode((self._root / "results" / "failure.json").read_bytes(), type=known(dict[str, int | str]))
        return int(noted["exit_code"])

    def standing(self) -> dict[str, str]:
        """How each run stands that was asked about through files, in words; "" where it was not proposed yet."""
        found = {each.name: each.state for each in proposed(self._node.home, self._node.gate.clock())}
        return {path.stem: found.get(path.stem, "") for path in sorted((self._root / FOLDER).glob(f"*{ENDING}"))}


def coordinator_of(root: Path) -> Invitation:
    """The coordinator's public keys, as this node has them. Raises ConfigurationError where it has none, or others than it has pinned,
    PolicyRefusal where no members are pinned or the coordinator's key was revoked.
    """
    path = root / INVITATION
    if not path.is_file():
        raise ConfigurationError(str(path), "the coordinator's keys are not here", "Put its invitation.toml there, under this name.")
    invitation, pinned = read_invitation(path.read_text(), str(path)), read_consortium(root)
    if pinned.coordinator != invitation.key:
        action = "Compare fingerprints with the coordinator, and correct the file that is wrong."
        raise ConfigurationError(str(path), "it has another key than consortium.toml pins for the coordinator", action)
    if pinned.coordinator_revoked:
        raise PolicyRefusal(str(root / CONSORTIUM), "the coordinator's key was revoked", "Nothing is answered that was signed with it.")
    return invitation


def _discard(path: Path) -> None:
    """Remove what need not be carried any more, where the folder can be written."""
    with suppress(OSError):
        path.unlink(missing_ok=True)
