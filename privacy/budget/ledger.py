"""The ledger as a state machine over records: reserve, spend before each release, settle.

    reserve(run)      all that the run may cost is counted at once, before it begins
    spend(release)    a part of it, recorded before the release leaves; recorded twice, it counts once
    settle(run)       the run has ended: what was reserved and not spent is free again
    give_back(run)    the same by an operator's word, for a run that died

Counted against the limits is, for an open run, all that it reserved, and for a closed one, all that it spent. Every spend lies within its
reservation and comes before its release, so at any moment at least what was released is counted; a crash leaves the run open, and so counts
too much until it is settled. A closed run can spend no more: what it gave back cannot be used a second time by a process thought dead.

A decision checks everything and returns the record that would make it so, or None when it is so already; `apply` takes records in the order
in which they were written.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TypeAlias

import msgspec

from federation.kernel.errors import AbortCode, ConfigurationError, LocalError, PolicyRefusal
from federation.kernel.loss import Stated
from privacy.budget.account import epsilon
from privacy.budget.limits import ANY, Cost, Limits, members, scopes, tightest, total
from privacy.purposes import RUN_PURPOSES


class Reservation(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="reserved"):
    """All that a run may cost. run: the session, so that another attempt is another reservation; dataset: the source's id."""

    run: str
    dataset: str
    purpose: str
    cost: Cost


class Spend(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="spent"):
    """What one release of a run costs. release: its name within the run."""

    run: str
    release: str
    cost: Cost


class Settlement(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="settled"):
    """The run has ended."""

    run: str


class GiveBack(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="given back"):
    """An operator's word that the run is dead."""

    run: str
    reason: str


class LimitsSet(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="limits set"):
    """From here on these limits hold. purpose: a declared one, or ANY; by: who set them."""

    dataset: str
    purpose: str
    limits: Limits
    by: str


Record: TypeAlias = Reservation | Spend | Settlement | GiveBack | LimitsSet


@dataclass
class _Run:
    reservation: Reservation
    spends: dict[str, Cost] = field(default_factory=dict)
    spent: Cost = field(default_factory=Cost)
    open: bool = True

    @property
    def counted(self) -> Cost:
        return self.reservation.cost if self.open else self.spent


