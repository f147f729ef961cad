"""The sum of vectors modulo p = 2^61 - 1 that the coordinator is meant to have, and no member's own: pair masks that cancel.

Member i sends   x_i + sum_{j after i} m_ij - sum_{j before i} m_ij   mod p, with m_ij uniform residues from a key that i and j alone share,
used at this place of this session and nowhere else. Any n - 1 of the n vectors are jointly uniform; all together they tell the sum and
nothing more. It is for sums that may be clear because the inputs make them so (`align.sketch`); a sum that must stay covered is `pairwise`'s.

Who learns what: privacy/contracts/hidden_union.toml.
"""

from __future__ import annotations

import numpy as np

from federation.kernel import suite
from federation.kernel.codec import Array, Message
from federation.kernel.errors import LocalError, PolicyRefusal
from federation.kernel.role import COORDINATOR, Role, Run
from federation.masked_sum import mersenne
from federation.masked_sum.mersenne import Words

_HEADER = 4096


class MaskedResidues(Message, frozen=True, tag="masked_sum/residues"):
    """One member's contribution, to the coordinator. vector: (k,) uint64 in [0, 2^61 - 1), input + pair masks, mod p."""

    vector: Array


def send_residues(run: Run, vector: Words) -> Role[None]:
    """A member's part. vector: (k,) residues. Every institution of the run is a member.

    Raises PolicyRefusal under three members (of two, the coordinator with one of them would have the other's), LocalError for no residues.
    """
    if len(run.members) < 3:
        what = f"a sum for the coordinator of {len(run.members)} members was asked for (rule: at least three)"
        raise PolicyRefusal(run.me, what, "Add a member.")
    if bool((vector >= np.uint64(mersenne.P)).any()):
        raise LocalError(run.me, "a vector for a sum modulo p is not of residues", "This is a bug: report it.")
    out, mine = vector, run.members.index(run.me)
    for place, peer in enumerate(run.members):
        if place != mine:
            mask = mersenne.uniform(suite.keystream(run.pair_key(peer, "residue mask"), len(vector)))
            out = mersenne.add(out, mask) if mine < place else mersenne.subtract(out, mask)
    yield from run.step("residues", send={COORDINATOR: MaskedResidues(Array.of(out))})


def add_residues(run: Run, length: int) -> Role[Words]:
    """The coordinator's part: the sum, (length,) residues. Raises PeerError for a contribution of another shape or range."""
    received = yield from run.step("residues", expect=dict.fromkeys(run.members, MaskedResidues), limit=8 * length + _HEADER)
    total = np.zeros(length, np.uint64)
    for name in run.members:
        total = mersenne.add(total, received.of(name, MaskedResidues).vector.read(name, "<u8", (length,), high=mersenne.P - 1))
    return total
