"""The `creditfed` command: its root. Each package's own commands are imported when they are used, so that `--help` answers at once."""

from __future__ import annotations

import os
import sys
import traceback
from importlib import import_module
from pathlib import Path
from typing import Annotated, NoReturn

os.environ.setdefault("FLWR_TELEMETRY_ENABLED", "0")
os.environ.setdefault("FLWR_DISABLE_UPDATE_CHECK", "1")

import click
import typer
from typer.core import TyperGroup
from typer.main import get_command

_LATER = {
    "coordinator": ("server.commands", "The coordinator's server: found it, let institutions in, submit and stop runs."),
    "audit": ("clients.audit_commands", "Audit logs: verify with public keys, show a run, compare the parties' accounts, export."),
    "check": ("clients.check_commands", "Look for fraud in your own records: circular trade."),
    "dictionary": ("clients.dictionary_commands", "The common standard: what features mean, and what of your own tables maps to it."),
    "features": (
        "clients.feature_commands",
        "From raw tables to features of the dictionary, and templates for what is filled in by hand.",
    ),
    "node": ("clients.node_commands", "An institution's node: found it, approve runs, policies, consents, budget."),
}

_OF_PATHS = "Name a path that is there and that you may use."


class _Root(TyperGroup):
    """The root, which loads `node` and `audit` (policies, databases, keys) only when they are called: `--help` must answer at once."""

    _called = ""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All, with those that are loaded when called."""
        return [*super().list_commands(ctx), *_LATER]

    def resolve_command(self, ctx: click.Context, args: list[str]) -> tuple[str | None, click.Command | None, list[str]]:
        """What is called, and not only listed."""
        self._called = args[0] if args else ""
        return click.Group.resolve_command(self, ctx, args)  # Typer's own would add click's suggestion a second time

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command itself where it is called, its line for the list otherwise."""
        if cmd_name not in _LATER:
            return super().get_command(ctx, cmd_name)
        module, line = _LATER[cmd_name]
        return get_command(import_module(module).app) if self._called == cmd_name else click.Group(cmd_name, help=line)


app = typer.Typer(
    cls=_Root, name="creditfed", no_args_is_help=True, add_completion=False, rich_markup_mode="markdown", pretty_exceptions_enable=False,
    help="""One exact credit model from a bank, a platform and a tax bureau that show each other no record.

**Start here** (a laptop is enough, nothing leaves it):

    creditfed world generate --out world

    creditfed simulate world/scorecard.toml --out run --pooled

The first draws 20,000 firms at three institutions, the second trains a scorecard on them together and compares it with the pooled fit. Then open
run/report.html: what came of it, and what each party learned. For your own tables copy world/scorecard.toml; docs/run-file.md has every key.

**Several banks** with the same columns and different firms: `creditfed world generate --banks 5 --out world`, then
`creditfed simulate world/banks_scorecard.toml --out run --pooled`.

**Exit codes**: 0 done, 2 bad usage or configuration, 3 refused by a policy, 4 aborted by a peer or lost party, 5 bad data.
""",
)  # fmt: skip


def _version(asked: bool) -> None:  # noqa: FBT001  # as a flag's callback is called
    if asked:
        from server.draft import code_version

        typer.echo(f"creditfed {code_version()}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[  # its callback looks at it
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version, which is in every manifest, and exit.")
    ] = False,
) -> None:
    """Only what concerns no single command; the text of the help is above."""


world_app = typer.Typer(no_args_is_help=True, help="An economy of firms with known causes of default, to try everything on.")
app.add_typer(world_app, name="world")


