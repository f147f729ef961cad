"""How the runs at this node go, for whoever operates it: a line in the process's log when something begins or ends, and how far each run is.

No value and no identifier of a firm is in a line: runs, institutions, stages, numbers of rows, and the texts of errors, which quote none.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable
from dataclasses import dataclass

from federation.kernel.errors import AbortCode, CreditfedError

AGAIN = 60.0
"""Seconds between two lines on one run, where no other phase of it begins."""
log = logging.getLogger("creditfed.node")


@dataclass
class _UnderWay:
    stage: str
    said: float
    begun: float
    phase: str = ""


class Course:
    """One node's."""

    def __init__(self) -> None:
        self._runs: dict[str, _UnderWay] = {}
        self._signed: set[str] = set()

    def signed(self, run: str) -> None:
        """This node has let a run through; said once, since the coordinator may ask again."""
        if run not in self._signed:
            self._signed.add(run)
            log.info("run %s: approved and signed here; it begins when every institution has", run)

    def opened(self, run: str, others: Iterable[str], rows: int | None) -> None:
        """A run begins here. rows: of this institution that take part; None at an agency, which has none."""
        self._runs[run] = _UnderWay("open", time.monotonic(), time.monotonic(), "open")
        brings = "" if rows is None else f"; {rows:,} rows of this institution take part"
        log.info("run %s: begins with %s%s", run, ", ".join(others), brings)

    def at(self, run: str, stage: str) -> None:
        """A batch was answered. stage: as `fit 7`."""
        now = time.monotonic()
        if run not in self._runs:
            self._runs[run] = _UnderWay(stage, now, now, stage.partition(" ")[0])
            log.info("run %s: goes on in this process, at %s", run, stage)
        found, phase = self._runs[run], stage.partition(" ")[0]
        if phase != found.phase or now - found.said >= AGAIN:
            log.info("run %s: at %s", run, stage)
            found.said = now
        found.stage, found.phase = stage, phase

    def ended(self, run: str, failure: CreditfedError | None, left: str) -> None:
        """A run is over here. left: what it leaves, and where."""
        found = self._runs.pop(run, None)
        after = f" after {time.monotonic() - found.begun:,.0f} s" if found else ""
        if failure is None:
            log.info("run %s: finished%s; %s", run, after, left)
        else:
            log.warning("run %s: ended without a result%s (reason: %s): %s", run, after, failure.code.value, failure)

    def under_way(self) -> dict[str, str]:
        """How far each run is that this process has open: its stage."""
        return {run: found.stage for run, found in self._runs.items()}


def told_refusal(run: str, error: CreditfedError) -> None:
    """What was asked is not answered: for lack of a vote, as it should be, or for another reason."""
    if error.code is AbortCode.APPROVAL:
        log.info("%s. %s", error.what, error.action)
    else:
        log.warning("run %s: refused (reason: %s): %s", run, error.code.value, error)
