"""Circles of trade with balanced amounts: cycles of 3 to `longest` firms in which the least amount is at least `balance` times the greatest.

A balanced circle has all its amounts in one band [low, low / balance^2), if bands begin at every power of 1 / balance: it is then found in the
band of its least amount. A band is a small part of the graph, and falls apart into strongly connected knots (scipy); arrows that are in no short
cycle go, which leaves small knots, whose cycles networkx lists (`simple_cycles` with a bound on length: Gupta and Suzumura 2021).
The bounds are told: a knot of more than `widest_knot` firms, or one left of more than `largest_knot`, loses its loosest arrows until it falls
apart; of one knot at most `most_cycles` are looked at.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice, pairwise

import networkx as nx
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components

from clients.roles.tax.trade_graph import Settings
from clients.roles.tax.trade_lots import Ints

_SHORTEST = 3


@dataclass(frozen=True)
class Circle:
    """firms: in the order in which they sell; least, greatest: amounts around it, fen."""

    firms: tuple[int, ...]
    least: int
    greatest: int

    @property
    def balance(self) -> float:
        """The least amount over the greatest."""
        return self.least / self.greatest

    @property
    def sales(self) -> Iterator[tuple[int, int]]:
        """Its arrows."""
        return pairwise((*self.firms, self.firms[0]))


@dataclass
class Looked:
    """What the search saw and what it did not. knots: strongly connected, of all bands; largest: firms of the largest; listed: cycles looked at;
    tightened: knots that were too large, laid_aside: arrows that this cost; cut: knots of which not all cycles were looked at.
    """

    knots: int = 0
    largest: int = 0
    listed: int = 0
    tightened: int = 0
    laid_aside: int = 0
    cut: int = 0
    cut_firms: set[int] = field(default_factory=set)

    @property
    def whole(self) -> bool:
        """Whether nothing was laid aside."""
        return not (self.laid_aside or self.cut)


def circles_of(edges: pd.DataFrame, settings: Settings) -> tuple[list[Circle], Looked]:
    """All balanced circles of a window's arrows (seller, buyer, amount, share), each once, and what was not looked at."""
    looked, found = Looked(), []
    amount = edges["amount"].to_numpy(np.float64)
    step = 1 / settings.balance
    low = float(amount.min()) if len(amount) else 0.0
    while len(amount) and low <= amount.max():
        band = edges[(amount >= low) & (amount < low * step * step)]
        for knot in _small_knots(band, settings, looked):
            found += _listed(knot, low, low * step, settings, looked)
        low *= step
    return found, looked


def _small_knots(band: pd.DataFrame, settings: Settings, looked: Looked) -> Iterator[pd.DataFrame]:
    for knot in _knots(band):
        looked.knots += 1
        looked.largest = max(looked.largest, _size(knot))
        for part in _bounded(knot, settings.widest_knot, looked):
            for rest in _knots(_in_short_cycles(part, settings.longest)):
                yield from _bounded(rest, settings.largest_knot, looked)


def _size(knot: pd.DataFrame) -> int:
    return len(np.unique(knot[["seller", "buyer"]]))


def _bounded(knot: pd.DataFrame, most: int, looked: Looked) -> list[pd.DataFrame]:
    """The knot, or what is left of it when it is too large."""
    if _size(knot) <= most:
        return [knot]
    kept = _tightened(knot, most)
    looked.tightened += 1
    looked.laid_aside += len(knot) - len(kept)
    return _knots(kept)


def _in_short_cycles(knot: pd.DataFrame, longest: int) -> pd.DataFrame:
    """The arrows that lie in a closed walk of at most `longest` steps, as every arrow of a short cycle does: from the buyer back to the
    seller in longest - 1 steps or fewer, by powers of the adjacency matrix with ones on its diagonal.
    """
    places, firms = pd.factorize(np.concatenate([knot["seller"].to_numpy(), knot["buyer"].to_numpy()]))
    seller, buyer = places[: len(knot)], places[len(knot) :]
    size = len(firms)
    rows, columns = np.concatenate([seller, np.arange(size)]), np.concatenate([buyer, np.arange(size)])
    step = csr_array((np.ones(len(rows), np.float32), (rows, columns)), shape=(size, size))
    walk = step
    for _ in range(longest - 2):
        walk = walk @ step
        walk.data[:] = 1  # whether, not how many
    back = np.asarray(walk[buyer, seller]).ravel() > 0
    return knot[back]


def _knots(edges: pd.DataFrame) -> list[pd.DataFrame]:
    """The arrows within strongly connected components of at least three firms, one table each."""
    if len(edges) < _SHORTEST:
        return []
    label, size = _components(edges)
    seller, buyer = label[: len(edges)], label[len(edges) :]
    inside = (seller == buyer) & (size[seller] >= _SHORTEST)
    return [group for _, group in edges[inside].groupby(seller[inside], sort=True)]


def _components(edges: pd.DataFrame) -> tuple[NDArray[np.int32], Ints]:
    """The component of each arrow's seller, then of each one's buyer, (2n,); and each component's number of firms."""
    places, firms = pd.factorize(np.concatenate([edges["seller"].to_numpy(), edges["buyer"].to_numpy()]))
    rows, columns = places[: len(edges)], places[len(edges) :]
    graph = csr_array((np.ones(len(edges), np.int8), (rows, columns)), shape=(len(firms), len(firms)))
    _, label = connected_components(graph, directed=True, connection="strong")
    return label[places], np.bincount(label)


def _tightened(knot: pd.DataFrame, most: int) -> pd.DataFrame:
    """Without its loosest arrows, by share: as few of them as make every component small."""
    order = knot.sort_values("share", ascending=False, kind="stable")
    few, many = 0, len(order)  # of the tightest: few are small enough, many are not
    while many - few > 1:
        middle = (few + many) // 2
        _, size = _components(order.head(middle))
        few, many = (middle, many) if size.max() <= most else (few, middle)
    return order.head(few)


def _listed(knot: pd.DataFrame, low: float, high: float, settings: Settings, looked: Looked) -> list[Circle]:
    """The balanced circles of a knot whose least amount lies in [low, high)."""
    columns = [knot[name].to_numpy().tolist() for name in ("seller", "buyer", "amount")]
    amounts = {(seller, buyer): amount for seller, buyer, amount in zip(*columns, strict=True)}
    graph = nx.DiGraph(list(amounts))
    found, count = [], 0
    for cycle in islice(nx.simple_cycles(graph, length_bound=settings.longest), settings.most_cycles):
        count += 1
        circle = _circle(cycle, amounts)
        if len(cycle) >= _SHORTEST and circle.balance >= settings.balance and low <= circle.least < high:
            found.append(circle)
    looked.listed += count
    if count == settings.most_cycles:
        looked.cut += 1
        looked.cut_firms |= set(graph)
    return found


def _circle(firms: Sequence[int], amounts: dict[tuple[int, int], int]) -> Circle:
    start = firms.index(min(firms))
    order = (*firms[start:], *firms[:start])
    around = [amounts[pair] for pair in pairwise((*order, order[0]))]
    return Circle(order, min(around), max(around))
