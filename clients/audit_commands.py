"""`creditfed audit`: verify, show, compare and export audit logs. Needs public keys only; mounted when it is called."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Column, Table

from clients import consortium
from clients.home_option import HERE, HomeOption
from federation.kernel import suite
from federation.kernel.errors import ConfigurationError, DataError
from federation.kernel.role import COORDINATOR
from privacy.audit.account import Export, log_account, run_account, to_json, to_markdown
from privacy.audit.compare import Difference, account, compare, verify_together
from privacy.audit.entry import Entry
from privacy.audit.findings import MEANING, Report
from privacy.audit.heads import heads_in
from privacy.audit.lines import entries
from privacy.audit.verify import Log, verify
from privacy.store.audit_folder import find

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    help="Audit logs: verify with public keys, show a run, compare the parties' accounts, export.",
)

_WHERE = "A node's audit folder, or its home, which holds audit/."
LogPath = Annotated[Path, typer.Argument(metavar="PATH", help=_WHERE)]
LogPaths = Annotated[list[Path], typer.Argument(metavar="PATH...", help=f"One of each party. {_WHERE}")]
Pinned = Annotated[
    Path | None, typer.Option("--consortium", metavar="FILE", help="consortium.toml: the members' identity keys.", show_default=False)
]
RunName = Annotated[str | None, typer.Option(metavar="RUN", help="This run only.", show_default=False)]


@app.command("verify", epilog="Example: creditfed audit verify bank/audit --consortium consortium.toml")
def verify_log(
    path: LogPath,
    key: Annotated[
        list[str] | None,
        typer.Option(metavar="HEX", help="The node's identity key; again for one that was renewed.", show_default=False),
    ] = None,
    pinned: Pinned = None,
    witness: Annotated[
        list[Path] | None,
        typer.Option(metavar="PATH", help="Another party's log, with the heads that it saw of this one.", show_default=False),
    ] = None,
) -> None:
    """Check every entry, signature and head of a log. What is wrong is named, with the entry, and the exit code is 5.

    Without --key or --consortium the key that the log names is believed. Without --witness nothing shows whether the node itself went back to an
    older log, or wrote it anew: peers' logs have the evidence.
    """
    log = _named(find(path).log())
    keys = [_key(text) for text in key] if key else _keys_of([log], pinned)[log.name] if pinned else None
    held = [head for other in witness or [] for head in heads_in(entries(find(other).log().lines()))]
    report = verify(log, keys, held)
    _show_reports([report])
    _require_sound([report], ())


@app.command("show", epilog="Example: creditfed audit show bank/audit --run run-1a2b")
def show_entries(path: LogPath, run: RunName = None) -> None:
    """The entries of a log, as they stand: `verify` says whether they are what was written."""
    console, shown = Console(soft_wrap=True), 0
    for entry in entries(find(path).log().lines()):
        if run is None or entry.run == run:
            about = f"  {escape(entry.run)}" if run is None and entry.run else ""
            console.print(f"{entry.number:>6,}  {entry.time}  [bold]{entry.kind}[/]{about}", highlight=False)
            console.print(f"        {escape(_facts(entry))}", highlight=False)
            shown += 1
    if not shown:
        _refuse_unknown(path, run)


@app.command("compare", epilog="Example: creditfed audit compare bank platform tax --consortium consortium.toml")
def compare_logs(paths: LogPaths, run: RunName = None, pinned: Pinned = None) -> None:
    """Whether the parties' accounts agree: each log against the heads that others saw of it, then manifest, session, signatures, messages.

    All runs that two logs know, unless one is named. Exit code 5 where they differ.
    """
    if len(paths) < 2:
        raise ConfigurationError(str(paths[0]), "one log alone has nothing to be compared with", "Give the logs of two parties or more.")
    logs, reports = _verified(paths, pinned)
    _show_reports(reports)
    runs = [one for one in _runs(logs) if run is None or one == run]
    if run is not None and not runs:
        what = f"fewer than two of these logs know a run {run}"
        raise ConfigurationError(", ".join(map(str, paths)), what, "`creditfed audit show PATH` lists a log's entries, with their runs.")
    differences = [(one, difference) for one in runs for difference in _compared(logs, reports, one)]
    table = Table(Column("run", overflow="fold"), "about", "parties", "difference")
    for one, difference in differences:
        table.add_row(escape(one), difference.subject, ", ".join(difference.parties), escape(difference.what))
    agree = f"Runs compared: {len(runs)}. The accounts agree." if runs else "No run is in two of these logs: nothing was compared."
    Console().print(table if differences else agree)
    _require_sound(reports, [difference for _, difference in differences])


@app.command("export", epilog="Example: creditfed audit export bank platform tax --out account.md")
def export_account(
    paths: LogPaths,
    out: Annotated[Path, typer.Option("--out", metavar="FILE", help="account.md to read, or account.json.")],
    pinned: Pinned = None,
) -> None:
    """For a regulator: who computed what, with whose approval, across institutions, without any record; and what verification found.

    The account is written also where something was found, and says so; the exit code is then 5.
    """
    if out.suffix not in (".md", ".json"):
        raise ConfigurationError(str(out), "an export ends in .md or .json", "Name the file account.md or account.json.")
    logs, reports = _verified(paths, pinned)
    runs = []
    for run in _runs(logs, at_least=1):
        found = {report.party: account(log, report, run).entries for log, report in zip(logs, reports, strict=True)}
        runs.append(run_account(run, found, _compared(logs, reports, run)))
    whole = Export(1, tuple(map(log_account, reports)), tuple(sorted(runs, key=lambda one: (one.began, one.run))))
    try:
        out.write_bytes(to_json(whole) if out.suffix == ".json" else to_markdown(whole).encode())
    except OSError as error:
        raise ConfigurationError(
            str(out), f"cannot be written ({type(error).__name__})", "Give a file in a folder that you may write to."
        ) from None
    Console().print(f"Logs: {len(logs)}, runs: {len(runs)}, written to {escape(str(out))}")
    _show_findings(reports)
    _require_sound(reports, ())


@app.command(epilog="Example: creditfed audit pack run-1a2b --as vera --home node --out pack")
def pack(
    run: Annotated[str, typer.Argument(metavar="RUN", help="The run's name, as `audit show` has it.")],
    out: Annotated[Path, typer.Option("--out", metavar="FOLDER", help="Gets pack.json and pack.html.")],
    who: Annotated[str, typer.Option("--as", metavar="NAME", help="Who looks: a validator of `creditfed node approvers`.")],
    home: HomeOption = HERE,
    key: Annotated[
        Path | None, typer.Option("--key", metavar="FILE", help="Your own key; approvers/NAME.key where not given.", show_default=False)
    ] = None,
    *,
    replay: Annotated[
        bool, typer.Option("--replay", help="Make the results again from the journal and the rows, and compare them with the log's digest.")
    ] = False,
) -> None:
    """For this institution's validator: lineage, bins, points, sensitivity, stability, out of time; of partners what they agreed to show.

    The policies decide who may see it; by default validators. No record and no score of a firm is in it. A replay begins at the journal's last
    state, since a journal does not keep the messages before. Exit code 5 where it gives other results than the run had, which are named.
    """
    from clients.pack_files import write_pack

    write_pack(home, run, out, who, key, replay=replay)


def _verified(paths: Sequence[Path], pinned: Path | None) -> tuple[list[Log], tuple[Report, ...]]:
    logs = [_named(find(path).log()) for path in paths]
    names = [log.name for log in logs]
    if len(set(names)) != len(names):
        raise ConfigurationError(
            ", ".join(map(str, paths)), "two logs of one party", "Give one log of each party; use --witness to check one."
        )
    return logs, verify_together(logs, _keys_of(logs, pinned) if pinned else None)


def _named(log: Log) -> Log:
    """A log under the name that it gives its node; its key then shows whether it is the node's. Raises ConfigurationError for an empty one."""
    if next(iter(log.lines()), None) is None:
        what = "no entry at all is in the audit log, and a node's has one from its founding"
        raise ConfigurationError(log.name, what, "Ask the node's operator for the log.")
    first = next(entries(log.lines()), None)
    party = "" if first is None else str(first.facts.get("party", ""))
    return Log(party or log.name, log.lines, log.heads, log.kept)


