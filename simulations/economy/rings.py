"""Fraud rings, each with its label: who is in which ring, of which kind, at what camouflage, and when it works.

    circular       members sell to each other in a circle and back, so that sales look larger than they are
    multi_lending  members under one hidden hand borrow at many banks within a month, and stop paying after some months
    identity       one owner, or one address, behind many young firms that borrow, too

Members are small to middling firms with low honesty; a firm is in one ring at most.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from simulations.economy.firms import Firms
from simulations.economy.randomness import Streams
from simulations.economy.settings import Economy

KINDS: Final = ("none", "circular", "multi_lending", "identity")
CIRCULAR, MULTI_LENDING, IDENTITY = 1, 2, 3


@dataclass(frozen=True)
class Ring:
    """members: indices of firms, in the order of the circle; active: months from start on; camouflage: of a circular ring, else 0."""

    kind: int
    members: NDArray[np.int32]
    camouflage: float
    start: int
    months: int

    def active(self, month: int) -> bool:
        """Whether it works in a month."""
        return self.start <= month < self.start + self.months


@dataclass(frozen=True)
class Fraud:
    """rings: all; kind, ring: (n,) of each firm, 0 and -1 for none."""

    rings: tuple[Ring, ...]
    kind: NDArray[np.int8]
    ring: NDArray[np.int32]


def draw(streams: Streams, firms: Firms, asked: Economy) -> tuple[Firms, Fraud]:
    """The rings, and the firms with the owners, addresses and founding months that rings give them."""
    rng, wanted = streams.of("rings"), asked.rings
    kind, ring = np.zeros(len(firms), np.int8), np.full(len(firms), -1, np.int32)
    owner, address, founded, need = firms.owner.copy(), firms.address.copy(), firms.founded.copy(), firms.need.copy()
    fits = rng.permutation(np.flatnonzero((firms.size > 3e5) & (firms.size < 2e7) & (firms.founded <= 0))).astype(np.int32)
    rings: list[Ring] = []
    kinds = [CIRCULAR] * wanted.circular + [MULTI_LENDING] * wanted.multi_lending + [IDENTITY] * wanted.identity
    for number, which in enumerate(kinds):
        count = int(rng.integers(wanted.smallest, wanted.largest + 1))
        members, fits = fits[:count], fits[count:]
        if len(members) < wanted.smallest:
            break  # fewer firms of the fitting size than asked for: the labels say how many rings there are
        strength = wanted.camouflage[number % len(wanted.camouflage)] if which == CIRCULAR else 0.0
        start = wanted.from_month + int(rng.integers(0, 4))
        kind[members], ring[members], need[members] = which, number, True
        if which == IDENTITY:
            behind = address if number % 2 else owner
            behind[members] = behind[members[0]]
            founded[members] = start - rng.integers(1, 7, count)
        rings.append(Ring(which, members, strength, start, wanted.months))
    changed = replace(firms, owner=owner, address=address, founded=founded, need=need, shy=firms.shy & (kind == 0))
    return changed, Fraud(tuple(rings), kind, ring)
