"""Several small whole numbers in one number, so that their sums over institutions come out side by side: one masked word for each position.

A field that each of n institutions fills with 0 to its cap has the bits of n * cap; all together have 52 bits at most, which a float64 holds
exactly.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from federation.kernel.errors import AbortCode, ConfigurationError, DataError
from federation.masked_sum.fixed_point import FixedPoint

Counts = NDArray[np.int64]

_MOST_BITS = 52


@dataclass(frozen=True)
class Fields:
    """caps: the largest number that one institution puts into each field; members: how many institutions there are.

    Raises ConfigurationError where the fields do not fit.
    """

    caps: tuple[int, ...]
    members: int

    def __post_init__(self) -> None:
        """Refuse what does not fit."""
        if not self.caps or min(self.caps) < 1 or self.members < 1 or sum(self.bits) > _MOST_BITS:
            what = f"{len(self.caps)} counts over {self.members} institutions need {sum(self.bits)} bits (rule: 1 to {_MOST_BITS})"
            raise ConfigurationError("check", what, "Ask for fewer bands, or of fewer institutions.")

    @property
    def bits(self) -> tuple[int, ...]:
        """The width of each field."""
        return tuple((self.members * cap).bit_length() for cap in self.caps)

    @property
    def encoding(self) -> FixedPoint:
        """Of the numbers that hold the fields."""
        largest = int(self.pack(np.array([self.caps], np.int64), "check")[0])
        return FixedPoint(float(largest), self.members, 0)

    def pack(self, counts: Counts, where: str) -> Counts:
        """One institution's (n, k) counts, 0 to their caps, as (n,) numbers. Raises DataError beyond a cap: how many rows, never which."""
        wrong = (counts < 0) | (counts > np.array(self.caps))
        if wrong.any():
            what = f"{int(wrong.any(axis=1).sum()):,} of {len(counts):,} rows count more than a check can carry (rule: at most {self.caps})"
            raise DataError(where, what, "Nothing was sent. Correct them at the source.", AbortCode.CAP)
        out = np.zeros(len(counts), np.int64)
        for field, shift in zip(counts.T, self._shifts, strict=True):
            out += field << np.int64(shift)
        return out

    def unpack(self, sums: Counts) -> Counts:
        """The (n, k) sums of each field."""
        masks = [(1 << bits) - 1 for bits in self.bits]
        fields = [(sums >> np.int64(shift)) & np.int64(mask) for shift, mask in zip(self._shifts, masks, strict=True)]
        return np.stack(fields, axis=1)

    @property
    def _shifts(self) -> tuple[int, ...]:
        return tuple(sum(self.bits[:place]) for place in range(len(self.bits)))
