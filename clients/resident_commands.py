"""`creditfed node start`, `status` and `doctor`: the resident node, what it is doing, and what would keep it from working."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from clients.home_option import HERE, HomeOption, there


def register(app: typer.Typer) -> None:
    """Put the commands on `creditfed node`."""
    app.command(epilog="Example: creditfed node start --home node")(start)
    app.command(epilog="Example: creditfed node status --home node")(status)
    app.command(epilog="Example: creditfed node doctor --home node")(doctor)


def start(
    home: HomeOption = HERE,
    invitation: Annotated[
        Path | None, typer.Option("--invitation", metavar="FILE", help="The coordinator's invitation, where `init` was not given it.")
    ] = None,
) -> None:
    """Run the resident node until it is told to end (Ctrl-C, or SIGTERM from a service manager).

    It needs no open port: it asks the coordinator's server. It may be killed at any moment; what it was asked it is asked again.
    """
    import logging
    import signal
    import threading
    import time

    from clients.alone import alone
    from clients.joined import accept, link, read_invited
    from clients.resident_node import ResidentNode

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", datefmt="%Y-%m-%dT%H:%M:%SZ")
    logging.Formatter.converter = time.gmtime  # as in the audit log, and whatever status shows
    for quiet in ("flwr", "httpx", "httpcore"):
        logging.getLogger(quiet).setLevel(logging.CRITICAL)
    node = there(home)
    if invitation is not None:
        accept(node, read_invited(invitation))
    over = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: over.set())
    with alone(node.root):
        resident = ResidentNode(node)
        typer.echo(f"{node.config()['name']} works for the coordinator at {link(node).address}. Ctrl-C ends it.")
        resident.run(over)
    typer.echo("The node has ended. Runs that are under way wait for it.")


def status(home: HomeOption = HERE) -> None:
    """Whether the resident node runs and is connected, which runs are under way and how far, and which wait for a vote."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from clients.approvals import Approvals
    from clients.resident_node import resident_now

    node = there(home)
    says, table = resident_now(node.root), Table("node", f"{node.config()['name']} ({node.config()['role']})")
    counts, runs = says.get("counts", {}), says.get("runs", {})
    approvals = Approvals(node)
    became = {event.manifest: event.event for event in approvals.events()}
    proposals = [(manifest.run, became.get(manifest.hash.hex(), "")) for manifest in approvals.proposals()]
    rows = [
        ("resident", f"{says['state']} since {says['since']} (process {says['pid']})" if says else "does not run: creditfed node start"),
        ("because", says.get("text", "")), ("coordinator", says.get("address", "")), ("last answer", says.get("last", "")),
        ("messages", ", ".join(f"{number:,} {what}" for what, number in counts.items())),
        *(("under way", f"{run}, {_where(runs.get(run), runs=bool(says))}") for run, event in proposals if event == "opened"),
        *(("approved", f"{run}: it begins when every institution has") for run, event in proposals if event == "approved"),
    ]  # fmt: skip
    for key, value in rows:
        if value:
            table.add_row(key, escape(str(value)))
    console = Console()
    console.print(table)
    waiting = [run for run, event in proposals if not event]
    if waiting:
        console.print(f"Waiting for a vote: {', '.join(waiting)}. See creditfed node pending --home {home}.", soft_wrap=True)


def _where(stage: str | None, *, runs: bool) -> str:
    """How far a run is. runs: whether the node does."""
    if not runs:
        return "which waits for this node"
    return f"at {stage}" if stage else "not asked about since this process began"


def doctor(home: HomeOption = HERE) -> None:
    """Check clock, certificate, port, disk, keys, members, policy, budget, consents and source, and say what to do. Exit code 2 if one fails."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Column, Table

    from clients.checks import examine

    table = Table("check", "", Column("found", overflow="fold"), Column("what to do", overflow="fold"))
    found = examine(there(home))
    style = {"ok": "green", "look": "yellow", "wrong": "red"}
    for each in found:
        table.add_row(each.name, f"[{style[each.verdict]}]{each.verdict}[/]", escape(each.found), escape(each.action))
    Console().print(table)
    if any(each.verdict == "wrong" for each in found):
        raise typer.Exit(2)
