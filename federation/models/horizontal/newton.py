"""Logistic regression over many banks: Newton's method on sums, equal to the pooled fit.

Minimises  sum_i w_i log(1 + exp(-y_i z_i)) + (1/2) sum_j penalty_j theta_j^2,  y_i in {-1, 1}, over all banks' rows; penalty_j = 1/C is
scikit-learn's convention; the intercept is free. At the common theta every bank adds gradient, upper triangle of the Hessian, loss and
weight, and takes the same Newton step (McCullagh and Nelder 1989, section 4.4). When the loss rose, the step is halved: the next sum is
then taken at the shorter step, so no round is spent on a line search. With signs the step minimises the quadratic model within the bounds.

A bank that drops out takes its rows along: the next sum is of the others, and the fit goes on to their optimum.

The fit says why when there is no unique optimum: without a ridge, columns that depend on those before them are fixed at zero and named; and
separated classes (a direction along which the curvature has died away to a millionth) end it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, TypeAlias

import msgspec
import numpy as np
from numpy.typing import NDArray
from scipy.special import erfc

from federation.kernel.state import State
from federation.models.horizontal.bounded import bounded_minimum, dependent_columns
from federation.models.horizontal.personal import Own, Profile, Rows, own_diverges, profile, solve_own, sums

Reals = NDArray[np.float64]
Mask = NDArray[np.bool_]
Intercept: TypeAlias = Literal["common", "per bank"]
Failure: TypeAlias = Literal["", "undetermined", "separated", "unfinished"]

ROSE = 1e-11
"""A relative rise of the objective below this is rounding."""
SEPARATED = 1e-6
"""The curvature along the step, as a share of what it was at the start, below which classes count as separated."""


class FitSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """tolerance: of the last step, in standardised units; max_iterations: sums; intercept: one for all or each bank's own, unpenalised;
    personal_C: each bank has its own slopes with ridge 1/(2 personal_C) around the common ones; None: it has not.
    """

    tolerance: float = 1e-9
    max_iterations: int = 50
    intercept: Intercept = "common"
    personal_C: float | None = None  # noqa: N815  # C as scikit-learn writes it


class NewtonFit(State, frozen=True):
    """Between two sums.

    theta: (p,) where the next sum is taken, the common intercept first if there is one; base: (p,) the last accepted point, and of there
    objective (penalty included), information: (p, p) the unpenalised Hessian, weight; step: (p,) theta - base; free: (p,) bool;
    curvature: (p, p) the first Hessian per unit of weight; banks: in the last sum; delta: (q,) this bank's own; failure, reason: "" if
    it converged.
    """

    theta: Reals
    free: Mask
    delta: Reals
    base: Reals | None = None
    step: Reals | None = None
    information: Reals | None = None
    curvature: Reals | None = None
    objective: float = 0.0
    weight: float = 0.0
    banks: int = 0
    iteration: int = 0
    halvings: int = 0
    done: bool = False
    failure: Failure = ""
    reason: str = ""

    @property
    def converged(self) -> bool:
        """Whether theta is the one optimum."""
        return self.done and not self.reason


@dataclass
class Newton:
    """The plan of one fit.

    rows: this bank's training rows; names, penalty, signs: (D - 1,) of the design without the intercept (penalty = 0: no ridge; sign -1 or
    1: the coefficient's, 0: free); start: (D,) intercept and coefficients to begin with, the same at every bank.
    """

    rows: Rows
    names: tuple[str, ...]
    penalty: Reals
    settings: FitSettings = field(default_factory=FitSettings)
    signs: NDArray[np.int8] | None = None
    start: Reals | None = None
    kind: type[NewtonFit] = field(default=NewtonFit, init=False)

    def __post_init__(self) -> None:
        width = self.rows.x.shape[1]
        shared = self.settings.intercept == "common"
        self.common = np.arange(0 if shared else 1, width)
        slopes = np.arange(1, width) if self.settings.personal_C is not None else np.arange(0)
        places = np.concatenate([np.arange(0 if shared else 1), slopes]).astype(np.intp)
        ridge = np.where(places == 0, 0.0, 1.0 / (self.settings.personal_C or np.inf))
        self.own = Own(places, ridge)
        self.ridge = np.concatenate([[0.0], self.penalty])[self.common]
        signs = np.zeros(width - 1, np.int8) if self.signs is None else self.signs
        self.bounds = np.concatenate([np.zeros(1, np.int8), signs])[self.common]
        self._last: tuple[bytes, Profile] | None = None

    @property
    def offset(self) -> int:
        """Where the slopes begin in theta: after the common intercept, if there is one."""
        return 1 if self.settings.intercept == "common" else 0

    @property
    def labels(self) -> tuple[str, ...]:
        """The names of theta's entries, (p,)."""
        return ("intercept", *self.names)[-len(self.common) :] if len(self.common) else ()

    def begin(self) -> NewtonFit:
        """At `start`, or at zero."""
        start = np.zeros(self.rows.x.shape[1]) if self.start is None else self.start
        delta = np.zeros(len(self.own.places))
        if self.settings.intercept == "per bank":
            delta[0] = start[0]
        theta = start[self.common]
        theta = np.where(self.bounds * theta < 0, 0.0, theta)
        return self._ended(NewtonFit(theta, np.ones(len(theta), bool), delta, done=not len(theta)))

    def ask(self, state: NewtonFit) -> Reals | None:
        """Gradient (p,), upper triangle of the Hessian (p (p + 1) / 2,), loss and weight at theta."""
        if state.done:
            return None
        mine = self._profile(state)
        upper = np.triu_indices(len(state.theta))
        return np.concatenate([mine.gradient, mine.hessian[upper], [mine.loss, float(self.rows.w.sum())]])

    def take(self, state: NewtonFit, total: Reals, banks: int) -> NewtonFit:
        """Accept the point and step on, or halve the step that led to it."""
        p = len(state.theta)
        information = np.zeros((p, p))
        information[np.triu_indices(p)] = total[p:-2]
        information = information + np.triu(information, 1).T
        weight, objective = float(total[-1]), float(total[-2] + 0.5 * self.ridge @ state.theta**2)
        state = msgspec.structs.replace(state, iteration=state.iteration + 1, delta=self._profile(state).delta)
        rose = state.banks == banks and objective > state.objective + ROSE * abs(state.objective)
        if rose and state.base is not None and state.step is not None:
            return self._ended(self._halved(state, state.base, state.step))
        free = state.free
        if state.base is None and not self.ridge.all():
            free = self._determined(information)
        state = msgspec.structs.replace(
            state, base=state.theta, objective=objective, information=information, weight=weight, banks=banks, free=free,
            halvings=0, curvature=information / max(weight, 1e-300) if state.curvature is None else state.curvature,
        )  # fmt: skip
        return self._ended(self._stepped(state, total[:p] + self.ridge * state.theta, information))

    def whole(self, state: NewtonFit) -> Reals:
        """This bank's coefficients, common and own together, (D,), the intercept first."""
        out = np.zeros(self.rows.x.shape[1])
        out[self.common] = state.theta
        out[self.own.places] += state.delta
        return out

    def own_error(self, state: NewtonFit) -> Reals:
        """Standard errors of this bank's own coefficients, (q,): of the inverse of the whole information, ridge of delta included."""
        own, common = self.own.places, self.common
        if not len(own) or own_diverges(self.rows, self.own):
            return np.full(len(own), np.nan)
        _, hessian, _ = sums(self.rows, self.whole(state))
        inverse = np.linalg.inv(hessian[np.ix_(own, own)] + np.diag(self.own.ridge))
        through = inverse @ hessian[np.ix_(own, common)]
        variance = np.diag(inverse + through @ wald(state, self.bounds).covariance @ through.T)
        return np.asarray(np.sqrt(variance), np.float64)

    def _profile(self, state: NewtonFit) -> Profile:
        """This bank's sums at the state, computed once: `ask` needs them whole, `take` only delta."""
        key = state.theta.tobytes() + state.delta.tobytes()
        if self._last is None or self._last[0] != key:
            self._last = key, profile(self.rows, state.theta, self.common, self.own, state.delta)
        return self._last[1]

    def _determined(self, information: Reals) -> Mask:
        """Which coefficients the rows and the ridge determine, (p,), given those before them."""
        return ~dependent_columns(information + np.diag(self.ridge))

    def _halved(self, state: NewtonFit, base: Reals, step: Reals) -> NewtonFit:
        if float(np.abs(step).max()) <= self.settings.tolerance:  # rounding decides now
            return msgspec.structs.replace(state, theta=base, done=True)
        return msgspec.structs.replace(state, theta=base + step / 2, step=step / 2, halvings=state.halvings + 1)

    def _stepped(self, state: NewtonFit, gradient: Reals, information: Reals) -> NewtonFit:
        """The minimum of the quadratic model within the bounds."""
        try:
            aim = bounded_minimum(information + np.diag(self.ridge), gradient, state.theta, self.bounds, state.free)
        except np.linalg.LinAlgError:
            return msgspec.structs.replace(state, done=True, failure="separated", reason=self._separated(np.zeros(0)))
        step = aim - state.theta
        if self._flat(state, step, information):
            return msgspec.structs.replace(state, done=True, failure="separated", reason=self._separated(step))
        done = float(np.abs(step).max()) <= self.settings.tolerance
        return msgspec.structs.replace(state, theta=aim, step=step, done=done)

    def _flat(self, state: NewtonFit, step: Reals, information: Reals) -> bool:
        """Whether the curvature along the step has died away where no ridge holds it."""
        if state.curvature is None or self.penalty.any():
            return False
        first = float(step @ state.curvature @ step) * state.weight
        now = float(step @ information @ step)
        return float(np.abs(step).max()) > self.settings.tolerance and now < SEPARATED * first

    def _separated(self, step: Reals) -> str:
        led = f", {self.labels[int(np.abs(step).argmax())]!r} the most" if step.size else ""
        return f"the classes are separated: coefficients grow without bound{led} (rule: without a ridge, C = inf, there is no optimum)"

    def _ended(self, state: NewtonFit) -> NewtonFit:
        """At the end of iterations, say so; at any end, name what is not determined and find the own coefficients at the final theta."""
        reason, failure = state.reason, state.failure
        if not state.done and state.iteration >= self.settings.max_iterations:
            failure, reason = "unfinished", f"{state.iteration} iterations did not reach the tolerance (rule: max_iterations)"
            state = msgspec.structs.replace(state, theta=state.theta if state.base is None else state.base, done=True)
        if not state.done:
            return state
        fixed = [name for name, free in zip(self.labels, state.free, strict=True) if not free]
        if fixed and not reason:
            named = ", ".join(map(repr, fixed[:5])) + (" and others" if len(fixed) > 5 else "")
            reason = (
                f"not determined by the data and fixed at zero: {named}, constant or a combination of the columns before (rule: C = inf)"
            )
        delta = state.delta
        if len(self.own.places) and not own_diverges(self.rows, self.own):
            beta = np.zeros(self.rows.x.shape[1])
            beta[self.common] = state.theta
            delta = solve_own(self.rows, beta, self.own, delta)
        elif len(self.own.places) and self.own.places[0] == 0:
            delta = delta.copy()
            delta[0] = np.log((self.rows.w @ self.rows.y + 0.5) / (self.rows.w @ (1 - self.rows.y) + 0.5))
        return msgspec.structs.replace(state, delta=delta, failure=failure, reason=reason, step=None)


@dataclass(frozen=True)
class Wald:
    """Inference on the common coefficients, (p,) each, NaN where a coefficient is fixed at zero; covariance: (p, p), zero there."""

    error: Reals
    z: Reals
    p: Reals
    covariance: Reals


def wald(fit: NewtonFit, bounds: NDArray[np.int8] | None = None) -> Wald:
    """Standard errors from the inverse of the unpenalised information at the optimum, z = theta / error, and two-sided p-values.

    bounds: (p,) signs; a coefficient that its sign holds at zero counts as fixed there.
    """
    size = len(fit.theta)
    free = fit.free if bounds is None else fit.free & ~((bounds != 0) & (fit.theta == 0))
    covariance = np.zeros((size, size))
    if fit.information is not None and free.any() and fit.failure != "separated":
        chosen = np.ix_(free, free)
        part = fit.information[chosen]
        covariance[chosen] = np.linalg.pinv(part, hermitian=True) if dependent_columns(part).any() else np.linalg.inv(part)
    variance = np.diag(covariance)
    error = np.sqrt(np.where(variance > 0, variance, np.nan))
    z = fit.theta / error
    return Wald(error, z, np.asarray(erfc(np.abs(z) / np.sqrt(2.0)), np.float64), covariance)
