"""What can be made of a comparison of counterparties: by the coordinator, by one of the two institutions, and by both of them together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from federation.align.chain import Announced, announce, around
from federation.align.curve import Points, Progress, blinding, exponentiate, fresh_exponent, hash_to_curve
from federation.kernel.role import Role, Run
from federation.kernel.secret import Secret


def equal_points(lists: Sequence[Points]) -> int:
    """What the coordinator counts: right for the number in common where no key of nobody is in both lists."""
    return len(_rows(lists[0]) & _rows(lists[1]))


def named(keys: Sequence[bytes], mine: Points, other: Points) -> dict[bytes, bool]:
    """An institution and the coordinator together: which of its keys are in the other list, if its points came back in its own order."""
    there = _rows(other)
    return {key: point.tobytes() in there for key, point in zip(keys, mine, strict=True)}


def marks(run: Run, count: int) -> list[Secret]:
    """An exponent for each key that is to be known again."""
    stream = run.random("marks")
    return [fresh_exponent(stream) for _ in range(count)]


def marked_list(run: Run, keys: Sequence[bytes], marked: Sequence[Secret], max_rows: int) -> Role[tuple[Points, Announced]]:
    """A list that leaves the protocol: each key stands in it twice, the second time raised to an exponent of its own, (2n, 32)."""
    progress = Progress(lambda _done, _total: None, 0)
    secret = fresh_exponent(run.random("key"))
    mask, unmask = blinding(run.random("blinding"), secret)
    points = hash_to_curve(keys, run.session, run.address, workers=1, progress=progress)
    again = [exponentiate(mark, points[at : at + 1], run.me, workers=1, progress=progress) for at, mark in enumerate(marked)]
    points = exponentiate(mask, np.concatenate([points, *again]), run.me, workers=1, progress=progress)
    announced = yield from announce(run, points, max_rows)
    points = yield from around(run, points, announced, secret, 1, progress, shuffled=True)
    return exponentiate(unmask, points, run.me, workers=1, progress=progress), announced


def known_again(points: Points, keys: Sequence[bytes], marked: Sequence[Secret]) -> dict[bytes, bytes]:
    """Key to fully keyed point, whatever order a marked list came back in: the point whose power by the key's mark is there, too."""
    there, progress = _rows(points), Progress(lambda _done, _total: None, 0)
    found: dict[bytes, bytes] = {}
    for key, mark in zip(keys, marked, strict=True):
        powers = exponentiate(mark, points, "nobody", workers=1, progress=progress)
        for point, power in zip(points, powers, strict=True):
            if power.tobytes() in there:
                found[key] = point.tobytes()
    return found


def members(points: Mapping[bytes, bytes], other: Points) -> dict[bytes, bool]:
    """With the coordinator: which keys of known points are in the other list."""
    there = _rows(other)
    return {key: point in there for key, point in points.items()}


def _rows(points: Points) -> set[bytes]:
    return {point.tobytes() for point in points}
