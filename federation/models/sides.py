"""What label party and feature party do differently in a fit: where a gradient comes from, which way scores go, who decides and who hears.

    gradient   the label party sends the encrypted change of its residuals; a feature party receives its own sums of them
    along      feature parties send masked scores of the direction; the label party receives their sum over its rows
    step       the label party finds the step and tells everyone; the others hear it

The fit itself (`logistic`, `restarts`, `withdrawal`) is written once, for either side.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import msgspec
import numpy as np
from scipy.special import expit

from federation.encrypted_linear.protocol import own
from federation.kernel.codec import Message
from federation.kernel.errors import AbortCode, PeerError, PolicyRefusal
from federation.kernel.role import COORDINATOR, Role, Run
from federation.models.course import Fit, Labels, Limits, Next, Reals, Verdict, after_iteration, moved
from federation.models.design import Block, Grid, Held, held_sums, increment, residual_bits
from federation.models.line_search import Penalty, exact_step, log_loss
from federation.models.scores import Consortium

PENALTY_SCALARS = 4


@dataclass(frozen=True)
class Change:
    """What the label party finds along a direction. scores: (n,) of its rows; penalty: the ridge; length: of the direction."""

    scores: Reals
    penalty: Penalty
    length: float


@dataclass(frozen=True)
class Side(ABC):
    """An institution in a fit."""

    parties: Consortium
    block: Block
    limits: Limits

    @abstractmethod
    def gradient(self, run: Run, fit: Fit) -> Role[tuple[Fit, Reals]]:
        """Its own block of the gradient, (d,)."""

    @abstractmethod
    def along(self, run: Run, fit: Fit, direction: Reals) -> Role[tuple[Fit, Change | None]]:
        """One score vector is shown to the label party, which alone has the change. Raises PolicyRefusal (code CAP) at a feature party."""

    @abstractmethod
    def step(self, run: Run, fit: Fit, direction: Reals, change: Change | None) -> Role[Fit]:
        """The iterate after the step that the label party chose."""

    @abstractmethod
    def tell_next(self, run: Run, fit: Fit) -> Role[None]:
        """The label party tells the coordinator what comes next."""

    @abstractmethod
    def whole(self, run: Run, fit: Fit) -> Role[Fit]:
        """Scores are shown whole once more."""

    def _penalties(self, fit: Fit, direction: Reals) -> Reals:
        """Theta'L theta, theta'L d, d'L d and d'd of this block, with d in units of the public scale, (4,)."""
        d = direction / fit.scale
        weighted = self.block.penalty * fit.theta
        return np.array([weighted @ fit.theta, weighted @ d, (self.block.penalty * d) @ d, d @ d])


@dataclass(frozen=True)
class LabelSide(Side):
    """The label party. answers: how many encrypted sums each holder asks for."""

    labels: Labels
    answers: dict[str, int]

    def gradient(self, run: Run, fit: Fit) -> Role[tuple[Fit, Reals]]:
        """From the very numbers that it sends: residuals as the sum of their encrypted changes."""
        block, labels = self.block, self.labels
        residual = labels.w * (expit(own_score(fit)) - labels.y)
        sent = np.zeros(len(residual)) if fit.sent is None else fit.sent
        bits = residual_bits(block.universe)
        change, exponent = increment(residual, sent, bits)
        place = run.within("gradient")
        yield from place.step("grid", dict.fromkeys(self.answers, Grid(exponent)))
        yield from own(place, self.answers, block.placed(change), bits)
        sent = sent + np.ldexp(change.astype(np.float64), -exponent)
        return msgspec.structs.replace(fit, sent=sent), block.x.T @ sent / labels.total + block.penalty * fit.theta

    def along(self, run: Run, fit: Fit, direction: Reals) -> Role[tuple[Fit, Change | None]]:
        """The partners' scores and its own."""
        partners, extra = yield from self.parties.receive(run.within("scores"), self.block, PENALTY_SCALARS)
        total = extra + self._penalties(fit, direction)
        penalty = Penalty(total[0], total[1] * fit.scale, total[2] * fit.scale**2)
        scores = self.block.x @ direction + fit.scale * partners
        return msgspec.structs.replace(fit, reveals=fit.reveals + 1), Change(scores, penalty, fit.scale * float(np.sqrt(total[3])))

    def step(self, run: Run, fit: Fit, direction: Reals, change: Change | None) -> Role[Fit]:
        """An exact line search; the verdict goes to the feature parties, and what comes next to the coordinator."""
        assert change is not None, "the label party has it"
        score, labels = own_score(fit), self.labels
        step = exact_step(score, change.scores, labels.y, labels.w / labels.total, change.penalty)
        verdict = Verdict(step, *after_iteration(fit, self.limits, change.length, step))
        fit = moved(msgspec.structs.replace(fit, score=score + step * change.scores), direction, verdict)
        send: dict[str, Message] = dict.fromkeys(self.parties.feature_parties, verdict)
        yield from run.step("verdict", send | {COORDINATOR: Next(fit.mode, fit.pairs)})
        loss = log_loss(own_score(fit), labels.y, labels.w) / labels.total
        run.report(phase="fit", iteration=fit.iteration, loss=loss, step=change.length, limit=self.limits.iterations)
        return fit

    def tell_next(self, run: Run, fit: Fit) -> Role[None]:
        """The mode and how many pairs."""
        yield from run.step("verdict", {COORDINATOR: Next(fit.mode, fit.pairs)})

    def whole(self, run: Run, fit: Fit) -> Role[Fit]:
        """The partners' scores of the coefficients as they stand, and its own."""
        partners, _ = yield from self.parties.receive(run, self.block)
        return msgspec.structs.replace(fit, score=self.block.x @ fit.theta + partners, reveals=fit.reveals + 1)


