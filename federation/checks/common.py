"""How many counterparties two firms have in common, one known to each of two institutions: a stage for each consented pair.

In each pair the institution that is asked first tells the other, sealed, whether its firm can be compared at all (it has enough
counterparties, and consent); then both lay their lists into `align.overlap`, of padding alone where it cannot, so that the run goes on as
ever. The institution that asks, and it alone, learns the number in common.

Who learns what: privacy/contracts/common_counterparties.toml.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from federation.align.overlap import overlap_coordinator, overlap_member
from federation.kernel.codec import Message
from federation.kernel.errors import AbortCode, PolicyRefusal
from federation.kernel.manifest import CheckSettings, Manifest
from federation.kernel.program import Stage
from federation.kernel.role import Role, Run
from federation.kernel.state import State
from federation.models.table import Table

WITHIN = "|"
"""Stands between a pair's name and a counterparty in a table's keys."""

Outcome = Literal["compared", "own too few", "other too few", "contradicted"]


class Readiness(Message, frozen=True, tag="checks/readiness"):
    """From the institution that is asked to the one that asks, sealed. ready: whether its firm of this pair can be compared."""

    ready: bool


class Comparison(State, frozen=True):
    """One pair, at the institution that asks. own: counterparties of its own firm; common: of these, how many the other's firm has, 0 unless
    compared; outcome: "own too few" also where consent is missing; "contradicted" where the count is one that no two honest lists give.
    """

    own: int
    common: int
    outcome: Outcome


class Compared(State, frozen=True):
    """One party between two pairs. number: of the next; found: those before, empty but at the institution that asks; gone: (n,) rows whose
    consent was withdrawn on the way; universe: none is made, and the coordinator keeps no count.
    """

    number: int = 0
    found: tuple[Comparison, ...] = ()
    universe: int = 0
    gone: NDArray[np.bool_] | None = None
    model_hash: bytes = b""


def rows_of(manifest: Manifest, table: Table) -> dict[str, list[int]]:
    """The rows of each pair of the manifest; rows of other pairs are in none."""
    rows: dict[str, list[int]] = {pair: [] for pair in manifest.check.pairs}
    for row, key in enumerate(table.keys):
        found = rows.get(key.partition(WITHIN)[0])
        if found is not None:
            found.append(row)
    return rows


def require_apart(manifest: Manifest, me: str, table: Table) -> None:
    """At the institution that is asked each firm stands in one pair of a run at most, so that a run is one answer about it.

    Raises PolicyRefusal (code disclosure).
    """
    firms = [table.firms[rows[0]] for rows in rows_of(manifest, table).values() if rows]
    again = len(firms) - len(set(firms))
    if again and me != manifest.check.asks:
        what = f"{again} of {len(firms)} pairs have a firm of this institution that stands in another pair, too (rule: one pair a run)"
        raise PolicyRefusal(me, what, "Nothing was sent. Put these pairs into runs of their own.", AbortCode.DISCLOSURE)


@dataclass
class Comparer:
    """An institution's program: it asks, or it is asked."""

    manifest: Manifest
    me: str
    table: Table
    workers: int = 1
    kind: type[Compared] = field(default=Compared, init=False)

    @property
    def asks(self) -> bool:
        """Whether this institution is the one that asks."""
        return self.me == self.manifest.check.asks

    def begin(self) -> Compared:
        """Before anything was sent."""
        return Compared()

    def stage(self, state: Compared) -> Stage[Compared] | None:
        """The next pair."""
        return _next(self.manifest, state, self._pair)

    def without(self, state: Compared, gone: NDArray[np.bool_]) -> Compared:
        """A state that goes on as though these rows, (n,), were not there and nothing were known of them."""
        return msgspec.structs.replace(state, gone=gone)

    def found(self, state: Compared) -> dict[str, Comparison]:
        """By pair, at the institution that asks; a pair whose firm has withdrawn is not in it. Empty at the other."""
        rows, gone = rows_of(self.manifest, self.table), state.gone
        pairs = zip(self.manifest.check.pairs, state.found, strict=self.asks)
        return {pair: one for pair, one in pairs if gone is None or not gone[rows[pair]].any()}

    def _pair(self, run: Run, state: Compared) -> Role[Compared]:
        check, pair = self.manifest.check, self.manifest.check.pairs[state.number]
        require_apart(self.manifest, self.me, self.table)
        rows = [row for row in rows_of(self.manifest, self.table)[pair] if state.gone is None or not state.gone[row]]
        enough = len(rows) >= check.fewest
        ids = [self.table.keys[row].partition(WITHIN)[2] for row in rows] if enough else []
        (peer,) = run.peers
        place, ready = run.within("readiness"), True
        if self.asks:
            ready = (yield from place.step("readiness", expect={peer: Readiness})).of(peer, Readiness).ready
        else:
            yield from place.step("readiness", send={peer: Readiness(enough)})
        common = yield from overlap_member(run.within("overlap"), ids, self.workers, check.max_asked, check.pad, asks=self.asks)
        if common is None:
            return msgspec.structs.replace(state, number=state.number + 1)
        found = _comparison(len(ids), common, enough=enough, ready=ready)
        return msgspec.structs.replace(state, number=state.number + 1, found=(*state.found, found))


def _next(manifest: Manifest, state: Compared, pair: Callable[[Run, Compared], Role[Compared]]) -> Stage[Compared] | None:
    """Of either kind of party: a stage for each pair, in the manifest's order."""
    if state.number == len(manifest.check.pairs):
        return None
    return Stage(f"pair {state.number}", lambda run: pair(run, state))


def _comparison(own: int, common: int, *, enough: bool, ready: bool) -> Comparison:
    """What the institution that asks keeps of a pair. A count that cannot be is noted here and ends nothing: see `overlap_member`."""
    if not enough:
        return Comparison(0, 0, "own too few")
    if not ready:
        return Comparison(own, 0, "other too few")
    return Comparison(own, common, "compared") if 0 <= common <= own else Comparison(own, 0, "contradicted")


def compared(one: Comparison, check: CheckSettings) -> str:
    """The reason that stands beside a pair, in words."""
    if one.outcome == "own too few":
        return f"not compared: its firm has fewer than {check.fewest} counterparties, or its consent is missing"
    if one.outcome == "other too few":
        return f"not compared: the other's firm has fewer than {check.fewest} counterparties, or its consent is missing"
    if one.outcome == "contradicted":
        return "not compared: the count is one that no two honest lists give; ask the other institution, or the coordinator"
    said = f"{one.common} of its {one.own} counterparties are the other firm's, too"
    return f"{said}: at or above the limit of {check.flag_common}" if one.common >= check.flag_common else said


@dataclass
class Matcher:
    """The coordinator's program."""

    manifest: Manifest
    kind: type[Compared] = field(default=Compared, init=False)

    def begin(self) -> Compared:
        """Before anything was sent."""
        return Compared()

    def stage(self, state: Compared) -> Stage[Compared] | None:
        """The next pair."""
        return _next(self.manifest, state, self._pair)

    def _pair(self, run: Run, state: Compared) -> Role[Compared]:
        check = self.manifest.check
        yield from overlap_coordinator(run.within("overlap"), check.asks, check.max_asked, check.pad)
        return msgspec.structs.replace(state, number=state.number + 1)
