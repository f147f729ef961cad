"""`creditfed node`: an institution's own node, from its keys to its votes. Other sub-commands are mounted from their own modules."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from clients.budget_commands import budget_app
from clients.consent_commands import consent_app
from clients.exchange_commands import exchange
from clients.home_option import HERE, HomeOption, there
from clients.member_commands import members, pin_members
from clients.policy_commands import policy_app
from clients.resident_commands import register
from clients.results_commands import add_results
from clients.retention_commands import retention_app
from clients.source_commands import add_source

if TYPE_CHECKING:
    from rich.console import Console

    from clients.approvals import Approvals
    from clients.home import Home
    from privacy.approval.study import Study
    from privacy.approval.vote import Verdict

app = typer.Typer(
    no_args_is_help=True, add_completion=False, rich_markup_mode="markdown",
    help="""An institution's node: it decides, itself, what may be computed on its data.

**To join**: `creditfed node init --invitation invitation.toml`, `creditfed node approve consortium.toml`, `creditfed node start`.

**When something does not work**: `creditfed node doctor` says what, and what to do.

**When a run is proposed**: `creditfed node pending`, `creditfed node approve RUN` (shows it in plain words first), `creditfed node revoke RUN`.
""",
)  # fmt: skip
register(app)
app.command(epilog="Example: creditfed node members --home node")(members)
app.add_typer(policy_app, name="policy")
app.add_typer(budget_app, name="budget")
app.add_typer(consent_app, name="consent")
app.add_typer(retention_app, name="retention")
add_source(app)
add_results(app)
app.command(epilog="Example: creditfed node exchange --in from-coordinator --out to-coordinator --home node")(exchange)
AsOption = Annotated[
    str,
    typer.Option(
        "--as", metavar="NAME", help="Who signs: a name from approvers.toml; the owner where there is only one.", show_default=False
    ),
]
KeyOption = Annotated[Path | None, typer.Option("--key", metavar="FILE", help="Your own key; approvers/NAME.key where not given.")]


@app.command(epilog="Example: creditfed node init --name tax-a --role tax --source tax.parquet --owner alice --home node")
def init(
    name: Annotated[str, typer.Option("--name", help="Your institution's name in the consortium: a-z, 0-9 and -.")],
    role: Annotated[str, typer.Option("--role", help="bank, platform, tax, agency, or a source of the dictionary (court, registry, ...).")],
    source: Annotated[
        str | None, typer.Option("--source", help="Your table: a CSV or Parquet file, a folder of Parquet parts, or a database's URL.")
    ] = None,
    table: Annotated[str | None, typer.Option("--table", help="Of a database: NAME or SCHEMA.NAME.")] = None,
    query: Annotated[str | None, typer.Option("--query", help="Of a database, in place of --table: one SELECT.")] = None,
    home: HomeOption = HERE,
    identifier: Annotated[str, typer.Option("--id", metavar="COLUMN", help="The column of firms' identifiers.")] = "id",
    label: Annotated[str | None, typer.Option("--label", help="A bank's column of outcomes, 1 for bad.")] = None,
    repayments: Annotated[
        str | None,
        typer.Option(
            "--repayments",
            metavar="FILE",
            help="In place of --label: the repayment table, or a mapping that leads to it, for runs with [target].",
        ),
    ] = None,
    loans: Annotated[
        str | None, typer.Option("--loans", metavar="FILE", help="Beside --repayments: the table of loans, with origin and fraud.")
    ] = None,
    as_of: Annotated[str | None, typer.Option("--as-of", metavar="COLUMN", help="The column of rows' dates, where they are dated.")] = None,
    owner: Annotated[list[str] | None, typer.Option("--owner", help="Who approves runs; repeat for each person.")] = None,
    four_eyes: Annotated[bool, typer.Option("--four-eyes", help="Two owners must approve.")] = False,  # noqa: FBT002  # a flag
    invitation: Annotated[Path | None, typer.Option("--invitation", metavar="FILE", help="The coordinator's invitation.toml.")] = None,
    basis: Annotated[
        str, typer.Option("--legal-basis", help="Why rows may be used: consent (asked row by row), contract, statute, or agency.")
    ] = "consent",
    through: Annotated[str, typer.Option("--through", metavar="AGENCY", help="The agency that relays what this node sends.")] = "",
    first_budget: Annotated[
        int, typer.Option("--first-budget", metavar="RELEASES", min=0, help="Releases without noise until the risk officer sets a budget.")
    ] = 0,
) -> None:
    """Found a node: keys (mode 600), folders, the default policy, configuration, and a fingerprint for the other members."""
    from clients.budget_commands import first_limits
    from clients.clock import utc_now
    from clients.founding import found
    from clients.joined import accept, read_invited, write_joining
    from clients.source_commands import section_of, whole_path
    from federation.kernel.errors import ConfigurationError
    from federation.kernel.manifest import AGENCY
    from privacy.approval.words import fingerprint
    from privacy.institutions import institution_roles

    if role not in institution_roles():
        raise ConfigurationError("--role", "is not one of the roles", f"Use one of {', '.join(institution_roles())}.")
    if (source is None) != (role == AGENCY):
        raise ConfigurationError("--source", "an agency brings no table, and everyone else does", "Give it, or leave it out.")
    owners = tuple(owner or ("owner-1", "owner-2")[: 2 if four_eyes else 1])
    if four_eyes and len(owners) < 2:
        raise ConfigurationError("--four-eyes", "needs two owners", "Name both: --owner alice --owner bob.")
    section: dict[str, Any] = {"name": name, "role": role, "approvals_needed": 2 if four_eyes else 1}
    section |= section_of(source, table, query)
    columns = {"id": None if identifier == "id" else identifier, "label": label, "as_of": as_of}
    columns |= {"repayments": whole_path("--repayments", repayments), "loans": whole_path("--loans", loans)}
    section |= {key: column for key, column in columns.items() if column is not None}
    section |= {} if role == AGENCY or basis == "consent" else {"legal_basis": basis}
    section |= {"through": through} if through else {}
    invited = None if invitation is None else read_invited(invitation)
    founded = found(home, section, utc_now, owners)
    if invited is not None:
        accept(founded.home, invited)
    if first_budget and source is not None:
        first_limits(founded.home, str(section["dataset"]), first_budget, owners[0])
    typer.echo(f"{name} is founded in {home}.\n\n  key          {founded.key}\n  fingerprint  {founded.fingerprint}\n")
    typer.echo(
        "Owners: "
        + ", ".join(f"{who} (key: {home / 'approvers' / (who + '.key')}; move it to where only they can read it)" for who in owners)
    )
    if source is not None:
        name_of = section["dataset"]
        typer.echo(f"Its table is the data set {name_of!r} of your budget. Look at it as a run would: creditfed node source --home {home}")
    if role == "bank" and label is None and repayments is None:
        typer.echo(f'It names no column of outcomes. The bank that has them adds label = "COLUMN" to {home / "node.toml"}.')
    if invited is None:
        typer.echo("No coordinator has invited it: give its invitation at the first start (creditfed node start --invitation FILE).")
    else:
        typer.echo(f"The coordinator's fingerprint is {fingerprint(invited.key)}: compare it by telephone before anything else.")
    typer.echo(f"Next: give {write_joining(founded.home)} to the coordinator, and tell your fingerprint by telephone. Then it gives you")
    typer.echo(f"consortium.toml: creditfed node approve consortium.toml --home {home}, and creditfed node start --home {home}.")


@app.command(epilog="Example: creditfed node pending --home node")
def pending(home: HomeOption = HERE) -> None:
    """Runs and studies that were proposed to this node, and where each stands: what waits for a vote first."""
    from rich.console import Console
    from rich.markup import escape

    from clients.clock import utc_now
    from clients.pending import proposed

    console, found = Console(soft_wrap=True), proposed(there(home), utc_now())
    for each in found:
        votes = f"; votes: {each.votes}" if each.votes else ""
        console.print(f"[bold]{escape(each.name)}[/]  {escape(each.state)}", highlight=False)
        console.print(f"  {escape(each.what)}, until {each.until}{escape(votes)}", highlight=False)
    if not found:
        console.print("Nothing was proposed to this node yet.")


@app.command(epilog="Example: creditfed node approve run-1a2b --as alice --home node")
def approve(
    run: Annotated[str, typer.Argument(metavar="RUN", help="The run's name, `study:NAME`, or consortium.toml: the members to pin.")],
    who: AsOption = "",
    home: HomeOption = HERE,
    key: KeyOption = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask again after showing it.")] = False,  # noqa: FBT002  # a flag
) -> None:
    """Show a run in plain words, and as a difference from the last approved one; then sign the approval with your own key.

    With the coordinator's consortium.toml: show every member's fingerprint, and pin their keys once you have compared them.
    """
    node = there(home)
    if run.endswith(".toml"):
        pin_members(node, Path(run), yes=yes)
        return
    who = _signer(node, who)
    shown = _show(node, run)
    if not yes:
        try:
            typer.confirm("Approve?", abort=True)
        except typer.Abort:
            typer.echo("Nothing was signed.")
            raise
    _vote(node, run, who, "approve", key, shown)
    typer.echo(f"{who} approves {run}. {_still_needed(node, run, shown)}")


@app.command(epilog="Example: creditfed node show run-1a2b --home node")
def show(run: Annotated[str, typer.Argument(metavar="RUN", help="The run's name, or `study:NAME`.")], home: HomeOption = HERE) -> None:
    """A run in plain words: what, with which columns, for what, who learns what, at what cost, until when."""
    _show(there(home), run)


@app.command(epilog="Example: creditfed node revoke run-1a2b --as alice --home node")
def revoke(
    run: Annotated[str, typer.Argument(metavar="RUN", help="The run's name, or `study:NAME`.")],
    who: AsOption = "",
    home: HomeOption = HERE,
    key: KeyOption = None,
) -> None:
    """Refuse a run, or take an approval back: the node answers nothing more of it, also if it is under way."""
    node = there(home)
    who = _signer(node, who)
    _vote(node, run, who, "revoke", key, _hash(node, run))
    typer.echo(f"{who} revokes {run}. This node answers nothing of it any more.")


@app.command(epilog="Example: creditfed node study winter.toml --home node")
def study(
    file: Annotated[Path, typer.Argument(metavar="STUDY.toml", help="name, parties, columns, purpose, caps and expiry; see the guide.")],
    home: HomeOption = HERE,
) -> None:
    """Put a study to the vote: one approval for many runs. Then `creditfed node approve study:NAME`."""
    import tomllib

    import msgspec

    from clients.approvals import Approvals
    from clients.clock import utc_now
    from federation.kernel.errors import ConfigurationError
    from federation.kernel.known import known
    from privacy.approval.study import Study

    try:
        found = msgspec.convert(tomllib.loads(file.read_text()), known(Study))
    except OSError as error:
        raise ConfigurationError(str(file), f"cannot be read ({error.strerror})", "Name a file that you may read.") from None
    except (tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise ConfigurationError(
            str(file), str(error).replace("`", ""), "Correct the file (docs/guides/institution.md, studies)."
        ) from None
    found.require(utc_now())
    approvals = Approvals(there(home))
    approvals.add_study(found)
    owner = next(iter(approvals.owners()), "NAME")
    typer.echo(f"The study {found.name} waits for its approval: creditfed node approve study:{found.name} --as {owner} --home {home}")


@app.command(epilog="Example: creditfed node approvers --add bob --as alice --home node")
def approvers(
    home: HomeOption = HERE,
    add: Annotated[str | None, typer.Option("--add", metavar="NAME", help="A new person; a key is made.")] = None,
    role: Annotated[str, typer.Option("--role", help="owner, risk officer, or validator (no vote).")] = "owner",
    revoke_key: Annotated[str | None, typer.Option("--revoke", metavar="NAME", help="No vote of this person counts any more.")] = None,
    who: AsOption = "",
    key: KeyOption = None,
) -> None:
    """Who may vote here, and who may see validation packs: list; add and revoke with the signatures of as many owners as approve a run."""
    from typing import cast

    from rich.console import Console
    from rich.table import Column, Table

    from clients.approvals import Approvals
    from clients.persons import Persons
    from federation.kernel.errors import ConfigurationError
    from privacy.approval.words import fingerprint
    from privacy.levels import PersonRole

    node = there(home)
    approvals, persons, missing = Approvals(node), Persons(node), 0
    if add is not None:
        if role not in ("owner", "risk officer", "validator"):
            what = "is not a role of whom this node must know by key"
            raise ConfigurationError("--role", what, "Use owner or risk officer, who vote, or validator, who sees validation packs.")
        missing = persons.add(add, cast("PersonRole", role), who, key)
    if revoke_key is not None:
        missing += persons.revoke(revoke_key, who, key)
    if missing:
        typer.echo(f"{who} has signed; {missing} more must: the same command with --as and another owner's name.")
    table = Table(Column("name", overflow="fold"), Column("role", no_wrap=True), Column("fingerprint", no_wrap=True), "note")
    for person in approvals.approvers().values():
        table.add_row(person.name, person.role, fingerprint(person.key), "revoked" if person.revoked else "")
    Console().print(table)


def _signer(home: Home, who: str) -> str:
    """Who signs: the one named, or the only owner. Raises ConfigurationError where there are several."""
    from clients.approvals import Approvals
    from federation.kernel.errors import ConfigurationError

    owners = Approvals(home).owners()
    if not who and len(owners) > 1:
        raise ConfigurationError("--as", f"this node has several owners: {', '.join(owners)}", "Name the one who signs: --as NAME.")
    return who or next(iter(owners), "")


def _still_needed(home: Home, run: str, about: bytes) -> str:
    """What a run or a study lacks after a vote, in words."""
    from clients.approvals import Approvals
    from clients.joined import asked_again
    from clients.party_config import PartyConfig
    from privacy.approval.vote import standing

    approvals, config = Approvals(home), PartyConfig.from_dict(home.config(), home.root)
    people, needed = approvals.approvers(), config.approvals_needed
    signed = standing(approvals.votes(), about, config.name, people).approved
    if len(signed) >= needed:
        return "Its runs need no vote of their own." if run.startswith("study:") else asked_again(home)
    others = [name for name in approvals.owners() if people[name].key not in {people[one].key for one in signed}]
    command = f"creditfed node approve {run} --as {others[0] if others else 'NAME'} --home {home.root}"
    return f"That is {len(signed)} of {needed} approvals; still needed: {' or '.join(others) or 'another owner'}. {command}"


def _show(home: Home, run: str) -> bytes:
    """A run or a study on the screen; returns the hash of what was shown, which alone may be signed then."""
    from rich.console import Console
    from rich.markup import escape

    from clients.approvals import Approvals
    from clients.party_config import PartyConfig
    from federation.kernel.manifest import AGENCY
    from privacy.approval.words import Section, describe, describe_study, difference, in_short

    approvals, me, console = Approvals(home), str(home.config()["name"]), Console()
    changes: tuple[str, ...] = ()
    short = ""
    if run.startswith("study:"):
        study = _study(approvals, run)
        sections, shown = describe_study(study), study.hash
    else:
        manifest = approvals.proposal(run)
        shown = manifest.hash
        sections, changes = describe(manifest, me), difference(approvals.last_approved(manifest), manifest, me)
        short = in_short(manifest, me)
        config = PartyConfig.from_dict(home.config(), home.root)
        if config.role != AGENCY:
            sections += (
                Section("What this institution's own rules let out in clear ([disclosure] in node.toml)", config.disclosure.lines()),
            )
    for section in sections:
        console.print(f"[bold]{escape(section.title)}[/bold]")
        for line in section.lines:
            _line(console, line)
    if changes:
        console.print("[bold]Since the last approved run[/bold]")
        for line in changes:
            _line(console, line, "green" if line.startswith("+") else "red")
    if short:
        console.print("[bold]In short[/bold]")
        _line(console, short)
    return shown


def _line(console: Console, text: str, style: str = "") -> None:
    """One line, set in where a terminal breaks it; whole where somebody reads it by program."""
    from rich.padding import Padding
    from rich.text import Text

    if console.is_terminal:
        console.print(Padding(Text(text, style), (0, 0, 0, 2)))
    else:
        console.print(Text(f"  {text}", style), soft_wrap=True)


def _hash(home: Home, run: str) -> bytes:
    """Of the run or study that has the name now."""
    from clients.approvals import Approvals

    approvals = Approvals(home)
    return _study(approvals, run).hash if run.startswith("study:") else approvals.proposal(run).hash


def _study(approvals: Approvals, run: str) -> Study:
    from federation.kernel.errors import ConfigurationError

    name = run.removeprefix("study:")
    found = next((study for study in approvals.studies() if study.name == name), None)
    if found is None:
        raise ConfigurationError(f"study {name}", "no such study was put to the vote here", "creditfed node study STUDY.toml")
    return found


def _vote(home: Home, run: str, who: str, verdict: Verdict, key: Path | None, about: bytes) -> None:
    """Sign and keep a vote on what was shown."""
    from clients.persons import Persons
    from federation.kernel.errors import ConfigurationError

    if verdict == "approve" and _hash(home, run) != about:
        what = "another manifest was proposed under this name while this one was shown"
        raise ConfigurationError(f"run {run}", what, "Nothing was signed. Look at it again: creditfed node approve.")
    Persons(home).vote(run, about, verdict, who, key)
