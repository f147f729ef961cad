"""The whole run of one party as a chain of stages: align -> encode -> fit, iteration by iteration -> finish.

Each class is one kind of party's program for `kernel.participant` (what institutions have in common is in `institution`); what they do in a
stage is in the files named after it. The coordinator's program mirrors the institutions' stage for stage and learns from the label party only
what comes next.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
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
from federation.models.course import Next
from federation.models.encode import encode_holder, encode_label
from federation.models.institution import Institution, Local, Placed, Progress, ShareHash
from federation.models.logistic import iterate_coordinator
from federation.models.prepare import Prepared, prepare_holder, prepare_label
from federation.models.restarts import restart_coordinator
from federation.models.sample import Sample, check_sample, draw_sample
from federation.models.scores import Consortium, on_score_grid
from federation.models.shown import hear_shown, show
from federation.models.sides import HolderSide, LabelSide, require_reveals
from federation.models.withdrawal import Withdrawn, require_left
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

    def side(self, state: Progress) -> LabelSide:
        """With the labels, and what the partners ask for."""
        ready = self.prepared(state)
        assert state.encoded is not None and ready.labels is not None
        return LabelSide(self.parties, ready.block, ready.limits, ready.labels, state.encoded.answers)

    def _asked_anew(self, state: Progress, lost: Mapping[str, Withdrawn]) -> Progress:
        assert state.encoded is not None
        answers = state.encoded.answers | {name: told.answers for name, told in lost.items() if name != self.me}
        return msgspec.structs.replace(state, encoded=msgspec.structs.replace(state.encoded, answers=answers))

    def _finish(self, run: Run, state: Progress) -> Role[Progress]:
        ready = self.prepared(state)
        block = ready.block
        assert state.fit is not None
        partners, _ = yield from self.parties.receive(run.within("final"), block)
        final = on_score_grid(ready.exact @ state.fit.theta) + partners
        state = msgspec.structs.replace(state, final=final)
        if self.manifest.model == "scorecard":
            others, _ = yield from self.parties.receive(run.within("points"), block)
            table, positions = self.present(state)
            card = self.points(state)  # of a label party without columns the base alone
            every = card.points(table.columns) if card.characteristics else np.full(table.rows, card.base, np.int64)
            own = every[positions >= 0]
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

    def side(self, state: Progress) -> HolderSide:
        """With its columns."""
        ready = self.prepared(state)
        assert ready.held is not None
        return HolderSide(self.parties, ready.block, ready.limits, ready.held)

    def _finish(self, run: Run, state: Progress) -> Role[Progress]:
        ready = self.prepared(state)
        assert state.fit is not None and ready.held is not None
        require_reveals(self.me, state.fit.reveals + 1, ready.limits)
        scores = ready.held.spread(on_score_grid(ready.exact @ state.fit.theta), float(on_score_grid(ready.block.absent @ state.fit.theta)))
        yield from self.parties.send(run.within("final"), scores)
        if self.manifest.model == "scorecard":
            points = self.points(state)
            table, positions = self.present(state)
            own = points.points(table.columns)[positions >= 0].astype(np.float64)
            yield from self.parties.send(run.within("points"), ready.held.spread(own, float(points.absent)))
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
            yield from parties.route(run.within(what), state.positions, state.universe)
        received = yield from run.step("share hash", expect=dict.fromkeys(run.members, ShareHash))
        hashes = [received.of(name, ShareHash).digest for name in run.members]
        return msgspec.structs.replace(state, phase="done", model_hash=suite.digest("model", *hashes))


def program_of(manifest: Manifest, me: str, local: Local) -> LabelParty | FeatureParty:
    """The program of an institution."""
    return LabelParty(manifest, me, local) if manifest.party(me).label else FeatureParty(manifest, me, local)


__all__ = ["Coordinator", "FeatureParty", "LabelParty", "Local", "Progress", "program_of"]
