"""Who there is: firms by industry and region, their size, founding and owner, and the outsiders that they trade with.

Size (yearly sales, CNY): log size = m + BODY z + E / TAIL, z normal, E exponential, cut at LARGEST: a log-normal body with a Pareto tail
(double Pareto-lognormal with one tail; Reed and Jorgensen 2004), m such that MICRO_SHARE are below MICRO_LIMIT. Founding: month f has weight
exp(GROWTH f / 12) S(max(-f, 0) / 12), S the Weibull survival: who lives at some time of the months.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.special import ndtri

from federation.align.uscc import ALPHABET
from simulations.economy import calibration as known
from simulations.economy.randomness import Streams, blocks

Reals = NDArray[np.float64]
CODES = tuple(known.INDUSTRIES)
REGION_CODES = tuple(known.REGIONS)
SEVERAL_FIRMS = 0.08
"""Share of firms whose owner has another firm, too (choice)."""


@dataclass(frozen=True)
class Firms:
    """industry, region: (n,) index into CODES, REGION_CODES; size: (n,) yearly sales, CNY; founded: (n,) month, negative before the first;
    owner, address: (n,) numbers; firms with the same number share them; need: (n,) wants credit; shy: (n,) does not ask for it.
    """

    industry: NDArray[np.int8]
    region: NDArray[np.int8]
    size: Reals
    founded: NDArray[np.int16]
    owner: NDArray[np.int32]
    address: NDArray[np.int32]
    need: NDArray[np.bool_]
    shy: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.size)

    def of_industry(self, what: str) -> Reals:
        """A property of each firm's industry, (n,)."""
        return np.asarray(np.array([getattr(industry, what) for industry in known.INDUSTRIES.values()], np.float64)[self.industry])

    @property
    def risk(self) -> Reals:
        """Shift of the log odds of a cash shortfall, of industry and region, (n,)."""
        return np.asarray(self.of_industry("risk") + np.array(list(known.REGIONS.values()))[self.region], np.float64)


def draw(streams: Streams, count: int, months: int) -> Firms:
    """So many firms."""
    parts = [_block(streams, number, part.stop - part.start, months) for number, part in blocks(count)]
    industry, region, size, founded, need, shy = (np.concatenate(column) for column in zip(*parts, strict=True))
    rng = streams.of("owners")
    owner = np.arange(count, dtype=np.int32)
    several = np.flatnonzero(rng.random(count) < SEVERAL_FIRMS / 2)
    owner[several] = owner[rng.integers(0, count, len(several))]  # the owner of another firm
    address = np.arange(count, dtype=np.int32)
    address[several] = np.where(rng.random(len(several)) < 0.3, address[owner[several]], address[several])
    return Firms(industry, region, size, founded, owner, address, need, shy)


def _block(streams: Streams, number: int, count: int, months: int) -> tuple[NDArray[np.generic], ...]:
    rng = streams.of("firms", number)
    industry = rng.choice(len(CODES), count, p=[industry.share for industry in known.INDUSTRIES.values()]).astype(np.int8)
    region = rng.choice(len(REGION_CODES), count, p=known.REGION_SHARES).astype(np.int8)
    size = sizes(rng.random(count), rng.random(count))
    when = np.arange(-known.OLDEST, months)
    weights = np.exp(known.GROWTH * when / 12) * survival(np.maximum(-when, 0) / 12)
    founded = when[np.searchsorted(np.cumsum(weights) / weights.sum(), rng.random(count))].astype(np.int16)
    need, shy = rng.random(count) < known.NEED, rng.random(count) < 0.2
    return industry, region, size, founded, need, shy


def survival(years: Reals) -> Reals:
    """Share of firms that live so long, (n,)."""
    return np.exp(-((years / known.LIFE_SCALE) ** known.LIFE_SHAPE))


def sizes(body: Reals, tail: Reals) -> Reals:
    """Yearly sales in CNY of uniform draws in (0, 1), (n,)."""
    middle = location() + known.BODY * ndtri(np.clip(body, 1e-9, 0.9999))
    room = -np.expm1(-known.TAIL * np.maximum(np.log(known.LARGEST) - middle, 1e-6))  # of the exponential, cut at the largest
    return np.asarray(np.exp(middle - np.log1p(-tail * room) / known.TAIL))


@cache
def location() -> float:
    """M of the formula above, from the share of micro firms; the cut at the largest is ignored, as it concerns one firm in a thousand."""
    grid = ndtri((np.arange(4000) + 0.5) / 4000)

    def micro(m: float) -> float:
        room = np.maximum(np.log(known.MICRO_LIMIT) - m - known.BODY * grid, 0.0)
        return float(np.mean(-np.expm1(-known.TAIL * room))) - known.MICRO_SHARE

    return float(brentq(micro, 5.0, 16.0))


def codes(streams: Streams, region: NDArray[np.int8]) -> NDArray[np.uint8]:
    """Distinct Unified Social Credit Codes of enterprises as ASCII, (n, 18): 91, region, nine characters, check character (GB 32100-2015)."""
    rng = streams.of("ids")
    start, stride, places = int(rng.integers(31**7)), 31 * int(rng.integers(1, 31**6)) + 7, 31**7
    digits = np.zeros((len(region), 18), np.int64)
    digits[:, 0], digits[:, 1] = 9, 1
    digits[:, 2:8] = np.array([[int(digit) for digit in code] for code in REGION_CODES])[region]
    serial = np.array([(start + stride * number) % places for number in range(len(region))], np.int64)  # distinct: 31 divides no stride
    for place in range(7):
        digits[:, 8 + place] = serial % 31
        serial //= 31
    digits[:, 15:17] = rng.integers(0, 31, (len(region), 2))
    weights = np.array([pow(3, place, 31) for place in range(17)])
    digits[:, 17] = -(digits[:, :17] @ weights) % 31
    return np.frombuffer(ALPHABET.encode(), np.uint8)[digits]
