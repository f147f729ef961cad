"""Noise under the mask: every bank adds its share to its own numbers, so that each total carries the noise that the manifest states.

A run with epsilon and delta has one allowance, rho (`federation.noise.accounting`), and a schedule that says before the first sum how many there
are and which part of rho each may cost. A sum is prepared in whole steps of a grid: what one row adds is rounded first and then clipped to an L2
norm (`clipped`), so the norm is exact. Then each bank adds a discrete Gaussian of variance s / (t - c) to every number (t: how many banks must
stay; c: how many may be in league, each reader counting as one), and only then are numbers cut into limbs and masked. With all n banks there
the total has n / (t - c) times the noise that is promised; with the fewest, and c of them in league, just it. Above 64 banks fewer than t - c
count (`honest_of`).

Noise is an effect of the run: stored before it is used, so that a bank that begins again sends the same bytes, and never a second draw.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from federation.kernel.errors import AbortCode, LocalError, PolicyRefusal
from federation.kernel.loss import DiscreteGaussian
from federation.kernel.manifest import Manifest
from federation.kernel.role import Run
from federation.masked_sum.bonawitz import COMPLETE, least_threshold
from federation.masked_sum.graph import degree
from federation.noise import accounting
from federation.noise.stream import Stream
from federation.noise.table import draw

Reals = NDArray[np.float64]
Schedule = tuple[tuple[str, float], ...]
"""Of each sum, in order: its name and its part of rho."""

_FINE = 19
"""Noise on real numbers has a standard deviation of at least 2^19 steps at each bank: rounding a row is nothing beside it."""
_EXACT = 1 << 53
_ROUNDING = 1 + 1e-9
_CHUNK = 4096


@dataclass(frozen=True)
class Release:
    """One sum's noise. bits: the grid is 2^-bits; square: the largest squared L2 norm that one row adds, variance: of one bank's noise, both
    in squared steps of the grid.
    """

    bits: int
    square: int
    variance: Fraction

    def spread(self, banks: int) -> float:
        """Standard deviation of the noise on a total of so many banks, in the numbers' own unit."""
        return math.ldexp(math.sqrt(banks * float(self.variance)), -self.bits)

    def loss(self, numbers: int, honest: int) -> DiscreteGaussian:
        """What a sum of so many numbers costs, as a ledger books it."""
        return DiscreteGaussian(math.sqrt(float(self.variance)), math.sqrt(self.square), numbers, honest)


@dataclass(frozen=True)
class Noise:
    """A run's allowance. honest: t - c, the banks whose noise is surely in a sum and unknown to whoever reads it."""

    epsilon: float
    delta: float
    rho: float
    honest: int

    @classmethod
    def of(cls, manifest: Manifest) -> Noise | None:
        """Of a manifest of banks; None where it states no epsilon."""
        epsilon, delta = manifest.privacy.epsilon, manifest.privacy.delta
        if epsilon is None or delta is None:
            return None
        return cls(epsilon, delta, accounting.rho_of(epsilon, delta), honest_of(manifest))

    def counts(self, share: float, square: int) -> Release:
        """Whole numbers, of which one row changes several by one each: square of them at most. The grid is one, or finer for little noise."""
        bits, rho = 0, share * self.rho
        while (square << 2 * bits) / (2 * self.honest * rho) < accounting.FEWEST:
            bits += 1
        return self._release(bits, square << 2 * bits, rho)

    def reals(self, share: float, reach: float) -> Release:
        """Real numbers to which one row adds a vector of norm `reach` at most."""
        rho = share * self.rho
        bits = _FINE + 1 - math.frexp(reach / math.sqrt(2 * self.honest * rho))[1]
        return self._release(bits, math.floor(Fraction(reach) ** 2 * Fraction(4) ** bits), rho)

    def _release(self, bits: int, square: int, rho: float) -> Release:
        return Release(bits, square, accounting.variance_for(square, rho, self.honest))


@runtime_checkable
class PrivatePlan(Protocol):
    """A plan that can have noise: `ask` gives multiples of the grid, and no row has added more than the release says."""

    schedule: Schedule

    def release(self, state: Any) -> Release:
        """Of the sum that `ask` prepares at this state."""


def threshold_of(manifest: Manifest) -> int:
    """How many banks must stay."""
    started = len(manifest.members)
    return started if manifest.banks.drop_outs == "stop" else manifest.banks.threshold or max(3, least_threshold(started))


