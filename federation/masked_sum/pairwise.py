"""The masked sum in which every member must answer: pair masks that cancel (Bonawitz et al. 2017, section 4, without drop-outs).

Member i sends   c_i + sum_{j after i} m_ij - sum_{j before i} m_ij   with c_i from `cover` and m_ij the AES-256-CTR keystream of a key that
i and j alone share, used at this place of this session and nowhere else. Any n - 1 of the n messages are jointly uniform; their sum is the
covered total. The coordinator adds, sends the total to all, and each member opens it. A missing answer stops the run.

Who learns what: privacy/contracts/masked_sum.toml.
"""

from __future__ import annotations

from typing import Any, ClassVar

from numpy.typing import NDArray

from federation.kernel.codec import Array, Message
from federation.kernel.errors import ConfigurationError, PeerError, PolicyRefusal
from federation.kernel.role import COORDINATOR, Role, Run
from federation.masked_sum import mersenne
from federation.masked_sum.cover import Cover, Masked, stretch, total_of
from federation.masked_sum.fixed_point import FixedPoint, Integers, Reals

_HEADER = 4096
"""Bytes that a message may have beyond its arrays."""


class MaskedInput(Message, frozen=True, tag="masked_sum/input"):
    """One member's contribution, to the coordinator.

    vector: (k,) uint64, 2^s input + group mask + pair masks, mod 2^64; tag: weighted sum of the input + masks, in [0, 2^61 - 1).
    """

    vector: Array
    tag: int


class MaskedTotal(Message, frozen=True, tag="masked_sum/total"):
    """The sum of all contributions, to every member alike; for a sum over all institutions of the run.

    vector: (k,) uint64, 2^s sum + n group masks, mod 2^64; tag: weighted sum of the sum + n tag masks, in [0, 2^61 - 1).
    """

    broadcast: ClassVar[bool] = True

    vector: Array
    tag: int


class SubsetTotal(Message, frozen=True, tag="masked_sum/subset-total"):
    """A `MaskedTotal` for a sum over some institutions of the run: not a broadcast, since the others' view of the run must not differ."""

    vector: Array
    tag: int


def require_members(me: str, members: tuple[str, ...], encoding: FixedPoint, *, two_members: bool) -> None:
    """Raises PolicyRefusal for a sum that would disclose an input, ConfigurationError for one that does not fit its encoding."""
    if len(members) < (2 if two_members else 3):
        raise PolicyRefusal(
            me,
            f"a masked sum of {len(members)} members was asked for (rule: at least three; of two, each learns the other's input)",
            "Add a member, or accept the disclosure between two with [privacy] two_member_disclosure = true.",
        )
    if len(set(members)) != len(members) or me not in members or COORDINATOR in members or encoding.members < len(members):
        raise ConfigurationError(
            me,
            "the members of a masked sum must be distinct institutions, this one among them, and no more than its encoding allows",
            "Correct the manifest.",
        )


def pair_masks(run: Run, members: tuple[str, ...], length: int) -> Masked:
    """The pair masks of this member, which cancel in the total: added by whoever is named first in `members`, subtracted by the other."""
    out, mine = total_of((), length), members.index(run.me)
    for place, peer in enumerate(members):
        if place != mine:
            mask = stretch(run.pair_key(peer, "pair mask"), length)
            out = out.plus(mask) if mine < place else out.minus(mask)
    return out


def sum_member(
    run: Run,
    vector: NDArray[Any],
    encoding: FixedPoint,
    members: tuple[str, ...],
    *,
    two_members: bool = False,
) -> Role[Reals]:
    """A member's part: its vector, (k,) real numbers within the clip; returns the sum over the members, (k,) float64.

    The sum is exact on the encoding's grid. A weighted mean is the sum of (w x, w). Several vectors: concatenate them. Raises LocalError
    beyond the clip, PolicyRefusal under three members (two_members = True allows two: each then learns the other's input), PeerError
    when the total is not the members' sum.
    """
    total = yield from sum_integers(run, encoding.encode(vector, run.me), encoding, members, two_members=two_members)
    return encoding.decode(total)


def sum_integers(
    run: Run,
    integers: Integers,
    encoding: FixedPoint,
    members: tuple[str, ...],
    *,
    two_members: bool = False,
) -> Role[Integers]:
    """`sum_member` for integers already on the grid, (k,) int64 within `encoding.largest`; returns their exact sum, (k,) int64."""
    require_members(run.me, members, encoding, two_members=two_members)
    encoding.check(integers, run.me)
    length = len(integers)
    cover = Cover.agree(run, members, length, encoding)
    masked = cover.conceal(integers).plus(pair_masks(run, members, length))
    yield from run.step("input", send={COORDINATOR: MaskedInput(Array.of(masked.words), masked.tag)})
    kind = _total_kind(run, members)
    received = yield from run.step("total", expect={COORDINATOR: kind}, limit=8 * length + _HEADER)
    return cover.open(_read(COORDINATOR, received.of(COORDINATOR, kind), length), len(members))


def sum_coordinator(run: Run, members: tuple[str, ...], length: int) -> Role[None]:
    """The coordinator's part: adds `length` masked words of each member and sends every member the total, which it cannot open.

    Raises PeerError for a contribution of another shape.
    """
    received = yield from run.step("input", expect=dict.fromkeys(members, MaskedInput), limit=8 * length + _HEADER)
    total = total_of((_read(name, received.of(name, MaskedInput), length) for name in members), length)
    message = _total_kind(run, members)(Array.of(total.words), total.tag)
    yield from run.step("total", send=dict.fromkeys(members, message))


def _total_kind(run: Run, members: tuple[str, ...]) -> type[MaskedTotal | SubsetTotal]:
    return MaskedTotal if set(members) == set(run.members) else SubsetTotal


def _read(sender: str, message: MaskedInput | MaskedTotal | SubsetTotal, length: int) -> Masked:
    words = message.vector.read(sender, "<u8", (length,))
    if not mersenne.is_residue(message.tag):
        raise PeerError(sender, "a tag out of range", "a number in [0, 2^61 - 1)")
    return Masked(words, message.tag)
