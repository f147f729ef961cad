"""Who banks, sells and pays tax where.

bank       each firm in `bank` has a main account; banks' shares fall as 1 / sqrt(rank), and a bank is twice as strong in its own region;
           `second` of them have another account at another bank
platform   a firm sells on a platform when its industry does and the larger the likelier, `platform` of all firms on each
tax        the bureau of its region; more bureaus than regions divide a region by lot; `tax` of the firms are registered
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

from simulations.economy.calibration import REGION_SHARES
from simulations.economy.firms import Firms
from simulations.economy.randomness import Streams, blocks
from simulations.economy.settings import Economy

Places = NDArray[np.int16]


@dataclass(frozen=True)
class Coverage:
    """main, second, bureau: (n,) number of the institution, -1 for none; platform: (n, platforms)."""

    main: Places
    second: Places
    bureau: Places
    platform: NDArray[np.bool_]


def draw(streams: Streams, firms: Firms, asked: Economy) -> Coverage:
    """Coverage of all firms."""
    parts = [_block(streams.of("coverage", number), firms, part, asked) for number, part in blocks(len(firms))]
    return Coverage(*(np.concatenate(column) for column in zip(*parts, strict=True)))


def bank_shares(banks: int) -> NDArray[np.float64]:
    """Each bank's share of the market, (banks,)."""
    weights = 1 / np.sqrt(1.0 + np.arange(banks))
    return np.asarray(weights / weights.sum())


def bureau_of_region(taxes: int) -> NDArray[np.int16]:
    """Which bureau a region belongs to, the largest regions first and each to the bureau with the fewest firms, (regions,)."""
    load, found = np.zeros(max(taxes, 1)), np.zeros(len(REGION_SHARES), np.int16)
    for region in np.argsort(REGION_SHARES, kind="stable")[::-1]:
        found[region] = np.argmin(load)
        load[found[region]] += REGION_SHARES[region]
    return found


def _block(rng: np.random.Generator, firms: Firms, part: slice, asked: Economy) -> tuple[NDArray[np.generic], ...]:
    count, share, region = part.stop - part.start, asked.coverage, firms.region[part]
    main = _chosen_bank(rng, region, asked.banks)
    second = _chosen_bank(rng, region, asked.banks)
    banked = rng.random(count) < share.bank
    second[(second == main) | (rng.random(count) >= share.second) | ~banked] = -1
    main[~banked] = -1
    if asked.taxes <= len(REGION_SHARES):
        bureau = bureau_of_region(asked.taxes)[region]
    else:
        within = (asked.taxes - 1 - region) // len(REGION_SHARES) + 1
        bureau = (region + len(REGION_SHARES) * (rng.random(count) * within).astype(np.int16)).astype(np.int16)
    bureau = np.where((rng.random(count) < share.tax) & (asked.taxes > 0), bureau, -1).astype(np.int16)
    return main, second, bureau, _platforms(rng, firms, part, asked)


def _chosen_bank(rng: np.random.Generator, region: NDArray[np.int8], banks: int) -> Places:
    shares = np.tile(bank_shares(banks), (len(REGION_SHARES), 1))
    shares[np.arange(banks) % len(REGION_SHARES), np.arange(banks)] *= 2.0  # at home
    cumulative = np.cumsum(shares / shares.sum(axis=1, keepdims=True), axis=1)
    cumulative[:, -1] = 1.0
    where, draws = np.empty(len(region), np.int16), rng.random(len(region))
    for number in range(len(REGION_SHARES)):
        here = region == number
        where[here] = np.searchsorted(cumulative[number], draws[here])
    return where


def _platforms(rng: np.random.Generator, firms: Firms, part: slice, asked: Economy) -> NDArray[np.bool_]:
    """The probit of the share is shifted by half the standardised log size, and scaled by the industry's weight."""
    share = np.clip(asked.coverage.platform * firms.of_industry("shops")[part], 0.0, 0.98)
    size = (np.log(firms.size[part]) - 13.5) / 1.4
    inclination = ndtr(ndtri(np.maximum(share, 1e-6)) * np.sqrt(1.25) + 0.5 * size)
    return np.asarray(rng.random((len(share), asked.platforms)) < inclination[:, None] * (share > 0)[:, None])
