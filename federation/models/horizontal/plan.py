"""A plan: a model over many banks as a sequence of sums.

Each bank computes a vector on its own rows, the vectors are added by `masked_sum`, and every bank derives the same next step from the total.
A plan says the two halves of this and nothing of keys or messages, so it is tested by adding up:

    states = add_up([plan of bank 1, plan of bank 2, ...])

`take` must be a function of the state and the total alone, but for what the state keeps as this bank's own: then all banks ask for vectors
of one length at every step without a word between them. Sums are exact on the grid of `masked_sum.wide`: real numbers to 2^-60, magnitudes up
to 2^60, counts exactly.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from federation.kernel.state import State

Reals = NDArray[np.float64]
S = TypeVar("S", bound=State)


class Plan(Protocol[S]):
    """One bank's side of a model over many banks."""

    kind: type[S]

    def begin(self) -> S:
        """The state before the first sum."""

    def ask(self, state: S) -> Reals | None:
        """What this bank contributes next, (k,) finite numbers with k >= 1 and the same at every bank, or None at the end."""

    def take(self, state: S, total: Reals, banks: int) -> S:
        """The state after the sum of so many banks, (k,). Banks may become fewer from one sum to the next, never more."""


def add_up(plans: Sequence[Plan[S]]) -> list[S]:
    """Carry plans to their ends with a plain sum: what a session computes, without its secrecy. Raises ValueError when lengths differ."""
    states = [plan.begin() for plan in plans]
    while True:
        asked = [plan.ask(state) for plan, state in zip(plans, states, strict=True)]
        vectors = [vector for vector in asked if vector is not None]
        if not vectors:
            return states
        if len(vectors) != len(plans) or len({len(vector) for vector in vectors}) != 1:
            msg = "banks ask for different sums"
            raise ValueError(msg)
        total = np.sum(vectors, axis=0)
        states = [plan.take(state, total, len(plans)) for plan, state in zip(plans, states, strict=True)]
