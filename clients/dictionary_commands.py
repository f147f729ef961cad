"""`creditfed dictionary`: what the common standard says, and what of an institution's own tables maps to it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(
    no_args_is_help=True, add_completion=False, rich_markup_mode="markdown",
    help="The common standard of the consortium: kinds of raw record, features, and what your own tables have of them.",
)  # fmt: skip


@app.command(epilog="Example: creditfed dictionary show sales_invoices")
def show(
    name: Annotated[
        str, typer.Argument(metavar="[NAME]", help="A kind of record, a feature, or a source; all of them where not given.")
    ] = "",
) -> None:
    """Show an entry, or the list of all."""
    from rich.console import Console

    from clients.dictionary_shown import entry, overview

    console = Console(soft_wrap=True)
    for part in entry(name) if name else overview():
        console.print(part, highlight=False)


@app.command(epilog="Example: creditfed dictionary check mapping.toml")
def check(
    source: Annotated[
        Path,
        typer.Argument(metavar="SOURCE", help="mapping.toml of your raw tables, or a finished feature table: CSV, Parquet or a folder."),
    ],
) -> None:
    """Read it whole and say what maps and what fails: columns, rules and counts, with the nearest names, and no value."""
    from rich.console import Console

    from clients.clock import today
    from clients.dictionary_check import check_features, check_mapping

    console = Console(soft_wrap=True)
    found = check_mapping(source, today()) if source.suffix == ".toml" else check_features(source)
    for part in found.parts:
        console.print(part, highlight=False)
    if found.failed:
        raise found.failed
