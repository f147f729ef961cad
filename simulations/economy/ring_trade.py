"""Invoices of circular rings: each month some rounds, in which an amount goes from member to member and back to the first.

camouflage c, 0 to 1: a leg's amount varies by a standard deviation of 0.01 + 0.35 c of its log; a leg goes by way of an honest firm with
probability 0.5 c, in two invoices of two days; it is cut in two invoices with probability 0.4 c; days between legs are 1 to 2 + 6 c; and the
sum that goes round falls from 1.0 to 0.4 of the members' own monthly sales.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from simulations.economy.calendar import Month
from simulations.economy.firms import Firms
from simulations.economy.invoices import SMALL_RATE, VALID, Invoices
from simulations.economy.randomness import Streams
from simulations.economy.rings import CIRCULAR, Fraud, Ring
from simulations.economy.traits import Traits


def draw(streams: Streams, firms: Firms, fraud: Fraud, traits: Traits, month: Month) -> tuple[Invoices, NDArray[np.int32]]:
    """The month's invoices of all circular rings, and each one's ring, (k,)."""
    found: list[tuple[int, int, int, float, int]] = []
    honest = np.flatnonzero((traits.sales > 0) & (fraud.kind == 0))
    for number, ring in enumerate(fraud.rings):
        members = ring.members[traits.sales[ring.members] > 0]
        if ring.kind == CIRCULAR and ring.active(month.number) and len(members) > 2:
            _rounds(streams.of("ring_trade", month.number, number), firms, members, honest, ring, number, month, found)
    seller, buyer, day, amount, which = (np.array(column) for column in zip(*found, strict=True)) if found else (np.empty(0),) * 5
    fen = np.rint(amount * 100).astype(np.int64)
    status, delay = np.full(len(fen), VALID, np.int8), np.full(len(fen), 2, np.int32)
    tax = np.rint(fen * SMALL_RATE).astype(np.int64)
    invoices = Invoices(seller.astype(np.int32), buyer.astype(np.int32), day.astype(np.int32), fen, tax, status, delay)
    return invoices, which.astype(np.int32)


def _rounds(
    rng: np.random.Generator, firms: Firms, members: NDArray[np.int32], honest: NDArray[np.int64], ring: Ring, number: int,
    month: Month, found: list[tuple[int, int, int, float, int]],
) -> None:  # fmt: skip
    strength = ring.camouflage
    volume = float(np.median(firms.size[members])) / 12 * (1.0 - 0.6 * strength)
    rounds = int(rng.integers(2, 5))
    for _ in range(rounds):
        day, base = int(rng.integers(0, 8)), volume / rounds * float(rng.lognormal(0.0, 0.2))
        for place, one in enumerate(members):
            other = int(members[(place + 1) % len(members)])
            amount = base * float(np.exp((0.01 + 0.35 * strength) * rng.standard_normal()))
            path = [int(one), other]
            if rng.random() < 0.5 * strength and len(honest):
                path.insert(1, int(rng.choice(honest)))
            pieces = (0.6, 0.4) if rng.random() < 0.4 * strength else (1.0,)
            for source, target in pairwise(path):
                found += [(source, target, month.first + min(day, month.days - 1), amount * piece, number) for piece in pieces]
                day += 1 + int(rng.integers(0, 2 + int(6 * strength)))
