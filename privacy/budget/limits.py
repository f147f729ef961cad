"""What may be spent on a dataset for a purpose, and what is left of it: losses as an epsilon at a delta, and plain counts for what leaves
without noise.

Limits of a wider purpose hold for all that the narrower ones spend together, those of `ANY` for every purpose: a firm does not care under
which heading it was disclosed. A purpose with no limits at all, its own or a wider one's, has no budget: nothing may be spent.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Final

import msgspec

from federation.kernel.errors import ConfigurationError
from federation.kernel.loss import Loss, Stated, listed, tally
from privacy.budget.account import epsilon
from privacy.purposes import RUN_PURPOSES, require_purpose, wider

ANY: Final = "any"
"""Every purpose together."""

COUNTED: Final = ("releases", "columns", "rows", "answers")


class Counts(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What leaves without noise: releases, and over all of them columns, rows that they say something of, and answers under encryption.

    Raises ConfigurationError for a number below 0.
    """

    releases: int = 0
    columns: int = 0
    rows: int = 0
    answers: int = 0

    def __post_init__(self) -> None:
        if min(self.releases, self.columns, self.rows, self.answers) < 0:
            raise ConfigurationError("budget", "a count is below 0", "State how many releases, columns, rows and answers there are.")

    def __add__(self, other: Counts) -> Counts:
        return Counts(*(getattr(self, name) + getattr(other, name) for name in COUNTED))

    def within(self, other: Counts) -> bool:
        """Whether no count is above the other's."""
        return all(getattr(self, name) <= getattr(other, name) for name in COUNTED)


class Cost(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What a run asks for, or a release takes: the losses of what has noise, the counts of what has none."""

    losses: tuple[Loss, ...] = ()
    counts: Counts = Counts()

    def __add__(self, other: Cost) -> Cost:
        return total((self, other))

    def within(self, reserved: Cost) -> bool:
        """Whether this cost is part of the other: each loss is one of the other's, or all that are not compose to no more than the one loss
        `Stated(epsilon, delta)` that the other then has left, such as the whole of a run that stated its epsilon.
        """
        mine, theirs = tally(self.losses), tally(reserved.losses)
        beyond, unused = mine - theirs, listed(theirs - mine)
        if not self.counts.within(reserved.counts):
            return False
        if not beyond:
            return True
        if len(unused) != 1 or unused[0].count != 1 or not isinstance(unused[0], Stated):
            return False
        return epsilon(listed(beyond), unused[0].delta) <= unused[0].epsilon


def total(costs: Iterable[Cost]) -> Cost:
    """Many costs as one, equal losses together."""
    given = list(costs)
    return Cost(listed(tally(loss for cost in given for loss in cost.losses)), sum((cost.counts for cost in given), Counts()))


class Limits(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """The most that may be spent, or what is left of it. epsilon at delta: None allows no release with noise; a count that is None is not
    limited. Raises ConfigurationError for what is out of range.
    """

    epsilon: float | None = None
    delta: float = 0.0
    releases: int | None = None
    columns: int | None = None
    rows: int | None = None
    answers: int | None = None

    def __post_init__(self) -> None:
        if self.epsilon is not None and not 0 <= self.epsilon < math.inf:
            raise ConfigurationError("budget", "epsilon is out of range", "Set a finite epsilon, 0 or above.")
        if not 0 <= self.delta < 0.01:
            raise ConfigurationError("budget", "delta is out of range", "Set delta to 0 or above, and below 0.01.")
        if any((getattr(self, name) or 0) < 0 for name in COUNTED):
            raise ConfigurationError("budget", "a limit is below 0", "Set each limit to 0 or above, or leave it out.")

    def left(self, used: Cost) -> Limits:
        """What is left when this much is used, never below 0. Losses grow more slowly than their sum, so more than this epsilon may fit."""
        spare = {name: None if (limit := getattr(self, name)) is None else max(0, limit - getattr(used.counts, name)) for name in COUNTED}
        rest = None if self.epsilon is None else max(0.0, self.epsilon - epsilon(used.losses, self.delta))
        return Limits(rest, self.delta, **spare)

    def excess(self, used: Cost, asked: Cost) -> tuple[str, ...]:
        """For each limit that would be passed a phrase: what was asked, what is left, of how much. Empty when all fit."""
        found = []
        together = used + asked
        most = max((loss.delta for loss in asked.losses if isinstance(loss, Stated)), default=0.0)
        if self.epsilon is not None and most > self.delta:
            return (f"delta {most:.3g} asked for, and epsilon is limited at delta {self.delta:.3g}",)
        if asked.losses and self.epsilon is not None and (reached := epsilon(together.losses, self.delta)) > self.epsilon:
            alone, rest = epsilon(asked.losses, self.delta), self.left(used).epsilon
            found.append(
                f"epsilon {alone:.4g} asked for, {rest:.4g} left of {self.epsilon:.4g} at delta {self.delta:.3g} (all together {reached:.4g})"
            )
        for name in COUNTED:
            limit, wanted = getattr(self, name), getattr(asked.counts, name)
            if limit is not None and wanted and getattr(together.counts, name) > limit:
                found.append(f"{wanted:,} {name} asked for, {max(0, limit - getattr(used.counts, name)):,} left of {limit:,}")
        return tuple(found)


def tightest(several: Iterable[Limits]) -> Limits:
    """The least of each limit, epsilon with its own delta."""
    given = list(several)
    bounded = [limits for limits in given if limits.epsilon is not None]
    loss = min(bounded, key=lambda limits: limits.epsilon or 0.0, default=Limits())
    least = {name: min((value for limits in given if (value := getattr(limits, name)) is not None), default=None) for name in COUNTED}
    return Limits(loss.epsilon, loss.delta, **least)


def scopes(purpose: str) -> tuple[str, ...]:
    """Under which headings a run for this purpose is held to limits, narrowest first. Raises ConfigurationError."""
    return (*wider(purpose), ANY)


def members(scope: str) -> tuple[str, ...]:
    """The purposes of runs that are counted under a heading. Raises ConfigurationError for one that is not declared."""
    if scope != ANY:
        require_purpose(scope)
    return tuple(purpose for purpose in RUN_PURPOSES if scope in scopes(purpose))
