"""`creditfed node retention`: what runs have left at this node, when it goes, and deleting what is due."""

from __future__ import annotations

import datetime as dt
from typing import Annotated

import typer

from clients.home_option import HERE, HomeOption
from federation.kernel.errors import ConfigurationError

retention_app = typer.Typer(no_args_is_help=True, help="How long what runs leave is kept, by kind and level, and deleting what is due.")


@retention_app.command(epilog="Example: creditfed node retention show --home node")
def show(home: HomeOption = HERE) -> None:
    """What runs that have ended or expired left here, and the day on which each goes."""
    from rich.console import Console
    from rich.table import Column, Table

    from clients.node import Node

    table = Table(Column("goes on", no_wrap=True), Column("what", no_wrap=True), Column("run", overflow="fold"), "level", "files", "rule")
    for due in Node(home).gate.retention.planned():
        item = due.item
        run, rule = item.run.removesuffix(f"-{item.manifest}"), due.rule.removesuffix(f" ({item.kind}, level {item.level})")
        table.add_row(due.on.isoformat(), item.kind, run, str(item.level), str(len(item.files)) if item.files else "ledger", rule)
    Console().print(table if table.row_count else "No run that has ended or expired left anything here.")


@retention_app.command(epilog="Example: creditfed node retention apply --home node")
def apply(
    home: HomeOption = HERE,
    now: Annotated[
        str, typer.Option("--now", metavar="YYYY-MM-DD", help="Another day than today: shown only, unless --yes.", show_default=False)
    ] = "",
    yes: Annotated[bool, typer.Option("--yes", help="Delete what is due on the day of --now.")] = False,  # noqa: FBT002  # a flag
) -> None:
    """Delete what is due today; the audit log says what, by which rule, and when it was done. A node does so before each run, too."""
    from clients.node import Node

    gate = Node(home).gate
    if now and not yes:
        for each in (planned := gate.retention.due(_day(now))):
            typer.echo(f"would be deleted: {each.item.kind} of {each.item.run} ({each.rule})")
        typer.echo(f"{len(planned)} due on {_day(now)}. Nothing was deleted: add --yes.")
        return
    with gate.approvals.alone():
        due = gate.retention.apply(_day(now))
    for each in due:
        typer.echo(f"deleted: {each.item.kind} of {each.item.run} ({each.rule})")
    typer.echo(f"{len(due)} deleted." if due else "Nothing is due.")


def _day(text: str) -> str:
    """A day, or none. Raises ConfigurationError."""
    try:
        return dt.date.fromisoformat(text).isoformat() if text else ""
    except ValueError:
        raise ConfigurationError("--now", "is no day", "Write it like 2026-01-31.") from None
