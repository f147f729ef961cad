"""Logistic regression over a label party and feature parties, equal to the pooled fit.

Minimises  (1/W) sum_i w_i log(1 + exp(-y_i z_i)) + (1/2) sum_j penalty_j theta_j^2,  y_i in {-1, 1}, W = sum_i w_i; with penalty_j = 1/(C W)
this is scikit-learn's convention; the intercept is free. Optimiser: L-BFGS (Nocedal and Wright 2006, algorithm 7.4) preconditioned by each
party's own block of (w0 X'X/W + penalty)^-1 with an exact line search, see `descent` and `line_search`.

One iteration: residuals -> encrypted_linear -> each holder's own gradient; masked_sum of inner products -> everyone's own block of the
direction; partial scores of the direction -> the label party alone, which finds the step and tells it.

Who learns what: privacy/contracts/logistic.toml.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import msgspec
import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from federation.encrypted_linear.protocol import own
from federation.kernel.codec import Message
from federation.kernel.errors import AbortCode, PeerError, PolicyRefusal
from federation.kernel.role import COORDINATOR, Role, Run
from federation.kernel.state import State
from federation.masked_sum.pairwise import sum_coordinator, sum_member
from federation.masked_sum.partial_scores import route_scores, send_scores
from federation.models.descent import HISTORY, Products, products, weights
from federation.models.design import Block, Grid, Held, held_sums, increment, residual_bits
from federation.models.line_search import Penalty, exact_step, log_loss
from federation.models.scores import Consortium, partners_scores

Mode = Literal["descend", "settle", "shake", "compare", "done"]
Reals = NDArray[np.float64]
PENALTY_SCALARS = 4


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


# -- one iteration ----------------------------------------------------------------------------------------------------------------


def iterate_label(
    run: Run, parties: Consortium, block: Block, labels: Labels, limits: Limits, fit: Fit, answers: dict[str, int]
) -> Role[Fit]:
    """The label party's iteration. answers: how many encrypted sums each holder asks for."""
    fit, gradient = yield from label_gradient(run, block, labels, fit, answers)
    fit, direction = yield from descend(run, parties, block, fit, gradient)
    fit, change, penalty, length = yield from score_change(run, parties, block, fit, direction)
    score = own_score(fit)
    step = exact_step(score, change, labels.y, labels.w / labels.total, penalty)
    mode, reason = _next_mode(fit, limits, length, step)
    verdict = Verdict(step, mode, reason)
    fit = moved(msgspec.structs.replace(fit, score=score + step * change), direction, verdict)
    yield from tell(run, parties, verdict, fit)
    loss = log_loss(own_score(fit), labels.y, labels.w) / labels.total
    run.report(phase="fit", iteration=fit.iteration, loss=loss, step=length, limit=limits.iterations)
    return fit


def iterate_holder(run: Run, parties: Consortium, block: Block, held: Held, limits: Limits, fit: Fit) -> Role[Fit]:
    """A feature party's iteration."""
    fit, gradient = yield from holder_gradient(run, parties, held, block, fit)
    fit, direction = yield from descend(run, parties, block, fit, gradient)
    fit = yield from offer_scores(run, parties, block, held, limits, fit, direction)
    verdict = yield from hear(run, parties)
    run.report(phase="fit", iteration=fit.iteration + 1, limit=limits.iterations)
    return moved(fit, direction, verdict)


def iterate_coordinator(run: Run, parties: Consortium, positions: NDArray[np.int64], universe: int, pairs: int) -> Role[Next]:
    """The coordinator's part: adds masked vectors, forwards masked scores, learns what comes next."""
    yield from sum_coordinator(run.within("products"), parties.members, Products.length(pairs))
    yield from route_scores(run.within("scores"), parties.label_party, parties.feature_parties, positions, universe, PENALTY_SCALARS)
    return (yield from overhear(run, parties))


def own_score(fit: Fit) -> Reals:
    """Z of the label party's rows, (n,)."""
    assert fit.score is not None, "only the label party asks"
    return fit.score


# -- its parts, which `signs` and `uniqueness` use too ----------------------------------------------------------------------------


def label_gradient(run: Run, block: Block, labels: Labels, fit: Fit, answers: dict[str, int]) -> Role[tuple[Fit, Reals]]:
    """Sends the encrypted change of the residuals; the label party's own gradient block, (d,), is from the very numbers that it sent."""
    residual = labels.w * (expit(own_score(fit)) - labels.y)
    sent = np.zeros(len(residual)) if fit.sent is None else fit.sent
    bits = residual_bits(block.universe)
    change, exponent = increment(residual, sent, bits)
    place = run.within("gradient")
    yield from place.step("grid", dict.fromkeys(answers, Grid(exponent)))
    yield from own(place, answers, block.placed(change), bits)
    sent = sent + np.ldexp(change.astype(np.float64), -exponent)
    return msgspec.structs.replace(fit, sent=sent), block.x.T @ sent / labels.total + block.penalty * fit.theta


def holder_gradient(run: Run, parties: Consortium, held: Held, block: Block, fit: Fit) -> Role[tuple[Fit, Reals]]:
    """A feature party's own gradient block, (d,): (1/W) X'r + penalty theta."""
    before = np.zeros(len(fit.theta)) if fit.sums is None else fit.sums
    sums = yield from held_sums(run.within("gradient"), parties.label_party, held, before)
    return msgspec.structs.replace(fit, sums=sums), sums / held.total + block.penalty * fit.theta


