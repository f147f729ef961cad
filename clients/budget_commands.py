"""`creditfed node budget`: what runs have cost and may cost still, the risk officer's limits, and the end of a run that died."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from clients.home import Home
from clients.home_option import HERE, HomeOption, there
from clients.party_config import PartyConfig
from clients.persons import Persons
from federation.kernel.errors import ConfigurationError, LocalError
from federation.kernel.manifest import AGENCY
from privacy.budget.ledger import Ledger
from privacy.budget.limits import ANY, COUNTED, Cost, Limits
from privacy.store.budget_file import BudgetFile

budget_app = typer.Typer(no_args_is_help=True, help="What runs may cost the firms in a dataset: epsilon, releases, columns, rows, answers.")


def ledger_path(home: Path) -> Path:
    """Where a node's budget ledger lies."""
    return home / "budget" / "ledger.db"


def _opened(home: Path) -> BudgetFile:
    return BudgetFile(ledger_path(there(home).root))


@budget_app.command(epilog="Example: creditfed node budget show --home node")
def show(home: HomeOption = HERE) -> None:
    """What each dataset and purpose has spent, what open runs have reserved, and what is left. Losses grow more slowly than their sum, so
    more may fit than is shown as left.
    """
    ledger = _opened(home).current()
    if not ledger.limits:
        typer.echo("No budget is set, so nothing may leave. The risk officer sets one with `creditfed node budget set`.")
    for (dataset, purpose), limits in sorted(ledger.limits.items()):
        typer.echo(f"{dataset}, {'all purposes together' if purpose == ANY else purpose}")
        for line in _lines(ledger, dataset, purpose, limits):
            typer.echo(f"  {line}")
    for reservation in ledger.open_runs:
        typer.echo(f"Open: run {reservation.run} on {reservation.dataset} for {reservation.purpose}")


def _require_dataset(home: Path, dataset: str) -> None:
    """Limits of another data set than the node's own would never apply. Raises ConfigurationError."""
    node = there(home)
    config = PartyConfig.from_dict(node.config(), node.root)
    if config.role == AGENCY:
        raise ConfigurationError("budget", "an agency has no data set", "Set a budget at an institution's node.")
    if dataset != config.budget_dataset:
        raise ConfigurationError(
            "budget", f"this node has no data set {dataset!r}", f"It has {config.budget_dataset!r} (dataset in node.toml)."
        )


def _lines(ledger: Ledger, dataset: str, purpose: str, limits: Limits) -> list[str]:
    """A line for each limit: spent, reserved, left, of how much."""
    from privacy.budget.account import epsilon

    spent, counted = ledger.spent(dataset, purpose), ledger.counted(dataset, purpose)
    left = limits.left(counted)
    found = [f"{'':10}{'spent':>12}{'reserved':>12}{'left':>12}{'of':>12}"]
    if limits.epsilon is None or left.epsilon is None:
        found.append(f"{'epsilon':10}none is set here; without one, here or under a wider purpose, nothing leaves with noise")
    else:
        used, held = (epsilon(cost.losses, limits.delta) for cost in (spent, counted))
        figures = (used, max(0.0, held - used), left.epsilon, limits.epsilon)
        found.append(f"{'epsilon':10}{''.join(f'{figure:>12.4g}' for figure in figures)}  at delta {limits.delta:.3g}")
    return found + [
        f"{name:10}{_counts(spent, counted, name)}{_limit(getattr(left, name))}{_limit(getattr(limits, name))}" for name in COUNTED
    ]


def _counts(spent: Cost, counted: Cost, name: str) -> str:
    used, held = getattr(spent.counts, name), getattr(counted.counts, name)
    return f"{used:>12,}{held - used:>12,}"


def _limit(value: int | None) -> str:
    return f"{'no limit':>12}" if value is None else f"{value:>12,}"


