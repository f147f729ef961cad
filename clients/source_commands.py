"""`creditfed node source`: what the node reads as its own table, opened as a run opens it. Columns, kinds and counts, and no value."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import typer

from clients.home_option import HERE, HomeOption, there
from federation.kernel.errors import ConfigurationError


def add_source(app: typer.Typer) -> None:
    """Put the command into the node's."""
    app.command(epilog="Example: creditfed node source --home node")(source)


def source(home: HomeOption = HERE) -> None:
    """Open the node's source as a run would, and show its columns, rows and ids, or what is wrong with it: counts, never a value."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from clients.party_config import PartyConfig
    from clients.vault import describe_repayments, describe_table
    from federation.kernel.manifest import AGENCY
    from privacy.approval.words import legible

    node, console = there(home), Console(soft_wrap=True)
    config = PartyConfig.from_dict(node.config(), node.root)
    if config.role == AGENCY:
        raise ConfigurationError(str(home), "this node is an agency's, which brings no table", "Use it at an institution's node.")
    facts = describe_table(config)
    table = Table("column", "kind", "level", "class")
    for column in facts.columns:
        table.add_row(escape(legible(column.name)), column.kind, str(column.level), column.classification)
    console.print(table)
    console.print(
        f"rows  {facts.rows:,} of {facts.firms:,} firms" + (f", {facts.periods[0]} to {facts.periods[-1]}" if facts.periods else "")
    )
    console.print(f"ids   all {facts.rows:,} are good ({_KINDS[facts.id_kind]})")
    if config.label is not None:
        console.print(f"label {escape(legible(config.label))}: outcomes of 0 and 1 alone", highlight=False)
    notes = facts.notes
    if config.repayments is not None:
        book = describe_repayments(config)
        span = f"{book.loans:,} loans of {book.firms:,} firms, {book.first} to {book.last}"
        console.print(f"label made of the repayment table, by the \\[target] of each run: {span}", highlight=False)
        notes += book.notes
    for note in notes:
        console.print(f"note  {escape(legible(note))}", highlight=False)


_KINDS = {"uscc": "Unified Social Credit Codes, check character and all", "any": "text of any form; no check character guards them"}


def section_of(source: str | None, table: str | None, query: str | None) -> dict[str, Any]:
    """What node.toml says of a source: a file or folder by its whole path, or a database, and the data set's name. Raises ConfigurationError."""
    from clients.database import Database

    if source is None:
        return {}
    if "://" in source:
        asked = {"url": source} | ({} if table is None else {"table": table}) | ({} if query is None else {"query": query})
        return {"source": asked, "dataset": Database.from_dict(asked, Path()).short_name}
    if table is not None or query is not None:
        raise ConfigurationError(
            "--table, --query", "are of a database, and --source is a path", "Leave them out, or give the database's URL."
        )
    path = Path(source)
    if not path.exists():
        what = f"there is no file or folder {source}"
        raise ConfigurationError(
            "--source", what, "Name your table: a CSV or Parquet file, a folder of Parquet parts, or a database's URL."
        )
    return {"source": str(path.absolute()), "dataset": path.stem}


def whole_path(option: str, path: str | None) -> str | None:
    """The whole path of a file or folder that an option names. Raises ConfigurationError where there is none."""
    if path is None or Path(path).exists():
        return None if path is None else str(Path(path).absolute())
    what = f"there is no file or folder {path}"
    raise ConfigurationError(option, what, "Name a CSV or Parquet file, or a folder of Parquet parts.")
