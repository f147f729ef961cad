"""A bar over the institutions whose feature tables are built. Quiet when not a terminal."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from simulations.economy.settings import Economy
from simulations.scenarios.prepare import Prepared, prepare
from simulations.scenarios.runs import Plan


def prepared(out: Path, economy: Economy, plan: Plan) -> Prepared:
    """`prepare`, and how far it is."""
    console = Console(stderr=True)
    columns = (TextColumn("features of {task.description:<12}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("institutions", total=None)
        return prepare(out, economy, plan, lambda name, done, all_: bar.update(task, description=name, completed=done, total=all_))
