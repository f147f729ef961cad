"""A small program that uses all a run has: private and broadcast words, randomness, keys, an effect, in two stages.

Its result is a digest of all that a party received, so that two runs with one result exchanged the same; the effect is new bytes whenever
it is produced, and is told in two steps, so that a party that produced it twice is found out.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from federation.kernel import suite
from federation.kernel.codec import Message
from federation.kernel.program import Stage
from federation.kernel.role import COORDINATOR, Role, Run
from federation.kernel.state import State
from tests.post import Post, manifest

CANARY = b"canary of a body between institutions"
NAMES = ("bank", "platform", "tax")
EVERYONE = (*NAMES, COORDINATOR)
STAGES = 2
_produced = itertools.count()


class Word(Message, frozen=True, tag="test/word"):
    """text: the canary; drawn: from the run's randomness; kept: an effect."""

    text: bytes
    drawn: bytes = b""
    kept: bytes = b""


class Notice(Message, frozen=True, tag="test/notice"):
    """From the coordinator, to everyone alike."""

    broadcast = True
    text: bytes


class Heard(State, frozen=True):
    """done: stages so far; heard: digest of all received; steady: every effect was told alike in both steps."""

    done: int = 0
    heard: bytes = b""
    steady: bool = True


@dataclass
class Talk:
    """One party's program. disturb: called at each stage's middle with (party, stage); it may raise, as a bug would; fresh: what it adds
    to its words, which may be other bytes whenever it is asked, as those of an encryption are.
    """

    me: str
    disturb: Callable[[str, int], None] = lambda _party, _stage: None
    fresh: Callable[[], bytes] = bytes
    kind: type[Heard] = field(default=Heard, init=False)

    def begin(self) -> Heard:
        return Heard()

    def stage(self, state: Heard) -> Stage[Heard] | None:
        role = self.summon if self.me == COORDINATOR else self.talk
        return None if state.done == STAGES else Stage(f"talk {state.done}", lambda run: role(run, state))

    def summon(self, run: Run, state: Heard) -> Role[Heard]:
        notice = Notice(b"notice " + run.random("notice").bytes(8))
        received = yield from run.step("notice", dict.fromkeys(run.members, notice), dict.fromkeys(run.members, Word))
        self.disturb(self.me, state.done)
        heard = suite.digest(state.heard, *(received.of(name, Word).text for name in run.members))
        return Heard(state.done + 1, heard, state.steady)

    def talk(self, run: Run, state: Heard) -> Role[Heard]:
        kept = run.effect("kept", lambda: next(_produced).to_bytes(8, "big"))
        heard = [state.heard]
        told: dict[str, set[bytes]] = {}
        for name in ("first", "second"):
            part = run.within(name)
            words = {
                peer: Word(CANARY + self.fresh(), part.random(f"for {peer}").bytes(8) + part.pair_key(peer, "k").reveal(), kept)
                for peer in run.peers
            }
            received = yield from part.step("words", words, dict.fromkeys(run.peers, Word))
            for peer in run.peers:
                word = received.of(peer, Word)
                heard += [word.text, word.drawn]
                told.setdefault(peer, set()).add(word.kept)
        self.disturb(self.me, state.done)
        notice = yield from run.step("notice", {COORDINATOR: Word(b"hello")}, {COORDINATOR: Notice})
        heard += [notice.of(COORDINATOR, Notice).text, run.group_key("group").reveal()]
        return Heard(state.done + 1, suite.digest(*heard), state.steady and all(len(values) == 1 for values in told.values()))


def post(disturb: Callable[[str, int], None] = lambda _party, _stage: None, **hostile: Any) -> Post:
    """The post of a talk, hostile where it is told to be."""

    def program(name: str) -> Callable[[], Talk]:
        return lambda: Talk(name, disturb)

    return Post(manifest(*NAMES), {name: program(name) for name in EVERYONE}, **hostile)


def result(played: Post) -> dict[str, Heard]:
    """What every party heard; raises where one did not finish."""
    unfinished = {name: str(party.failure) for name, party in played.parties.items() if not party.finished or party.failure}
    if unfinished:
        raise AssertionError(unfinished)
    return {name: party.state for name, party in played.parties.items()}
