"""What follows a converged fit: sign constraints, and whether the solution is the only one.

Signs: block pivoting (Kim and Park 2011) for min f(theta) with sign_j theta_j >= 0: converge on the free coefficients; then fix those of the
wrong sign at zero, free those fixed ones whose gradient points inwards, and converge again; at the end no one wants to move, which is the
Karush-Kuhn-Tucker condition. The members learn how many coefficients changed sides, not whose.

Uniqueness: without a ridge (C = inf) columns that are collinear *across* parties leave the coefficients undetermined, and no party can see
that alone. So the fit starts once more from a shifted point, with its history kept, to a loose tolerance: whoever's coefficients do not come
back (by more than `SHIFTED`, standardised units) is counted, and the result then says that it did not converge and why. This costs a
handful of score reveals.
"""

from __future__ import annotations

import msgspec
import numpy as np
from numpy.typing import NDArray

from federation.kernel.role import Role, Run
from federation.masked_sum.fixed_point import FixedPoint
from federation.masked_sum.pairwise import sum_coordinator, sum_member
from federation.models.course import Fit, Mode, Next, Reals, after_count, if_revealable, jumped
from federation.models.design import Block
from federation.models.logistic import overhear
from federation.models.scores import Consortium
from federation.models.sides import PENALTY_SCALARS, LabelSide, Side

SHIFT = 0.5
SHIFTED = 0.1


def settle(side: Side, run: Run, fit: Fit) -> Role[Fit]:
    """Check the signs."""
    fit, gradient = yield from side.gradient(run, fit)
    wrong, inwards = _pivot(side.block, fit, gradient)
    count = yield from _count(run, side.parties, int(wrong.sum() + inwards.sum()))
    after = after_count(fit, side.limits, count)
    return (yield from _jump(side, run, _pivoted(after, wrong, inwards) if count else after, np.where(wrong, -fit.theta, 0.0)))


def shake(side: Side, run: Run, fit: Fit) -> Role[Fit]:
    """Start once more, from a shifted point."""
    anew = msgspec.structs.replace(fit, reference=fit.theta, scale=1.0)
    after = if_revealable(anew, side.limits, "whether the coefficients are determined")
    return (yield from _jump(side, run, after, _shift(run, fit, intercept=isinstance(side, LabelSide))))


def compare(side: Side, run: Run, fit: Fit) -> Role[Fit]:
    """Whether everyone came back."""
    assert fit.reference is not None, "compare follows shake"
    count = yield from _count(run, side.parties, int((np.abs(fit.theta - fit.reference) > SHIFTED).sum()))
    reason = "" if count == 0 else (
        f"{count} coefficients are not determined by the data: columns are (nearly) collinear across parties and there is no ridge (C = inf)"
    )  # fmt: skip
    after = msgspec.structs.replace(fit, theta=fit.reference, mode="done", reason=reason)
    yield from side.tell_next(run, after)
    return after


def _jump(side: Side, run: Run, fit: Fit, direction: Reals) -> Role[Fit]:
    """To another point, where there is a reveal left for its scores."""
    after = jumped(fit, direction) if fit.mode == "descend" else fit
    yield from side.tell_next(run, after)
    if fit.mode != "descend":
        return after
    fit, change = yield from side.along(run, fit, direction)
    score = None if change is None or fit.score is None else fit.score + change.scores
    return msgspec.structs.replace(after, reveals=fit.reveals, score=score)


def _count(run: Run, parties: Consortium, mine: int) -> Role[int]:
    """How many coefficients of all parties together."""
    encoding = FixedPoint(2.0**20, len(parties.members), 0)
    total = yield from sum_member(run.within("count"), np.array([mine]), encoding, parties.members, two_members=parties.single_partner)
    return int(total[0])


def _pivot(block: Block, fit: Fit, gradient: Reals) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Which coefficients to fix at zero, and which to free, (d,) each."""
    wrong = fit.free & (block.signs * fit.theta < 0)
    inwards = ~fit.free & (block.signs * gradient < -1e-9)
    return wrong, inwards


def _pivoted(fit: Fit, wrong: NDArray[np.bool_], inwards: NDArray[np.bool_]) -> Fit:
    none = np.zeros((0, len(fit.theta)))
    return msgspec.structs.replace(fit, free=(fit.free & ~wrong) | inwards, steps=none, changes=none, move=None, gradient=None, scale=1.0)


def _shift(run: Run, fit: Fit, *, intercept: bool) -> Reals:
    shift = run.model_random(f"shift {run.me}").normal(0.0, SHIFT, len(fit.theta)) * fit.free
    if intercept:
        shift[0] = 0.0
    return shift


def restart_coordinator(run: Run, parties: Consortium, mode: Mode, positions: NDArray[np.int64], universe: int) -> Role[Next]:
    """The coordinator's part in all three."""
    if mode in ("settle", "compare"):
        yield from sum_coordinator(run.within("count"), parties.members, 1)
    following = yield from overhear(run, parties)
    if following.mode == "descend":
        yield from parties.route(run.within("scores"), positions, universe, PENALTY_SCALARS)
    return following
