"""The whole run of one party as a chain of stages: align -> encode -> fit, iteration by iteration -> finish.

Each class is one kind of party's program for `kernel.participant`; what they do in a stage is in the files named after it. The coordinator's
program mirrors the institutions' stage for stage and learns from the label party only what comes next.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial

import msgspec
import numpy as np
from numpy.typing import NDArray

from federation.align.chain import align_coordinator, align_member
from federation.align.universe import Universe
from federation.kernel import suite
from federation.kernel.codec import Array, Message
from federation.kernel.errors import PolicyRefusal
from federation.kernel.manifest import Manifest
from federation.kernel.program import Stage
from federation.kernel.role import COORDINATOR, Role, Run
from federation.kernel.state import State
from federation.masked_sum.partial_scores import route_scores, send_scores
from federation.models.bins import Bins
from federation.models.encode import encode_holder, encode_label
from federation.models.logistic import Fit, Mode, begin, iterate_coordinator, iterate_holder, iterate_label, require_reveals
from federation.models.prepare import Encoded, Prepared, prepare_holder, prepare_label
from federation.models.restarts import HolderSide, LabelSide, restart_coordinator
from federation.models.sample import Sample, check_sample, draw_sample
from federation.models.scorecard import PointsTable, Scaling, points_table
from federation.models.scores import Consortium, on_score_grid, partners_scores
from federation.models.table import Table

_PLACES = 1 << 29


class ShareHash(Message, frozen=True, tag="training/share-hash"):
    """The hash of a party's share of the model, 32 bytes."""

    digest: bytes


class Placed(Message, frozen=True, tag="training/placed"):
    """From the label party, where a former alignment is used again: the universe's size and the positions of its rows, (m,) int64."""

    universe: int
    positions: Array


class Progress(State, frozen=True):
    """One party between two stages. phase: the next stage; positions: (n,) of its rows, -1 outside the universe; pairs: the coordinator's
    count of history pairs; final, points: (n,) the label party's final scores and, of a
    scorecard, points.
    """

    phase: str = "align"
    universe: int = 0
    positions: NDArray[np.int64] | None = None
    encoded: Encoded | None = None
    fit: Fit | None = None
    mode: Mode = "descend"
    pairs: int = 0
    iteration: int = 0
    final: NDArray[np.float64] | None = None
    points: NDArray[np.int64] | None = None
    model_hash: bytes = b""


@dataclass(frozen=True)
class Local:
    """What a node gives its program: the table, threads for alignment, and former positions or hand-edited bins where the run names them."""

    table: Table
    workers: int = 1
    former: Universe | None = None
    bins: Mapping[str, Bins] = field(default_factory=dict)


