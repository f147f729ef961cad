"""`creditfed node consent`: import, withdraw, show, explain, erase; key, where an agency holds a platform's consents.

Identifiers come from files or standard input, never from the command line, which shells and process lists keep.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Annotated

import typer

from clients.clock import utc_now
from clients.consent import audited
from clients.consent_key import give_key, take_key
from clients.home_option import HERE, HomeOption, there
from federation.kernel.errors import ConfigurationError
from privacy.consent.days import moment, to_date
from privacy.consent.rights import erase_text, explain_text
from privacy.consent.subject import SubjectKind
from privacy.store.consent_import import import_csv, import_sql
from privacy.store.consent_ledger import ConsentLedger

consent_app = typer.Typer(
    no_args_is_help=True, rich_markup_mode="markdown", help="Who consented to what, who withdrew, and what a person may ask (PIPL)."
)

Platform = Annotated[
    str, typer.Option("--platform", metavar="NAME", help="At an agency: the platform whose consents these are.", show_default=False)
]
IdFile = Annotated[Path | None, typer.Option("--ids", metavar="FILE", help="A text file, one identifier a line.", show_default=False)]
Subject = Annotated[
    SubjectKind | None,
    typer.Option("--subject", help="Whom the identifier names, where a firm and an owner have the same.", show_default=False),
]
IdStdin = Annotated[bool, typer.Option("--id-stdin", help="Read identifiers from standard input, one a line.")]


@consent_app.command("import", epilog="Example: creditfed node consent import consents.csv --home node")
def import_consents(
    file: Annotated[Path | None, typer.Argument(metavar="[FILE]", help="CSV, UTF-8, with a header.", show_default=False)] = None,
    home: HomeOption = HERE,
    sql: Annotated[
        str | None,
        typer.Option("--sql", metavar="URL", envvar="CREDITFED_CONSENT_SQL", help="A database instead of a file.", show_default=False),
    ] = None,
    query: Annotated[str | None, typer.Option("--query", metavar="SQL", help="One SELECT, for --sql.", show_default=False)] = None,
    platform: Platform = "",
) -> None:
    """Record consents, all or none.

    Columns: id, purpose, columns (names) or levels (the highest) or both, recipients, from, until, evidence; names in a cell are joined by ";".
    Where owners consent too, a column subject says whom the id names: firm (or nothing), or owner.
    Days are the first and the last on which the consent holds. The same file may be imported again: what is known is not repeated, and what
    was withdrawn stays withdrawn.
    """
    if (file is None) == (sql is None) or (sql is None) != (query is None):
        raise ConfigurationError("consent import", "it takes either a FILE, or --sql with --query", "Name one source.")
    with _ledger(home, platform) as ledger:
        if file is not None:
            done = import_csv(ledger, file, utc_now(), _progress)
        else:
            done = import_sql(ledger, sql or "", query or "", utc_now(), _progress)
    if not done.rows:
        typer.echo("There is no row below the header: nothing was imported.")
    typer.echo(f"{done.rows:,} rows: {done.added:,} consents added, {done.known:,} known before.")
    if done.withdrawn:
        typer.echo(f"Of those added {done.withdrawn:,} are withdrawn already: their subject withdrew on or after their first day.")


@consent_app.command(epilog="Example: creditfed node consent withdraw --ids withdrawn.txt --home node")
def withdraw(
    home: HomeOption = HERE,
    ids: IdFile = None,
    id_stdin: IdStdin = False,  # noqa: FBT002
    evidence: Annotated[
        Path | None, typer.Option("--evidence", metavar="FILE", help="Instead: references to evidence, one a line.", show_default=False)
    ] = None,
    platform: Platform = "",
    subject: Subject = None,
) -> None:
    """Withdraw consents, for good. Runs that are under way drop these rows, or end, at their next stage, as their manifest says.

    By identifier: all consents of whoever it names, firm or owner; a new one may begin the next day. By evidence: those under it.
    """
    if evidence is not None:
        if ids is not None or id_stdin or subject is not None:
            raise ConfigurationError("consent withdraw", "it takes identifiers or evidence, not both", "Run it twice.")
        references = _lines(evidence)
        with _ledger(home, platform) as ledger:
            found = ledger.withdraw_evidence(references, utc_now())
        typer.echo(f"{len(references):,} references withdrawn; {found:,} have consents here.")
        return
    listed = _identifiers(ids, id_stdin)
    with _ledger(home, platform) as ledger:
        known = ledger.withdraw(listed, utc_now(), subject)
    typer.echo(f"All consents of {known:,} subjects withdrawn.")
    if unknown := len(set(listed)) - known:
        typer.echo(
            f"{unknown:,} of the identifiers have no consent here: compare them with the request. What is imported for them later and"
        )
        typer.echo("began before today does not count.")


@consent_app.command(epilog="Example: creditfed node consent show --home node")
def show(home: HomeOption = HERE, platform: Platform = "") -> None:
    """Count consents by purpose, and list open requests for deletion: no subject is shown."""
    from rich.console import Console
    from rich.table import Table

    with _ledger(home, platform) as ledger:
        standing, requests, revision = ledger.standing(utc_now()), ledger.requests(), ledger.revision()
    table = Table("purpose", "in force", "not begun", "run out", "withdrawn")
    for row in standing:
        table.add_row(row.purpose, *(f"{count:,}" for count in (row.in_force, row.not_begun, row.run_out, row.withdrawn)))
    basis = there(home).config().get("legal_basis", "consent")
    none = "no record may be used" if basis == "consent" or platform else f"records are used by {basis} (legal_basis in node.toml)"
    Console().print(table if standing else f"The ledger has no consent: {none}.")
    open_ones = [request for request in requests if request.done is None]
    for request in open_ones:
        typer.echo(f"Request for deletion no. {request.number}: due {to_date(request.due)}.")
    typer.echo(f"Revision {revision:,}. Requests for deletion: {len(open_ones)} open, {len(requests) - len(open_ones)} done.")


@consent_app.command(epilog="Example: creditfed node consent explain --ids one.txt --home node")
def explain(
    home: HomeOption = HERE,
    ids: IdFile = None,
    id_stdin: IdStdin = False,  # noqa: FBT002
    platform: Platform = "",
    subject: Subject = None,
) -> None:
    """Write to one person what is held of their consent and what their record was, or at an agency may have been, used for (PIPL art. 24, 44,
    45).
    """
    name = _one(ids, id_stdin)
    config = there(home).config()
    with _ledger(home, platform) as ledger:
        known, institution = ledger.explain(name, subject), str(config.get("name", "this institution"))
        both = subject is None and len(ledger.kinds(name)) > 1
    typer.echo(explain_text(known, institution, moment(utc_now()), platform), nl=False)
    if both:
        typer.echo("A firm and an owner are known by this identifier; this is of the firm. Of the owner: --subject owner.", err=True)


@consent_app.command(epilog="Example: creditfed node consent erase --ids one.txt --home node")
def erase(
    home: HomeOption = HERE,
    ids: IdFile = None,
    id_stdin: IdStdin = False,  # noqa: FBT002
    done: Annotated[
        int | None, typer.Option("--done", metavar="NUMBER", help="Instead: this request has been carried out.", show_default=False)
    ] = None,
    platform: Platform = "",
    subject: Subject = None,
) -> None:
    """Record one person's request for deletion (PIPL art. 47), which also withdraws; prints what must be deleted, and by when."""
    if done is not None:
        with _ledger(home, platform) as ledger:
            first = ledger.erased(done, utc_now())
        typer.echo(f"Request for deletion no. {done}: done{'' if first else ' before'}.")
        return
    name = _one(ids, id_stdin)
    with _ledger(home, platform) as ledger:
        known = ledger.kinds(name)
        typer.echo(erase_text(*ledger.request_erasure(name, utc_now(), subject)), nl=False)
    if not known:
        typer.echo("This ledger has no consent and no use of this identifier: compare it with the request.")
    if platform:
        typer.echo(f"Pass it on to {platform}, which has the record if anybody has: what is listed is to be deleted there.")