def _keys_of(logs: Sequence[Log], path: Path) -> dict[str, list[bytes]]:
    """The pinned identity key of each log's party."""
    try:
        found = consortium.read_file(path)
    except FileNotFoundError:
        raise ConfigurationError(str(path), "there is no such file", "Give the consortium.toml of your node.") from None
    keys = {member.name: bytes.fromhex(member.key) for member in found.members} | {COORDINATOR: bytes.fromhex(found.coordinator)}
    for log in logs:
        if log.name not in keys:
            raise ConfigurationError(str(path), f"no member {log.name}, whose log this says it is", "Add the member, or give --key.")
    return {log.name: [keys[log.name]] for log in logs}


def _key(text: str) -> bytes:
    try:
        key = bytes.fromhex(text)
    except ValueError:
        key = b""
    if not suite.is_signing_public(key):
        raise ConfigurationError(
            "audit", "a key that is not an Ed25519 public key of 64 hexadecimal digits", "Copy it from consortium.toml."
        )
    return key


def _runs(logs: Sequence[Log], at_least: int = 2) -> list[str]:
    """The runs that so many logs know, in order of name."""
    known = [{entry.run for entry in entries(log.lines()) if entry.run} for log in logs]
    return sorted(run for run in set().union(*known) if sum(run in own for own in known) >= at_least)


