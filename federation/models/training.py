"""The whole run of one party as a chain of stages: align -> encode -> fit, iteration by iteration -> finish.

Each class is one kind of party's program for `kernel.participant` (what institutions have in common is in `institution`); what they do in a
stage is in the files named after it. The coordinator's program mirrors the institutions' stage for stage and learns from the label party only
what comes next.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

import msgspec
import numpy as np
from numpy.typing import NDArray

from federation.align.chain import align_coordinator
from federation.kernel import suite
from federation.kernel.errors import DataError
from federation.kernel.manifest import Manifest
from federation.kernel.program import Stage
from federation.kernel.role import Role, Run
from federation.masked_sum.partial_scores import route_scores, send_scores
from federation.models.encode import encode_holder, encode_label
from federation.models.institution import Institution, Local, Placed, Progress, ShareHash
from federation.models.logistic import Fit, Next, begin, iterate_coordinator, iterate_holder, iterate_label, require_reveals
from federation.models.prepare import Prepared, prepare_holder, prepare_label
from federation.models.restarts import HolderSide, LabelSide, restart_coordinator
from federation.models.sample import Sample, check_sample, draw_sample
from federation.models.scores import Consortium, on_score_grid, partners_scores
from federation.models.shown import hear_shown, show
from federation.models.withdrawal import Withdrawn, require_left, restart_holder, restart_label, tell_withdrawn
from federation.models.withdrawal import restart_coordinator as restart_coordinator_without

_PLACES = 1 << 29


class LabelParty(Institution):
    """The program of the party that has the label."""

    def sample(self, state: Progress | None = None) -> Sample:
        """Train, test and out of time over all of its rows, or those that are still there."""
        whole = draw_sample(self.local.table, self.manifest.sample)
        return whole if state is None or state.gone is None else whole.kept(~state.gone)

    def _counts(self, rows: NDArray[np.bool_]) -> bool:
        return bool((rows & self.sample().train).any())

    def _require_left(self, state: Progress) -> None:
        label = self.local.table.label
        assert label is not None
        training = label[self._inside(state) & self.sample().train]
        require_left(self.me, len(training), self.manifest.privacy.minimum_cohort, "training rows")
        if training.min() == training.max():
            what = "after withdrawals of consent the training rows have one class only"
            raise DataError(self.me, what, "Start a new run with goods and bads.")

    def _encode(self, run: Run, state: Progress) -> Role[Progress]:
        table, positions = self.present(state)
        sample = self.sample(state)
        assert table.label is not None
        check_sample(
            Sample(sample.train & (positions >= 0), sample.test, sample.out_of_time), table.label, self.manifest.privacy.minimum_cohort
        )
        encoded = yield from encode_label(run, self.manifest, table, state.universe, positions, sample, self.local.bins)
        return self.after_encoding(state, encoded)

    def _prepare(self, state: Progress) -> Prepared:
        assert state.encoded is not None and state.positions is not None
        table, positions = self.present(state)
        routed = None if state.gone is None else np.sort(state.positions[state.positions >= 0])
        return prepare_label(self.manifest, table, state.universe, positions, state.encoded, self.sample(state), routed)

    def _fit(self, run: Run, state: Progress) -> Role[Progress]:
        ready = self.prepared(state)
        assert state.encoded is not None and ready.labels is not None
        fit = state.fit or begin(ready.block, ready.labels)
        if self.manifest.privacy.withdrawal == "continue":
            place = run.within("withdrawal")
            lost = yield from tell_withdrawn(place, self.manifest, Withdrawn(state.changed))
            answers = state.encoded.answers | {name: told.answers for name, told in lost.items() if name != self.me}
            state = msgspec.structs.replace(state, encoded=msgspec.structs.replace(state.encoded, answers=answers))
            if lost and state.fit is not None:
                fit = yield from restart_label(place, self.parties, ready.block, ready.limits, fit, scores=bool({*lost} - {self.me}))
            if fit.mode == "done":
                return self.after_fit(state, fit)
        assert state.encoded is not None
        side = LabelSide(self.parties, ready.block, ready.limits, ready.labels, state.encoded.answers)
        if fit.mode == "descend":
            fit = yield from iterate_label(run, self.parties, ready.block, ready.labels, ready.limits, fit, state.encoded.answers)
        else:
            fit = yield from restart(side, run, fit)
        return self.after_fit(state, fit)

    def _finish(self, run: Run, state: Progress) -> Role[Progress]:
        ready = self.prepared(state)
        block = ready.block
        assert state.fit is not None
        partners, _ = yield from partners_scores(run.within("final"), self.parties, block.positions, state.universe, routed=block.routed)
        final = on_score_grid(ready.exact @ state.fit.theta) + partners
        state = msgspec.structs.replace(state, final=final)
        if self.manifest.model == "scorecard":
            others, _ = yield from partners_scores(run.within("points"), self.parties, block.positions, state.universe, routed=block.routed)
            table, positions = self.present(state)
            own = self.points(state).points(table.columns)[positions >= 0]
            state = msgspec.structs.replace(state, points=own + others.astype(np.int64))
        shown = yield from hear_shown(run, self.manifest)
        state = msgspec.structs.replace(state, shown=shown)
        return (yield from self.exchange_hashes(run, state))


class FeatureParty(Institution):
    """The program of a party that has columns only."""

    def _encode(self, run: Run, state: Progress) -> Role[Progress]:
        table, positions = self.present(state)
        encoded = yield from encode_holder(run, self.manifest, table, state.universe, positions, self.local.bins)
        return self.after_encoding(state, encoded)

    def _require_left(self, state: Progress) -> None:
        """Which of its rows train it does not know: each that it has lost may have been one of them."""
        minimum = self.manifest.privacy.minimum_cohort
        require_left(self.me, int(self._inside(state).sum()), minimum, "of its firms in the universe")
        if state.encoded is not None:
            require_left(self.me, state.encoded.matched - state.lost, minimum, "of its firms in training, or so few,")

    def _prepare(self, state: Progress) -> Prepared:
        assert state.encoded is not None
        table, positions = self.present(state)
        return prepare_holder(self.manifest, self.me, table, state.universe, positions, state.encoded)

    def _fit(self, run: Run, state: Progress) -> Role[Progress]:
        ready = self.prepared(state)
        assert ready.held is not None
        fit = state.fit or begin(ready.block)
        if self.manifest.privacy.withdrawal == "continue":
            place = run.within("withdrawal")
            answers = ready.held.columns.answers if state.changed else 0
            lost = yield from tell_withdrawn(place, self.manifest, Withdrawn(state.changed, answers))
            if lost and state.fit is not None:
                scores = bool({*lost} - {self.manifest.label_party})
                fit = yield from restart_holder(place, self.parties, ready.block, ready.held, ready.limits, fit, scores=scores)
            if fit.mode == "done":
                return self.after_fit(state, fit)
        if fit.mode == "descend":
            fit = yield from iterate_holder(run, self.parties, ready.block, ready.held, ready.limits, fit)
        else:
            fit = yield from restart(HolderSide(self.parties, ready.block, ready.limits, ready.held), run, fit)
        return self.after_fit(state, fit)

    def _finish(self, run: Run, state: Progress) -> Role[Progress]:
        ready = self.prepared(state)
        assert state.fit is not None and ready.held is not None
        require_reveals(self.me, state.fit.reveals + 1, ready.limits)
        scores = ready.held.spread(on_score_grid(ready.exact @ state.fit.theta), float(on_score_grid(ready.block.absent @ state.fit.theta)))
        yield from send_scores(
            run.within("final"), self.parties.label_party, scores, self.parties.scores, self.parties.feature_parties,
            single_partner=self.parties.single_partner,
        )  # fmt: skip
        if self.manifest.model == "scorecard":
            points = self.points(state)
            table, positions = self.present(state)
            own = points.points(table.columns)[positions >= 0].astype(np.float64)
            yield from send_scores(
                run.within("points"), self.parties.label_party, ready.held.spread(own, float(points.absent)), self.parties.scores,
                self.parties.feature_parties, single_partner=self.parties.single_partner,
            )  # fmt: skip
        assert state.encoded is not None
        yield from show(run, self.manifest, state.encoded, state.fit.theta)
        return (yield from self.exchange_hashes(run, state))


@dataclass
class Coordinator:
    """The coordinator's program."""

    manifest: Manifest
    kind: type[Progress] = field(default=Progress, init=False)

    def __post_init__(self) -> None:
        self.parties = Consortium.of(self.manifest)

    def begin(self) -> Progress:
        """Before alignment; positions of a former run are not the coordinator's to keep, so it matches again only what it is sent."""
        return Progress() if self.manifest.align.former is None else Progress(phase="place")

    def stage(self, state: Progress) -> Stage[Progress] | None:
        """The stage that follows a state."""
        roles: dict[str, Callable[[Run], Role[Progress]]] = {
            "align": partial(self._align, state=state),
            "place": partial(self._place, state=state),
            "encode": partial(self._encode, state=state),
            "fit": partial(self._fit, state=state),
            "finish": partial(self._finish, state=state),
        }
        if state.phase not in roles:
            return None
        return Stage(f"fit {state.iteration}" if state.phase == "fit" else state.phase, roles[state.phase])

    def _align(self, run: Run, state: Progress) -> Role[Progress]:
        privacy, align = self.manifest.privacy, self.manifest.align
        matching = yield from align_coordinator(run.within("align"), align.visibility, (self.manifest.label_party,), privacy.max_rows)
        positions = matching.positions[self.manifest.label_party]
        return msgspec.structs.replace(state, phase="encode", universe=matching.size, positions=np.sort(positions[positions >= 0]))

    def _place(self, run: Run, state: Progress) -> Role[Progress]:
        received = yield from run.step("place", expect={self.manifest.label_party: Placed}, limit=_PLACES)
        placed = received.of(self.manifest.label_party, Placed)
        count = len(placed.positions.data) // 8
        positions = placed.positions.read(self.manifest.label_party, "<i8", (count,), 0, placed.universe - 1)
        return msgspec.structs.replace(state, phase="encode", universe=placed.universe, positions=positions)

    def _encode(self, _run: Run, state: Progress) -> Role[Progress]:
        """Encoding is between the institutions; the coordinator only carries it."""
        yield from ()
        return msgspec.structs.replace(state, phase="fit" if self.manifest.task == "train" else "done")

    def _fit(self, run: Run, state: Progress) -> Role[Progress]:
        positions = state.positions
        assert positions is not None
        if self.manifest.privacy.withdrawal == "continue":
            place = run.within("withdrawal")
            anew = yield from restart_coordinator_without(place, self.parties, positions, state.universe, begun=state.iteration > 0)
            if anew is not None:
                state = msgspec.structs.replace(state, mode=anew.mode, pairs=0)
        if state.mode == "done":
            following = Next("done")
        elif state.mode == "descend":
            following = yield from iterate_coordinator(run, self.parties, positions, state.universe, state.pairs)
        else:
            following = yield from restart_coordinator(run, self.parties, state.mode, positions, state.universe)
        phase = "finish" if following.mode == "done" else "fit"
        return msgspec.structs.replace(state, phase=phase, mode=following.mode, pairs=following.pairs, iteration=state.iteration + 1)

    def _finish(self, run: Run, state: Progress) -> Role[Progress]:
        assert state.positions is not None
        parties = self.parties
        for what in ("final", "points") if self.manifest.model == "scorecard" else ("final",):
            yield from route_scores(run.within(what), parties.label_party, parties.feature_parties, state.positions, state.universe)
        received = yield from run.step("share hash", expect=dict.fromkeys(run.members, ShareHash))
        hashes = [received.of(name, ShareHash).digest for name in run.members]
        return msgspec.structs.replace(state, phase="done", model_hash=suite.digest("model", *hashes))


def restart(side: LabelSide | HolderSide, run: Run, fit: Fit) -> Role[Fit]:
    """The stage after a converged descent, by its mode."""
    if fit.mode == "settle":
        return (yield from side.settle(run, fit))
    if fit.mode == "shake":
        return (yield from side.shake(run, fit))
    return (yield from side.compare(run, fit))


def program_of(manifest: Manifest, me: str, local: Local) -> LabelParty | FeatureParty:
    """The program of an institution."""
    return LabelParty(manifest, me, local) if manifest.party(me).label else FeatureParty(manifest, me, local)


__all__ = ["Coordinator", "FeatureParty", "LabelParty", "Local", "Progress", "program_of"]