def first_limits(home: Home, dataset: str, releases: int, by: str) -> None:
    """The budget that a node is founded with, for any purpose: releases without noise, and none with it."""
    file = BudgetFile(ledger_path(home.root))
    file.set_limits(dataset, ANY, Limits(releases=releases), by)
    file.close()


@budget_app.command("set", epilog="Example: creditfed node budget set loans decide --by wang --releases 200 --home node")
def set_limits(
    dataset: Annotated[str, typer.Argument(help="The dataset's id, as node.toml has it.")],
    purpose: Annotated[str, typer.Argument(help="A purpose, a wider one (its narrower ones together), or `any` (all together).")],
    by: Annotated[str, typer.Option(metavar="NAME", help="The risk officer: a name from approvers.toml, whose key signs.")],
    home: HomeOption = HERE,
    key: Annotated[Path | None, typer.Option(metavar="FILE", help="Your own key; approvers/NAME.key where not given.")] = None,
    epsilon: Annotated[float | None, typer.Option(min=0, help="The most that releases with noise may cost together.")] = None,
    delta: Annotated[float | None, typer.Option(min=0, help="At this delta: well below one over the number of firms.")] = None,
    releases: Annotated[int | None, typer.Option(min=0, help="Releases without noise.")] = None,
    columns: Annotated[int | None, typer.Option(min=0, help="Columns over all releases without noise.")] = None,
    rows: Annotated[int | None, typer.Option(min=0, help="Rows over all releases without noise.")] = None,
    answers: Annotated[int | None, typer.Option(min=0, help="Answers under encryption.")] = None,
    lift: Annotated[list[str] | None, typer.Option(metavar="NAME", help="A limit to take away; may be repeated.")] = None,
) -> None:
    """Set limits. What is not named stays as it was; a count that was never set is not limited; without an epsilon no release with noise is
    allowed.
    """
    given = {"epsilon": epsilon, "delta": delta, "releases": releases, "columns": columns, "rows": rows, "answers": answers}
    named = {name: value for name, value in given.items() if value is not None}
    lifted = set(lift or ())
    if not named and not lifted:
        raise ConfigurationError("budget", "no limit is named", "Give at least one, such as --epsilon 2 --delta 1e-6.")
    if not lifted <= {"epsilon", *COUNTED} or lifted & set(named):
        raise ConfigurationError("budget", "--lift names no limit, or one that is set too", f"Lift epsilon, {', '.join(COUNTED)}.")
    if epsilon is not None and delta is None:
        raise ConfigurationError("budget", "an epsilon without a delta says nothing", "Add --delta; 0 allows pure losses only.")
    _require_dataset(home, dataset)
    file = _opened(home)
    before = file.current().limits.get((dataset, purpose), Limits())
    values = {name: getattr(before, name) for name in given} | named | dict.fromkeys(lifted)
    Persons(there(home)).set_limits(file, dataset, purpose, Limits(**values), by, key)
    typer.echo(f"Limits of {dataset} for {purpose} are set.")


@budget_app.command("give-back", epilog="Example: creditfed node budget give-back run-1a2b --reason 'host replaced' --home node")
def give_back(
    run: Annotated[str, typer.Argument(help="The run's session, as `show` lists it.")],
    reason: Annotated[str, typer.Option(help="How it is known that the run is dead; the ledger keeps it.")],
    home: HomeOption = HERE,
) -> None:
    """Free what a dead run reserved and did not spend. What it spent stays counted, and it can never release anything more."""
    file = _opened(home)
    if not any(reservation.run == run for reservation in file.current().open_runs):
        try:
            file.current().reservation(run)
        except LocalError:
            raise ConfigurationError(
                f"run {run}", "it has reserved nothing here", "`creditfed node budget show` lists open runs."
            ) from None
        typer.echo(f"Run {run} was closed before: nothing is held for it.")
        return
    file.give_back(run, reason)
    typer.echo(f"What run {run} had not spent is free again.")