@app.command(epilog="Example: creditfed simulate world/scorecard.toml --out run --pooled")
def simulate(
    run_file: Annotated[
        Path,
        typer.Argument(metavar="RUN.toml", help="What to compute, with whom, and what may be disclosed; docs/run-file.md has every key."),
    ],
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Where results go; made when missing. A former run there is replaced.")],
    backend: Annotated[
        str,
        typer.Option(
            help="`inline`: all parties in this process, the fastest for up to some dozens. `ray`: worker processes, for hundreds to thousands "
            "of banks or a cluster; ten seconds to start, journals always on disk; needs creditfed[ray]."
        ),
    ] = "inline",
    journal: Annotated[
        str | None,
        typer.Option(
            help="`memory` (inline's own), or `disk` (always so with ray) to resume after a crash by running the same command again.",
            show_default=False,
        ),
    ] = None,
    ray_address: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS",
            help="A Ray cluster that runs already, such as 10.0.0.1:6379; every machine needs this program and a disk with DIR and the sources "
            "at the same paths.",
        ),
    ] = None,
    pooled: Annotated[bool, typer.Option("--pooled", help="Also fit scikit-learn on the joined table and print both.")] = False,
) -> None:
    """Run a whole consortium on this machine: every institution with its own keys and folder, through Flower.

    Writes DIR/report.html to read, result.json with the same as data, models/NAME.json (each party's share), scores/, audit/, and bins/ to
    edit by hand; DIR/parties/NAME/ is what that institution alone would have. One feature party, or a cap to lift: [privacy] in
    docs/run-file.md.
    """
    from simulations.simulate import simulate as run

    run(run_file, out, backend=backend, journal=journal, pooled=pooled, ray_address=ray_address)


@app.command(epilog="Example: creditfed sources world/scorecard.toml --out weighed")
def sources(
    run_file: Annotated[
        Path, typer.Argument(metavar="RUN.toml", help="A run across parties that trains; docs/guides/weighing-sources.md.")
    ],
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Where all runs and the report go; made when missing.")],
    backend: Annotated[str, typer.Option(help="As of simulate.")] = "inline",
    journal: Annotated[str | None, typer.Option(help="As of simulate.", show_default=False)] = None,
) -> None:
    """Weigh every source of a run: how much AUC and KS it adds to a model that has all others, with intervals, cost and coverage.

    Runs RUN.toml once with all sources and once without each, on the same alignment and split; with [select] source_auc_min also once without
    those that add too little. DIR/report.html and result.json have the table beside the model that is left.
    """
    from simulations.sources import Weighing

    Weighing(run_file, out, backend, journal, typer.echo).weigh()
    typer.echo(f"What each source adds: {out / 'report.html'}")


@world_app.command("generate", epilog="Example: creditfed world generate --firms 20000 --out world")
def generate(
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Where the tables and the run files go.")],
    firms: Annotated[
        int | None, typer.Option(min=200, help="How many firms; 20,000, or what the scenario says, where not given.", show_default=False)
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option(min=0, help="The same seed draws the same world; 7, or the scenario's, where not given.", show_default=False),
    ] = None,
    banks: Annotated[
        int,
        typer.Option(
            min=0,
            help="Also divide the bank's firms among so many banks (3 or more), for a run over many banks. With --economy: how many banks.",
        ),
    ] = 0,
    economy: Annotated[
        bool, typer.Option("--economy", help="Raw records of every institution, in place of feature tables: docs/economy.md.")
    ] = False,
    scenario: Annotated[
        str | None, typer.Option(metavar="NAME", help="A scenario by name (docs/scenarios), or a TOML file of your own.")
    ] = None,
    raw_only: Annotated[bool, typer.Option("--raw-only", help="Of a scenario: records alone, no feature tables and no run files.")] = False,
    months: Annotated[int | None, typer.Option(min=1, help="Of an economy: months of records.", show_default=False)] = None,
    platforms: Annotated[int | None, typer.Option(min=0, help="Of an economy.", show_default=False)] = None,
    taxes: Annotated[int | None, typer.Option(min=0, help="Of an economy: tax bureaus.", show_default=False)] = None,
) -> None:
    """Draw firms by industry and region, with bank, platform and tax tables and a logistic.toml and, of some 4,000 firms or more, a
    scorecard.toml that run.

    With --banks 5 also bank-1 to bank-5, which have the same columns and different firms, and banks_statistics.toml, banks_binning.toml,
    banks_logistic.toml and banks_scorecard.toml over all of them.

    With --economy or --scenario a folder of raw records for each institution (invoices, orders, flows, loans, repayments, ...) with its
    mapping.toml, and truth/: docs/economy.md. A scenario has feature tables and run files as well.
    """
    given = {"firms": firms, "seed": seed, "months": months, "banks": banks or None, "platforms": platforms, "taxes": taxes}
    if economy or scenario:
        _economy(scenario, {name: value for name, value in given.items() if value is not None}, out, raw_only=raw_only)
        return
    if only := [name for name in ("months", "platforms", "taxes") if given[name] is not None]:
        from federation.kernel.errors import ConfigurationError

        raise ConfigurationError(f"--{only[0]}", "is of an economy alone", "Add --economy, or leave it out.")
    _small_world(out, firms or 20_000, 7 if seed is None else seed, banks)


