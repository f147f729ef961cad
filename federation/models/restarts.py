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

from dataclasses import dataclass

import msgspec
import numpy as np
from numpy.typing import NDArray

from federation.kernel.role import COORDINATOR, Role, Run
from federation.masked_sum.fixed_point import FixedPoint
from federation.masked_sum.pairwise import sum_coordinator, sum_member
from federation.masked_sum.partial_scores import route_scores
from federation.models.design import Block, Held
from federation.models.logistic import (
    PENALTY_SCALARS,
    Fit,
    Labels,
    Limits,
    Mode,
    Next,
    Reals,
    Verdict,
    holder_gradient,
    label_gradient,
    moved,
    offer_scores,
    overhear,
    own_score,
    score_change,
)
from federation.models.scores import Consortium

SHIFT = 0.5
SHIFTED = 0.1


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


def _after(fit: Fit, limits: Limits, count: int) -> Fit:
    """What every member concludes from the number of coefficients that want to move: jump, or go on to what follows."""
    if count == 0:
        return msgspec.structs.replace(fit, mode="shake" if limits.unpenalised else "done")
    return _if_revealable(fit, limits, "the signs of the coefficients")


def _if_revealable(fit: Fit, limits: Limits, unsettled: str) -> Fit:
    if fit.reveals + 2 >= limits.reveals:  # the jump, the iteration that must follow it, and the final scores
        reason = f"the cap of {limits.reveals} score vectors (max_score_reveals) left {unsettled} unchecked"
        return msgspec.structs.replace(fit, mode="done", reason=reason)
    return msgspec.structs.replace(fit, mode="descend")


@dataclass(frozen=True)
class LabelSide:
    """The label party in these stages."""

    parties: Consortium
    block: Block
    limits: Limits
    labels: Labels
    answers: dict[str, int]

    def settle(self, run: Run, fit: Fit) -> Role[Fit]:
        """Check the signs."""
        fit, gradient = yield from label_gradient(run, self.block, self.labels, fit, self.answers)
        wrong, inwards = _pivot(self.block, fit, gradient)
        count = yield from _count(run, self.parties, int(wrong.sum() + inwards.sum()))
        after = _after(fit, self.limits, count)
        return (yield from self._jump(run, _pivoted(after, wrong, inwards) if count else after, np.where(wrong, -fit.theta, 0.0)))

    def shake(self, run: Run, fit: Fit) -> Role[Fit]:
        """Start once more, from a shifted point."""
        after = _if_revealable(
            msgspec.structs.replace(fit, reference=fit.theta, scale=1.0), self.limits, "whether the coefficients are determined"
        )
        return (yield from self._jump(run, after, _shift(run, fit, intercept=True)))

    def compare(self, run: Run, fit: Fit) -> Role[Fit]:
        """Whether everyone came back."""
        after = yield from _compared(run, self.parties, fit)
        yield from tell_next(run, after)
        return after

    def _jump(self, run: Run, fit: Fit, direction: Reals) -> Role[Fit]:
        if fit.mode != "descend":
            yield from tell_next(run, fit)
            return fit
        after = _jumped(fit, direction)
        yield from tell_next(run, after)
        fit, change, _, _ = yield from score_change(run, self.parties, self.block, fit, direction)
        return msgspec.structs.replace(after, reveals=fit.reveals, score=own_score(fit) + change)


@dataclass(frozen=True)
class HolderSide:
    """A feature party in these stages."""

    parties: Consortium
    block: Block
    limits: Limits
    held: Held

    def settle(self, run: Run, fit: Fit) -> Role[Fit]:
        """Check the signs."""
        fit, gradient = yield from holder_gradient(run, self.parties, self.held, self.block, fit)
        wrong, inwards = _pivot(self.block, fit, gradient)
        count = yield from _count(run, self.parties, int(wrong.sum() + inwards.sum()))
        after = _after(fit, self.limits, count)
        return (yield from self._jump(run, _pivoted(after, wrong, inwards) if count else after, np.where(wrong, -fit.theta, 0.0)))

    def shake(self, run: Run, fit: Fit) -> Role[Fit]:
        """Start once more, from a shifted point."""
        after = _if_revealable(
            msgspec.structs.replace(fit, reference=fit.theta, scale=1.0), self.limits, "whether the coefficients are determined"
        )
        return (yield from self._jump(run, after, _shift(run, fit, intercept=False)))

    def compare(self, run: Run, fit: Fit) -> Role[Fit]:
        """Whether everyone came back."""
        return (yield from _compared(run, self.parties, fit))

    def _jump(self, run: Run, fit: Fit, direction: Reals) -> Role[Fit]:
        if fit.mode != "descend":
            return fit
        after = _jumped(fit, direction)
        fit = yield from offer_scores(run, self.parties, self.block, self.held, self.limits, fit, direction)
        return msgspec.structs.replace(after, reveals=fit.reveals)


def _jumped(fit: Fit, direction: Reals) -> Fit:
    """The iterate after a whole jump. It makes no pair: a pair of the shift itself would lead straight back, determined or not."""
    return msgspec.structs.replace(moved(fit, direction, Verdict(1.0, "descend")), move=None)


def _shift(run: Run, fit: Fit, *, intercept: bool) -> Reals:
    shift = run.model_random(f"shift {run.me}").normal(0.0, SHIFT, len(fit.theta)) * fit.free
    if intercept:
        shift[0] = 0.0
    return shift


def _compared(run: Run, parties: Consortium, fit: Fit) -> Role[Fit]:
    assert fit.reference is not None, "compare follows shake"
    count = yield from _count(run, parties, int((np.abs(fit.theta - fit.reference) > SHIFTED).sum()))
    reason = "" if count == 0 else (
        f"{count} coefficients are not determined by the data: columns are (nearly) collinear across parties and there is no ridge (C = inf)"
    )  # fmt: skip
    return msgspec.structs.replace(fit, theta=fit.reference, mode="done", reason=reason)


def tell_next(run: Run, fit: Fit) -> Role[None]:
    """The label party tells the coordinator what comes next."""
    yield from run.step("verdict", {COORDINATOR: Next(fit.mode, fit.pairs)})


def restart_coordinator(run: Run, parties: Consortium, mode: Mode, positions: NDArray[np.int64], universe: int) -> Role[Next]:
    """The coordinator's part in all three."""
    if mode in ("settle", "compare"):
        yield from sum_coordinator(run.within("count"), parties.members, 1)
    following = yield from overhear(run, parties)
    if following.mode == "descend":
        yield from route_scores(run.within("scores"), parties.label_party, parties.feature_parties, positions, universe, PENALTY_SCALARS)
    return following