@dataclass
class Institution(ABC):
    """What label and feature parties have in common."""

    manifest: Manifest
    me: str
    local: Local
    kind: type[Progress] = field(default=Progress, init=False)

    def __post_init__(self) -> None:
        self.parties = Consortium.of(self.manifest)
        self._prepared: Prepared | None = None

    def begin(self) -> Progress:
        """Before alignment, or right after it where a former alignment is used again."""
        if self.manifest.align.former is None:
            return Progress()
        former = self.local.former
        if former is None:
            raise PolicyRefusal(self.me, "this node does not have the former run's alignment", "Leave out [align] from.")
        return Progress(phase="place", universe=former.size, positions=former.positions)

    def stage(self, state: Progress) -> Stage[Progress] | None:
        """The stage that follows a state."""
        if state.phase == "align":
            return Stage("align", partial(self._align, state=state))
        if state.phase == "place":
            return Stage("place", partial(self._place, state=state))
        if state.phase == "encode":
            return Stage("encode", partial(self._encode, state=state))
        if state.phase == "fit":
            return Stage(f"fit {state.iteration}", partial(self._fit, state=state))
        if state.phase == "finish":
            return Stage("finish", partial(self._finish, state=state))
        return None

    def _align(self, run: Run, state: Progress) -> Role[Progress]:
        universe = yield from align_member(
            run.within("align"), self.local.table.keys, self.manifest.align.visibility, (self.manifest.label_party,), self.local.workers,
            self.manifest.privacy.max_rows, self.manifest.privacy.minimum_cohort,
        )  # fmt: skip
        return msgspec.structs.replace(state, phase="encode", universe=universe.size, positions=universe.positions)

    def _place(self, run: Run, state: Progress) -> Role[Progress]:
        """Nothing to align: only the coordinator has to be told, by the label party, where that party's rows lie."""
        if self.me == self.manifest.label_party:
            assert state.positions is not None
            mine = Placed(state.universe, Array.of(np.sort(state.positions[state.positions >= 0])))
            yield from run.step("place", {COORDINATOR: mine})
        else:
            yield from ()
        return msgspec.structs.replace(state, phase="encode")

    @abstractmethod
    def _encode(self, run: Run, state: Progress) -> Role[Progress]:
        """From aligned rows to an encoding of the columns."""

    @abstractmethod
    def _fit(self, run: Run, state: Progress) -> Role[Progress]:
        """One iteration."""

    @abstractmethod
    def _finish(self, run: Run, state: Progress) -> Role[Progress]:
        """Final scores, and the hashes of all shares."""

    def after_encoding(self, state: Progress, encoded: Encoded) -> Progress:
        """To the fit, or to the end when only bins were asked for."""
        return msgspec.structs.replace(state, encoded=encoded, phase="fit" if self.manifest.task == "train" else "done")

    def after_fit(self, state: Progress, fit: Fit) -> Progress:
        """To the next iteration, or to the final scores with coefficients rounded to the declared ten digits."""
        done = fit.mode == "done"
        if done:
            fit = msgspec.structs.replace(fit, theta=rounded(fit.theta), steps=fit.steps[:0], changes=fit.changes[:0])
        return msgspec.structs.replace(state, fit=fit, phase="finish" if done else "fit", mode=fit.mode, iteration=state.iteration + 1)

    def points(self, state: Progress) -> PointsTable:
        """This party's share of a scorecard."""
        assert state.fit is not None and state.encoded is not None
        theta = state.fit.theta
        is_label = self.me == self.manifest.label_party
        return points_table(
            self.me, state.encoded.encoding, theta[1:] if is_label else theta, Scaling.of(self.manifest.scorecard),
            float(theta[0]) if is_label else None,
        )  # fmt: skip

    def share_hash(self, state: Progress) -> bytes:
        """The hash of this party's share."""
        return suite.digest("share", self.me, *share_lines(state))

    def exchange_hashes(self, run: Run, state: Progress) -> Role[Progress]:
        """Every institution's share hash to everyone: the model hash binds them all."""
        mine = ShareHash(self.share_hash(state))
        others = (COORDINATOR, *run.peers)
        received = yield from run.step("share hash", dict.fromkeys(others, mine), dict.fromkeys(run.peers, ShareHash))
        hashes = {name: received.of(name, ShareHash).digest for name in run.peers} | {self.me: mine.digest}
        return msgspec.structs.replace(state, phase="done", model_hash=suite.digest("model", *(hashes[name] for name in run.members)))


