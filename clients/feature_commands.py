"""`creditfed features`: an institution's raw tables become features of the dictionary, on its own machine."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from clients.feature_table import Built
    from clients.own_tables import OwnTables

app = typer.Typer(
    no_args_is_help=True, add_completion=False, rich_markup_mode="markdown",
    help="""From raw tables to features of the dictionary. Nothing leaves this machine.

Write mapping.toml (docs/guides/institution.md), look what maps with `creditfed dictionary check mapping.toml`, then build.
""",
)  # fmt: skip


@app.command(epilog="Example: creditfed features build mapping.toml --as-of 2023-01..2024-12 --out features.parquet")
def build(
    mapping: Annotated[Path, typer.Argument(metavar="MAPPING.toml", help="Which of your tables holds which kind of record.")],
    as_of: Annotated[str, typer.Option("--as-of", metavar="MONTHS", help='Months to build for: "2024-06", or "2023-01..2024-12".')],
    out: Annotated[Path, typer.Option("--out", metavar="FILE", help="Where the feature table goes (Parquet): the node's source.")],
    extra: Annotated[
        list[str] | None,
        typer.Option("--with", metavar="CHECK", help="`circular`: also the features of a bureau's check for circular trade."),
    ] = None,
) -> None:
    """Read your raw tables, clean them, and write one row of features for each firm and month.

    A feature as of a month uses records from before its first day alone. Ends with what was cleaned, and how many rows have each feature.
    """
    from rich.console import Console

    from clients import circular_check, feature_table
    from clients.clock import today
    from clients.own_tables import load
    from clients.reading_bar import reading_bar, sizes

    tables, months = load(mapping), feature_table.months(as_of)
    _required(extra or [], tables)
    feature_table.require_known_by(months, tables.extracted or today())
    feature_table.require_writable(out)
    with reading_bar() as bar:
        tasks = {kind: bar.add_task(kind, total=size) for kind, size in sizes(tables).items()}
        built = feature_table.build(tables, months, today(), lambda kind, size: bar.update(tasks[kind], completed=size))
        if extra:
            again = {
                kind: bar.add_task(f"{kind}, circles", total=sizes(tables)[kind]) for kind in circular_check.KINDS if kind in tables.tables
            }
            found = feature_table.build(
                tables, months, today(), lambda kind, size: bar.update(again[kind], completed=size), circular_check.features
            )
            built = feature_table.joined(built, found)
    feature_table.write(built.table, tables.role, out)
    _show(Console(soft_wrap=True), built)
    typer.echo(
        f"{len(built.table):,} rows ({built.table['id'].nunique():,} firms, {len(months)} {'month' if len(months) == 1 else 'months'}) in {out}."
    )
    typer.echo(f'In node.toml: source = "{out}" and as_of = "as_of".')


def _required(extra: list[str], tables: OwnTables) -> None:
    """Raises ConfigurationError for a name that is none of --with, or whose records the mapping does not have."""
    from clients.circular_check import require_bureau
    from privacy.store.strict_toml import require_known

    require_known("--with", extra, ["circular"], "check")
    if extra:
        require_bureau(tables)


def _show(console: Console, built: Built) -> None:
    from rich.table import Column, Table

    from clients.cleaning_shown import accounts

    for table in accounts(built.cleaned):
        console.print(table)
    rows = max(1, len(built.table))
    coverage = Table(Column("feature", no_wrap=True), "unit", "rows that have it", "outside its range", title="Features")
    for one in (one for one in built.coverage if one.present):
        coverage.add_row(one.feature.name, one.feature.unit, f"{one.present / rows:.1%}", f"{one.outside:,}" if one.outside else "")
    console.print(coverage)
    _show_absent(console, built)
    for kind in built.unread:
        console.print(f"note  no feature of this role is made of {kind}: that table was not read", highlight=False, markup=False)
    for cleaned in built.cleaned.values():
        for note in cleaned.notes:
            console.print(f"note  {cleaned.where}: {note}", highlight=False, markup=False)


def _show_absent(console: Console, built: Built) -> None:
    """Features that no row has, by what they are made of: a table or column that is not mapped, or too short a history."""
    absent: dict[str, list[str]] = {}
    for one in built.coverage:
        if not one.present:
            absent.setdefault(one.feature.source, []).append(one.feature.name)
    for source, names in absent.items():
        why = "a column is not mapped, or there are too few months" if source in built.cleaned else "this mapping has no such table"
        few = ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
        console.print(f"note  {len(names)} features of {source} are in no row ({why}): {few}", highlight=False, markup=False)


@app.command(epilog="Example: creditfed features template visits --out visits")
def template(
    kind: Annotated[str, typer.Argument(metavar="KIND", help="A kind of record, such as visits.")],
    out: Annotated[
        Path,
        typer.Option(
            "--out",
            metavar="FILE|FOLDER",
            help="The empty CSV; or, without a suffix, a folder for forms in TOML, one for each record. Its mapping, which explains it, is put"
            " beside it (.toml).",
        ),
    ],
) -> None:
    """Write an empty table, or a blank form, for records that people fill in by hand, and a mapping that says what each answer may be."""
    from clients.templates import BLANK, write_template

    mapping = write_template(kind, out)
    typer.echo(
        f"{out if out.suffix else out / BLANK} is to be filled in; {mapping} explains it. Next: creditfed dictionary check {mapping}"
    )
