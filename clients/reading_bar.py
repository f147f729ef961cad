"""The bar of a command that reads an institution's own tables: bytes of each so far, and the time left. Quiet when not a terminal."""

from __future__ import annotations

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from clients.own_tables import OwnTables
from clients.vault import size_of


def reading_bar() -> Progress:
    """On the screen of errors, so that what a command prints can be kept."""
    console = Console(stderr=True)
    return Progress(
        TextColumn("{task.description:<20}"), BarColumn(), TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn(),
        console=console, transient=True, disable=not console.is_terminal,
    )  # fmt: skip


def sizes(tables: OwnTables) -> dict[str, int | None]:
    """Bytes of each table, None where nobody knows: of a CSV file nearly what Arrow holds of it, of Parquet its pages before compression."""
    return {kind: size_of(table.source) for kind, table in tables.tables.items()}
