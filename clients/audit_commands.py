"""`creditfed audit`: verify, show, compare and export audit logs. What they do is in `audit_views`, imported when it is used."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(no_args_is_help=True, help="Audit logs: verify with public keys, show a run, compare the parties' accounts, export.")

_WHERE = "A node's audit folder, or its home, which holds audit/."
Log = Annotated[Path, typer.Argument(metavar="PATH", help=_WHERE)]
Logs = Annotated[list[Path], typer.Argument(metavar="PATH...", help=f"One of each party. {_WHERE}")]
Consortium = Annotated[Path | None, typer.Option(metavar="FILE", help="consortium.toml: the members' identity keys.", show_default=False)]
Run = Annotated[str | None, typer.Option(metavar="RUN", help="This run only.", show_default=False)]


@app.command()
def verify(
    path: Log,
    key: Annotated[
        list[str] | None,
        typer.Option(metavar="HEX", help="The node's identity key; again for one that was renewed.", show_default=False),
    ] = None,
    consortium: Consortium = None,
    witness: Annotated[
        list[Path] | None,
        typer.Option(metavar="PATH", help="Another party's log, with the heads that it saw of this one.", show_default=False),
    ] = None,
) -> None:
    """Check every entry, signature and head of a log. What is wrong is named, with the entry, and the exit code is 5.

    Without --key or --consortium the key that the log names is believed. Without --witness nothing shows whether the node itself went back to an
    older log, or wrote it anew: peers' logs have the evidence.
    """
    from clients.audit_views import verify_log

    verify_log(path, key or [], consortium, witness or [])


@app.command()
def show(path: Log, run: Run = None) -> None:
    """The entries of a log, as they stand: `verify` says whether they are what was written."""
    from clients.audit_views import show_entries

    show_entries(path, run)


@app.command()
def compare(paths: Logs, run: Run = None, consortium: Consortium = None) -> None:
    """Whether the parties' accounts agree: each log against the heads that others saw of it, then manifest, session, signatures, messages.

    All runs that two logs know, unless one is named. Exit code 5 where they differ.
    """
    from clients.audit_views import compare_logs

    compare_logs(paths, run, consortium)


@app.command()
def export(
    paths: Logs,
    out: Annotated[Path, typer.Option("--out", metavar="FILE", help="account.md to read, or account.json.")],
    consortium: Consortium = None,
) -> None:
    """For a regulator: who computed what, with whose approval, across institutions, without any record; and what verification found."""
    from clients.audit_views import export_account

    export_account(paths, out, consortium)


@app.command()
def pack(
    run: Annotated[str, typer.Argument(metavar="RUN", help="The run's name, as `audit show` has it.")],
    out: Annotated[Path, typer.Option("--out", metavar="FOLDER", help="Gets pack.json and pack.html.")],
    who: Annotated[str, typer.Option("--as", metavar="NAME", help="Who looks: a validator of `creditfed node approvers`.")],
    home: Annotated[Path, typer.Option("--home", metavar="DIR", help="The node's folder.")] = Path(),
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
