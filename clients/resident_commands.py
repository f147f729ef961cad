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

    from clients.alone import alone
    from clients.joined import accept, link, read_invited
    from clients.resident_node import ResidentNode

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
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


def status(home: HomeOption = HERE) -> None:
    """Whether the resident node runs and is connected, what it answered, and which runs wait for a vote."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from clients.approvals import Approvals
    from clients.resident_node import resident_says

    node = there(home)
    says, table = resident_says(node.root), Table(show_header=False)
    counts = says.get("counts", {})
    rows = [
        ("node", f"{node.config()['name']} ({node.config()['role']})"),
        ("resident", f"{says['state']} since {says['since']} (process {says['pid']})" if says else "does not run: creditfed node start"),
        ("because", says.get("text", "")), ("coordinator", says.get("address", "")), ("last answer", says.get("last", "")),
        ("messages", ", ".join(f"{number:,} {what}" for what, number in counts.items())),
    ]  # fmt: skip
    for key, value in rows:
        if value:
            table.add_row(key, escape(str(value)))
    console = Console()
    console.print(table)
    approvals = Approvals(node)
    decided = {event.manifest for event in approvals.events()}
    waiting = [manifest.run for manifest in approvals.proposals() if manifest.hash.hex() not in decided]
    if waiting:
        console.print(f"Proposed and not open yet: {', '.join(waiting)}. See creditfed node pending, then creditfed node approve RUN.")


def doctor(home: HomeOption = HERE) -> None:
    """Check clock, certificate, port, disk, keys, members, policy, budget, consents and source, and say what to do. Exit code 2 if one fails."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from clients.checks import examine

    table = Table("check", "", "found", "what to do")
    found = examine(there(home))
    style = {"ok": "green", "look": "yellow", "wrong": "red"}
    for each in found:
        table.add_row(each.name, f"[{style[each.verdict]}]{each.verdict}[/]", escape(each.found), escape(each.action))
    Console().print(table)
    if any(each.verdict == "wrong" for each in found):
        raise typer.Exit(2)
