"""Where a fit stands, and what follows: one party's iterate, and every way on from one mode to the next.

    descend   one iteration; until the direction is short enough (`after_iteration`), then
    settle    are there coefficients of the wrong sign? (`after_count`: descend again, or on)
    shake     a second start where nothing else makes the solution the only one (`if_revealable`: descend to a loose tolerance, or done)
    compare   did everyone come back? then done

Rows that are withdrawn lead back to descend from anywhere (`without_rows`). Who learns what: privacy/contracts/logistic.toml.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from federation.kernel.codec import Message
from federation.kernel.state import State
from federation.models.descent import HISTORY
from federation.models.design import Block

Mode = Literal["descend", "settle", "shake", "compare", "done"]
Reals = NDArray[np.float64]

SHORTEST = 1e-9
"""Below this length a step tells the history nothing."""
LOOSE_TOLERANCE = 5e-3
"""The direction's length at which the second start of `shake` is close enough to compare."""


class Verdict(Message, frozen=True, tag="logistic/verdict"):
    """From the label party to the feature parties: the step taken along the direction, what comes next, and why a fit ended early."""

    step: float
    mode: Mode
    reason: str = ""


class Next(Message, frozen=True, tag="logistic/next"):
    """From the label party to the coordinator: what comes next, over how many pairs of history, and no number of the model."""

    mode: Mode
    pairs: int = 0


class Fit(State, frozen=True):
    """One party's iterate.

    theta: (d,) own coefficients in standardised units; free: (d,) bool, not fixed at zero by its sign; steps, changes: (m, d) the scaled
    pairs of its block; gradient: (d,) of the last iteration and move: (d,) the change of theta since; scale, pair_scale: public scales that
    keep inner products near one; reveals: score vectors that the label party has seen; score: (n,) z of the label party's rows, its alone;
    sent: (n,) the residuals as sent so far, the label party's; sums: (d,) X'r so far, a feature party's;
    reference: (d,) the first solution, while a second start checks that it is the only one (see `uniqueness`).
    """

    theta: Reals
    free: NDArray[np.bool_]
    steps: Reals
    changes: Reals
    mode: Mode = "descend"
    iteration: int = 0
    reveals: int = 0
    scale: float = 1.0
    pair_scale: float = 1.0
    gradient: Reals | None = None
    move: Reals | None = None
    score: Reals | None = None
    sent: Reals | None = None
    sums: Reals | None = None
    reference: Reals | None = None
    reason: str = ""

    @property
    def pairs(self) -> int:
        """How many pairs the next iteration works with."""
        return min(HISTORY, len(self.steps) + (self.move is not None))


@dataclass(frozen=True)
class Labels:
    """What only the label party has: y (n,) in {0, 1} and w (n,) the weight, 0 outside training.

    total: W as all parties were told it, which is the sum of w unless rows have gone since; it scales loss and ridge alike, so the minimum is
    that of the rows that are left.
    """

    y: Reals
    w: Reals
    total: float

    @property
    def base(self) -> float:
        """The weighted share of bads in training."""
        return float(self.w @ self.y) / float(self.w.sum())


@dataclass(frozen=True)
class Limits:
    """tolerance: on the length of the direction in standardised units; iterations and reveals: caps; unpenalised: C = inf; signed: some
    coefficient has a sign constraint.
    """

    tolerance: float
    iterations: int
    reveals: int
    unpenalised: bool = False
    signed: bool = False


def begin(block: Block, labels: Labels | None = None) -> Fit:
    """The start: every coefficient zero, the intercept (the label party's first) at the base rate's log odds."""
    d = block.x.shape[1]
    theta, score = np.zeros(d), None
    if labels is not None:
        theta[0] = np.log(labels.base / (1 - labels.base))
        score = np.full(len(labels.y), theta[0])
    none = np.zeros((0, d))
    return Fit(theta, np.ones(d, bool), none, none, score=score)


def moved(fit: Fit, direction: Reals, verdict: Verdict) -> Fit:
    """The iterate after a step. A step so short that rounding rules its change of gradient teaches the history nothing."""
    move = verdict.step * direction
    length = verdict.step * fit.scale
    return msgspec.structs.replace(
        fit, theta=fit.theta + move, move=move if length > SHORTEST else None, pair_scale=length,
        iteration=fit.iteration + 1, mode=verdict.mode, reason=verdict.reason,
    )  # fmt: skip


def jumped(fit: Fit, direction: Reals) -> Fit:
    """The iterate after a whole jump. It makes no pair: a pair of the shift itself would lead straight back, determined or not."""
    return msgspec.structs.replace(moved(fit, direction, Verdict(1.0, "descend")), move=None)


def after_iteration(fit: Fit, limits: Limits, length: float, step: float) -> tuple[Mode, str]:
    """What follows an iteration whose direction had this length. One reveal is kept for the final scores.

    A direction that leads no further down (step 0) although it is longer than the tolerance is rounding: the end, too.
    """
    checking = fit.reference is not None
    if length <= (LOOSE_TOLERANCE if checking else limits.tolerance) or (step == 0 and length <= 10 * limits.tolerance):
        if checking:
            return "compare", ""
        if limits.signed:
            return "settle", ""
        return ("shake" if limits.unpenalised else "done"), ""
    if fit.reveals + 1 >= limits.reveals:
        return "done", f"the cap of {limits.reveals} score vectors was reached (max_score_reveals)"
    if fit.iteration + 1 >= limits.iterations:
        return "done", f"{limits.iterations} iterations did not reach the tolerance"
    return "descend", ""


def after_count(fit: Fit, limits: Limits, count: int) -> Fit:
    """What every member concludes from the number of coefficients that want to move: jump, or go on to what follows."""
    if count == 0:
        return msgspec.structs.replace(fit, mode="shake" if limits.unpenalised else "done")
    return if_revealable(fit, limits, "the signs of the coefficients")


def if_revealable(fit: Fit, limits: Limits, unsettled: str) -> Fit:
    """Descend again where a reveal is left for it, else done with the reason that something is unsettled."""
    if fit.reveals + 2 >= limits.reveals:  # the jump, the iteration that must follow it, and the final scores
        reason = f"the cap of {limits.reveals} score vectors (max_score_reveals) left {unsettled} unchecked"
        return msgspec.structs.replace(fit, mode="done", reason=reason)
    return msgspec.structs.replace(fit, mode="descend")


def without_rows(fit: Fit, limits: Limits, *, scores: bool) -> Fit:
    """The fit at the same coefficients, without history and residuals. scores: whether they must be sent whole.

    Where the cap on score vectors leaves no room for that, an iteration and the final scores, the fit is done and says why.
    """
    none = np.zeros((0, len(fit.theta)))
    fit = msgspec.structs.replace(
        fit, steps=none, changes=none, move=None, gradient=None, scale=1.0, sent=None, sums=None, reference=None, mode="descend", reason=""
    )
    if fit.reveals + scores + 2 <= limits.reveals:
        return fit
    what = f"the cap of {limits.reveals} score vectors (max_score_reveals) left no room to go on without rows that were withdrawn"
    return msgspec.structs.replace(fit, mode="done", reason=what)
