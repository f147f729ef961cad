"""Fixed point: float64 to integers on the grid 2^-f and back, with the proof that a masked sum of them cannot overflow.

With n members, s the least integer with 2^s >= n (the left shift that lets the group mask hide every bit, see `cover`) and m = clip * 2^f
rounded, the construction requires
    m * n * 2^s < 2^63          the shifted sum fits a signed 64-bit word;
    m * n <= (2^61 - 2) / 2     two different sums within the bound differ modulo 2^61 - 1, so a tag tells them apart.
Nothing wraps and nothing is clipped: a value beyond the clip is an error that names the rule and the count, never the value.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from federation.kernel.errors import AbortCode, ConfigurationError, LocalError
from federation.masked_sum import mersenne

Integers = NDArray[np.int64]
Reals = NDArray[np.float64]
_WHERE = "fixed point"


@dataclass(frozen=True)
class FixedPoint:
    """The encoding of one masked sum.

    clip: the largest magnitude of a member's number; members: how many members add at most; fraction_bits: f, or None for the finest grid
    that fits (0 for counts and whole numbers). Derived: bits, the f in use; shift, s; largest, m; total_bound, m * n.
    Raises ConfigurationError when the bound does not hold.
    """

    clip: float
    members: int
    fraction_bits: int | None = None
    bits: int = field(init=False)
    shift: int = field(init=False)
    largest: int = field(init=False)
    total_bound: int = field(init=False)

    def __post_init__(self) -> None:
        """Derive the grid, or refuse."""
        if not (math.isfinite(self.clip) and self.clip > 0) or self.members < 1 or (self.fraction_bits or 0) < 0:
            raise ConfigurationError(
                _WHERE, "needs a finite clip above 0, at least one member and no negative fraction bits", "Correct the manifest."
            )
        derived: dict[str, int] = {"shift": (self.members - 1).bit_length()}
        most = min(((1 << 63) - 1) >> derived["shift"], (mersenne.P - 1) // 2) // self.members
        derived["bits"] = _finest(self.clip, most) if self.fraction_bits is None else self.fraction_bits
        derived["largest"] = _on_grid(self.clip, derived["bits"])
        derived["total_bound"] = derived["largest"] * self.members
        if derived["largest"] > most or derived["largest"] == 0:
            raise ConfigurationError(
                _WHERE,
                f"a clip of {self.clip:g} with {derived['bits']} fraction bits does not fit a masked sum of {self.members} members "
                f"(the largest whole number on the grid must lie in 1..{most})",
                "Lower the clip or the fraction bits in the manifest, or declare the number in a larger unit.",
            )
        for name, value in derived.items():
            object.__setattr__(self, name, value)

    @property
    def step(self) -> float:
        """The grid's step, 2^-f: encoding is wrong by at most half of it."""
        return math.ldexp(1.0, -self.bits)

    def encode(self, vector: NDArray[Any], where: str = "masked sum") -> Integers:
        """(k,) numbers (float, integer or bool) to (k,) int64, rounded to the nearest grid point, ties to even.

        Raises LocalError, before anything is sent, when a number is not finite or lies beyond the clip.
        """
        array = np.asarray(vector)
        if array.ndim != 1 or array.dtype.kind not in "buif":
            raise LocalError(where, f"an array {array.dtype} of {array.ndim} dimensions", "Pass a vector of real numbers.")
        if array.dtype.kind == "f":
            real = array.astype(np.float64)
            self._require(np.abs(real) <= self.clip, where)
            return np.rint(np.ldexp(real, self.bits)).astype(np.int64)
        limit = math.floor(self.clip)  # whole numbers never pass through float64: no digit is lost
        whole = array.astype(np.int8) if array.dtype.kind == "b" else array
        self._require((whole <= limit) & (whole >= -limit), where)
        return whole.astype(np.int64) << np.int64(self.bits)

    def decode(self, total: Integers) -> Reals:
        """(k,) sums on the grid to (k,) float64; sums beyond 2^53 grid steps are rounded to the nearest float64."""
        return np.ldexp(total.astype(np.float64), -self.bits)

    def check(self, integers: Integers, where: str = "masked sum") -> None:
        """Raises LocalError unless already encoded integers, (k,), lie within the clip."""
        self._require((integers <= self.largest) & (integers >= -self.largest), where)

    def _require(self, good: NDArray[np.bool_], where: str) -> None:
        if not good.all():
            raise LocalError(
                where,
                f"{good.size - int(good.sum()):,} of {good.size:,} numbers are not finite or beyond the clip (rule: |x| <= {self.clip:g})",
                "Nothing was sent. Raise the clip in the manifest, or scale the column.",
                AbortCode.DATA,
            )


def _on_grid(clip: float, bits: int) -> int:
    return round(Fraction(clip) * (1 << bits))


def _finest(clip: float, most: int) -> int:
    """The largest f >= 0 with round(clip * 2^f) <= most (0 when none fits, which the caller then refuses)."""
    bits = max(0, most.bit_length() - math.frexp(clip)[1] + 1)
    while bits > 0 and _on_grid(clip, bits) > most:
        bits -= 1
    return bits
