"""`creditfed node exchange`: answer what the coordinator has put into a folder, for an institution that runs no connected node."""

from __future__ import annotations

import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from clients.home_option import HERE, HomeOption, there

if TYPE_CHECKING:
    from clients.exchange import Exchange, Round

_NEXT = {
    "refused": "Its reason is in this node's own log; the coordinator was told the code alone.",
    "approval": "People have not approved yet: creditfed node pending. The coordinator asks again.",
    "answered": "Carry the files in --out to the coordinator, and bring what it has put out since.",
    "": "Nothing new was asked. Bring what the coordinator has put out since.",
}


def exchange(
    incoming: Annotated[Path, typer.Option("--in", metavar="DIR", help="Where a courier puts the coordinator's files.")],
    outgoing: Annotated[Path, typer.Option("--out", metavar="DIR", help="What the courier takes back to the coordinator.")],
    home: HomeOption = HERE,
    watch: Annotated[
        float,
        typer.Option("--watch", metavar="SECONDS", min=0.0, help="Look again every so many seconds, until stopped.", show_default=False),
    ] = 0.0,
) -> None:
    """Answer the coordinator's files in one folder with files in another, and stop; nothing is connected to anything.

    Files are signed by who wrote them and sealed to whom they are for. A question is answered once: the same file again has the same answer.
    Exit code 0 where all is well, 3 where this node's rules refused something, 2 or 5 where its configuration or its data did not allow it.
    """
    from threadpoolctl import threadpool_limits

    from clients.alone import alone
    from clients.exchange import Exchange
    from clients.residents import node_of

    there(home)
    with alone(home), threadpool_limits(1):  # floating-point sums must not depend on the number of cores
        node = node_of(home)
        try:
            office = Exchange(node)
            round_ = office.carry(incoming, outgoing)
            _show(office, round_)
            with suppress(KeyboardInterrupt):  # it can be stopped at any moment, as it can be killed
                while watch:
                    time.sleep(watch)
                    before, round_ = round_, office.carry(incoming, outgoing)
                    if any(each.outcome != "answered before" for each in round_.done) or round_.ignored != before.ignored:
                        _show(office, round_)
        finally:
            node.close()
    if round_.exit_code:
        raise typer.Exit(round_.exit_code)


def _show(office: Exchange, round_: Round) -> None:
    """What was answered, refused and ignored; which runs there are; and what to do next."""
    from collections import Counter

    from rich.console import Console
    from rich.table import Column, Table

    console, standing = Console(soft_wrap=True), office.standing()
    table = Table(Column("run", overflow="fold"), "files", "what", "reason", "the run here")
    for (run, outcome, code), number in Counter((each.run, each.outcome, each.code) for each in round_.done).items():
        table.add_row(run, str(number), outcome, code, standing.get(run) or "not proposed yet")
    for why, number in round_.ignored.items():
        table.add_row("", str(number), "ignored", why, "")
    if table.row_count:
        console.print(table)
    codes, outcomes = {each.code for each in round_.done if each.outcome == "refused"}, {each.outcome for each in round_.done}
    if "approval" in codes:
        console.print(_NEXT["approval"])
    if codes - {"approval"}:
        console.print(_NEXT["refused"])
    console.print(_NEXT["answered" if outcomes else ""])
