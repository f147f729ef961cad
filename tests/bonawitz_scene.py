"""One masked sum of five members under a hostile coordinator with members in league: the stage of the attacks of `privacy.attacks.bonawitz`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from federation.kernel.codec import Message
from federation.kernel.role import COORDINATOR, Role, Run
from federation.masked_sum.bonawitz import Circle, Shares, sum_member
from federation.masked_sum.cover import Cover
from federation.masked_sum.fixed_point import FixedPoint, Integers
from privacy.attacks import bonawitz as attack
from privacy.attacks.bonawitz import Loot
from tests.hall import Hall

SEED = 20_240_918
LENGTH = 4
BANKS = tuple(f"bank{place}" for place in range(5))
TARGET = BANKS[3]
SPY = BANKS[4]
CIRCLE = Circle(BANKS, 4)

Script = Callable[[Run, Loot, dict[str, Run]], Role[None]]


class Scene:
    """One sum under a hostile coordinator. spies: members in league; without: what the members lack, "nothing" for our own members."""

    def __init__(self, circle: Circle, without: str = "nothing", spies: tuple[str, ...] = (SPY,), bits: int = 32) -> None:
        self.circle, self.members, self.spies, self.without, self.bits = circle, circle.members, spies, without, bits
        self.encoding = FixedPoint(2.0**30, len(self.members), 0)
        rng = np.random.default_rng(SEED)
        self.inputs = {name: rng.integers(-(1 << 30), 1 << 30, LENGTH) for name in self.members}
        self.hall = Hall(self.members)
        self.loot = Loot(self.hall.run(COORDINATOR), circle)

    def member(self, name: str) -> Role[Any]:
        run = self.hall.run(name)
        if self.without == "nothing":
            return sum_member(run, self.inputs[name], self.encoding, self.circle)
        without: Any = None if self.without == "threshold" else self.without
        return attack.weakened_member(run, self.inputs[name], self.encoding, self.circle, without, self.bits)

    def play(self, script: Script, rosters: Callable[[str], Message] | None = None) -> dict[str, Any]:
        """Members against a coordinator that gathers inputs and then follows the script."""

        def hostile(run: Run) -> Role[None]:
            yield from attack.gather(run, self.loot, rosters)
            league = {name: self.hall.spy(name) for name in self.spies}
            for name, spy in league.items():
                told = {d.sender: d.message for d in self.hall.sent if d.recipient == name and isinstance(d.message, Shares)}
                self.loot.collude(spy, told)
            yield from script(run, self.loot, league)

        roles = {name: self.member(name) for name in self.members}
        return self.hall.play(roles | {COORDINATOR: hostile(self.hall.run(COORDINATOR))})

    def group(self) -> Cover:
        """The group mask, from a member in league."""
        return Cover.agree(self.hall.spy(self.spies[0]), self.members, LENGTH, self.encoding)

    def read(self, *names: str) -> Integers | None:
        return self.loot.read(names, self.members, self.group())

    def truth(self, *names: str) -> Integers:
        return np.sum([self.inputs[name] for name in names], axis=0)


def without(*names: str, of: tuple[str, ...] = BANKS) -> tuple[str, ...]:
    return tuple(name for name in of if name not in names)


def views(script: attack.View, **how: Any) -> Script:
    return lambda run, loot, league: attack.ask(run, loot, script, league, **how)
