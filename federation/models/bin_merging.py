"""Merging bins: below the minimum cohort, with too few bads, and until the bad rate is monotone.

`counts` is (bins.size, k) int64 throughout, one row for each bin; merging adds rows. Merging is a function of counts alone, so the pooled
reference merges alike.

Why no present bin is ever simply withheld: the bins of each column divide the same matched rows, so the counts of one column add up to what
those of another add up to. A withheld bin of three firms would be the difference of two released sums. Hence bins below the cohort are
*merged*, missing and special values too, and after `merge_small` every present bin has no training row or at least the minimum.
"""

from __future__ import annotations

import msgspec
import numpy as np
from numpy.typing import NDArray

from federation.kernel.errors import ConfigurationError
from federation.models.bins import OWN, Bins, Direction
from federation.models.woe import information_value

Counts = NDArray[np.int64]
ROWS, GOODS, BADS = 0, 1, 2
"""The columns of a full table of counts: training rows, then goods and bads on the weight grid."""


def merge(bins: Bins, i: int, j: int) -> Bins:
    """Bins i and j as one, which keeps the lower index; later bins move up by one.

    Two ordinary bins (neighbours, where bins are ordered), or an ordinary bin and a special or missing bin. Raises ConfigurationError.
    """
    i, j = min(i, j), max(i, j)
    if not 0 <= i < j < bins.absent or i >= bins.ordinary:
        raise _cannot(bins, "only an ordinary bin can be merged, with another or with a special or missing bin; absent stays by itself")
    if j >= bins.ordinary:
        place = bins.homes.index(j)
        return msgspec.structs.replace(bins, joined=(*bins.joined[:place], i, *bins.joined[place + 1 :]))
    if bins.ordered and j != i + 1:
        raise _cannot(bins, "only neighbours can be merged")
    joined = tuple(i if home == j else home - (home > j) for home in bins.joined)
    if bins.kind == "numeric":
        return msgspec.structs.replace(bins, edges=bins.edges[:i] + bins.edges[j:], joined=joined)
    groups = (*bins.groups[:i], bins.groups[i] + bins.groups[j], *bins.groups[i + 1 : j], *bins.groups[j + 1 :])
    other = i if bins.other == j else bins.other - (bins.other > j)
    return msgspec.structs.replace(bins, groups=groups, other=other, joined=joined)


def fold(counts: Counts, i: int, j: int) -> Counts:
    """The counts after `merge(bins, i, j)`."""
    i, j = min(i, j), max(i, j)
    out = np.delete(counts, j, axis=0)
    out[i] += counts[j]
    return out


def merge_small(bins: Bins, counts: Counts, minimum: int) -> tuple[Bins, Counts]:
    """Merge until every present bin has no row (counts[:, 0]) or at least `minimum`, provided that all together have.

    Ordinary bins first, smallest first: an interval goes to its neighbour with fewer rows (the left one of two equal), a group to the
    smallest other group. Then missing and special values below the minimum join the ordinary bin with most rows; if all ordinary bins
    together stay below it, the largest of missing and special values joins them. Empty intervals are merged, an empty `other` is kept.
    """
    bins, counts = merge_ordinary(bins, counts, ROWS, minimum)
    while small := [b for b in range(bins.ordinary, bins.absent) if 0 < counts[b, ROWS] < minimum]:
        bins, counts = _merged(bins, counts, int(counts[: bins.ordinary, ROWS].argmax()), small[0])
    left = [b for b in range(bins.ordinary) if 0 < counts[b, ROWS] < minimum]
    if left and bins.ordinary < bins.absent:
        largest = bins.ordinary + int(counts[bins.ordinary : bins.absent, ROWS].argmax())
        bins, counts = _merged(bins, counts, left[0], largest)
    return merge_ordinary(bins, counts, ROWS, minimum)  # an empty `other` that took rows in is a bin like any other now


def merge_ordinary(bins: Bins, counts: Counts, by: int, minimum: int) -> tuple[Bins, Counts]:
    """Merge ordinary bins until each has `minimum` by column `by` of the counts, or one is left (an empty `other` does not count)."""
    while True:
        places = [b for b in range(bins.ordinary) if not _unused(bins, counts, b)]
        small = min(places, key=lambda b: (counts[b, by], b), default=-1)
        if len(places) < 2 or counts[small, by] >= minimum:
            return bins, counts
        near = [b for b in places if b != small]
        if bins.ordered:
            place = places.index(small)
            near = [places[b] for b in (place - 1, place + 1) if 0 <= b < len(places)]
        partner = min(near, key=lambda b: (counts[b, by], b))
        if bins.ordered and abs(partner - small) > 1:  # an empty `other` stands between two ordered groups: it goes along
            between = (small + partner) // 2
            bins, counts = _merged(bins, counts, min(small, partner), between)
            small, partner = min(small, partner), max(small, partner) - 1
        bins, counts = _merged(bins, counts, small, partner)


def merge_few_bads(bins: Bins, counts: Counts, minimum: int) -> tuple[Bins, Counts]:
    """Merge ordinary bins until each has `minimum` bads, on the weight grid. Missing and special values stay: smoothing copes with them."""
    return merge_ordinary(bins, counts, BADS, minimum)


def make_monotone(bins: Bins, counts: Counts, direction: Direction, smoothing: float) -> tuple[Bins, Counts]:
    """Pool adjacent violators (Ayer et al. 1955) until the bad rate of ordered ordinary bins runs in the direction, equal steps allowed.

    "auto" keeps the direction that leaves the larger information value ("increasing" of two equal). Groups without an order are left alone.
    Rates are compared as exact integers; a bin whose rows all have weight zero has no rate and is passed over.
    """
    if not bins.ordered:
        return bins, counts
    if direction == "auto":
        up = make_monotone(bins, counts, "increasing", smoothing)
        down = make_monotone(bins, counts, "decreasing", smoothing)
        return max(up, down, key=lambda pooled: information_value(pooled[1][:, GOODS], pooled[1][:, BADS], smoothing))
    sign, place = (1 if direction == "increasing" else -1), 0
    while place < bins.ordinary - 1:
        (_, goods, bads), (_, next_goods, next_bads) = counts[place].tolist(), counts[place + 1].tolist()
        empty = not (goods + bads and next_goods + next_bads)
        if not empty and sign * (bads * next_goods - next_bads * goods) > 0:  # b/(g+b) > b'/(g'+b') is b g' > b' g
            bins, counts = _merged(bins, counts, place, place + 1)
            place = max(place - 1, 0)
        else:
            place += 1
    return bins, counts


def _merged(bins: Bins, counts: Counts, i: int, j: int) -> tuple[Bins, Counts]:
    return merge(bins, i, j), fold(counts, i, j)


def _unused(bins: Bins, counts: Counts, place: int) -> bool:
    """Whether this is the group of other levels, with no training row: it says nothing and stays neutral."""
    return place == bins.other and not bins.groups[place] and counts[place, ROWS] == 0


def _cannot(bins: Bins, what: str) -> ConfigurationError:
    return ConfigurationError(f"bins of column {bins.column!r}", what, "Merge other bins.")


__all__ = ["BADS", "GOODS", "OWN", "ROWS", "Counts", "fold", "make_monotone", "merge", "merge_few_bads", "merge_ordinary", "merge_small"]
