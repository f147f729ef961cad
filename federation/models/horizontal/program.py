"""A plan carried through a session: the levels of categorical columns, then one masked sum to a stage, until every bank has what it wanted.

Levels are the one thing that banks tell each other without adding it up: end to end, and those alone that a minimum cohort of the bank's rows
has. A column's common levels are the union, in the order of their text; every other value counts as "other".

A bank's stage: ask the plan for a vector, add it by `masked_sum.bonawitz` in limbs (`masked_sum.wide`), take the total. Banks that are lost
leave the circle for the rest of the run, and no sum is taken twice: doing one over again without a bank would show what that bank had put in.
A bank whose rows become fewer, since consent was withdrawn, goes on with the others (`fewer_rows`). So that a minimum cohort stays a minimum,
every sum then has one number more: the rows it is over (`[privacy] withdrawal = "continue"`, without noise).

At the end the banks compare the hash of what they all must have alike. The coordinator's program knows no model: it adds what is sent to it,
as often as the banks go on.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from functools import partial
from typing import Any, ClassVar, Generic, TypeVar

import msgspec
import numpy as np
from numpy.typing import NDArray

from federation.kernel import state as states
from federation.kernel import suite
from federation.kernel.codec import SMALL, Message, encode
from federation.kernel.errors import ConfigurationError, PeerError
from federation.kernel.manifest import MOST_WITH_LEVELS, Manifest
from federation.kernel.program import Stage
from federation.kernel.role import COORDINATOR, Role, Run
from federation.kernel.state import State
from federation.masked_sum import wide
from federation.masked_sum.bonawitz import COMPLETE, Circle, sum_coordinator, sum_member
from federation.masked_sum.graph import ring
from federation.models.horizontal.fewer_rows import over, rows_of
from federation.models.horizontal.noise import Noise, threshold_of, with_noise
from federation.models.horizontal.plan import Plan
from federation.models.horizontal.size import LONGEST
from federation.models.horizontal.task import Agreed, Task
from federation.models.table import Table
from federation.models.training import Local
from federation.models.withdrawal import require_left

S = TypeVar("S", bound=State)


class Levels(Message, frozen=True, tag="banks/levels"):
    """From every bank to every other, sealed: of each categorical column the levels that a minimum cohort of its rows has; and the digest of
    the bins that it was given by hand, which must be the same at all.
    """

    levels: dict[str, tuple[str, ...]]
    given: bytes


class Present(Message, frozen=True, tag="banks/present"):
    """From the coordinator to every bank: who has sent its levels."""

    broadcast: ClassVar[bool] = True

    names: tuple[str, ...]


class Onwards(Message, frozen=True, tag="banks/onwards"):
    """From every bank to the coordinator. more: whether a sum follows, or the end."""

    more: bool


class Found(Message, frozen=True, tag="banks/found"):
    """From every bank to the coordinator. digest: of what all banks must have alike, 32 bytes."""

    digest: bytes


class Same(Message, frozen=True, tag="banks/same"):
    """From the coordinator to every bank: the digest that all that are left have found."""

    broadcast: ClassVar[bool] = True

    digest: bytes


class Standing(State, frozen=True):
    """One party between two sums. members: who is left; levels: None until they are agreed; number: of the next sum; plan: the plan's
    state, as bytes (none at the coordinator); model_hash: at the end; gone: (n,) rows of this bank that were withdrawn on the way.
    """

    members: tuple[str, ...]
    levels: dict[str, tuple[str, ...]] | None = None
    number: int = 0
    plan: bytes = b""
    model_hash: bytes = b""
    gone: NDArray[np.bool_] | None = None

    @property
    def universe(self) -> int | None:
        """Nothing is aligned among banks."""
        return None


def beginning(manifest: Manifest) -> Standing:
    """Before anything was sent."""
    return Standing(manifest.members, {} if len(manifest.members) > MOST_WITH_LEVELS else None)


def circle_of(manifest: Manifest, members: tuple[str, ...], lots: bytes) -> Circle:
    """Who adds: those who are left of the manifest's banks, under the manifest's threshold, and on the graph of the lots if they are many.

    Where the manifest says that drop-outs stop the run, all who began must stay: then no bank opens a sum, or a share, without one of them.
    """
    started = len(manifest.members)
    graph = ring(manifest.members, lots) if started > COMPLETE else None
    return Circle(members, threshold_of(manifest), started, graph)


def _require_room(vector: NDArray[np.float64] | None, me: str, step: object) -> None:
    """Raises ConfigurationError for a sum that is too long, while nothing of it has been sent."""
    if vector is not None and len(vector) > LONGEST:
        where = f"{me}: sum over banks" + (f" ({step})" if step else "")
        what = f"it would have {len(vector):,} numbers (rule: at most {LONGEST:,}), since there are so many columns, or levels of columns"
        raise ConfigurationError(where, what, "Leave columns out ([[party]] exclude), or take them in several runs.")


def _require_short(levels: Levels, me: str) -> None:
    """Raises ConfigurationError for levels that no bank would read, before they are sent."""
    size = len(encode(levels))
    if size > SMALL:
        column, most = max(((name, len(of)) for name, of in levels.levels.items()), key=lambda found: found[1])
        what = f"its levels that have a cohort come to {size:,} bytes (rule: at most {SMALL:,}); column {column!r} has {most:,} of them"
        raise ConfigurationError(
            f"{me}: levels of categorical columns", what, "Leave the column out ([[party]] exclude), or code it in classes."
        )


def frequent_levels(table: Table, minimum_cohort: int) -> dict[str, tuple[str, ...]]:
    """Of each categorical column the levels that so many rows have, in the order of their text."""
    out = {}
    for name, column in table.columns.items():
        if column.kind == "categorical":
            counts = Counter(value for value in column.values if value is not None)
            out[name] = tuple(sorted(level for level, count in counts.items() if count >= minimum_cohort))
    return out


@dataclass
class Bank(Generic[S]):
    """A bank's program. given: digest of its hand-edited bins; noise: on every sum, where the manifest asks for it."""

    manifest: Manifest
    me: str
    local: Local
    task: Task[Any, S]
    given: bytes = b""
    noise: Noise | None = None
    kind: type[Standing] = field(default=Standing, init=False)
    _plan: tuple[int, Plan[S]] | None = field(default=None, init=False)

    def begin(self) -> Standing:
        """Before levels are agreed; many banks have none to agree on."""
        return beginning(self.manifest)

    @property
    def table(self) -> Table:
        """Its rows, withdrawn ones among them."""
        return self.local.table

    def make(self, agreed: Agreed) -> Plan[S]:
        """The plan over all rows, once levels are agreed."""
        plan: Plan[S] = self.task.plan(self.manifest, self.local, agreed)
        return plan

    def plan(self, standing: Standing) -> Plan[S]:
        """The plan over the rows that are there, made once a process."""
        gone = 0 if standing.gone is None else int(standing.gone.sum())
        if self._plan is None or self._plan[0] != gone:
            plan = self.make(standing.levels or {})
            self._plan = gone, plan if standing.gone is None else over(plan, ~standing.gone, self.me)
        return self._plan[1]

    def present(self, standing: Standing) -> Table:
        """The rows that are there."""
        return self.table if standing.gone is None else self.table.kept(~standing.gone)

    def without(self, state: Standing, gone: NDArray[np.bool_]) -> Standing:
        """A state whose later sums have nothing of these rows. Raises PolicyRefusal (code COHORT) where none is left."""
        if not state.model_hash:
            require_left(self.me, int((~gone).sum()), 1, "of its rows")
        return msgspec.structs.replace(state, gone=gone)

    @property
    def _counts_rows(self) -> bool:
        return self.manifest.privacy.withdrawal == "continue" and self.noise is None

    def state_of(self, standing: Standing) -> S:
        """The plan's state."""
        plan = self.plan(standing)
        return states.load(standing.plan, plan.kind) if standing.plan else plan.begin()

    def digest(self, standing: Standing, last: S) -> bytes:
        """Of what all banks must have alike at the plan's last state, 32 bytes."""
        return suite.digest("model", *self.task.lines(self.plan(standing), last))

    def stage(self, state: Standing) -> Stage[Standing] | None:
        """What follows: levels, the next sum, or nothing more."""
        if state.levels is None:
            return Stage("levels", partial(self._levels, state=state))
        return None if state.model_hash else Stage(f"sum {state.number}", partial(self._stage, state=state))

    def _levels(self, run: Run, state: Standing) -> Role[Standing]:
        levels = frequent_levels(self.present(state), self.manifest.privacy.minimum_cohort)
        mine = Levels(levels if self.noise is None else dict.fromkeys(levels, ()), self.given)  # levels would be told without noise
        _require_short(mine, self.me)
        sent: dict[str, Message] = dict.fromkeys(run.peers, mine)
        received = yield from run.step("levels", sent | {COORDINATOR: Onwards(more=True)}, {COORDINATOR: Present})
        present = received.of(COORDINATOR, Present).names
        circle_of(self.manifest, state.members, run.lots).check(present, state.members, self.me)
        others = tuple(name for name in present if name != self.me)
        received = yield from run.step("others", expect=dict.fromkeys(others, Levels))
        said = [received.of(name, Levels).levels for name in others]
        for name, levels in zip(others, said, strict=True):
            if set(levels) != set(mine.levels):
                raise PeerError(name, "levels of other columns", "levels of the categorical columns")
            if received.of(name, Levels).given != self.given:
                what, action = f"{name} was given other bins by hand than this bank", "Give every bank the same file in [[party]] bins."
                raise ConfigurationError(self.me, what, action)
        common = {column: tuple(sorted({*own, *(v for levels in said for v in levels[column])})) for column, own in mine.levels.items()}
        return msgspec.structs.replace(state, members=present, levels=common)

    def _stage(self, run: Run, state: Standing) -> Role[Standing]:
        plan = self.plan(state)
        before = self.state_of(state)
        figures = self.task.figures(before)
        run.report(phase="sum", number=state.number, banks=len(state.members), **figures)
        vector = plan.ask(before)
        if vector is not None and self._counts_rows:
            vector = np.append(vector, float(rows_of(plan)))
        _require_room(vector, self.me, figures.get("step"))
        yield from run.step("onwards", {COORDINATOR: Onwards(vector is not None)})
        if vector is None:
            return (yield from self._finish(run, state, before))
        if self.noise is not None:
            vector = with_noise(run, self.noise, plan, before, vector, state.number)
        circle, limbs = circle_of(self.manifest, state.members, run.lots), wide.limbs(len(self.manifest.members))
        total, survivors = yield from sum_member(run.within("sum"), wide.encode(vector, self.me), limbs, circle)
        opened = wide.decode(total)
        if self._counts_rows:
            require_left("banks", round(float(opened[-1])), self.manifest.privacy.minimum_cohort, "rows over all banks")
            opened = opened[:-1]
        after = plan.take(before, opened, len(survivors))
        return msgspec.structs.replace(state, members=survivors, number=state.number + 1, plan=states.dump(after))

    def _finish(self, run: Run, state: Standing, last: S) -> Role[Standing]:
        digest = self.digest(state, last)
        received = yield from run.step("finish", {COORDINATOR: Found(digest)}, {COORDINATOR: Same})
        if received.of(COORDINATOR, Same).digest != digest:
            raise PeerError(COORDINATOR, "another result than this bank has found", "the same result at all banks")
        return msgspec.structs.replace(state, model_hash=digest)