class LabelParty(Institution):
    """The program of the party that has the label."""

    def sample(self) -> Sample:
        """Train, test and out of time over all of its rows."""
        return draw_sample(self.local.table, self.manifest.sample)

    def _encode(self, run: Run, state: Progress) -> Role[Progress]:
        table, sample = self.local.table, self.sample()
        assert table.label is not None and state.positions is not None
        check_sample(
            Sample(sample.train & (state.positions >= 0), sample.test, sample.out_of_time),
            table.label,
            self.manifest.privacy.minimum_cohort,
        )
        encoded = yield from encode_label(run, self.manifest, table, state.universe, state.positions, sample, self.local.bins)
        return self.after_encoding(state, encoded)

    def prepared(self, state: Progress) -> Prepared:
        """The block and everything else that a restart can build again."""
        assert state.encoded is not None and state.positions is not None
        if self._prepared is None:
            self._prepared = prepare_label(self.manifest, self.local.table, state.universe, state.positions, state.encoded, self.sample())
        return self._prepared

    def _fit(self, run: Run, state: Progress) -> Role[Progress]:
        ready = self.prepared(state)
        assert state.encoded is not None and ready.labels is not None
        fit = state.fit or begin(ready.block, ready.labels)
        side = LabelSide(self.parties, ready.block, ready.limits, ready.labels, state.encoded.answers)
        if fit.mode == "descend":
            fit = yield from iterate_label(run, self.parties, ready.block, ready.labels, ready.limits, fit, state.encoded.answers)
        else:
            fit = yield from restart(side, run, fit)
        return self.after_fit(state, fit)

    def _finish(self, run: Run, state: Progress) -> Role[Progress]:
        ready = self.prepared(state)
        assert state.fit is not None
        partners, _ = yield from partners_scores(run.within("final"), self.parties, ready.block.positions, state.universe)
        final = on_score_grid(ready.exact @ state.fit.theta) + partners
        state = msgspec.structs.replace(state, final=final)
        if self.manifest.model == "scorecard":
            others, _ = yield from partners_scores(run.within("points"), self.parties, ready.block.positions, state.universe)
            assert state.positions is not None
            own = self.points(state).points(self.local.table.columns)[state.positions >= 0]
            state = msgspec.structs.replace(state, points=own + others.astype(np.int64))
        return (yield from self.exchange_hashes(run, state))


class FeatureParty(Institution):
    """The program of a party that has columns only."""

    def _encode(self, run: Run, state: Progress) -> Role[Progress]:
        assert state.positions is not None
        encoded = yield from encode_holder(run, self.manifest, self.local.table, state.universe, state.positions, self.local.bins)
        return self.after_encoding(state, encoded)

    def prepared(self, state: Progress) -> Prepared:
        """The block and everything else that a restart can build again."""
        assert state.encoded is not None and state.positions is not None
        if self._prepared is None:
            self._prepared = prepare_holder(self.manifest, self.me, self.local.table, state.universe, state.positions, state.encoded)
        return self._prepared

    def _fit(self, run: Run, state: Progress) -> Role[Progress]:
        ready = self.prepared(state)
        assert ready.held is not None
        fit = state.fit or begin(ready.block)
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
            assert state.positions is not None
            table = self.points(state)
            own = table.points(self.local.table.columns)[state.positions >= 0].astype(np.float64)
            yield from send_scores(
                run.within("points"), self.parties.label_party, ready.held.spread(own, float(table.absent)), self.parties.scores,
                self.parties.feature_parties, single_partner=self.parties.single_partner,
            )  # fmt: skip
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
        assert state.positions is not None
        if state.mode == "descend":
            following = yield from iterate_coordinator(run, self.parties, state.positions, state.universe, state.pairs)
        else:
            following = yield from restart_coordinator(run, self.parties, state.mode, state.positions, state.universe)
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


def rounded(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Each number to ten significant digits: the grid on which a share is published and hashed."""
    return np.array([float(f"{value:.9e}") for value in values.tolist()])


def share_lines(state: Progress) -> list[str]:
    """A share as lines of text on that grid, in the order of its design columns."""
    assert state.encoded is not None
    encoding = state.encoded.encoding
    lines = [f"{name} {s.centre:.9e} {s.scale:.9e} {s.absent:.9e}" for name, s in zip(encoding.names, encoding.standard, strict=True)]
    theta = [] if state.fit is None else [f"{value:.9e}" for value in state.fit.theta.tolist()]
    return lines + theta


def program_of(manifest: Manifest, me: str, local: Local) -> LabelParty | FeatureParty:
    """The program of an institution."""
    return LabelParty(manifest, me, local) if manifest.party(me).label else FeatureParty(manifest, me, local)