class Ledger:
    """What the records so far come to."""

    def __init__(self) -> None:
        self._limits: dict[tuple[str, str], Limits] = {}
        self._runs: dict[str, _Run] = {}
        self._open: dict[str, _Run] = {}
        self._closed: dict[tuple[str, str], Cost] = {}

    def follows(self, record: Record) -> bool:
        """Whether a record can come next at all: a run reserves once, and is open when it spends or ends."""
        match record:
            case LimitsSet():
                return True
            case Reservation():
                return record.run not in self._runs
            case Spend():
                return record.run in self._open and record.release not in self._open[record.run].spends
            case Settlement() | GiveBack():
                return record.run in self._open

    def apply(self, record: Record) -> None:
        """One record further. It was decided on the state that this is, or `follows` was asked."""
        match record:
            case LimitsSet():
                self._limits[record.dataset, record.purpose] = record.limits
            case Reservation():
                self._runs[record.run] = self._open[record.run] = _Run(record)
            case Spend():
                run = self._runs[record.run]
                run.spends[record.release] = record.cost
                run.spent += record.cost
            case Settlement() | GiveBack():
                run = self._open.pop(record.run)
                run.open = False
                key = (run.reservation.dataset, run.reservation.purpose)
                self._closed[key] = self._closed.get(key, Cost()) + run.spent

    def set_limits(self, dataset: str, purpose: str, limits: Limits, by: str) -> LimitsSet | None:
        """New limits for a purpose or ANY. Below what is used already is allowed: then nothing is left. Raises ConfigurationError."""
        members(purpose)
        if not dataset or not by:
            raise ConfigurationError("budget", "it is not said which dataset, or who sets the limits", "Name both.")
        return None if self._limits.get((dataset, purpose)) == limits else LimitsSet(dataset, purpose, limits, by)

    def reserve(self, run: str, dataset: str, purpose: str, cost: Cost) -> Reservation | None:
        """All that a run may cost. Raises PolicyRefusal (code budget) with what was asked and what is left, ConfigurationError for a purpose
        of no run, LocalError when the run has reserved something else.
        """
        asked = Reservation(run, dataset, purpose, cost)
        if purpose not in RUN_PURPOSES:
            raise ConfigurationError("budget", "it is not a purpose that a run may have", f"Use one of {', '.join(RUN_PURPOSES)}.")
        if (known := self._runs.get(run)) is not None:
            if known.reservation == asked:
                return None
            raise LocalError(
                f"budget, run {run}", "it has reserved something else before", "Reserve once in a session, before anything leaves."
            )
        self._require_budget(dataset, purpose, cost)
        for scope in scopes(purpose):
            limits = self._limits.get((dataset, scope))
            if limits is not None and (found := limits.excess(self.counted(dataset, scope), cost)):
                raise PolicyRefusal(
                    f"budget of {dataset} for {scope}",
                    "; ".join(found),
                    "Ask for less, settle runs that have ended, or have the risk officer set other limits (creditfed node budget set).",
                    AbortCode.BUDGET,
                )
        return asked

    def _require_budget(self, dataset: str, purpose: str, cost: Cost) -> None:
        in_force = [limits for scope in scopes(purpose) if (limits := self._limits.get((dataset, scope))) is not None]
        if not in_force:
            what = "none is set, and without limits nothing leaves"
        elif cost.losses and all(limits.epsilon is None for limits in in_force):
            what = "no epsilon is set, and the run asks for releases with noise"
        else:
            return
        action = "The risk officer sets it with `creditfed node budget set`."
        raise PolicyRefusal(f"budget of {dataset} for {purpose}", what, action, AbortCode.BUDGET)

    def spend(self, run: str, release: str, cost: Cost) -> Spend | None:
        """What one release costs. Raises PolicyRefusal (code budget) beyond the reservation or after the run was closed, LocalError for a run
        that has reserved nothing or a release that was recorded with another cost.
        """
        where = f"budget, run {run}"
        known = self._runs.get(run)
        if known is None:
            raise LocalError(where, "it has reserved nothing", "Reserve before the run begins.", AbortCode.BUDGET)
        if (before := known.spends.get(release)) is not None:
            if before == cost:
                return None
            raise LocalError(
                where, f"release {release} was recorded with another cost", "Give each release a name of its own.", AbortCode.BUDGET
            )
        if not known.open:
            action = "Begin a new session, which reserves anew."
            raise PolicyRefusal(where, "it is settled or given back, and may release nothing more", action, AbortCode.BUDGET)
        if not (known.spent + cost).within(known.reservation.cost):
            raise PolicyRefusal(
                where,
                f"release {release} costs more than is left of what the run reserved",
                "The release was not made. Draft the run with a larger budget, or fewer releases.",
                AbortCode.BUDGET,
            )
        return Spend(run, release, cost)

    def settle(self, run: str) -> Settlement | None:
        """The run has ended. Raises LocalError for a run that has reserved nothing."""
        return Settlement(run) if self._known(run).open else None

    def give_back(self, run: str, reason: str) -> GiveBack | None:
        """The run is dead. Raises LocalError for a run that has reserved nothing, ConfigurationError without a reason."""
        if not reason.strip():
            raise ConfigurationError("budget", "no reason is given", "Say why the run is known to be dead: the log keeps it.")
        return GiveBack(run, reason) if self._known(run).open else None

    def _known(self, run: str) -> _Run:
        if run not in self._runs:
            raise LocalError(f"budget, run {run}", "it has reserved nothing", "Look at `creditfed node budget show`.", AbortCode.BUDGET)
        return self._runs[run]

    def reservation(self, run: str) -> Reservation:
        """What a run reserved. Raises LocalError for one that has reserved nothing."""
        return self._known(run).reservation

    def composed(self, run: str) -> tuple[float, float]:
        """What a run's spends so far compose to, an epsilon at the delta that it reserved."""
        delta = math.fsum(loss.delta * loss.count for loss in self._known(run).reservation.cost.losses if isinstance(loss, Stated))
        return epsilon(self._runs[run].spent.losses, delta), delta

    def counted(self, dataset: str, scope: str) -> Cost:
        """What counts against the limits of a purpose or ANY: all that open runs reserved and closed ones spent."""
        held = set(members(scope))
        closed = (cost for (where, purpose), cost in self._closed.items() if where == dataset and purpose in held)
        live = (run.counted for run in self._live(dataset, held))
        return total((*closed, *live))

    def spent(self, dataset: str, scope: str) -> Cost:
        """What has been released, or was about to be."""
        held = set(members(scope))
        closed = (cost for (where, purpose), cost in self._closed.items() if where == dataset and purpose in held)
        live = (run.spent for run in self._live(dataset, held))
        return total((*closed, *live))

    def _live(self, dataset: str, held: set[str]) -> list[_Run]:
        return [run for run in self._open.values() if run.reservation.dataset == dataset and run.reservation.purpose in held]

    def left(self, dataset: str, purpose: str) -> Limits | None:
        """The least that is left under any limit that holds for the purpose, each count and epsilon by itself; None when no limit is set."""
        headings = (ANY,) if purpose == ANY else scopes(purpose)
        found = [
            limits.left(self.counted(dataset, scope)) for scope in headings if (limits := self._limits.get((dataset, scope))) is not None
        ]
        return tightest(found) if found else None

    @property
    def limits(self) -> dict[tuple[str, str], Limits]:
        """All limits, by dataset and purpose."""
        return dict(self._limits)

    @property
    def open_runs(self) -> tuple[Reservation, ...]:
        """Runs that are neither settled nor given back, in the order in which they reserved."""
        return tuple(run.reservation for run in self._open.values())