def _economy(scenario: str | None, given: dict[str, int], out: Path, *, raw_only: bool) -> None:
    """Raw records and, of a scenario, feature tables and run files. given: keys of [economy] that options set."""
    import msgspec

    from simulations.economy.progress import run
    from simulations.economy.settings import Economy, require_possible
    from simulations.scenarios import scenario as named
    from simulations.scenarios.progress import prepared

    found = named(scenario) if scenario else None
    asked = msgspec.structs.replace(found.economy if found else Economy(), **given)
    require_possible("options", asked)
    if found and not raw_only:
        found.plan.require_parties(asked)
    written = run(asked, out)
    typer.echo(
        f"{asked.firms:,} firms over {asked.months} months at {len(written.rows)} institutions: {written.records:,} records in {out}, "
        f"{written.seconds:.0f} s."
    )
    made = prepared(out, asked, found.plan) if found and found.plan.runs and not raw_only else None
    if made is None:
        typer.echo(f"Next: creditfed dictionary check {out / 'bank-1' / 'mapping.toml'}")
        return
    typer.echo(f"Feature tables of {len(made.rows)} institutions, {sum(made.rows.values()):,} rows, {made.seconds:.0f} s. Run files:")
    for one in made.runs:
        typer.echo(f"  {one.path}  {one.says}. {one.note}".rstrip())
    typer.echo(f"Next: creditfed simulate {made.runs[0].path} --out run")


def _small_world(out: Path, firms: int, seed: int, banks: int) -> None:
    """Feature tables and run files."""
    from simulations.world import generate as draw
    from simulations.world import write
    from simulations.world_banks import divide, write_banks

    world = draw(firms=firms, seed=seed)
    if banks:
        divided = divide(world, banks)
    write(world, out)
    if banks:
        write_banks(divided, world.seed, out)
    scorecard = (out / "scorecard.toml").exists()
    first = "banks_scorecard.toml" if banks else "scorecard.toml" if scorecard else "logistic.toml"
    among = f", {banks} banks among them," if banks else ""
    if not scorecard:
        typer.echo("So few firms have too few bads for a scorecard across parties: there is no scorecard.toml. Draw 4,000 or more for one.")
    typer.echo(f"{firms:,} firms{among} in {out}. Next: creditfed simulate {out / first} --out run")


@app.command(epilog="Example: creditfed report run")
def report(folder: Annotated[Path, typer.Argument(metavar="DIR", help="A folder that `simulate` wrote.")]) -> None:
    """Write DIR/report.html again from DIR/result.json."""
    from server.report import write_report

    typer.echo(f"wrote {write_report(folder)}")


def main() -> None:
    """The console script: one clear message for each known error, and the exit code of DESIGN section 10."""
    from federation.kernel.errors import ConfigurationError, CreditfedError

    try:
        code = app(standalone_mode=False)  # click returns what a `typer.Exit` says
        if isinstance(code, int) and code:
            sys.exit(code)
    except CreditfedError as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(error.exit_code)
    except (FileNotFoundError, FileExistsError, IsADirectoryError, NotADirectoryError, PermissionError) as error:
        if error.filename is None:
            _internal(error)
        refused = ConfigurationError(os.fsdecode(error.filename), f"it cannot be read or written ({error.strerror})", _OF_PATHS)
        sys.stderr.write(f"{refused}\n")
        sys.exit(refused.exit_code)
    except typer.Abort:
        sys.exit(2)
    except Exception as error:  # noqa: BLE001  # the command's edge
        import click

        if isinstance(error, click.ClickException):
            error.show()
            sys.exit(error.exit_code)
        _internal(error)


def _internal(error: Exception) -> NoReturn:
    """A bug: its places in the program alone, since the error's own text may quote data."""
    sys.stderr.write("".join(traceback.format_tb(error.__traceback__)))
    sys.stderr.write(f"creditfed: an internal error ({type(error).__name__})\n  This is a bug: report it with the lines above.\n")
    sys.exit(1)


if __name__ == "__main__":
    main()
