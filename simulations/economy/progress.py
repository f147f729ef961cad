"""What drawing an economy takes, said before, and a bar with the time left while it runs. Quiet when not a terminal."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from simulations.economy.generate import Written, generate
from simulations.economy.settings import Economy


def estimate(asked: Economy) -> tuple[float, float, float]:
    """Seconds, gigabytes on disk and gigabytes of memory, from figures of 100,000 firms (docs/economy.md)."""
    firm_months = asked.firms * asked.months
    trade = 11.0 * asked.invoices / 3.0  # invoices at both sides and their payments, rows a firm and month
    fixed = 9.0  # other bookings, balances, declarations
    shops = asked.platforms * asked.coverage.platform * (2.5 * asked.orders + 6.0)
    rows = firm_months * (trade + fixed + shops)
    if asked.other_sources:
        rows += 1.4 * firm_months
    files = 5 * asked.banks + 5 * asked.platforms + 3 * asked.taxes
    memory = 0.35 + asked.firms * (0.8e-6 + 12e-9 * asked.months) + min(rows, files * 40_000) * 60e-9
    others = 8e-6 * firm_months if asked.other_sources else 0.0
    return 2.0 + rows * 0.9e-6 + others, rows * 21e-9, memory


def run(asked: Economy, out: Path) -> Written:
    """Draw the economy and show how far it is."""
    console = Console(stderr=True)
    seconds, disk, memory = estimate(asked)
    console.print(f"Estimate: about {seconds:.0f} s on this machine, {disk:.1f} GB on disk, {memory:.1f} GB of memory.")
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("about"),
        TimeRemainingColumn(),
        TextColumn("left"),
    )
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("months", total=asked.history + asked.months)
        return generate(asked, out, lambda done, _: bar.update(task, completed=done))