@consent_app.command(epilog="Example: creditfed node consent key --platform platform-a --out key.toml --home agency")
def key(
    home: HomeOption = HERE,
    platform: Platform = "",
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="At the agency: write the key here.", show_default=False)
    ] = None,
    file: Annotated[
        Path | None, typer.Option("--from", metavar="FILE", help="At the platform: take the agency's key.", show_default=False)
    ] = None,
) -> None:
    """Share the key under which an agency's ledger and its statements name a platform's subjects.

    The agency: --platform and --out; the platform: --from. Bring the file by a way that both trust, and delete it on the way's both ends.
    """
    if (file is None) == (out is None) or (out is None) != (platform == ""):
        raise ConfigurationError("consent key", "it takes --platform with --out, or --from", "The agency makes it, the platform takes it.")
    if out is not None:
        give_key(there(home), platform, out)
        typer.echo(
            f"The key for {platform} is in {out}. Whoever reads it can open statements: hand it to {platform} alone, then delete it."
        )
    elif file is not None:
        typer.echo(f"Taken: the key that {take_key(there(home), file)} shares with this institution. Delete {file}.")


@contextmanager
def _ledger(home: Path, platform: str = "") -> Iterator[ConsentLedger]:
    with closing(audited(there(home), platform)) as ledger:
        yield ledger


def _identifiers(ids: Path | None, id_stdin: bool) -> list[str]:  # noqa: FBT001
    if (ids is None) != id_stdin:
        raise ConfigurationError("identifiers", "they come from --ids FILE or from --id-stdin", "Give one of the two.")
    return _lines(ids) if ids is not None else [line.strip() for line in sys.stdin if line.strip()]


def _one(ids: Path | None, id_stdin: bool) -> str:  # noqa: FBT001
    names = _identifiers(ids, id_stdin)
    if len(names) != 1:
        raise ConfigurationError("identifiers", f"there are {len(names)}, and one person asks at a time", "Give one line.")
    return names[0]


def _lines(path: Path) -> list[str]:
    try:
        return [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines() if line.strip()]
    except OSError as error:
        raise ConfigurationError(str(path), f"it cannot be read ({error.strerror})", "Give a text file, one a line.") from None
    except UnicodeDecodeError:
        raise ConfigurationError(path.name, "it cannot be read as UTF-8 text", "Give a text file, one a line.") from None


def _progress(rows: int) -> None:
    if rows % 100_000 == 0:
        typer.echo(f"{rows:,} rows read", err=True)
