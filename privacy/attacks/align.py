"""Attacks on alignment: membership by dictionary, from what the coordinator, an institution, or both together hold.

Identifiers are few and guessable (every firm of a country fits in one dictionary), so an attacker is given the dictionary. It matches
images: every point it holds, and every point it can make from the dictionary, under every exponent it knows. What it may find, by the
contract, is membership of the ids that a colluding institution put in its own list; alone, nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal

import numpy as np

from federation.align.chain import Announced, KeyedList, TravellingList, announce, around
from federation.align.curve import POINT_BYTES, Points, Progress, blinding, exponentiate, fresh_exponent, hash_to_curve
from federation.kernel.codec import Array
from federation.kernel.role import COORDINATOR, Role, Run
from federation.kernel.secret import Secret

Without = Literal["blinding", "keys"]
"""The one protection that a weakened member lacks: the mask t under which a list comes home, or all secrets (plain hashed ids)."""


def points_of(messages: Iterable[TravellingList | KeyedList]) -> Points:
    """All points of some messages, (n, 32)."""
    return np.frombuffer(b"".join(message.points.data for message in messages), np.uint8).reshape(-1, POINT_BYTES)


def exponents(run: Run) -> tuple[Secret, ...]:
    """Every exponent that a member knows of an alignment at this place: k, t and k / t. `run`: the member's own, not yet used."""
    secret = fresh_exponent(run.random("key"))
    return secret, *blinding(run.random("blinding"), secret)


def dictionary_points(run: Run, dictionary: Sequence[bytes]) -> Points:
    """The dictionary on the curve, as any member or the coordinator can compute it, (n, 32)."""
    return hash_to_curve(dictionary, run.session, run.address, workers=1, progress=_quiet())


def images(points: Points, known: Sequence[Secret]) -> tuple[Points, ...]:
    """Points as they are and under each exponent known, each (n, 32)."""
    return points, *(exponentiate(secret, points, "attacker", workers=1, progress=_quiet()) for secret in known)


def found(candidates: Sequence[bytes], theirs: Sequence[Points], held: Sequence[Points]) -> set[bytes]:
    """The candidates one of whose images is among the points held.

    theirs: images of the candidates, each (n, 32), row i belonging to candidate i; held: points of the target's lists, and their images.
    """
    there = {row.tobytes() for points in held for row in points}
    return {candidates[i] for points in theirs for i, row in enumerate(points) if row.tobytes() in there}


def shared_with(own: Sequence[bytes], keyed: Points, target: Points) -> set[bytes]:
    """Coordinator + institution: which of the institution's own ids the target has.

    own: the ids in the order in which the institution's keyed list, (n, 32), was sent; target: the target's keyed list.
    """
    return found(own, (keyed,), (target,))


def weakened_list(run: Run, keys: Sequence[bytes], max_rows: int, without: Without) -> Role[tuple[Points, Announced]]:
    """`chain.keyed_list` but for one protection.

    blinding: a list travels under its origin's own secret k from the start, so that the last other institution completes it; keys: a list
    is sent as plain hashes.
    """
    points = dictionary_points(run, keys)
    if without == "keys":
        return points, (yield from announce(run, points, max_rows))
    secret = fresh_exponent(run.random("key"))
    points = images(points, (secret,))[1]
    announced = yield from announce(run, points, max_rows)
    return (yield from around(run, points, announced, secret, 1, _quiet())), announced


def weakened_member(run: Run, keys: Sequence[bytes], max_rows: int, without: Without) -> Role[None]:
    """An institution of the weakened alignment, up to the list that it sends the coordinator; in the order of its keys."""
    points, announced = yield from weakened_list(run, keys, max_rows, without)
    yield from run.step("keyed", send={COORDINATOR: KeyedList(announced.digest, Array.of(points))})


def _quiet() -> Progress:
    def ignore(*_: int) -> None:
        pass

    return Progress(ignore, 0)
