"""Sums that one or two contributors make up: the (n, k) rule and the p % rule (Hundepool et al. 2012, chapter 4).

A total over a cohort of firms still tells the largest firm's value where that firm is nearly all of it, and tells the second largest firm most:
it knows its own part. The p % rule looks at just that, and where a choice is free it is the one to use.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from federation.kernel.errors import ConfigurationError
from privacy.disclosure.release import refusal

Reals = NDArray[np.float64]


@dataclass(frozen=True)
class Dominance:
    """The limits. n, k: the n largest contributors may make up k % of a total; p: the second largest must not be able to tell the largest to
    within p % of it. None where a rule is not used.

    Raises ConfigurationError for limits that are none.
    """

    n: int = 1
    k: float | None = 75.0
    p: float | None = 10.0

    def __post_init__(self) -> None:
        if self.n < 1 or (self.k is not None and not 0 < self.k <= 100) or (self.p is not None and self.p <= 0):
            raise ConfigurationError("dominance", "limits that no total can be held to", "Use n of 1 or more, k in (0, 100] and p above 0.")

    def broken(self, contributions: Reals) -> Literal["(n, k)", "p %"] | None:
        """The rule that a total of these contributions (firms,) breaks, or None. What counts is the size of each.

        A total of nothing breaks none. Every contribution must be finite; add up a firm's rows first (`by_firm`).
        """
        sizes = np.sort(np.abs(contributions))[::-1]
        total = float(sizes.sum())
        if total == 0:
            return None
        if self.k is not None and sizes[: self.n].sum() > self.k / 100 * total:
            return "(n, k)"
        if self.p is not None and sizes[2:].sum() < self.p / 100 * sizes[0]:
            return "p %"
        return None

    def require(self, column: str, contributions: Reals) -> None:
        """Raises PolicyRefusal (code disclosure) where a column's total breaks a rule; it names the column and the rule."""
        rule = self.broken(contributions)
        if rule is not None:
            what = f"a few firms make up most of a total of column {column!r} (rule: {rule} dominance)"
            action = (
                "Nothing was sent. Cap its values (winsorise), take a logarithm or bins, or leave the column out ([[party]] exclude); "
                "the limits are this institution's own, [disclosure] in node.toml (in a simulation [[party]] disclosure)."
            )
            raise refusal(what, action)


def by_firm(values: Reals, firms: NDArray[np.uint64]) -> Reals:
    """Each firm's contribution (firms,), from its rows' values (n,)."""
    _, number = np.unique(firms, return_inverse=True)
    return np.bincount(number, weights=values).astype(np.float64)