def descend(run: Run, parties: Consortium, block: Block, fit: Fit, gradient: Reals) -> Role[tuple[Fit, Reals]]:
    """This party's block of the direction; the members learn the summed inner products and nothing else."""
    steps, changes = fit.steps, fit.changes
    if fit.move is not None and fit.gradient is not None:
        steps = np.vstack([steps, fit.move / fit.pair_scale])[-HISTORY:]
        changes = np.vstack([changes, np.where(fit.free, gradient - fit.gradient, 0.0) / fit.pair_scale])[-HISTORY:]
    inverse = block.inverse(fit.free)
    scaled = np.where(fit.free, gradient, 0.0) / fit.scale
    mine = products(steps, changes, scaled, inverse).flat()
    total = yield from sum_member(run.within("products"), mine, parties.scalars, parties.members, two_members=parties.single_partner)
    summed = Products.unflat(total, len(steps))
    direction = weights(summed).direction(steps, changes, scaled, inverse) * fit.scale
    scale = fit.scale * float(np.sqrt(max(summed.gpg, 1e-8)))
    return msgspec.structs.replace(fit, steps=steps, changes=changes, gradient=gradient, scale=scale), direction


def _penalties(block: Block, fit: Fit, direction: Reals) -> Reals:
    """Theta'L theta, theta'L d, d'L d and d'd of one block, with d in units of the public scale, (4,)."""
    d = direction / fit.scale
    weighted = block.penalty * fit.theta
    return np.array([weighted @ fit.theta, weighted @ d, (block.penalty * d) @ d, d @ d])


def score_change(run: Run, parties: Consortium, block: Block, fit: Fit, direction: Reals) -> Role[tuple[Fit, Reals, Penalty, float]]:
    """At the label party: the change of every own row's score along the direction, the ridge along it, and the direction's length."""
    partners, extra = yield from partners_scores(
        run.within("scores"), parties, block.positions, block.universe, PENALTY_SCALARS, block.routed
    )
    total = extra + _penalties(block, fit, direction)
    penalty = Penalty(total[0], total[1] * fit.scale, total[2] * fit.scale**2)
    change = block.x @ direction + fit.scale * partners
    return msgspec.structs.replace(fit, reveals=fit.reveals + 1), change, penalty, fit.scale * float(np.sqrt(total[3]))


def offer_scores(run: Run, parties: Consortium, block: Block, held: Held, limits: Limits, fit: Fit, direction: Reals) -> Role[Fit]:
    """At a feature party: its masked scores of the direction, unless the cap on reveals is reached."""
    require_reveals(run.me, fit.reveals + 1, limits)
    unit = direction / fit.scale  # near one, so that the grid of scores is fine enough for the shortest step
    scores = held.spread(block.x @ unit, float(block.absent @ unit))
    yield from send_scores(
        run.within("scores"), parties.label_party, scores, parties.scores, parties.feature_parties, _penalties(block, fit, direction),
        extra_encoding=parties.scalars, single_partner=parties.single_partner,
    )  # fmt: skip
    return msgspec.structs.replace(fit, reveals=fit.reveals + 1)


def require_reveals(me: str, wanted: int, limits: Limits) -> None:
    """A feature party's own count of the score vectors that it helped to show. Raises PolicyRefusal (code CAP)."""
    if wanted > limits.reveals:
        raise PolicyRefusal(
            me,
            f"the label party asked for more than {limits.reveals} score vectors (rule: max_score_reveals)",
            "Nothing more was sent. Raise [privacy] max_score_reveals in a new run if this party agrees.",
            AbortCode.CAP,
        )


def tell(run: Run, parties: Consortium, verdict: Verdict, fit: Fit) -> Role[None]:
    """The label party's verdict to the feature parties, and what comes next (after this iterate) to the coordinator."""
    send: dict[str, Message] = dict.fromkeys(parties.feature_parties, verdict)
    yield from run.step("verdict", send | {COORDINATOR: Next(verdict.mode, fit.pairs)})


def hear(run: Run, parties: Consortium) -> Role[Verdict]:
    """A feature party takes the verdict."""
    received = yield from run.step("verdict", expect={parties.label_party: Verdict})
    verdict = received.of(parties.label_party, Verdict)
    if not 0 <= verdict.step <= 1e6:
        raise PeerError(parties.label_party, "a step out of range", "a step length in [0, 1e6]")
    return verdict


def overhear(run: Run, parties: Consortium) -> Role[Next]:
    """The coordinator learns what comes next."""
    received = yield from run.step("verdict", expect={parties.label_party: Next})
    following = received.of(parties.label_party, Next)
    if not 0 <= following.pairs <= HISTORY:
        raise PeerError(parties.label_party, "a number of pairs out of range", f"0 to {HISTORY}")
    return following


def moved(fit: Fit, direction: Reals, verdict: Verdict) -> Fit:
    """The iterate after a step. A step so short that rounding rules its change of gradient teaches the history nothing."""
    move = verdict.step * direction
    length = verdict.step * fit.scale
    return msgspec.structs.replace(
        fit, theta=fit.theta + move, move=move if length > SHORTEST else None, pair_scale=length,
        iteration=fit.iteration + 1, mode=verdict.mode, reason=verdict.reason,
    )  # fmt: skip


def _next_mode(fit: Fit, limits: Limits, length: float, step: float) -> tuple[Mode, str]:
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


SHORTEST = 1e-9
"""Below this length a step tells the history nothing."""
LOOSE_TOLERANCE = 5e-3
"""The direction's length at which the second start of `uniqueness` is close enough to compare."""
