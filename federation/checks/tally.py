"""Counts over institutions at the asking institution's own positions of a union (`align.union`), and nowhere else.

The asking institution tells the coordinator at which positions it wants the sums: those of its own keys and of its padding, in ascending
order, as many as its list was announced long. Every other institution puts its counts at the positions of its own keys, zero elsewhere, and
the sums travel as partial scores do (`masked_sum.partial_scores`): covered by masks that the asking institution alone can take off.

Who learns what: the task's own contract, such as privacy/contracts/multi_lender.toml.
"""

from __future__ import annotations

import numpy as np

from federation.align.universe import Universe
from federation.checks.fields import Counts, Fields
from federation.kernel.codec import Array, Message
from federation.kernel.errors import PeerError, PolicyRefusal
from federation.kernel.role import COORDINATOR, Role, Run
from federation.masked_sum.partial_scores import receive_scores, route_scores, send_scores

FEWEST_OTHERS = 3
"""Institutions beside the one that asks: of two, a count of one leaves a guess of one in two, and two colluding have the third's."""
_HEADER = 4096


class Asked(Message, frozen=True, tag="checks/asked"):
    """From the asking institution to the coordinator. positions: (n,) int64, ascending, of its keys and its padding alike."""

    positions: Array


def contribute(run: Run, asks: str, universe: Universe, counts: Counts, fields: Fields) -> Role[None]:
    """An institution that is asked. counts: (n, k) at the first n of its positions. Raises DataError beyond a cap, PolicyRefusal."""
    others = _others(run, asks)
    vector = np.zeros(universe.size, np.int64)
    vector[universe.positions[: len(counts)]] = fields.pack(counts, run.me)
    yield from send_scores(run, asks, vector, fields.encoding, others)


def ask(run: Run, universe: Universe, rows: int, fields: Fields) -> Role[Counts | None]:
    """The asking institution: the sums at its first `rows` positions, (rows, k); None where a tag contradicts one, or no contributions make it.

    That is told to nobody: were the run to end of it, who spoils one position would see from the end whether that position was asked about.
    """
    others = _others(run, run.me)
    order = np.argsort(universe.positions)
    positions = universe.positions[order]
    yield from run.step("asked", send={COORDINATOR: Asked(Array.of(positions))})
    try:
        sums, _ = yield from receive_scores(run, others, positions, universe.size, fields.encoding)
    except PeerError:
        return None
    in_order = np.empty(len(order), np.int64)
    in_order[order] = sums.astype(np.int64)
    found = fields.unpack(in_order)
    beyond = (in_order < 0) | (found > len(others) * np.array(fields.caps)).any(axis=1)
    return None if beyond.any() or in_order[rows:].any() else found[:rows]


def route(run: Run, asks: str, universe: int, length: int) -> Role[None]:
    """The coordinator. length: how long the asking institution's list was announced. Raises PeerError where it asks for other than so many."""
    received = yield from run.step("asked", expect={asks: Asked}, limit=8 * length + _HEADER)
    positions = received.of(asks, Asked).positions.read(asks, "<i8", (length,), 0, universe - 1)
    if bool((positions[1:] <= positions[:-1]).any()):
        raise PeerError(asks, "positions that are not in order, or twice the same", "distinct positions in ascending order")
    yield from route_scores(run, asks, _others(run, asks), positions, universe)


def _others(run: Run, asks: str) -> tuple[str, ...]:
    others = tuple(name for name in run.members if name != asks)
    if len(others) < FEWEST_OTHERS or len(others) == len(run.members):
        what = f"a check of {len(others)} institutions beside the one that asks (rule: at least {FEWEST_OTHERS})"
        raise PolicyRefusal(run.me, what, "Add institutions: of few, a count tells which.")
    return others
