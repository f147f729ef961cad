"""Partial scores to a label party: the sum of the feature parties' scores, at the label party's own rows and nowhere else.

Every feature party F_i holds a score for each of the u positions of the universe, and k extra scalars, as integers v_i on a fixed-point
grid, width w = u + k. It sends the coordinator
    v_i + sum_{j after i} m_ij - sum_{j before i} m_ij + m_iL        (mod 2^64), (w,)
    alpha * v_i + the same sum of tag masks                          (mod p = 2^61 - 1), position by position, (w,)
with m_ij shared by two feature parties, m_iL with the label party L, and alpha from the group key. The coordinator adds both and forwards
the positions of L (which it alone knows beside L) and the extras. L removes the m_iL, which only it and F_i know, and checks
alpha_q V_q = T_q at each position q. alpha depends on q, so neither an altered nor a displaced score passes: 2^-60 each.

Masks are of full width and no group mask is needed: the m_iL hide the sum from the coordinator and from everyone but L. All masks are bound to
what the coordinator has broadcast before: where it shows two feature parties different things (a universe in which one's rows lie elsewhere,
so that L would see that one's scores alone), their masks do not cancel, and L has nothing, though it be in league with the coordinator.
Who learns what: privacy/contracts/partial_scores.toml.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from federation.kernel import suite
from federation.kernel.codec import Array, Message
from federation.kernel.errors import ConfigurationError, LocalError, PeerError, PolicyRefusal
from federation.kernel.role import COORDINATOR, Role, Run
from federation.masked_sum import mersenne
from federation.masked_sum.fixed_point import FixedPoint, Integers, Reals
from federation.masked_sum.mersenne import Words

Positions = NDArray[np.int64]

_HEADER = 4096
_NO_EXTRA = np.zeros(0)


class MaskedScores(Message, frozen=True, tag="partial_scores/masked"):
    """A feature party's scores of the whole universe and its extras, to the coordinator.

    scores: (u + k,) uint64, mod 2^64; tags: (u + k,) uint64 in [0, 2^61 - 1). Both masked, one position at a time.
    """

    scores: Array
    tags: Array


class ScoreTotals(Message, frozen=True, tag="partial_scores/total"):
    """The sums at the label party's n positions, in its order, then of the k extras, to the label party.

    scores: (n + k,) uint64, mod 2^64; tags: (n + k,) uint64 in [0, 2^61 - 1). Both under the masks that only the label party can remove.
    """

    scores: Array
    tags: Array


def send_scores(
    run: Run,
    label_party: str,
    scores: NDArray[Any],
    encoding: FixedPoint,
    feature_parties: tuple[str, ...],
    extra: NDArray[Any] = _NO_EXTRA,
    *,
    extra_encoding: FixedPoint | None = None,
    single_partner: bool = False,
) -> Role[None]:
    """A feature party's part. scores: (u,) within the clip; extra: (k,) scalars that are summed along (by `extra_encoding`, if given).

    Raises LocalError beyond the clip; PolicyRefusal with one feature party, whose scores then reach the label party unmixed, unless
    single_partner = True.
    """
    encodings = (encoding, extra_encoding or encoding)
    _require(run.me, label_party, feature_parties, encodings, single_partner=single_partner)
    integers = np.concatenate([encodings[0].encode(scores, run.me), encodings[1].encode(extra, run.me)])
    words = integers.view(np.uint64)
    tags = mersenne.times(_weights(run, label_party, feature_parties, len(integers)), mersenne.residues(integers))
    mine = feature_parties.index(run.me)
    for place, peer in enumerate((*feature_parties, label_party)):
        if place == mine:
            continue
        mask, tag_mask = _masks(run, peer, label_party, len(integers))
        if mine < place:
            words, tags = words + mask, mersenne.add(tags, tag_mask)
        else:
            words, tags = words - mask, mersenne.subtract(tags, tag_mask)
    yield from run.step(f"scores for {label_party}", send={COORDINATOR: MaskedScores(Array.of(words), Array.of(tags))})


def route_scores(
    run: Run, label_party: str, feature_parties: tuple[str, ...], positions: Positions, universe: int, extras: int = 0
) -> Role[None]:
    """The coordinator's part: adds, and forwards what is at the label party's `positions`, (n,) within [0, universe), and the extras."""
    chosen, width = _chosen(run.me, positions, universe, extras), universe + extras
    received = yield from run.step(
        f"scores for {label_party}", expect=dict.fromkeys(feature_parties, MaskedScores), limit=16 * width + _HEADER
    )
    scores, tags = np.zeros(len(chosen), np.uint64), np.zeros(len(chosen), np.uint64)
    for name in feature_parties:
        words, marks = _read(name, received.of(name, MaskedScores), width)
        scores, tags = scores + words[chosen], mersenne.add(tags, marks[chosen])
    message = ScoreTotals(Array.of(scores), Array.of(tags))
    yield from run.step(f"totals for {label_party}", send={label_party: message})


def receive_scores(
    run: Run,
    feature_parties: tuple[str, ...],
    positions: Positions,
    universe: int,
    encoding: FixedPoint,
    extras: int = 0,
    *,
    extra_encoding: FixedPoint | None = None,
    single_partner: bool = False,
) -> Role[tuple[Reals, Reals]]:
    """The label party's part: returns the sums at its own positions, (n,) float64 in their order, and the extras, (extras,).

    positions: (n,) distinct, within [0, universe). Both sums are exact on their grids. Raises PolicyRefusal as `send_scores` does,
    PeerError when a score is not the feature parties' sum at that position.
    """
    encodings = (encoding, extra_encoding or encoding)
    _require(run.me, run.me, feature_parties, encodings, single_partner=single_partner)
    chosen, width = _chosen(run.me, positions, universe, extras), universe + extras
    weights = _weights(run, run.me, feature_parties, width)[chosen]
    received = yield from run.step(f"totals for {run.me}", expect={COORDINATOR: ScoreTotals}, limit=16 * len(chosen) + _HEADER)
    words, tags = _read(COORDINATOR, received.of(COORDINATOR, ScoreTotals), len(chosen))
    for peer in feature_parties:
        mask, tag_mask = _masks(run, peer, run.me, width)
        words, tags = words - mask[chosen], mersenne.subtract(tags, tag_mask[chosen])
    sums: Integers = words.view(np.int64)
    bound = np.full(len(chosen), encodings[0].total_bound)
    bound[len(positions) :] = encodings[1].total_bound
    if not ((sums <= bound) & (sums >= -bound)).all() or (mersenne.times(weights, mersenne.residues(sums)) != tags).any():
        raise PeerError(COORDINATOR, "a score that its tag contradicts", "the feature parties' sum at each of this party's positions")
    return encodings[0].decode(sums[: len(positions)]), encodings[1].decode(sums[len(positions) :])


def _require(
    me: str,
    label_party: str,
    feature_parties: tuple[str, ...],
    encodings: tuple[FixedPoint, FixedPoint],
    *,
    single_partner: bool,
) -> None:
    if len(feature_parties) < (1 if single_partner else 2):
        raise PolicyRefusal(
            me,
            f"scores of {len(feature_parties)} feature parties were asked for (rule: at least two; of one, the label party sees each)",
            "Add a feature party, or accept the disclosure with [privacy] single_partner_disclosure = true.",
        )
    distinct = len({label_party, COORDINATOR, *feature_parties}) == len(feature_parties) + 2
    if not distinct or me not in (label_party, *feature_parties) or any(encoding.members < len(feature_parties) for encoding in encodings):
        raise ConfigurationError(
            me,
            "partial scores need distinct feature parties, the label party not among them, and no more than their encoding allows",
            "Correct the manifest.",
        )


def _chosen(me: str, positions: Positions, universe: int, extras: int) -> Positions:
    """The label party's positions followed by those of the extras."""
    inside = positions.ndim == 1 and positions.dtype.kind in "iu" and bool(((positions >= 0) & (positions < universe)).all())
    if not inside or (len(positions) and int(np.bincount(positions).max()) > 1):
        raise LocalError(me, "the label party's positions are not distinct positions of the universe", "Align again.")
    return np.concatenate([positions.astype(np.int64), np.arange(universe, universe + extras, dtype=np.int64)])


def _weights(run: Run, label_party: str, feature_parties: tuple[str, ...], width: int) -> Words:
    """alpha, (width,) residues."""
    key = run.group_key(f"score tags for {label_party}", (label_party, *feature_parties))
    return mersenne.uniform(suite.keystream(key, width))


def _masks(run: Run, peer: str, label_party: str, width: int) -> tuple[Words, Words]:
    """What this party and the peer share: masks and tag masks, (width,) each."""
    stream = suite.keystream(run.pair_key(peer, f"scores for {label_party}", shown=True), 2 * width)
    return stream[:width], mersenne.uniform(stream[width:])


def _read(sender: str, message: MaskedScores | ScoreTotals, width: int) -> tuple[Words, Words]:
    return message.scores.read(sender, "<u8", (width,)), message.tags.read(sender, "<u8", (width,), high=mersenne.P - 1)
