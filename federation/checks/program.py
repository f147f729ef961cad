"""A check as a chain of two stages: align (the union of all keys, without whose they are), then ask (the counts at the asker's positions).

Each class is one kind of party's program for `kernel.participant`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import msgspec
import numpy as np
from numpy.typing import NDArray

from federation.align.union import padded, union_coordinator, union_member
from federation.align.universe import Universe
from federation.checks.fields import Counts
from federation.checks.settings import counted, fields_of
from federation.checks.tally import ask, contribute, route
from federation.kernel.errors import AbortCode, LocalError
from federation.kernel.manifest import Manifest
from federation.kernel.program import Stage
from federation.kernel.role import Role, Run
from federation.kernel.state import State
from federation.models.table import Table

SPOILED = "the counts are none that honest institutions and coordinator make (somebody breaks the protocol)"


def longest_of(manifest: Manifest) -> dict[str, int]:
    """How long each institution's list may be, with its padding: so many positions are opened to the one that asks, and of so many keys that
    it makes up another could see who else has them.
    """
    check, members = manifest.check, manifest.members
    return {name: padded(check.max_asked if name == check.asks else check.max_listed, check.pad, len(members)) for name in members}


class Standing(State, frozen=True):
    """One party between two stages. phase: the next one; universe: the size of the union; positions: (m,) in it, of the rows that are there
    and then of padding; length: the asking party's list as announced, at the coordinator; sums: (m, k) at the asking party, of its rows that
    were there; rows: which of its table these are, (m,); gone: (n,) rows that were withdrawn on the way; spoiled: whether the sums were such
    as no honest parties make, of which the asking party alone may know.
    """

    phase: str = "align"
    universe: int = 0
    positions: NDArray[np.int64] | None = None
    rows: NDArray[np.int64] | None = None
    length: int = 0
    sums: NDArray[np.int64] | None = None
    gone: NDArray[np.bool_] | None = None
    spoiled: bool = False
    model_hash: bytes = b""


def _next(state: Standing, **roles: Callable[[Run, Standing], Role[Standing]]) -> Stage[Standing] | None:
    """Of either kind of party: the stage of the state's phase."""
    role = roles.get(state.phase)
    return None if role is None else Stage(state.phase, lambda run: role(run, state))


@dataclass
class Checker:
    """An institution's program: it asks, or it is asked."""

    manifest: Manifest
    me: str
    table: Table
    workers: int = 1
    kind: type[Standing] = field(default=Standing, init=False)

    @property
    def asks(self) -> bool:
        """Whether this institution is the one that asks."""
        return self.me == self.manifest.check.asks

    def begin(self) -> Standing:
        """Before anything was sent."""
        return Standing()

    def stage(self, state: Standing) -> Stage[Standing] | None:
        """The stage that follows a state."""
        return _next(state, align=self._align, ask=self._ask)

    def without(self, state: Standing, gone: NDArray[np.bool_]) -> Standing:
        """A state that goes on as though these rows, (n,), counted for nothing and nothing were known of them."""
        return msgspec.structs.replace(state, gone=gone)

    def found(self, state: Standing) -> tuple[NDArray[np.int64], Counts]:
        """At the asking institution, at the end: which rows of its table the counts are of, (m,), and the counts, (m, k).

        Raises LocalError where what it was sent is no counts.
        """
        if state.spoiled:
            raise LocalError(self.me, SPOILED, "The others do not know of it, and better so. Ask who it may be before you ask again.")
        assert state.rows is not None and state.sums is not None, "the run has finished"
        there = np.ones(len(state.rows), bool) if state.gone is None else ~state.gone[state.rows]
        return state.rows[there], state.sums[there]

    def _align(self, run: Run, state: Standing) -> Role[Standing]:
        check, privacy = self.manifest.check, self.manifest.privacy
        rows = np.arange(self.table.rows) if state.gone is None else np.flatnonzero(~state.gone)
        if self.asks and len(rows) > check.max_asked:
            what = f"it asks about {len(rows):,} keys (rule: at most {check.max_asked:,} in one run)"
            raise LocalError(self.me, what, "Nothing was sent. Ask about fewer, or in several runs.", AbortCode.CAP)
        if not self.asks:
            counts = counted(self.manifest, self.me, self.table)
            fields_of(self.manifest).pack(counts, self.me)  # refuses before anything is sent
            rows = rows[counts[rows].any(axis=1)]  # to be listed tells the asking institution something: no more than a count does
            if len(rows) > check.max_listed:
                what = f"it has {len(rows):,} keys to count (rule: at most {check.max_listed:,} in one run)"
                raise LocalError(self.me, what, "Nothing was sent. Raise [check] max_listed, or narrow the source's query.", AbortCode.CAP)
        keys = [self.table.keys[row] for row in rows]
        longest = longest_of(self.manifest)
        universe = yield from union_member(run.within("align"), keys, self.workers, privacy.max_rows, check.pad, longest, looks=self.asks)
        return msgspec.structs.replace(state, phase="ask", universe=universe.size, positions=universe.positions, rows=rows)

    def _ask(self, run: Run, state: Standing) -> Role[Standing]:
        assert state.positions is not None and state.rows is not None, "keys are aligned"
        universe, fields = Universe(state.universe, state.positions), fields_of(self.manifest)
        if self.asks:
            sums = yield from ask(run, universe, len(state.rows), fields)
            return msgspec.structs.replace(state, phase="done", sums=sums, spoiled=sums is None)
        counts = counted(self.manifest, self.me, self.table)
        if state.gone is not None:
            counts = np.where(state.gone[:, None], 0, counts)
        yield from contribute(run, self.manifest.check.asks, universe, counts[state.rows], fields)
        return msgspec.structs.replace(state, phase="done")


@dataclass
class Router:
    """The coordinator's program."""

    manifest: Manifest
    kind: type[Standing] = field(default=Standing, init=False)

    def begin(self) -> Standing:
        """Before anything was sent."""
        return Standing()

    def stage(self, state: Standing) -> Stage[Standing] | None:
        """The stage that follows a state."""
        return _next(state, align=self._align, ask=self._ask)

    def _align(self, run: Run, state: Standing) -> Role[Standing]:
        size, lengths = yield from union_coordinator(run.within("align"), self.manifest.privacy.max_rows, longest_of(self.manifest))
        return msgspec.structs.replace(state, phase="ask", universe=size, length=lengths[self.manifest.check.asks])

    def _ask(self, run: Run, state: Standing) -> Role[Standing]:
        yield from route(run, self.manifest.check.asks, state.universe, state.length)
        return msgspec.structs.replace(state, phase="done")
