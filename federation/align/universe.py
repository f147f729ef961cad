"""The universe: which rows are in it, by visibility, and where each party's own rows lie.

The coordinator holds one fully keyed list per party; equal points are one firm. The universe is
    hidden         every firm that any party has (the union),
    book           every firm that a label party has,
    intersection   every firm that all parties have,
laid out in uniformly random order. Each party learns the size and the positions of its own rows, -1 for a row outside (never in `hidden`,
nor for a label party in `book`), and checks all that the announced sizes imply.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from federation.align.curve import Points, groups
from federation.kernel.codec import Array, Message
from federation.kernel.errors import AbortCode, ConfigurationError, DataError, PeerError, PolicyRefusal
from federation.kernel.role import COORDINATOR, Randomness

Visibility: TypeAlias = Literal["hidden", "book", "intersection"]
Positions: TypeAlias = NDArray[np.int64]


class UniverseSize(Message, frozen=True, tag="align/universe"):
    """How many positions the universe has, to every institution alike."""

    broadcast: ClassVar[bool] = True

    size: int


class OwnPositions(Message, frozen=True, tag="align/positions"):
    """Where one institution's rows lie, to that institution alone.

    positions: (n,) int64 in the order of its keyed list, -1 for a row outside the universe.
    """

    positions: Array


@dataclass(frozen=True)
class Universe:
    """A party's view. positions: (n,) int64 in the order of its ids, distinct within [0, size), -1 for a row outside the universe."""

    size: int
    positions: Positions


@dataclass(frozen=True)
class Matching:
    """The coordinator's view. positions: party to the positions that it holds, (m,) int64, ascending.

    Ascending, since the coordinator does not know the order of anyone's rows: what travels by position travels in ascending order.
    """

    size: int
    positions: Mapping[str, Positions]


def require_visibility(where: str, visibility: str, label_parties: tuple[str, ...], members: tuple[str, ...]) -> None:
    """Raises ConfigurationError unless there are at least two institutions, the label parties among them (one or more for `book`)."""
    known = set(label_parties) <= set(members) and (visibility != "book" or label_parties)
    if visibility not in ("hidden", "book", "intersection") or len(members) < 2 or not known:
        raise ConfigurationError(
            where,
            "an alignment takes two institutions or more, label parties among them, and visibility hidden, book or intersection",
            "Correct [align] and the parties of the manifest.",
        )


def match(
    lists: Mapping[str, Points], visibility: Visibility, label_parties: tuple[str, ...], random: Randomness
) -> tuple[int, dict[str, Positions]]:
    """The size, and each party's positions in the order of its list, (n,) with -1 outside.

    lists: party to distinct fully keyed points, (n, 32). Raises DataError (code cohort) where no firm is common, unless `hidden`.
    """
    sizes = {name: len(points) for name, points in lists.items()}
    firm = groups(np.concatenate(list(lists.values())))
    firms = np.split(firm, np.cumsum(list(sizes.values()))[:-1])
    held = {name: _marked(int(firm.max(initial=-1)) + 1, numbers) for name, numbers in zip(lists, firms, strict=True)}
    inside = _inside(held, visibility, label_parties)
    size = int(inside.sum())
    place = np.full(len(inside), -1, np.int64)
    place[inside] = random.permutation(size)
    return size, {name: place[numbers] for name, numbers in zip(lists, firms, strict=True)}


def _marked(count: int, numbers: Positions) -> NDArray[np.bool_]:
    out = np.zeros(count, bool)
    out[numbers] = True
    return out


def _inside(held: Mapping[str, NDArray[np.bool_]], visibility: Visibility, label_parties: tuple[str, ...]) -> NDArray[np.bool_]:
    """Which firms are in the universe; refuses one in which nothing is common."""
    every = np.array(list(held.values()))
    if visibility == "hidden":
        return np.asarray(every.any(axis=0))
    inside = common = np.asarray(every.all(axis=0))
    if visibility == "book":
        inside = np.asarray(np.array([held[name] for name in label_parties]).any(axis=0))
        others = np.array([held[name] for name in held if name not in label_parties])
        common = inside & np.asarray(others.any(axis=0)) if len(others) else inside
    if not common.any():
        raise DataError(
            COORDINATOR,
            f"no firm is common to the parties (visibility {visibility!r})",
            "Check that all parties use the same kind of identifier, and the same periods where periods are part of it.",
            AbortCode.COHORT,
        )
    return inside


def read_universe(
    size: int, array: Array, sizes: Mapping[str, int], me: str, visibility: Visibility, label_parties: tuple[str, ...]
) -> tuple[int, Positions]:
    """A party's check of what the coordinator tells it; the positions are in the order in which its list was sent, (n,).

    sizes: every party's announced number of rows. Raises PeerError for a size that these cannot give, and for positions that are out of
    range, not distinct, missing where every row must be inside, or too few for an intersection of that size.
    """
    books = {name: sizes[name] for name in label_parties} if visibility == "book" else dict(sizes)
    low, high = max(books.values()), sum(books.values())
    if visibility == "intersection":
        low, high = 1, min(sizes.values())
    if not low <= size <= high:
        raise PeerError(COORDINATOR, "a universe of another size", "a size that the parties' numbers of rows allow")
    whole = visibility == "hidden" or (visibility == "book" and me in label_parties)
    positions: Positions = array.read(COORDINATOR, "<i8", (sizes[me],), 0 if whole else -1, size - 1)
    inside = np.sort(positions[positions >= 0])
    if bool((inside[1:] == inside[:-1]).any()):
        raise PeerError(COORDINATOR, "one position for two rows", "distinct positions")
    if visibility == "intersection" and len(inside) != size:
        raise PeerError(COORDINATOR, "positions for some of an intersection", "one row of every party at every position")
    return size, positions


def require_cohort(me: str, positions: Positions, minimum: int, visibility: Visibility) -> None:
    """Raises PolicyRefusal (code cohort) where fewer than `minimum` rows are, or in `hidden` can be, matched."""
    if int((positions >= 0).sum()) < minimum:
        raise PolicyRefusal(
            me,
            f"fewer than {minimum} rows {'can be' if visibility == 'hidden' else 'are'} in the universe (rule: minimum cohort)",
            "Check that all parties use the same kind of identifier; a smaller cohort needs every institution's agreement.",
            AbortCode.COHORT,
        )
