"""The exponent chain: every list of ids is raised to every institution's secret, and comes home before the coordinator sees it.

Diffie-Hellman matching (Meadows 1986; Huberman, Franklin and Hogg 1999) in a ring of m institutions. Institution i holds secrets k_i, t_i:

    announce   i sends everyone its list's size and a commitment to its blinded list  t_i H(x), in a secret random order
    hop 1..m   each list goes one place round the ring; institution j applies k_j to it; all m lists move at once;
               after hop m it is back with its origin, which applies k_i / t_i
    keyed      i sends the coordinator  k_1 ... k_m H(x); the coordinator matches (`universe`) and tells i its own rows' positions

So no institution ever sees another's fully keyed list, and the coordinator sees no list that is not keyed by all. Each message carries a
hash of all announcements as its sender saw them, so that nobody announces two different lists. Secrets belong to one place of one session.

Who learns what: privacy/contracts/align.toml.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from federation.align.curve import (
    POINT_BYTES,
    Points,
    Progress,
    blinding,
    exponentiate,
    fresh_exponent,
    hash_to_curve,
    received_points,
)
from federation.align.universe import (
    Matching,
    OwnPositions,
    Positions,
    Universe,
    UniverseSize,
    Visibility,
    match,
    read_universe,
    require_cohort,
    require_visibility,
)
from federation.align.uscc import refuse_duplicates
from federation.kernel import suite
from federation.kernel.codec import Array, Message
from federation.kernel.errors import AbortCode, LocalError, PeerError
from federation.kernel.role import COORDINATOR, Role, Run
from federation.kernel.secret import Secret

_HEADER = 4096
"""Bytes that a message may have beyond its array."""


class Announcement(Message, frozen=True, tag="align/announcement"):
    """Before the chain, to all other institutions and the coordinator.

    rows: how many rows the sender's list has; commitment: 32 bytes, the hash of its blinded list as hop 1 will carry it.
    """

    rows: int
    commitment: bytes


class TravellingList(Message, frozen=True, tag="align/list"):
    """One list on its way round the ring, to the next institution.

    origin: whose list it is; announced: 32 bytes, the hash of all announcements as the sender saw them; points: (n, 32) uint8.
    """

    origin: str
    announced: bytes
    points: Array


class KeyedList(Message, frozen=True, tag="align/keyed"):
    """The sender's own list under every institution's secret, to the coordinator. Fields as in `TravellingList`; (n, 32) uint8."""

    announced: bytes
    points: Array


@dataclass(frozen=True)
class Announced:
    """All announcements as one party saw them."""

    parties: Mapping[str, Announcement]

    @classmethod
    def read(cls, parties: Mapping[str, Announcement], max_rows: int) -> Announced:
        """Raises PeerError for a size out of range or a commitment that is none."""
        for name, announcement in parties.items():
            if not 0 < announcement.rows <= max_rows:
                raise PeerError(name, f"a list of {announcement.rows} rows", f"1 to {max_rows} rows")
            if len(announcement.commitment) != suite.KEY_BYTES:
                raise PeerError(name, "a malformed commitment", f"{suite.KEY_BYTES} bytes")
        return cls(parties)

    @property
    def sizes(self) -> dict[str, int]:
        """Rows by party."""
        return {name: announcement.rows for name, announcement in self.parties.items()}

    @property
    def digest(self) -> bytes:
        """The hash of all of them."""
        return suite.digest("align/announced", *(part for name in sorted(self.parties) for part in self._parts(name)))

    def _parts(self, name: str) -> tuple[str, int, bytes]:
        return name, self.parties[name].rows, self.parties[name].commitment

    def accept(self, array: Array, announced: bytes, sender: str, origin: str) -> Points:
        """The points of a list, (n, 32), as `received_points`. Raises PeerError."""
        if announced != self.digest:
            raise PeerError(sender, "another set of announcements", "the announcements that every party was sent")
        return received_points(array, sender, self.parties[origin].rows)

    def limit(self, *origins: str) -> int:
        """The most bytes that a message with one of these parties' lists has."""
        return POINT_BYTES * max(self.parties[name].rows for name in origins) + _HEADER


def commitment(run: Run, origin: str, blinded: Points) -> bytes:
    """What binds an origin to its blinded list, 32 bytes; it hides the list, whose points are masked by t."""
    return suite.digest("align/commitment", run.session, run.address, origin, blinded.tobytes())


def align_member(
    run: Run,
    ids: Sequence[str] | Sequence[bytes],
    visibility: Visibility,
    label_parties: tuple[str, ...],
    workers: int,
    max_rows: int,
    minimum: int = 0,
) -> Role[Universe]:
    """An institution's part; returns the universe's size and the positions of its rows, in the order of `ids`.

    ids: normalised keys, an id or (id, period) in one string, distinct; workers: threads; max_rows: the most rows that any party may have;
    minimum: the least rows that must be in the universe (in `hidden`, that this party must have). Raises DataError for duplicates,
    LocalError (code cap) for too many rows, PolicyRefusal (code cohort) below the minimum, PeerError for whatever breaks the protocol.
    """
    require_visibility(run.me, visibility, label_parties, run.members)
    keys = _own_keys(run.me, ids, max_rows)
    order = run.random("order").permutation(len(keys))
    keyed, announced = yield from keyed_list(run, [keys[row] for row in order], workers, max_rows)
    yield from run.step("keyed", send={COORDINATOR: KeyedList(announced.digest, Array.of(keyed))})
    told = (yield from run.within("size").step("universe", expect={COORDINATOR: UniverseSize})).of(COORDINATOR, UniverseSize)
    answer = yield from run.within("positions").step("positions", expect={COORDINATOR: OwnPositions}, limit=8 * len(keys) + _HEADER)
    array = answer.of(COORDINATOR, OwnPositions).positions
    size, in_order = read_universe(told.size, array, announced.sizes, run.me, visibility, label_parties)
    require_cohort(run.me, in_order, minimum, visibility)
    positions: Positions = np.empty(len(keys), np.int64)
    positions[order] = in_order
    return Universe(size, positions)


