"""Attacks on checks across institutions: which bank lends, how many have a key, who was asked about; and the weakened parts that each breaks.

The coordinator holds every institution's masked table and masked counts, the sum of the tables and the positions asked for; a bank holds the
union and its own positions in it; the asking bank holds counts. None of them, alone, should learn which bank a count is of.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from federation.align.sketch import peel, places
from federation.align.universe import Matching, Universe
from federation.checks.fields import Counts, Fields
from federation.kernel.codec import Array
from federation.kernel.role import COORDINATOR, Role, Run
from federation.masked_sum import mersenne
from federation.masked_sum.mersenne import Words
from federation.masked_sum.partial_scores import MaskedScores, send_scores
from federation.masked_sum.residues import MaskedResidues

Positions = NDArray[np.int64]


def smallest_at(contributions: Mapping[str, Words], position: int) -> str:
    """The coordinator's guess which bank counted something at a position: whose word there is smallest but not zero, read as it stands.

    Right where banks contribute without masks; under masks a throw of dice.
    """
    words = {name: int(vector[position]) for name, vector in contributions.items()}
    return min(words, key=lambda name: words[name] or 1 << 64)


def holders(matching: Matching, position: int) -> tuple[str, ...]:
    """Which institutions hold a position, from what the coordinator of `align.chain` knows."""
    return tuple(name for name, own in matching.positions.items() if position in own)


def weights_in(table: Words, seed: bytes) -> dict[int, int]:
    """Pseudonym to its weight in the sum of the tables, which the coordinator takes apart. Where weights are one, these are multiplicities."""
    union = peel(table, seed)
    if union is None:
        return {}
    cells = table.reshape(3, -1)
    left = cells.copy()
    found: dict[int, int] = {}
    at = places(union, cells.shape[1], seed)
    while len(found) < len(union):
        before = len(found)
        for number, key in enumerate(union.tolist()):
            if key in found:
                continue
            for cell in at[:, number]:
                weight, first, square = (np.array([left[part, cell]], np.uint64) for part in range(3))
                alone = weight.any() and (mersenne.times(weight, square) == mersenne.times(first, first)).all()
                if alone and (mersenne.times(weight, np.array([key], np.uint64)) == first).all():
                    found[key] = int(weight[0])
                    parts = (weight, first, square)
                    for place in at[:, number]:
                        for part in range(3):
                            left[part, place] = mersenne.subtract(left[part, place : place + 1], parts[part])[0]
                    break
        if len(found) == before:
            return found
    return found


def asked_of_own(asked: Positions, universe: Universe, keys: Sequence[str]) -> set[str]:
    """The coordinator and a bank together: which of the bank's own keys the asking bank asks about."""
    wanted = set(asked.tolist())
    return {key for key, position in zip(keys, universe.positions.tolist(), strict=False) if position in wanted}


def newcomer(before: Mapping[str, Sequence[int]], after: Mapping[str, Sequence[int]]) -> set[str]:
    """The asking bank, that has asked about the same applicants before a bank came and after: to whom the newcomer lends."""
    return {key for key, counts in after.items() if sum(counts) > sum(before[key])}


def contribute_openly(run: Run, asks: str, universe: Universe, counts: Counts, fields: Fields) -> Role[None]:
    """A bank that leaves every mask out: what it counts travels as it is. It answers at the step of `checks.tally.contribute`."""
    vector = np.zeros(universe.size, np.int64)
    vector[universe.positions[: len(counts)]] = fields.pack(counts, run.me)
    message = MaskedScores(Array.of(vector.view(np.uint64)), Array.of(np.zeros(universe.size, np.uint64)))
    yield from run.step(f"scores for {asks}", send={COORDINATOR: message})


def contribute_everywhere(run: Run, asks: str, universe: Universe, fields: Fields, share: float) -> Role[None]:
    """A bank that counts one in the first field at a share of all positions, whoever they are."""
    chosen = run.random("chosen").permutation(universe.size)[: max(1, round(share * universe.size))]
    vector = np.zeros(universe.size, np.int64)
    vector[chosen] = 1
    yield from send_scores(run, asks, vector, fields.encoding, tuple(name for name in run.members if name != asks))


def table_total(sent: Mapping[str, MaskedResidues]) -> Words:
    """The coordinator adds the tables: their pair masks cancel."""
    vectors = [np.frombuffer(message.vector.data, "<u8") for message in sent.values()]
    total = np.zeros(len(vectors[0]), np.uint64)
    for vector in vectors:
        total = mersenne.add(total, vector)
    return total
