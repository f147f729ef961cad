"""The states of a run, and which may follow which: the one table that says so.

submitted -> waiting -> running -> finished; and from each of the first three to failed or stopped.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from federation.kernel.errors import LocalError


class RunState(StrEnum):
    """How far a run is."""

    SUBMITTED = "submitted"
    """Its run file is here, and nobody was asked yet."""
    WAITING = "waiting"
    """For institutions that have not connected or not approved."""
    RUNNING = "running"
    """A session is open."""
    FINISHED = "finished"
    FAILED = "failed"
    STOPPED = "stopped"
    """Ended because somebody asked for it (`request_stop`)."""


class WrongTransition(LocalError):
    """A state that may not follow the one a run is in: a bug of whoever works on it, or a run that is over."""


_ENDS: Final = frozenset({RunState.FAILED, RunState.STOPPED})
FOLLOWS: Final[Mapping[RunState, frozenset[RunState]]] = MappingProxyType({
    RunState.SUBMITTED: _ENDS | {RunState.WAITING},
    RunState.WAITING: _ENDS | {RunState.RUNNING},
    RunState.RUNNING: _ENDS | {RunState.FINISHED},
    RunState.FINISHED: frozenset(),
    RunState.FAILED: frozenset(),
    RunState.STOPPED: frozenset(),
})  # fmt: skip
OVER: Final = frozenset(state for state, following in FOLLOWS.items() if not following)
"""States that nothing follows."""


def require_transition(run: str, now: RunState, then: RunState) -> None:
    """Raises WrongTransition."""
    if then not in FOLLOWS[now]:
        action = "It is over: submit it anew under another name." if now in OVER else "Report this bug."
        raise WrongTransition(f"run {run}", f"it is {now}, and {then} does not follow that", action)
