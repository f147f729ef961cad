"""`creditfed check`: what an institution looks for in its own records, for its own officers. Nothing leaves the machine."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.table import Table

    from clients.circular_check import CircularCheck

_HEADS = (
    "firms: with sales; pairs: that trade; small, slight: pairs left out by their sum, and by their share of what both trade; away: share of "
    "sales to buyers of no account here; passed: sums that a firm only passed on; cut: whether the search had to stop somewhere"
)

app = typer.Typer(
    no_args_is_help=True, add_completion=False, rich_markup_mode="markdown",
    help="Look for fraud in your own records. Nothing leaves this machine.",
)  # fmt: skip


@app.callback()
def root() -> None:
    """There are several checks, or will be: the name of one is always given."""


@app.command(epilog="Example: creditfed check circular mapping.toml --as-of 2024-04 --out checked")
def circular(
    mapping: Annotated[
        Path, typer.Argument(metavar="MAPPING.toml", help="A tax bureau's: [sales_invoices], and [taxpayers] if it has any.")
    ],
    as_of: Annotated[str, typer.Option("--as-of", metavar="MONTHS", help='Months to look as of: "2024-06", or "2023-01..2024-12".')],
    out: Annotated[Path, typer.Option("--out", metavar="FOLDER", help="Where flags.parquet and features.parquet go; made when missing.")],
) -> None:
    """Find firms that sell to each other in circles, or whose sums come back: docs/guides/circular-trade.md.

    flags.parquet is for your own officer: firm, score, reason in words, and who else is in the circle; it stays here. features.parquet has the
    circular features of the dictionary, which a run may use. Ends with what was looked at, left out, cut and flagged.
    """
    from rich.console import Console

    from clients import circular_check, feature_table
    from clients.cleaning_shown import accounts
    from clients.clock import today
    from clients.own_tables import load
    from clients.reading_bar import reading_bar, sizes

    tables, months = load(mapping), feature_table.months(as_of)
    circular_check.require_bureau(tables)
    feature_table.require_known_by(months, tables.extracted or today())
    with reading_bar() as bar:
        tasks = {kind: bar.add_task(kind, total=size) for kind, size in sizes(tables).items() if kind in circular_check.KINDS}
        looked = bar.add_task("months", total=len(months))
        found = circular_check.look(
            tables, months, today(), lambda kind, size: bar.update(tasks[kind], completed=size), lambda: bar.advance(looked)
        )
    flags, table = circular_check.write_check(found, out)
    console = Console(soft_wrap=True)
    for part in accounts(found.built.cleaned):
        console.print(part)
    console.print(_looked_at(found))
    for account in found.checked.accounts:
        if not account.looked.whole:
            console.print(f"note  {account}", highlight=False, markup=False)
    if circular_check.KINDS[1] not in tables.tables:
        console.print(
            "note  there is no [taxpayers]: a buyer counts as a taxpayer where its code is spelled like a seller's id", markup=False
        )
    typer.echo(f"{len(found.checked.flags):,} flags in {flags}: for your own officer, not for a run.")
    typer.echo(
        f"{len(found.built.table):,} rows of features in {table}; creditfed features build --with circular has them beside the others."
    )


def _looked_at(found: CircularCheck) -> Table:
    from rich.box import SIMPLE_HEAD
    from rich.table import Column, Table

    flagged = found.checked.flags.groupby("as_of").size()
    heads = ("firms", "pairs", "small", "slight", "away", "passed", "circles", "cut", "flagged")
    numbers = [Column(head, justify="right", no_wrap=True) for head in heads]
    table = Table(Column("as of", no_wrap=True), *numbers, title="Circular trade", box=SIMPLE_HEAD, padding=(0, 1, 0, 0), caption=_HEADS)
    for one in found.checked.accounts:
        window, times = one.window, int(flagged.get(one.as_of.astype("datetime64[s]"), 0))
        counts = (one.firms, window.arrows, window.small, window.slight)
        cut = "no" if one.looked.whole else "YES"
        rest = (f"{window.elsewhere:.0%}", f"{len(window.passes):,}", f"{one.circles:,}", cut, f"{times:,}")
        table.add_row(str(one.as_of), *(f"{count:,}" for count in counts), *rest)
    return table
