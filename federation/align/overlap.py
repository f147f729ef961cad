"""How many keys two lists have in common: the size of an intersection, told to one of two institutions, and nothing of what is in it.

    chain     the exponent chain of `chain`, but each institution shuffles the other's list before it sends it back: nobody knows any more
              which of its own fully keyed points is of which key
    keyed     each sends its list to the coordinator, which counts the equal points
    overlap   the coordinator tells that count to the institution that asks, and to nobody else

Both put the same s keys of nobody into their lists, 1 <= s <= pad, uniform from a key that the two share: the coordinator's count is
(common + s), so that it tells the coordinator the number in common to within pad; and as each of the s must be found, a list that the other
has treated with another exponent shows. The rest of the padding is each one's own. No sum and so no mask is taken: two institutions suffice.

Shuffling follows De Cristofaro, Gasti and Tsudik 2012 (PSI-CA, section 4); there the asking side counts, and one that leaves the protocol
could try ids by itself (it holds the other's fully keyed list). Here no institution ever sees the other's.

Who learns what: privacy/contracts/common_counterparties.toml.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from federation.align.chain import Announced, Announcement, KeyedList, keyed_list
from federation.align.curve import POINT_BYTES, groups
from federation.align.uscc import refuse_duplicates
from federation.kernel.codec import Array, Message
from federation.kernel.errors import AbortCode, LocalError, PeerError
from federation.kernel.role import COORDINATOR, Randomness, Role, Run

_HEADER = 4096
_NOBODY, _PADDING = b"\x01nobody ", b"\0padding "
"""No id begins so: ids hold no control characters."""


class Overlap(Message, frozen=True, tag="align/overlap"):
    """From the coordinator to the institution that asks. size: how many points the two lists have in common, keys of nobody counted."""

    size: int


def length_of(rows: int, pad: int) -> int:
    """How long a list of so many keys is made. However many keys of nobody there are, it is the same: else it would tell of their number."""
    return pad * (max(1, -(-rows // pad)) + 1)


def overlap_member(run: Run, ids: Sequence[str], workers: int, most: int, pad: int, *, asks: bool) -> Role[int | None]:
    """An institution's part. ids: distinct; most: the most that a list may have; asks: whether it is told.

    Returns the number in common to the one that asks, below 0 or above len(ids) where the other's list, or the coordinator's count, is not
    what the protocol makes: the caller must keep that to itself, for whether a run ended would tell the other one thing of this list.
    Returns None to the other. Raises LocalError (code cap) for too many ids, DataError for duplicates, PeerError for what is malformed.
    """
    if len(ids) > most:
        what = f"has {len(ids):,} keys to compare (rule: at most {most:,})"
        raise LocalError(run.me, what, "Nothing was sent. Raise [check] max_asked, or take a shorter period.", AbortCode.CAP)
    refuse_duplicates(ids, run.me)
    (peer,) = run.peers
    shared = keys_of_nobody(Randomness(run.pair_key(peer, "keys of nobody")), pad)
    keys = [key.encode() for key in ids] + shared
    stream = run.random("padding")
    keys += [_PADDING + stream.bytes(32) for _ in range(length_of(len(ids), pad) - len(keys))]
    order = run.random("order").permutation(len(keys))
    points, announced = yield from keyed_list(run, [keys[row] for row in order], workers, length_of(most, pad), shuffled=True)
    yield from run.step("keyed", send={COORDINATOR: KeyedList(announced.digest, Array.of(points))})
    if not asks:
        return None
    size = (yield from run.within("size").step("overlap", expect={COORDINATOR: Overlap})).of(COORDINATOR, Overlap).size
    if not 0 <= size <= min(announced.sizes.values()):
        raise PeerError(COORDINATOR, "a number in common that no two lists of these lengths have", "the number of equal points")
    return size - len(shared)


def keys_of_nobody(shared: Randomness, pad: int) -> list[bytes]:
    """What both lists hold besides, 1 to pad keys."""
    return [_NOBODY + shared.bytes(32) for _ in range(1 + shared.below(pad))]


def overlap_coordinator(run: Run, asks: str, most: int, pad: int) -> Role[None]:
    """The coordinator's part. Raises PeerError for a list of another size than announced, with points twice, or malformed."""
    limit = length_of(most, pad)
    received = yield from run.within("announce").step("announce", expect=dict.fromkeys(run.members, Announcement))
    announced = Announced.read({name: received.of(name, Announcement) for name in run.members}, limit)
    received = yield from run.step("keyed", expect=dict.fromkeys(run.members, KeyedList), limit=POINT_BYTES * limit + _HEADER)
    lists = []
    for name in run.members:
        message = received.of(name, KeyedList)
        lists.append(announced.accept(message.points, message.announced, name, name))  # distinct within each list
    every = groups(np.concatenate(lists))
    size = len(every) - (int(every.max()) + 1)
    yield from run.within("size").step("overlap", send={asks: Overlap(size)})
