"""`creditfed node members` and `creditfed node approve consortium.toml`: whom this node knows, by keys that people have compared."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from clients.home_option import HERE, HomeOption, there

if TYPE_CHECKING:
    from clients.consortium import Consortium
    from clients.home import Home


def members(home: HomeOption = HERE) -> None:
    """The members that this node knows, with the fingerprints to compare."""
    from clients.consortium import read

    _show(read(there(home).root), None)


def pin_members(node: Home, path: Path, *, yes: bool) -> None:
    """Show a consortium's file beside what is pinned, and pin it once somebody has said that the fingerprints were compared.

    Raises ConfigurationError for a file that has another key for this node or its coordinator.
    """
    from clients.clock import utc_now
    from clients.consortium import FILE, read_file, write
    from clients.joined import require_ours
    from federation.kernel import suite
    from privacy.store.audit_file import AuditFile

    proposed = read_file(path)
    require_ours(node, proposed)
    pinned = read_file(node.root / FILE) if (node.root / FILE).exists() else None
    if pinned == proposed:
        typer.echo("These members are pinned already.")
        return
    _show(proposed, pinned)
    if not yes:
        try:
            typer.confirm("Have you compared every new fingerprint with its owner, by telephone or on paper?", abort=True)
        except typer.Abort:
            typer.echo("Nothing was pinned.")
            raise
    write(node.root, proposed.coordinator, proposed.members)
    digest = suite.digest("consortium", (node.root / FILE).read_bytes()).hex()
    log = AuditFile(node.root / "audit", node.key("identity"), utc_now, party=str(node.config()["name"]))
    log.append("configuration", "", change="members pinned", members=len(proposed.members), consortium=digest)
    log.sync()
    typer.echo(f"{len(proposed.members)} members and the coordinator are pinned. Next: creditfed node start --home {node.root}")


def _show(found: Consortium, pinned: Consortium | None) -> None:
    from rich.console import Console
    from rich.table import Column, Table

    from privacy.approval.words import fingerprint

    before = {} if pinned is None else {member.name: member.key for member in pinned.members}
    table = Table(
        Column("member", overflow="fold"), Column("role", no_wrap=True), Column("fingerprint", no_wrap=True), Column("note", no_wrap=True)
    )
    known = "" if pinned is None or pinned.coordinator == found.coordinator else "another key"
    table.add_row("coordinator", "", fingerprint(found.coordinator), "revoked" if found.coordinator_revoked else known)
    for member in found.members:
        change = "new" if pinned is not None and member.name not in before else ""
        change = "another key" if member.name in before and before[member.name] != member.key else change
        table.add_row(member.name, member.role, fingerprint(member.key), "revoked" if member.revoked else change)
    Console().print(table)
