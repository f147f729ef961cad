"""A protocol in a program of equal stages, each one call of it: what it gives through envelopes, journals and crashes."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from federation.kernel.program import Stage
from federation.kernel.role import COORDINATOR, Role, Run
from federation.kernel.state import State
from tests.post import Post, manifest

Call = Callable[[str, Run, int], Role[Iterable[float]]]
"""A party's part of the protocol, from its name, its run and the number of the stage."""


class Given(State, frozen=True):
    """What each stage so far gave this party."""

    each: tuple[tuple[int | float, ...], ...] = ()


@dataclass
class Staged:
    """One party's program."""

    me: str
    call: Call
    stages: int
    kind: type[Given] = field(default=Given, init=False)

    def begin(self) -> Given:
        return Given()

    def stage(self, state: Given) -> Stage[Given] | None:
        return None if len(state.each) == self.stages else Stage(f"call {len(state.each)}", lambda run: self._call(run, state))

    def _call(self, run: Run, state: Given) -> Role[Given]:
        given = yield from self.call(self.me, run, len(state.each))
        return Given((*state.each, tuple(given)))


def staged(call: Call, *names: str, stages: int = 1, **hostile: Any) -> Post:
    """The post of these parties and a coordinator, hostile where it is told to be."""
    return Post(manifest(*names), {name: partial(Staged, name, call, stages) for name in (COORDINATOR, *names)}, **hostile)
