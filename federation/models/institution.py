"""What label and feature parties have in common: a run as a chain of stages, and what becomes of it when rows are withdrawn on the way.

A row whose consent was withdrawn is out of the table, and of the positions, that every later stage works on (`Institution.present`), as if
the party had never had it; what a fit then has to begin anew is in `withdrawal`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial

import msgspec
import numpy as np
from numpy.typing import NDArray

from federation.align.chain import align_member
from federation.align.universe import Universe
from federation.kernel import suite
from federation.kernel.codec import Array, Message
from federation.kernel.errors import PolicyRefusal
from federation.kernel.manifest import Manifest
from federation.kernel.program import Stage
from federation.kernel.role import COORDINATOR, Role, Run
from federation.kernel.state import State
from federation.models.bins import Bins
from federation.models.course import Fit, Mode, begin
from federation.models.encoding import rounded
from federation.models.logistic import iterate
from federation.models.prepare import Encoded, Prepared
from federation.models.restarts import compare, settle, shake
from federation.models.scorecard import PointsTable, points_table
from federation.models.scores import Consortium
from federation.models.shown import Shown
from federation.models.sides import Side
from federation.models.table import Table
from federation.models.withdrawal import Withdrawn, restart, tell_withdrawn


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
    scorecard, points; gone: (n,) rows whose consent was withdrawn during the run; changed: rows of the fit are among them since the iteration
    before; lost: how many rows of the universe since the encoding was found; shown: at the label party, what partners show of their bins.
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
    gone: NDArray[np.bool_] | None = None
    changed: bool = False
    lost: int = 0
    shown: dict[str, Shown] = msgspec.field(default_factory=dict)


FITTING: Mapping[Mode, Callable[[Side, Run, Fit], Role[Fit]]] = {"descend": iterate, "settle": settle, "shake": shake, "compare": compare}
"""The stage of each mode."""


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
        self._prepared: tuple[int, Prepared] | None = None
        self._kept: tuple[int, Table] | None = None

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

    # -- rows that are withdrawn ------------------------------------------------------------------------------------------------------

    def without(self, state: Progress, gone: NDArray[np.bool_]) -> Progress:
        """A state whose later stages work as though these rows did not exist. Raises PolicyRefusal (code COHORT), DataError."""
        if state.positions is None:
            return msgspec.structs.replace(state, gone=gone)
        before = self._inside(state)
        left = ~gone[before]  # of the rows that the vectors of this state run over
        fit = state.fit
        if fit is not None and fit.score is not None:
            fit = msgspec.structs.replace(fit, score=fit.score[left], sent=None if fit.sent is None else fit.sent[left])
        after = msgspec.structs.replace(
            state, gone=gone, fit=fit, changed=state.changed or self._counts(before & gone),
            lost=state.lost + (int((before & gone).sum()) if state.encoded is not None else 0),
            final=None if state.final is None else state.final[left], points=None if state.points is None else state.points[left],
        )  # fmt: skip
        if state.phase != "done":
            self._require_left(after)
        return after

    def present(self, state: Progress) -> tuple[Table, NDArray[np.int64]]:
        """The rows that are still there, and their positions, (m,)."""
        assert state.positions is not None, "rows are aligned"
        there = self._there(state)
        return self._table(state), state.positions[there]

    def _there(self, state: Progress) -> NDArray[np.bool_]:
        return np.ones(self.local.table.rows, bool) if state.gone is None else ~state.gone

    def _table(self, state: Progress) -> Table:
        if state.gone is None:
            return self.local.table
        count = int(state.gone.sum())
        if self._kept is None or self._kept[0] != count:
            self._kept = count, self.local.table.kept(~state.gone)
        return self._kept[1]

    def _inside(self, state: Progress) -> NDArray[np.bool_]:
        """Which rows of the whole table are there and in the universe, (n,)."""
        assert state.positions is not None, "rows are aligned"
        return (state.positions >= 0) & self._there(state)

    def _counts(self, rows: NDArray[np.bool_]) -> bool:
        """Whether a fit is another without these rows of the universe, (n,)."""
        return bool(rows.any())

    @abstractmethod
    def _require_left(self, state: Progress) -> None:
        """The minimum cohort, once more."""

    def prepared(self, state: Progress) -> Prepared:
        """The block and everything else that a restart can build again."""
        count = 0 if state.gone is None else int(state.gone.sum())
        if self._prepared is None or self._prepared[0] != count:
            self._prepared = count, self._prepare(state)
        return self._prepared[1]

    @abstractmethod
    def _prepare(self, state: Progress) -> Prepared:
        """From the rows that are there."""

    # -- stages -----------------------------------------------------------------------------------------------------------------------

    def _align(self, run: Run, state: Progress) -> Role[Progress]:
        table = self._table(state)
        universe = yield from align_member(
            run.within("align"), table.keys, self.manifest.align.visibility, (self.manifest.label_party,), self.local.workers,
            self.manifest.privacy.max_rows, self.manifest.privacy.minimum_cohort,
        )  # fmt: skip
        positions = np.full(self.local.table.rows, -1, np.int64)
        positions[self._there(state)] = universe.positions
        return msgspec.structs.replace(state, phase="encode", universe=universe.size, positions=positions)

    def _place(self, run: Run, state: Progress) -> Role[Progress]:
        """Nothing to align: only the coordinator has to be told, by the label party, where that party's rows lie."""
        assert state.positions is not None
        positions = np.where(self._there(state), state.positions, -1)
        if self.me == self.manifest.label_party:
            mine = Placed(state.universe, Array.of(np.sort(positions[positions >= 0])))
            yield from run.step("place", {COORDINATOR: mine})
        else:
            yield from ()
        return msgspec.structs.replace(state, phase="encode", positions=positions)

    @abstractmethod
    def _encode(self, run: Run, state: Progress) -> Role[Progress]:
        """From aligned rows to an encoding of the columns."""

    def _fit(self, run: Run, state: Progress) -> Role[Progress]:
        """One iteration, or one of the stages after a converged descent; before it, what withdrawn rows ask for."""
        ready = self.prepared(state)
        fit = state.fit or begin(ready.block, ready.labels)
        if self.manifest.privacy.withdrawal == "continue":
            place = run.within("withdrawal")
            answers = ready.held.columns.answers if ready.held is not None and state.changed else 0
            lost = yield from tell_withdrawn(place, self.manifest, Withdrawn(state.changed, answers))
            state = self._asked_anew(state, lost)
            if lost and state.fit is not None:
                scores = bool({*lost} - {self.manifest.label_party})
                fit = yield from restart(self.side(state), place, fit, scores=scores)
            if fit.mode == "done":
                return self.after_fit(state, fit)
        return self.after_fit(state, (yield from FITTING[fit.mode](self.side(state), run, fit)))

    @abstractmethod
    def side(self, state: Progress) -> Side:
        """This party in the fit."""

    def _asked_anew(self, state: Progress, _lost: Mapping[str, Withdrawn]) -> Progress:
        """The state after others have said how many sums they ask for from now on."""
        return state

    @abstractmethod
    def _finish(self, run: Run, state: Progress) -> Role[Progress]:
        """Final scores, and the hashes of all shares."""

    def after_encoding(self, state: Progress, encoded: Encoded) -> Progress:
        """To the fit, or to the end when only bins were asked for."""
        return msgspec.structs.replace(state, encoded=encoded, changed=False, phase="fit" if self.manifest.task == "train" else "done")

    def after_fit(self, state: Progress, fit: Fit) -> Progress:
        """To the next iteration, or to the final scores with coefficients rounded to the declared ten digits."""
        done = fit.mode == "done"
        if done:
            fit = msgspec.structs.replace(fit, theta=rounded(fit.theta), steps=fit.steps[:0], changes=fit.changes[:0])
        return msgspec.structs.replace(
            state, fit=fit, phase="finish" if done else "fit", mode=fit.mode, iteration=state.iteration + 1, changed=False
        )

    def points(self, state: Progress) -> PointsTable:
        """This party's share of a scorecard."""
        assert state.fit is not None and state.encoded is not None
        theta = state.fit.theta
        is_label = self.me == self.manifest.label_party
        return points_table(
            self.me, state.encoded.encoding, theta[1:] if is_label else theta, self.manifest.scorecard,
            float(theta[0]) if is_label else None,
        )  # fmt: skip

    def share_hash(self, state: Progress) -> bytes:
        """The hash of this party's share."""
        assert state.encoded is not None and state.fit is not None, "the fit is done"
        return suite.digest("share", self.me, *state.encoded.encoding.lines(state.fit.theta))

    def exchange_hashes(self, run: Run, state: Progress) -> Role[Progress]:
        """Every institution's share hash to everyone: the model hash binds them all."""
        mine = ShareHash(self.share_hash(state))
        others = (COORDINATOR, *run.peers)
        received = yield from run.step("share hash", dict.fromkeys(others, mine), dict.fromkeys(run.peers, ShareHash))
        hashes = {name: received.of(name, ShareHash).digest for name in run.peers} | {self.me: mine.digest}
        return msgspec.structs.replace(state, phase="done", model_hash=suite.digest("model", *(hashes[name] for name in run.members)))
