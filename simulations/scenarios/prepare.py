"""What a scenario leaves beside its raw records: a feature table in each institution's folder, and its run files."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from federation.kernel.errors import ConfigurationError
from federation.kernel.manifest import CHECKS
from simulations.economy.settings import Economy
from simulations.scenarios.run_files import RunWritten, write_run
from simulations.scenarios.runs import Plan, parties_of
from simulations.scenarios.tables import build


@dataclass(frozen=True)
class Prepared:
    """rows: of feature tables, by institution; runs: in the scenario's order; seconds: it took."""

    rows: dict[str, int]
    runs: tuple[RunWritten, ...]
    seconds: float


def prepare(out: Path, economy: Economy, plan: Plan, told: Callable[[str, int, int], None] | None = None) -> Prepared:
    """Build and write. told: is called with what was done, how much of it, and how much there is. Raises ConfigurationError, DataError."""
    started = time.perf_counter()
    taking = {name for run in plan.runs if run.task not in CHECKS for name in parties_of(run, economy)}
    rows: dict[str, int] = {}
    try:
        for name in sorted(taking):
            rows[name] = build(out, name, economy, plan.features)
            if told:
                told(name, len(rows), len(taking))
        runs = tuple(write_run(out, run, plan, economy) for run in plan.runs)
    except OSError as error:
        raise ConfigurationError(str(out), f"it cannot be written ({error.strerror})", "Choose a folder you may write to.") from None
    return Prepared(rows, runs, time.perf_counter() - started)
