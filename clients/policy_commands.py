"""`creditfed node policy`: look at an institution's rules, check them, and test them on cases before the node uses them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from clients.home_option import there
from federation.kernel.errors import ConfigurationError
from privacy.policy.cases import Case, Outcome, check_cases, parse_cases
from privacy.policy.decide import Policies
from privacy.policy.defaults import default_cases, default_policies
from privacy.policy.explain import explain
from privacy.store.policy_folder import load_policies

MISMATCH = 3
"""Exit code where a case is decided otherwise than expected."""

policy_app = typer.Typer(
    no_args_is_help=True, rich_markup_mode="markdown", help="The institution's own rules: who may ask for what, and what may leave."
)

Folder = Annotated[
    Path | None, typer.Option("--policies", metavar="DIR", help="A folder of rules that no node has yet.", show_default=False)
]
RulesHome = Annotated[
    Path | None,
    typer.Option(
        "--home",
        metavar="DIR",
        help="The node's folder: its own rules. Without --home and --policies: the default rules.",
        show_default=False,
    ),
]


@policy_app.command("test", epilog="Example: creditfed node policy test cases.toml --home node")
def run_cases(
    cases: Annotated[
        Path | None,
        typer.Argument(
            metavar="CASES", help="Questions with expected answers, TOML or JSON. Without it: those that document the default rules."
        ),
    ] = None,
    home: RulesHome = None,
    policies: Folder = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="Only the cases that are decided otherwise than expected.")] = False,  # noqa: FBT002
) -> None:
    """Decide each case, explain each refusal, and compare with what is expected.

    A refusal names the rules, what they looked at, and what would change it. **Exit code** 3 where a case is decided otherwise than expected,
    by answer or by rule; 2 where rules or cases cannot be read.
    """
    rules = _policies(home, policies)
    outcomes = check_cases(rules, _cases(cases))
    _print_table([outcome for outcome in outcomes if not (quiet and outcome.as_expected)])
    for outcome in outcomes:
        if outcome.as_expected and (quiet or outcome.decision.allowed):
            continue
        typer.echo(f"\n{outcome.case.name}{'' if outcome.as_expected else ': NOT AS EXPECTED, ' + _expected(outcome.case)}")
        typer.echo(f"  {explain(rules, outcome.case.ask)}".replace("\n", "\n  "))
    wrong = sum(not outcome.as_expected for outcome in outcomes)
    typer.echo(f"\n{len(outcomes)} cases, {wrong} not as expected.")
    if wrong:
        raise typer.Exit(MISMATCH)


@policy_app.command("show", epilog="Example: creditfed node policy show --home node")
def show(home: RulesHome = None, policies: Folder = None) -> None:
    """List the rules in words: what each permits or forbids, and where it is written."""
    from rich.console import Console
    from rich.markup import escape
    from rich.padding import Padding

    console, rules = Console(), _policies(home, policies).rules
    for rule in rules:
        console.print(f"[bold]{escape(rule.id)}[/]  {rule.tree.effect}s  ({escape(rule.place)})", highlight=False, soft_wrap=True)
        console.print(Padding(escape(rule.why), (0, 0, 0, 2)), highlight=False)
    typer.echo(f"{len(rules)} rules. What no rule permits is refused, and a rule that forbids wins over any that permits.")


@policy_app.command("check", epilog="Example: creditfed node policy check node/policy")
def check(folder: Annotated[Path, typer.Argument(metavar="DIR", help="A folder of .cedar files.")]) -> None:
    """Parse the rules of a folder and check them against the schema, as the node does when it starts."""
    rules = load_policies(folder).rules
    files = sorted({rule.file for rule in rules})
    typer.echo(
        f"{len(rules)} rules in {len(files)} files ({', '.join(files)}): all fit the schema."
        if rules
        else "No rule: everything is refused."
    )


def _policies(home: Path | None, folder: Path | None) -> Policies:
    if home is not None and folder is not None:
        raise ConfigurationError(
            "--policies", "a node's rules and another folder's are two questions", "Leave out one of --home and --policies."
        )
    if home is not None:
        return load_policies(there(home).root / "policy")
    return default_policies() if folder is None else load_policies(folder)


def _cases(path: Path | None) -> tuple[Case, ...]:
    if path is None:
        return parse_cases("the shipped cases", default_cases(), "toml")
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise ConfigurationError(str(path), "cannot be read as UTF-8 text", "Give a TOML or JSON file of cases.") from None
    return parse_cases(path.name, text, "json" if path.suffix == ".json" else "toml")


def _expected(case: Case) -> str:
    by = "" if case.rules is None else f" by {', '.join(case.rules) or 'no rule'}"
    return f"expected {'allow' if case.allowed else 'deny'}{by}"


def _print_table(outcomes: list[Outcome]) -> None:
    from rich.console import Console
    from rich.table import Column, Table

    if not outcomes:
        return
    table = Table("", "case", "decided", Column("by", overflow="fold"))
    for outcome in outcomes:
        answer = "allow" if outcome.decision.allowed else "deny"
        table.add_row(
            "ok" if outcome.as_expected else "!!", outcome.case.name, answer, ", ".join(outcome.decision.rules) or "no rule permits it"
        )
    Console().print(table)
