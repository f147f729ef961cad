"""Logistic regression over a label party and feature parties, equal to the pooled fit.

Minimises  (1/W) sum_i w_i log(1 + exp(-y_i z_i)) + (1/2) sum_j penalty_j theta_j^2,  y_i in {-1, 1}, W = sum_i w_i; with penalty_j = 1/(C W)
this is scikit-learn's convention; the intercept is free. Optimiser: L-BFGS (Nocedal and Wright 2006, algorithm 7.4) preconditioned by each
party's own block of (w0 X'X/W + penalty)^-1 with an exact line search, see `descent` and `line_search`.

One iteration: residuals -> encrypted_linear -> each holder's own gradient; masked_sum of inner products -> everyone's own block of the
direction; partial scores of the direction -> the label party alone, which finds the step and tells it.

Who learns what: privacy/contracts/logistic.toml.
"""

from __future__ import annotations

import msgspec
import numpy as np
from numpy.typing import NDArray

from federation.kernel.errors import PeerError
from federation.kernel.role import Role, Run
from federation.masked_sum.pairwise import sum_coordinator, sum_member
from federation.models.course import Fit, Next, Reals
from federation.models.descent import HISTORY, Products, products, weights
from federation.models.scores import Consortium
from federation.models.sides import PENALTY_SCALARS, Side


def iterate(side: Side, run: Run, fit: Fit) -> Role[Fit]:
    """An institution's iteration."""
    fit, gradient = yield from side.gradient(run, fit)
    fit, direction = yield from descend(run, side, fit, gradient)
    fit, change = yield from side.along(run, fit, direction)
    return (yield from side.step(run, fit, direction, change))


def descend(run: Run, side: Side, fit: Fit, gradient: Reals) -> Role[tuple[Fit, Reals]]:
    """This party's block of the direction; the members learn the summed inner products and nothing else."""
    steps, changes = fit.steps, fit.changes
    if fit.move is not None and fit.gradient is not None:
        steps = np.vstack([steps, fit.move / fit.pair_scale])[-HISTORY:]
        changes = np.vstack([changes, np.where(fit.free, gradient - fit.gradient, 0.0) / fit.pair_scale])[-HISTORY:]
    inverse, parties = side.block.inverse(fit.free), side.parties
    scaled = np.where(fit.free, gradient, 0.0) / fit.scale
    mine = products(steps, changes, scaled, inverse).flat()
    total = yield from sum_member(run.within("products"), mine, parties.scalars, parties.members, two_members=parties.single_partner)
    summed = Products.unflat(total, len(steps))
    direction = weights(summed).direction(steps, changes, scaled, inverse) * fit.scale
    scale = fit.scale * float(np.sqrt(max(summed.gpg, 1e-8)))
    return msgspec.structs.replace(fit, steps=steps, changes=changes, gradient=gradient, scale=scale), direction


def iterate_coordinator(run: Run, parties: Consortium, positions: NDArray[np.int64], universe: int, pairs: int) -> Role[Next]:
    """The coordinator's part: adds masked vectors, forwards masked scores, learns what comes next."""
    yield from sum_coordinator(run.within("products"), parties.members, Products.length(pairs))
    yield from parties.route(run.within("scores"), positions, universe, PENALTY_SCALARS)
    return (yield from overhear(run, parties))


def overhear(run: Run, parties: Consortium) -> Role[Next]:
    """The coordinator learns what comes next."""
    received = yield from run.step("verdict", expect={parties.label_party: Next})
    following = received.of(parties.label_party, Next)
    if not 0 <= following.pairs <= HISTORY:
        raise PeerError(parties.label_party, "a number of pairs out of range", f"0 to {HISTORY}")
    return following