@dataclass(frozen=True)
class HolderSide(Side):
    """A feature party."""

    held: Held

    def gradient(self, run: Run, fit: Fit) -> Role[tuple[Fit, Reals]]:
        """(1/W) X'r + penalty theta, from sums that are brought up to date."""
        before = np.zeros(len(fit.theta)) if fit.sums is None else fit.sums
        sums = yield from held_sums(run.within("gradient"), self.parties.label_party, self.held, before)
        return msgspec.structs.replace(fit, sums=sums), sums / self.held.total + self.block.penalty * fit.theta

    def along(self, run: Run, fit: Fit, direction: Reals) -> Role[tuple[Fit, Change | None]]:
        """Its masked scores of the direction."""
        require_reveals(run.me, fit.reveals + 1, self.limits)
        unit = direction / fit.scale  # near one, so that the grid of scores is fine enough for the shortest step
        yield from self.parties.send(run.within("scores"), self._scores(unit), self._penalties(fit, direction))
        return msgspec.structs.replace(fit, reveals=fit.reveals + 1), None

    def step(self, run: Run, fit: Fit, direction: Reals, change: Change | None) -> Role[Fit]:  # noqa: ARG002  # it has none
        """As the label party says. Raises PeerError for a step out of range."""
        received = yield from run.step("verdict", expect={self.parties.label_party: Verdict})
        verdict = received.of(self.parties.label_party, Verdict)
        if not 0 <= verdict.step <= 1e6:
            raise PeerError(self.parties.label_party, "a step out of range", "a step length in [0, 1e6]")
        run.report(phase="fit", iteration=fit.iteration + 1, limit=self.limits.iterations)
        return moved(fit, direction, verdict)

    def tell_next(self, run: Run, fit: Fit) -> Role[None]:  # noqa: ARG002  # it has nothing to tell
        """Nothing."""
        yield from ()

    def whole(self, run: Run, fit: Fit) -> Role[Fit]:
        """Its masked scores of the coefficients as they stand."""
        require_reveals(run.me, fit.reveals + 1, self.limits)
        yield from self.parties.send(run, self._scores(fit.theta))
        return msgspec.structs.replace(fit, reveals=fit.reveals + 1)

    def _scores(self, theta: Reals) -> Reals:
        return self.held.spread(self.block.x @ theta, float(self.block.absent @ theta))


def own_score(fit: Fit) -> Reals:
    """Z of the label party's rows, (n,)."""
    assert fit.score is not None, "only the label party asks"
    return fit.score


def require_reveals(me: str, wanted: int, limits: Limits) -> None:
    """A feature party's own count of the score vectors that it helped to show. Raises PolicyRefusal (code CAP)."""
    if wanted > limits.reveals:
        raise PolicyRefusal(
            me,
            f"the label party asked for more than {limits.reveals} score vectors (rule: max_score_reveals)",
            "Nothing more was sent. Raise [privacy] max_score_reveals in a new run if this party agrees.",
            AbortCode.CAP,
        )
