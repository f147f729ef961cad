"""Attacks on releases by differencing: totals over sets of rows give totals over few of them.

The attacker knows which firms are in each release (it drew them up, or knows how they were chosen) and its exact totals. It has no key and
breaks no protocol; the only defence is that the node refuses the second release (`privacy.disclosure.differencing`). The control is the same
pair of releases without that rule.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product

import numpy as np
from numpy.typing import NDArray

Members = NDArray[np.bool_]
Totals = NDArray[np.int64]


def totals(values: Totals, members: Members) -> Totals:
    """What a release tells: exact sums (d,) of each column of values (n, d), in whole units, over the rows (n,) in it."""
    return np.asarray(values[members].sum(axis=0), np.int64)


def left_out(larger: Totals, smaller: Totals) -> Totals:
    """The values of the one firm that is in the first release and not in the second."""
    return larger - smaller


def telling(releases: Sequence[Members], least: int, most: int = 1) -> Iterator[tuple[int, ...]]:
    """Every combination with coefficients from -most to most, the first that is not zero positive, that tells of 1 to `least` - 1 rows and is
    more than one release. By trying all of them: (2 most + 1)^m combinations of m releases.
    """
    shares = np.array(list(product(range(-most, most + 1), repeat=len(releases))), np.int64)
    used = np.count_nonzero(shares, axis=1)
    first = shares[np.arange(len(shares)), (shares != 0).argmax(axis=1)]
    told = np.count_nonzero(shares @ np.array(releases, np.int64), axis=1)
    for place in np.flatnonzero((used > 1) & (first > 0) & (told > 0) & (told < least)):
        yield tuple(shares[place].tolist())


def combined(shares: Sequence[int], released: Sequence[Totals]) -> Totals:
    """The combination's total (d,): of the few rows that it tells of, each times its share."""
    return np.asarray(sum(share * told for share, told in zip(shares, released, strict=True)), np.int64)