def keyed_list(run: Run, keys: Sequence[bytes], workers: int, max_rows: int, *, shuffled: bool = False) -> Role[tuple[Points, Announced]]:
    """The chain: this institution's keys under everyone's secrets, (n, 32) in the order of `keys`, while it serves the others' lists.

    shuffled: whether each institution sends a list on in an order of its own, so that its origin does not know which point is of which key.
    """
    secret = fresh_exponent(run.random("key"))
    mask, unmask = blinding(run.random("blinding"), secret)
    progress = Progress(lambda done, total: run.report(phase="align", done=done, total=total), len(keys) * (len(run.members) + 2))
    points = hash_to_curve(keys, run.session, run.address, workers=workers, progress=progress)
    points = exponentiate(mask, points, run.me, workers=workers, progress=progress)
    announced = yield from announce(run, points, max_rows)
    progress.total = sum(announced.sizes.values()) + 2 * len(keys)
    points = yield from around(run, points, announced, secret, workers, progress, shuffled=shuffled)
    return exponentiate(unmask, points, neighbours(run)[0], workers=workers, progress=progress), announced


def _own_keys(me: str, ids: Sequence[str] | Sequence[bytes], max_rows: int) -> list[bytes]:
    """The keys as bytes, once it is sure that they can be sent."""
    if not 0 < len(ids) <= max_rows:
        raise LocalError(
            me, f"has {len(ids):,} rows to align (rule: 1 to {max_rows:,})", "Narrow the source's query, or raise the manifest's cap.",
            AbortCode.CAP if len(ids) else AbortCode.DATA,
        )  # fmt: skip
    refuse_duplicates(ids, me)
    return [key if isinstance(key, bytes) else key.encode() for key in ids]


def announce(run: Run, blinded: Points, max_rows: int) -> Role[Announced]:
    """Tells everyone this list's size and commitment, and takes the other institutions'. Raises PeerError."""
    mine = Announcement(len(blinded), commitment(run, run.me, blinded))
    received = yield from run.within("announce").step(
        "announce", send=dict.fromkeys((*run.peers, COORDINATOR), mine), expect=dict.fromkeys(run.peers, Announcement)
    )
    return Announced.read({run.me: mine} | {name: received.of(name, Announcement) for name in run.peers}, max_rows)


def neighbours(run: Run) -> tuple[str, str]:
    """The institutions before and after this one in the ring (the same one where there are two)."""
    members, mine = run.members, run.members.index(run.me)
    return members[mine - 1], members[(mine + 1) % len(members)]


def around(
    run: Run, points: Points, announced: Announced, secret: Secret, workers: int, progress: Progress, *, shuffled: bool = False
) -> Role[Points]:
    """Sends this institution's list round the ring, applying the secret to every other list that comes by; returns its own when home.

    points: (n, 32), the blinded list that was announced; shuffled: as `keyed_list`; returns (n, 32). Raises PeerError.
    """
    before, after = neighbours(run)
    members, mine, origin = run.members, run.members.index(run.me), run.me
    for hop in range(1, len(members) + 1):
        message = TravellingList(origin, announced.digest, Array.of(points))
        origin = members[(mine - hop) % len(members)]
        place = run.within(f"hop {hop}")
        received = yield from place.step("list", {after: message}, {before: TravellingList}, announced.limit(origin))
        arrived = received.of(before, TravellingList)
        if arrived.origin != origin:
            raise PeerError(before, "a list of another origin, or a second one", "one list of each institution, in turn")
        points = announced.accept(arrived.points, arrived.announced, before, origin)
        if hop == 1 and commitment(run, origin, points) != announced.parties[origin].commitment:
            raise PeerError(before, "a list that it had not announced", "the list of its commitment")
        if origin != run.me:
            points = exponentiate(secret, points, before, workers=workers, progress=progress)
            points = points[place.random("shuffle").permutation(len(points))] if shuffled else points
    return points


def align_coordinator(run: Run, visibility: Visibility, label_parties: tuple[str, ...], max_rows: int) -> Role[Matching]:
    """The coordinator's part: matches the fully keyed lists, places the universe at random, tells each party its own rows' positions.

    Raises DataError (code cohort) where no firm is common (unless `hidden`), PeerError for a list of another size than announced, with points
    twice, or malformed.
    """
    require_visibility(run.me, visibility, label_parties, run.members)
    received = yield from run.within("announce").step("announce", expect=dict.fromkeys(run.members, Announcement))
    announced = Announced.read({name: received.of(name, Announcement) for name in run.members}, max_rows)
    received = yield from run.step("keyed", expect=dict.fromkeys(run.members, KeyedList), limit=announced.limit(*run.members))
    lists = {}
    for name in run.members:
        message = received.of(name, KeyedList)
        lists[name] = announced.accept(message.points, message.announced, name, name)
    size, positions = match(lists, visibility, label_parties, run.random("positions"))
    yield from run.within("size").step("universe", send=dict.fromkeys(run.members, UniverseSize(size)))
    told = {name: OwnPositions(Array.of(own)) for name, own in positions.items()}
    yield from run.within("positions").step("positions", send=told)
    return Matching(size, {name: np.sort(own[own >= 0]) for name, own in positions.items()})
