"""Who sells to whom: a graph of stable relations between firms, and each firm's outside partners.

Each firm has about 2 (yearly sales / CNY 1 million)^0.35 buyers among the firms at a time, Poisson: larger firms have more partners, with the
heavy tail that production networks show (Bernard, Moxnes and Saito, JPE 2019). A buyer's industry follows SALES_TO, six in ten are of the
seller's region, and within industry and region larger firms buy more often (weight size^0.6), which gives buyers a heavy tail, too. A
relation lasts 30 months in the mean, so that most of a year's are next year's. Firms that sell to consumers have fewer.

A relation's part of its seller's invoiced sales is log-normal against the outsiders' part. Where a firm would be sold more than 0.8 of what
it needs to buy, all its suppliers' parts shrink alike, and outsiders buy the rest.

The whole graph is held, 16 bytes for each of about 4 relations a firm: blocks of firms need not know each other, since an invoice is drawn
once, by its relation, and then written at both sides.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from simulations.economy.calibration import REGION_SHARES, SALES_TO
from simulations.economy.firms import Firms
from simulations.economy.randomness import Streams, blocks
from simulations.economy.settings import Economy

LASTS: Final = 30.0
"""Months of a relation in the mean."""
MOST_BUYERS: Final = 400
AT_HOME: Final = 0.6
CAPACITY: Final = 0.8
"""Of what a firm buys, the most that comes from firms of this world."""


@dataclass(frozen=True)
class Trade:
    """Relations sorted by seller, (relations,) each. first, last: months in which it is alive, last excluded; share: of the seller's invoiced
    sales. outside_share: (n,) of each firm's invoiced sales that goes to outsiders.
    """

    seller: NDArray[np.int32]
    buyer: NDArray[np.int32]
    first: NDArray[np.int16]
    last: NDArray[np.int16]
    share: NDArray[np.float32]
    outside_share: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.seller)


def draw(streams: Streams, firms: Firms, asked: Economy) -> Trade:
    """The graph of all months."""
    choice = _Choice(firms)
    parts = [_block(streams.of("partners", number), firms, part, choice, asked) for number, part in blocks(len(firms))]
    seller, buyer, first, last = (np.concatenate(column) for column in zip(*parts, strict=True))
    pair = seller.astype(np.int64) * len(firms) + buyer
    _, kept = np.unique(pair, return_index=True)  # sorted by seller, each pair once
    kept = kept[seller[kept] != buyer[kept]]
    seller, buyer, first, last = seller[kept], buyer[kept], first[kept], last[kept]
    weight = np.concatenate([
        streams.of("weights", number).lognormal(0.0, 1.0, part.stop - part.start) for number, part in blocks(len(seller))
    ] or [np.empty(0)])  # fmt: skip
    outside = streams.of("weights", 1 << 20).lognormal(0.5, 0.6, len(firms))
    alive = alive_share(first, last, asked.months)
    whole = np.bincount(seller, weight * alive, len(firms)) + outside
    share = weight / whole[seller]
    volume = share * alive * (firms.size * firms.of_industry("invoiced"))[seller]
    room = CAPACITY * firms.size * firms.of_industry("bought") / np.maximum(np.bincount(buyer, volume, len(firms)), 1e-9)
    share = share * np.minimum(room, 1.0)[buyer]
    rest = 1 - np.bincount(seller, share * alive, len(firms))
    return Trade(seller, buyer, first, last, share.astype(np.float32), rest.astype(np.float32))


def alive_share(first: NDArray[np.int16], last: NDArray[np.int16], months: int) -> NDArray[np.float64]:
    """Share of the months in which each relation is alive."""
    return np.asarray((np.minimum(last, months) - np.maximum(first, 0)) / months, np.float64)


class _Choice:
    """Firms by industry and region, with cumulative weights, so that a buyer is found by bisection."""

    def __init__(self, firms: Firms) -> None:
        group = firms.industry.astype(np.int64) * len(REGION_SHARES) + firms.region
        self.order = np.argsort(group, kind="stable").astype(np.int32)
        groups = SALES_TO.shape[0] * len(REGION_SHARES)
        self._cumulative = np.concatenate([[0.0], np.cumsum((firms.size[self.order] / 1e6) ** 0.6)])
        bounds = np.searchsorted(group[self.order], np.arange(groups + 1))
        self._low, self._high = self._cumulative[bounds[:-1]], self._cumulative[bounds[1:]]
        self.filled = np.diff(bounds) > 0

    def pick(self, group: NDArray[np.int64], draws: NDArray[np.float64]) -> NDArray[np.int32]:
        at = self._low[group] + draws * (self._high[group] - self._low[group])
        return np.asarray(self.order[np.clip(np.searchsorted(self._cumulative, at, side="right") - 1, 0, len(self.order) - 1)])


def _block(rng: np.random.Generator, firms: Firms, part: slice, choice: _Choice, asked: Economy) -> tuple[NDArray[np.generic], ...]:
    invoiced = firms.of_industry("invoiced")[part]
    mean = 2.3 * invoiced * (firms.size[part] / 1e6) ** 0.35 * (1 + asked.months / LASTS)
    degree = np.minimum(rng.poisson(mean), MOST_BUYERS)
    seller = np.repeat(np.arange(part.start, part.stop, dtype=np.int32), degree)
    regions = len(REGION_SHARES)
    toward = (rng.random(len(seller))[:, None] > np.cumsum(SALES_TO, axis=1)[firms.industry[seller], :-1]).sum(axis=1)
    elsewhere = np.searchsorted(np.cumsum(REGION_SHARES)[:-1], rng.random(len(seller)))
    region = np.where(rng.random(len(seller)) < AT_HOME, firms.region[seller], elsewhere)
    group = toward * regions + region
    buyer = choice.pick(group, rng.random(len(seller)))
    began = (
        rng.random(len(seller)) * (asked.months + LASTS) - LASTS
    )  # before the first month: a relation that is there, its rest exponential
    first = np.maximum(np.ceil(began), 0).astype(np.int16)
    last = np.minimum(first + 1 + rng.exponential(LASTS, len(seller)), 30_000).astype(np.int16)
    alive = choice.filled[group]
    return seller[alive], buyer[alive], first[alive], last[alive]