def _compared(logs: Sequence[Log], reports: Sequence[Report], run: str) -> tuple[Difference, ...]:
    return compare([account(log, report, run) for log, report in zip(logs, reports, strict=True)])


def _facts(entry: Entry) -> str:
    return "  ".join(f"{name}={value}" for name, value in sorted(entry.facts.items()))


def _show_reports(reports: Sequence[Report]) -> None:
    console = Console()
    table = Table(
        Column("party", overflow="fold"), Column("key", no_wrap=True), "entries", "signed up to", "peers' heads",
        Column("verification", no_wrap=True),
    )  # fmt: skip
    for report in reports:
        key = report.head.key.hex()[:8] + "..." if report.head else "none"
        span = f"{report.start:,} to {report.size:,}" if report.start else f"{report.size:,}"
        result = "sound" if report.sound else f"{len(report.findings)} found"
        table.add_row(escape(report.party), key, span, f"{report.size - report.unsigned:,}", f"{report.checked:,}", result)
    console.print(table)
    _show_findings(reports)


def _show_findings(reports: Sequence[Report]) -> None:
    console = Console()
    for report in reports:
        for finding in report.findings:
            console.print(f"[bold red]{escape(report.party)}: {escape(str(finding))}[/]\n  ({MEANING[finding.fault]})")
        for note in report.notes:
            console.print(f"{escape(report.party)}: note: {escape(note)}")


def _require_sound(reports: Sequence[Report], differences: Sequence[Difference]) -> None:
    broken = [report.party for report in reports if not report.sound]
    if broken:
        raise DataError(
            ", ".join(broken),
            "the audit log is not what was written",
            "Keep a copy of the folder as evidence, and ask the node's operator and the peers that hold its heads.",
        )
    if differences:
        raise DataError("audit", f"the accounts differ in {len(differences)} places", "Ask the parties named: each log is whole in itself.")


def _refuse_unknown(path: Path, run: str | None) -> None:
    what = "no line of the log is an entry that can be read" if run is None else f"the log has no entry of run {run}"
    action = (
        "`creditfed audit verify PATH` says what is wrong." if run is None else "`creditfed audit show PATH` lists all, with their runs."
    )
    raise ConfigurationError(str(path), what, action)
