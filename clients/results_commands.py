"""`creditfed node results`: what finished runs have left at this node, and where."""

from __future__ import annotations

import typer

from clients.home_option import HERE, HomeOption, there

_WHAT = {
    "share.json": "this institution's share of the model", "bins.toml": "its bins, to edit by hand", "scores.parquet": "scores of its own firms",
    "metrics.json": "AUC, KS and the like", "curves.json": "curves", "validation.json": "what the validator's pack is made of",
    "target.json": "how outcomes were made: waterfall, roll rates and vintages, exact",
    "alignment.npz": "positions", "bins.digest": "digest of the bins as they were made",
}  # fmt: skip
"""As in docs/guides/institution.md."""


def add_results(app: typer.Typer) -> None:
    """Put the command on `creditfed node`."""
    app.command(epilog="Example: creditfed node results --home node")(results)


def results(home: HomeOption = HERE) -> None:
    """What finished runs have left here and where: share of the model, bins, scores, figures. The last run comes first."""
    from rich.console import Console
    from rich.markup import escape

    from clients.recorded import kept_results

    console, kept = Console(soft_wrap=True), tuple(kept_results(there(home)))
    for folder, found in kept:
        console.print(f"[bold]{escape(found.run)}[/]  {escape(str(folder))}", highlight=False)
        for name in found.files:
            if (path := folder / name).exists():
                console.print(f"  {name:<16} {path.stat().st_size:>12,} bytes  {_WHAT.get(name, '')}", highlight=False)
    if not kept:
        console.print("No run has left results here yet, or retention has deleted them.")