@dataclass
class Adder:
    """The coordinator's program."""

    manifest: Manifest
    kind: type[Standing] = field(default=Standing, init=False)

    def begin(self) -> Standing:
        """As at the banks."""
        return beginning(self.manifest)

    def stage(self, state: Standing) -> Stage[Standing] | None:
        """What follows, as at the banks."""
        if state.levels is None:
            return Stage("levels", partial(self._levels, state=state))
        return None if state.model_hash else Stage(f"sum {state.number}", partial(self._stage, state=state))

    def _levels(self, run: Run, state: Standing) -> Role[Standing]:
        """The coordinator learns who has sent levels to whom, and none of them."""
        threshold = circle_of(self.manifest, state.members, run.lots).threshold
        received = yield from run.step("levels", expect=dict.fromkeys(state.members, Onwards), quorum=threshold)
        present = tuple(received)
        yield from run.step("others", dict.fromkeys(present, Present(present)))
        return msgspec.structs.replace(state, members=present, levels={})

    def _stage(self, run: Run, state: Standing) -> Role[Standing]:
        circle = circle_of(self.manifest, state.members, run.lots)
        received = yield from run.step("onwards", expect=dict.fromkeys(state.members, Onwards), quorum=circle.threshold)
        more = [received.of(name, Onwards).more for name in received]
        if any(more) != all(more):
            raise PeerError(", ".join(received), "that some go on and some are at their end", "the same steps at all banks")
        if not all(more):
            return (yield from self._finish(run, state, circle, tuple(received)))
        survivors = yield from sum_coordinator(run.within("sum"), circle, wide.LIMBS * LONGEST)
        return msgspec.structs.replace(state, members=survivors, number=state.number + 1)

    def _finish(self, run: Run, state: Standing, circle: Circle, left: tuple[str, ...]) -> Role[Standing]:
        received = yield from run.step("finish", expect=dict.fromkeys(left, Found), quorum=circle.threshold)
        digests = {received.of(name, Found).digest for name in received}
        if len(digests) > 1:
            raise PeerError(", ".join(received), f"{len(digests)} different results", "the same result at all banks")
        (digest,) = digests
        if len(digest) != suite.KEY_BYTES:
            raise PeerError(", ".join(received), "a digest of another length", "32 bytes")
        yield from run.step("same", dict.fromkeys(received, Same(digest)))
        return msgspec.structs.replace(state, model_hash=digest)
