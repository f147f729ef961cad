"""A fit that goes on without rows whose consent was withdrawn (`[privacy] withdrawal = "continue"`): what has to begin anew, and with whom.

A row that a party has lost is, from the next stage on, a row that it never had: at a feature party its position counts as absent, at the
label party it weighs nothing. The objective is another then, so before an iteration the institutions tell each other who has lost rows, and
where anyone has

    residuals   are sent whole once more, and sums of them begin at zero: increments (docs/adr/0001) would leave the row's, rounded, in them
    history     of L-BFGS is dropped, since its changes of gradient are partly the row's; the next direction is the preconditioned gradient
    scores      of the label party's rows are sent whole where a feature party has lost rows: one more reveal, counted as such
    the end     a fit that had converged, and was checking signs or uniqueness, descends again

The coefficients stay where they were, so the fit comes to the optimum of the rows that are left. Totals that were released before (moments,
bins, the training weight) stay as they are.

Who learns what: privacy/contracts/logistic.toml.
"""

from __future__ import annotations

from federation.kernel.codec import Message
from federation.kernel.errors import AbortCode, PeerError, PolicyRefusal
from federation.kernel.manifest import Manifest
from federation.kernel.role import COORDINATOR, Role, Run
from federation.models.course import Fit, Next, without_rows
from federation.models.design import Positions
from federation.models.logistic import overhear
from federation.models.scores import Consortium
from federation.models.sides import Side


class Withdrawn(Message, frozen=True, tag="training/withdrawn"):
    """Before an iteration, from every institution to every other and to the coordinator. rows: whether the sender has fewer rows in the fit
    than in the iteration before; answers: of a feature party that has, how many sums it asks the label party for from now on (else 0).
    """

    rows: bool
    answers: int = 0


def tell_withdrawn(run: Run, manifest: Manifest, mine: Withdrawn) -> Role[dict[str, Withdrawn]]:
    """An institution's part: who has lost rows, this party too. Raises PeerError for a request beyond the cap."""
    quiet = Withdrawn(mine.rows)
    send: dict[str, Message] = dict.fromkeys((COORDINATOR, *run.peers), quiet)
    if run.me != manifest.label_party:
        send[manifest.label_party] = mine
    received = yield from run.step("withdrawn", send, dict.fromkeys(run.peers, Withdrawn))
    told = {name: received.of(name, Withdrawn) for name in run.peers} | {run.me: mine}
    found = {name: message for name, message in told.items() if message.rows}
    if run.me == manifest.label_party:
        for name, message in found.items():
            if name != run.me and not 0 < message.answers <= manifest.privacy.max_answers:
                raise PeerError(name, f"a request for {message.answers} sums", f"1 to {manifest.privacy.max_answers} (rule: max_answers)")
    return found


def restart(side: Side, run: Run, fit: Fit, *, scores: bool) -> Role[Fit]:
    """An institution's part. scores: whether they must be sent whole. Raises PolicyRefusal (code CAP)."""
    fit = without_rows(fit, side.limits, scores=scores)
    yield from side.tell_next(run, fit)
    if fit.mode == "done" or not scores:
        return fit
    return (yield from side.whole(run.within("again"), fit))


def restart_coordinator(run: Run, parties: Consortium, positions: Positions, universe: int, *, begun: bool) -> Role[Next | None]:
    """The coordinator's part: what comes next, None where nothing changes. begun: an iteration was taken before."""
    received = yield from run.step("withdrawn", expect=dict.fromkeys(parties.members, Withdrawn))
    found = {name for name in parties.members if received.of(name, Withdrawn).rows}
    if not found or not begun:
        return None
    following = yield from overhear(run, parties)
    if following.mode != "done" and found.intersection(parties.feature_parties):
        yield from parties.route(run.within("again"), positions, universe)
    return following


def require_left(me: str, rows: int, minimum: int, what: str) -> None:
    """The minimum cohort, once more. Raises PolicyRefusal (code COHORT)."""
    if rows < max(1, minimum):
        raise PolicyRefusal(
            me, f"after withdrawals of consent only {rows} {what} are left (rule: minimum_cohort = {minimum})",
            "Nothing more was sent. Start a new run with more rows.", AbortCode.COHORT,
        )  # fmt: skip
