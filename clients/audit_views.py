"""What `creditfed audit` does: reads logs, verifies and compares them, and prints tables. Needs public keys only."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

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


def verify_log(path: Path, keys: Sequence[str], consortium: Path | None, witnesses: Sequence[Path]) -> None:
    """Print a report on one log. Raises DataError where something was found. keys: hexadecimal; witnesses: paths of other parties' logs."""
    log = _named(find(path).log())
    pinned = [_key(text) for text in keys] if keys else _keys_of([log], consortium)[log.name] if consortium else None
    held = [head for other in witnesses for head in heads_in(entries(find(other).log().lines()))]
    report = verify(log, pinned, held)
    _show_reports([report])
    _require_sound([report], ())


def show_entries(path: Path, run: str | None) -> None:
    """Print the entries of a log, of one run or all. Raises ConfigurationError where there is none."""
    table = Table("entry", "time", "kind", "run", "facts")
    for entry in entries(find(path).log().lines()):
        if run is None or entry.run == run:
            table.add_row(f"{entry.number:,}", entry.time, entry.kind, escape(entry.run), escape(_facts(entry)))
    if not table.row_count:
        raise ConfigurationError(str(path), "the log has no entry of this run", "`creditfed audit show PATH` lists all, with their runs.")
    Console().print(table)


def compare_logs(paths: Sequence[Path], run: str | None, consortium: Path | None) -> None:
    """Print reports on logs, checked against each other, and where the parties' accounts of runs differ. Raises DataError where they do."""
    logs, reports = _verified(paths, consortium)
    _show_reports(reports)
    runs = [run] if run else _runs(logs)
    differences = [(one, difference) for one in runs for difference in _compared(logs, reports, one)]
    table = Table("run", "about", "parties", "difference")
    for one, difference in differences:
        table.add_row(escape(one), difference.subject, ", ".join(difference.parties), escape(difference.what))
    Console().print(table if differences else f"Runs compared: {len(runs)}. The accounts agree.")
    _require_sound(reports, [difference for _, difference in differences])


def export_account(paths: Sequence[Path], out: Path, consortium: Path | None) -> None:
    """Write the regulator's account of several logs. Raises ConfigurationError for a file of another kind."""
    if out.suffix not in (".md", ".json"):
        raise ConfigurationError(str(out), "an export ends in .md or .json", "Name the file account.md or account.json.")
    logs, reports = _verified(paths, consortium)
    runs = []
    for run in _runs(logs, at_least=1):
        found = {report.party: account(log, report, run).entries for log, report in zip(logs, reports, strict=True)}
        runs.append(run_account(run, found, _compared(logs, reports, run)))
    whole = Export(1, tuple(map(log_account, reports)), tuple(sorted(runs, key=lambda one: (one.began, one.run))))
    out.write_bytes(to_json(whole) if out.suffix == ".json" else to_markdown(whole).encode())
    Console().print(f"Logs: {len(logs)}, runs: {len(runs)}, written to {escape(str(out))}")


def _verified(paths: Sequence[Path], consortium: Path | None) -> tuple[list[Log], tuple[Report, ...]]:
    logs = [_named(find(path).log()) for path in paths]
    names = [log.name for log in logs]
    if len(set(names)) != len(names):
        raise ConfigurationError(
            ", ".join(map(str, paths)), "two logs of one party", "Give one log of each party; use --witness to check one."
        )
    return logs, verify_together(logs, _keys_of(logs, consortium) if consortium else None)


def _named(log: Log) -> Log:
    """A log under the name that it gives its node; its key then shows whether it is the node's."""
    first = next(entries(log.lines()), None)
    party = "" if first is None else str(first.facts.get("party", ""))
    return Log(party or log.name, log.lines, log.heads, log.kept)


def _keys_of(logs: Sequence[Log], consortium: Path) -> dict[str, list[bytes]]:
    """The identity key of each log's party: the key of its `[[member]]` table, or the file's `coordinator`."""
    try:
        read: dict[str, Any] = tomllib.loads(consortium.read_text())
    except (OSError, tomllib.TOMLDecodeError):
        raise ConfigurationError(str(consortium), "not a TOML file that can be read", "Give the consortium.toml of your node.") from None
    members = [member for member in read.get("member", []) if isinstance(member, dict)] if isinstance(read.get("member"), list) else []
    pinned = {str(member.get("name")): _key(str(member.get("key"))) for member in members}
    if "coordinator" in read:
        pinned[COORDINATOR] = _key(str(read["coordinator"]))
    for log in logs:
        if log.name not in pinned:
            raise ConfigurationError(str(consortium), f"no member {log.name}, whose log this says it is", "Add the member, or give --key.")
    return {log.name: [pinned[log.name]] for log in logs}


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
    table = Table("party", "key", "entries", "signed up to", "peers' heads", "verification")
    for report in reports:
        key = report.head.key.hex()[:16] + "..." if report.head else "none"
        span = f"{report.start:,} to {report.size:,}" if report.start else f"{report.size:,}"
        result = "sound" if report.sound else f"{len(report.findings)} found"
        table.add_row(escape(report.party), key, span, f"{report.size - report.unsigned:,}", f"{report.checked:,}", result)
    console.print(table)
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
