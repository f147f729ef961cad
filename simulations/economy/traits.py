"""What changes by month: hidden traits, the macro cycle, shocks, life and death; and the cash formula, the cause of every default.

Traits have mean 0 and variance 1. Health and honesty are first-order autoregressions, x' = r x + sqrt(1 - r^2) e; liquidity is 0.4 health +
sqrt(1 - 0.4^2) of an autoregression of its own.

    short of cash in a month:  log odds = a + index + (2 + arrears / 2, in arrears of so many instalments, at most 3) + 0.3 (lenders - 1)
    index = -0.85 health - 0.6 liquidity - 0.7 honesty - 0.6 cyclical macro + shock + industry + region - ln(1 + years) / 4

cyclical, industry and region are of `calibration`; shock of the scenario; a is set so that DEFAULT_RATE comes out (`credit`). Monthly sales are

    size / 12 * exp(0.25 health + 0.12 cyclical macro - shock / 3 + drift) * season * (1 - 0.6 exp(-age / 6 months))

with drift' = drift + 0.004 health + 0.02 e (Gibrat's law, with what is going well growing). Firms close with the Weibull hazard of their age,
times exp(-0.5 health + shock / 2), sixfold after a default; they fall dormant and wake up again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from simulations.economy import calibration as known
from simulations.economy.firms import CODES, Firms
from simulations.economy.randomness import Streams, blocks
from simulations.economy.settings import Economy

Reals = NDArray[np.float64]
PERSISTENCE: Final = {"health": 0.95, "liquidity": 0.92, "honesty": 0.995}
WEIGHTS: Final = {"health": -0.85, "liquidity": -0.6, "honesty": -0.7}
MACRO: Final = -0.6
WAITING, ACTIVE, DORMANT, CLOSED = 0, 1, 2, 3
STATES: Final = ("not founded", "active", "dormant", "closed")
PULL: Final = 0.4
"""Correlation of liquidity with health."""
OWN: Final = float(np.sqrt(1 - PULL**2))


@dataclass
class Traits:
    """The state of all firms in one month, changed in place by `Life.step`. state: of STATES; sales: of the month, CNY; shock: (n,)."""

    health: Reals
    liquidity: Reals
    honesty: Reals
    drift: Reals
    state: NDArray[np.int8]
    closed: NDArray[np.int16]
    defaulted: NDArray[np.bool_]
    shock: Reals
    macro: float
    sales: Reals

    @property
    def active(self) -> NDArray[np.bool_]:
        """Which firms trade in this month, (n,)."""
        return np.asarray(self.state == ACTIVE)


class Life:
    """Traits by month. forced: (n,) shift of honesty of ring members."""

    def __init__(self, streams: Streams, firms: Firms, asked: Economy, forced: Reals) -> None:
        self._streams, self._firms, self._asked, self._forced = streams, firms, asked, forced
        self._base = firms.risk
        self._cyclical, self._season = firms.of_industry("cyclical"), firms.of_industry("season")
        self.macro = macro_path(streams, asked)
        self.now = self._first()

    def _first(self) -> Traits:
        count = len(self._firms)
        drawn = [self._streams.of("traits", 0, number).standard_normal((3, part.stop - part.start)) for number, part in blocks(count)]
        health, own, honesty = np.concatenate(drawn, axis=1)
        liquidity = PULL * health + OWN * own
        zeros = np.zeros(count)
        state = np.full(count, WAITING, np.int8)
        closed = np.full(count, -1, np.int16)
        return Traits(health, liquidity, honesty + self._forced, zeros.copy(), state, closed, zeros > 1, zeros, 0.0, zeros)

    def step(self, month: int) -> Traits:
        """The state of a month. month: from -history on, each once and in order."""
        self._move(self.now, month + self._asked.history + 1)
        self.now.macro = float(self.macro[max(month, 0)])
        self.now.shock = self._shock(month)
        self._live(month)
        self.now.sales = self._sales(month)
        return self.now

    def _move(self, traits: Traits, place: int) -> None:
        for number, part in blocks(len(self._firms)):
            noise = self._streams.of("traits", place, number).standard_normal((4, part.stop - part.start))
            own = (traits.liquidity[part] - PULL * traits.health[part]) / OWN
            health = _next(traits.health[part], noise[0], "health")
            traits.health[part] = health
            traits.liquidity[part] = PULL * health + OWN * _next(own, noise[1], "liquidity")
            shift = self._forced[part]
            traits.honesty[part] = shift + _next(traits.honesty[part] - shift, noise[2], "honesty")
            traits.drift[part] += 0.004 * health + 0.02 * noise[3]

    def _shock(self, month: int) -> Reals:
        by_industry = np.zeros(len(CODES))
        for shock in self._asked.shock:
            if shock.month <= month < shock.month + shock.months:
                by_industry[CODES.index(shock.industry)] += shock.size
        return np.asarray(by_industry[self._firms.industry])

    def _live(self, month: int) -> None:
        now, age = self.now, month - self._firms.founded.astype(np.int64)
        for number, part in blocks(len(self._firms)):
            draws = self._streams.of("life", month + self._asked.history, number).random(part.stop - part.start)
            hazard = closing(age[part], now.health[part]) * np.exp(now.shock[part] / 2) * np.where(now.defaulted[part], 6.0, 1.0)
            state, health = now.state[part], now.health[part]
            born = (age[part] >= 0) & (state == WAITING)
            ends = (draws < hazard) & ((state == ACTIVE) | (state == DORMANT)) & (month >= 0)
            sleeping = (draws > 1 - 0.008 * np.exp(-0.5 * health)) & (state == ACTIVE)
            waking = (draws > 0.85) & (state == DORMANT)
            state = np.select([born, ends, sleeping, waking], [ACTIVE, CLOSED, DORMANT, ACTIVE], state).astype(np.int8)
            now.state[part] = state
            now.closed[part] = np.where(ends, month, now.closed[part])

    def _sales(self, month: int) -> Reals:
        now, age = self.now, month - self._firms.founded.astype(np.int64)
        level = 0.25 * now.health + 0.12 * self._cyclical * now.macro - now.shock / 3 + now.drift
        calendar = (int(self._asked.start[5:]) - 1 + month) % 12
        season = 1 + self._season * np.cos(2 * np.pi * (calendar - 10) / 12)  # highest in November
        ramp = 1 - 0.6 * np.exp(-np.maximum(age, 0) / 6)
        return np.where(now.active, self._firms.size / 12 * np.exp(level) * season * ramp, 0.0)

    def index(self, month: int) -> Reals:
        """The index of the formula above without a, (n,)."""
        now = self.now
        years = np.maximum(month - self._firms.founded.astype(np.int64), 0) / 12
        traits = sum(weight * getattr(now, name) for name, weight in WEIGHTS.items())
        return np.asarray(traits + MACRO * self._cyclical * now.macro + now.shock + self._base - np.log1p(years) / 4)


def closing(age: NDArray[np.int64], health: Reals) -> Reals:
    """Hazard of closing in a month, of firms so many months old, (n,)."""
    years = np.maximum(age, 0) / 12 + 1 / 24
    hazard = known.LIFE_SHAPE / known.LIFE_SCALE**known.LIFE_SHAPE * years ** (known.LIFE_SHAPE - 1) / 12
    return np.asarray(hazard * np.exp(-0.5 * health - 0.125))


def macro_path(streams: Streams, asked: Economy) -> Reals:
    """The cycle by month, (months,): as asked, the last value held, or an autoregression of standard deviation a half."""
    if asked.macro:
        held: Sequence[float] = asked.macro[: asked.months]
        return np.array([*held, *[held[-1]] * (asked.months - len(held))])
    noise = streams.of("macro").standard_normal(asked.months)
    path, value = np.empty(asked.months), 0.0
    for month in range(asked.months):
        value = 0.95 * value + 0.5 * np.sqrt(1 - 0.95**2) * noise[month]
        path[month] = value
    return path


def _next(value: Reals, noise: Reals, name: str) -> Reals:
    keep = PERSISTENCE[name]
    return np.asarray(keep * value + np.sqrt(1 - keep**2) * noise)