def honest_of(manifest: Manifest) -> int:
    """How many honest banks are in every sum that anyone can open: t - c. Above 64 banks a coordinator with a tenth in league can open the sum
    over a stretch of the ring alone, with fewer of them (`masked_sum.graph`); not where all banks must stay.
    """
    started, threshold = len(manifest.members), threshold_of(manifest)
    honest = accounting.honest_noise(started, threshold, COMPLETE)
    if started <= COMPLETE or threshold == started:
        return honest
    k, near = degree(started)
    return min(honest, k + 2 - near)


def with_noise(run: Run, noise: Noise, plan: object, state: Any, vector: Reals, number: int) -> Reals:
    """This bank's numbers, (k,), with its share of the noise: what is cut into limbs and masked.

    number: of the sum in the run, from zero. What the sum costs is booked first (`run.spend`). Raises PolicyRefusal before anything of the
    sum is sent: for a plan without noise, and where the sum is not in the schedule or would cost more than its part (BUDGET), or than the
    ledger has left for the run.
    """
    if not isinstance(plan, PrivatePlan):
        what = "a sum without noise in a run that states epsilon"
        raise PolicyRefusal(run.me, what, "Nothing of it was sent. Leave epsilon out, or choose a task that can have noise.")
    release = plan.release(state)
    _require_within(run.me, noise, plan.schedule, release, number, len(vector))
    run.spend(plan.schedule[number][0], release.loss(len(vector), noise.honest))
    steps = np.rint(np.ldexp(vector, release.bits))
    if not (np.ldexp(steps, -release.bits) == vector).all() or not (np.abs(steps) < _EXACT / 2).all():
        raise LocalError(run.me, "numbers that are not on the grid of their noise", "This is a bug: report it.")
    stream = Stream(run.random("noise").words)
    kept = run.effect("noise", lambda: draw(release.variance, len(vector), stream).astype("<i8").tobytes())
    noisy = steps.astype(np.int64) + np.frombuffer(kept, "<i8")
    if not (np.abs(noisy) < _EXACT).all():
        raise LocalError(run.me, "noise beyond the range of a sum", "This is a bug: report it.")
    out: Reals = np.ldexp(noisy.astype(np.float64), -release.bits)
    return out


def _require_within(me: str, noise: Noise, schedule: Schedule, release: Release, number: int, numbers: int) -> None:
    """Whether this sum, and all before it, cost no more than was stated."""
    if number >= len(schedule) or math.fsum(share for _, share in schedule) > _ROUNDING:
        what = f"sum {number + 1} is not among the {len(schedule)} that share epsilon = {noise.epsilon:g}, delta = {noise.delta:g}"
        raise PolicyRefusal(me, what, "Nothing of it was sent. Start a new run, whose cost adds to this one's.", AbortCode.BUDGET)
    name, share = schedule[number]
    if accounting.cost(release.square, release.variance, noise.honest, numbers) > share * noise.rho * _ROUNDING:
        what = f"the sum {name!r} would cost more than its part of epsilon = {noise.epsilon:g}, delta = {noise.delta:g}"
        raise PolicyRefusal(me, what, "Nothing of it was sent. Raise epsilon, or take fewer columns.", AbortCode.BUDGET)


def costs(noise: Noise, schedule: Schedule) -> list[tuple[str, float]]:
    """What each sum costs at most, as rho: for whoever is asked to approve it."""
    return [(name, share * noise.rho) for name, share in schedule]


def clipped(rows: Reals, release: Release) -> tuple[Reals, int]:
    """The sum of rows, (n, k) to (k,), each rounded to the grid and then shortened to the release's norm; and how many were shortened.

    After rounding, since a rounded row may be longer than the row was.
    """
    total, short, most = np.zeros(rows.shape[1], np.int64), 0, math.isqrt(release.square)
    for first in range(0, len(rows), _CHUNK):
        steps = np.rint(np.ldexp(rows[first : first + _CHUNK], release.bits))
        size = np.sqrt((steps**2).sum(axis=1)) * (1 + 2.0**-40)  # no less than the true norm
        long = size > most
        steps[long] = np.trunc(steps[long] * (most / size[long] * (1 - 2.0**-40))[:, None])
        total += steps.astype(np.int64).sum(axis=0)
        short += int(long.sum())
    return np.ldexp(total.astype(np.float64), -release.bits), short
