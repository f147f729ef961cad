"""`creditfed coordinator`: init, start, enrol, submit, status, stop. Who may write in its folder gives orders; no port takes any."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from server.place import Place
    from server.store.records import Run
    from server.store.run_store import RunStore

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    help="""The coordinator's server: it schedules runs and carries messages; it sees no record and no contribution.

**In order**

    creditfed coordinator init --host flower.example.org --home coordinator

gives keys, certificates and *invitation.toml*, which every institution gets. Each sends back NAME.join.toml; put it into coordinator/joining.

    creditfed coordinator enrol "FINGERPRINT" --home coordinator

after comparing the fingerprint by telephone; without a fingerprint it lists what waits. Then give all of them *consortium.toml*.

    creditfed coordinator start --home coordinator

    creditfed coordinator submit scorecard.toml --home coordinator --follow

The institutions approve (`creditfed node approve`), and the run goes on by itself. docs/guides/coordinator.md has it all.
""",
)
HomeOption = Annotated[Path, typer.Option("--home", metavar="DIR", help="The coordinator's folder.")]
HERE = Path()


def _there(home: Path) -> tuple[Place, RunStore]:
    """The coordinator of a folder, and its store."""
    from server.place import Place
    from server.store.run_store import RunStore

    place = Place.there(home)
    password = place.root / "store.password"
    return place, RunStore.open(place.store_url, password if password.exists() else None, LAPSE)


LAPSE = 20
"""Seconds after which a run whose server died is taken up by the next."""


@app.command(epilog="Example: creditfed coordinator init --host flower.example.org --port 9092 --home coordinator")
def init(
    home: HomeOption = HERE,
    host: Annotated[
        list[str] | None,
        typer.Option(
            "--host", help="Name or address by which nodes reach the server; repeat for more. The first one is in the invitation."
        ),
    ] = None,
    port: Annotated[int, typer.Option("--port", min=1, max=65535, help="The one port that must be reachable.")] = 9092,
    listen: Annotated[str, typer.Option("--listen", help="The interface to listen on.")] = "0.0.0.0",  # noqa: S104  # what is served there is the guard's
    certificate: Annotated[
        Path | None, typer.Option("--certificate", metavar="PEM", help="Your own PKI's server certificate, with its chain.")
    ] = None,
    key: Annotated[Path | None, typer.Option("--key", metavar="PEM", help="Its private key.")] = None,
    ca: Annotated[Path | None, typer.Option("--ca", metavar="PEM", help="The authority that nodes shall trust.")] = None,
    store: Annotated[str, typer.Option("--store", metavar="URL", help="PostgreSQL for runs and nodes; a SQLite file here without.")] = "",
) -> None:
    """Found a coordinator: keys, an authority and a server certificate (or your own PKI's), and the invitation for institutions."""
    from federation.kernel.errors import ConfigurationError
    from privacy.approval.words import fingerprint
    from server.certificates import adopt, issue
    from server.conducting import moment
    from server.place import Place, Settings
    from server.store.run_store import RunStore

    place, hosts = Place(home), tuple(host or ("localhost", "127.0.0.1"))
    if (home / "coordinator.toml").exists():
        raise ConfigurationError(str(home), "there is a coordinator already", "Choose another folder; its keys are made once.")
    own = [given for given in (certificate, key, ca) if given is not None]
    if own and len(own) < 3:
        raise ConfigurationError("--certificate, --key, --ca", "only some of them are given", "Give all three, or none.")
    home.mkdir(parents=True, exist_ok=True, mode=0o700)
    (home / "joining").mkdir(exist_ok=True)
    if certificate is not None and key is not None and ca is not None:
        adopt(place.tls, certificate, key, ca, hosts, moment())
    else:
        issue(place.tls, hosts, moment())
    settings = Settings(host=listen, port=port, hosts=hosts, store=store)
    RunStore.open(store or f"sqlite:///{(home / 'runs.db').absolute()}").close()
    made = place.found(settings)
    typer.echo(f"The coordinator is founded in {home}; nodes will reach it at {made.address}.\n")
    typer.echo(f"  key          {made.key}\n  fingerprint  {fingerprint(made.key)}\n")
    typer.echo(f"Next: give {home / 'invitation.toml'} to each institution, and compare this fingerprint with them by telephone.")
    typer.echo(f"Put the NAME.join.toml that each sends back into {home / 'joining'}, then: creditfed coordinator enrol --home {home}")


@app.command(epilog="Example: creditfed coordinator renew --home coordinator")
def renew(
    home: HomeOption = HERE,
    certificate: Annotated[
        Path | None, typer.Option("--certificate", metavar="PEM", help="Of your own PKI: its new server certificate, with its chain.")
    ] = None,
    key: Annotated[
        Path | None, typer.Option("--key", metavar="PEM", help="Its private key; the one in use where not given.", show_default=False)
    ] = None,
) -> None:
    """Another server certificate by the authority made at `init`, or of your own PKI; institutions need nothing new.

    Start the server again afterwards.
    """
    from server.certificates import adopt_anew
    from server.conducting import moment
    from server.pki import renew as issue_again

    place, store = _there(home)
    store.close()
    hosts = place.settings.hosts
    written = issue_again(place.tls, moment(), hosts) if certificate is None else adopt_anew(place.tls, certificate, key, hosts, moment())
    typer.echo(f"{written} is renewed. Start the server again.")


@app.command(epilog="Example: creditfed coordinator start --home coordinator")
def start(home: HomeOption = HERE) -> None:
    """Run the server until it is told to end (Ctrl-C, or SIGTERM from a service manager). Runs that are under way go on with the next start."""
    import logging
    import signal
    import threading
    import time

    from server.certificates import require_usable
    from server.conducting import moment
    from server.only_one import the_only_one
    from server.serve import Server

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", datefmt="%Y-%m-%dT%H:%M:%SZ")
    logging.Formatter.converter = time.gmtime  # as in the audit log, and whatever status shows
    for quiet in ("uvicorn", "alembic", "sqlalchemy"):
        logging.getLogger(quiet).setLevel(logging.ERROR)
    logging.getLogger("flwr").setLevel(logging.CRITICAL + 1)  # it quotes what strangers send
    place, store = _there(home)
    left = require_usable(place.tls, place.settings.hosts, moment())
    over = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: over.set())
    with the_only_one(place.root):
        settings = place.settings
        typer.echo(
            f"The coordinator listens on {settings.host}:{settings.port}; its certificate is good for {left} more days. Ctrl-C ends it."
        )
        Server(place, store).run(over)
    typer.echo("The coordinator has ended. Runs that are under way go on with the next start.")
    store.close()


@app.command(epilog='Example: creditfed coordinator enrol "3f1a 90cc 7d2e b501 1c44 8a0f 5e6d 2b97" --home coordinator')
def enrol(
    compared: Annotated[
        list[str] | None, typer.Argument(metavar="FINGERPRINT", help="As you compared it by telephone.", show_default=False)
    ] = None,
    home: HomeOption = HERE,
    file: Annotated[list[Path] | None, typer.Option("--file", metavar="JOIN.toml", help="A joining file that lies elsewhere.")] = None,
    by_files: Annotated[bool, typer.Option("--files", help="Its batches travel as files: it runs `creditfed node exchange`.")] = False,  # noqa: FBT002
    revoke: Annotated[str | None, typer.Option("--revoke", metavar="NAME", help="Let this institution in no longer; final.")] = None,
) -> None:
    """Let an institution in, after comparing its fingerprint; without one, list what waits. --revoke takes it back."""
    from rich.console import Console
    from rich.table import Column, Table

    from server import enrolment
    from server.conducting import moment

    place, store = _there(home)
    files = tuple(file or ())
    if revoke is not None:
        store.revoke(revoke, moment())
        enrolment.pin(place, store)
        typer.echo(
            f"{revoke} is let in no longer. Give every member the new {place.root / 'consortium.toml'}: each pins it by creditfed node approve."
        )
    elif compared:
        node = enrolment.enrol(place, store, " ".join(compared), files, "files" if by_files else "connected", moment())
        typer.echo(f"{node.name} ({node.role}) is enrolled. Give {place.root / 'consortium.toml'} to every member when all are.")
    else:
        table = Table(Column("institution", overflow="fold"), Column("role", no_wrap=True), Column("fingerprint", no_wrap=True))
        for one in enrolment.waiting(place, files):
            table.add_row(one.joining.name, one.joining.role, one.fingerprint)
        Console().print(table if table.row_count else f"No joining file waits in {place.root / 'joining'}.")
        if table.row_count:
            typer.echo("Have each read its fingerprint to you by telephone, then enrol what you heard:")
            typer.echo(f'creditfed coordinator enrol "FINGERPRINT" --home {home}')
    store.close()


@app.command(epilog="Example: creditfed coordinator submit scorecard.toml --home coordinator --follow")
def submit(
    run_file: Annotated[
        Path, typer.Argument(metavar="RUN.toml", help="As for `creditfed simulate`; each institution's own node.toml has its source.")
    ],
    home: HomeOption = HERE,
    name: Annotated[
        str | None, typer.Option("--name", help="The run's name; made from the file's where not given.", show_default=False)
    ] = None,
    follow: Annotated[bool, typer.Option("--follow", help="Show how it goes until it ends.")] = False,  # noqa: FBT002  # a flag
) -> None:
    """Ask for a run. Each institution sees it in `creditfed node pending`, and it begins when all have approved."""
    from federation.kernel.errors import ConfigurationError
    from server.conducting import moment
    from server.run_file import load_deployed

    place, store = _there(home)
    settings, idle = load_deployed(run_file)
    enrolled = {node.name for node in store.nodes() if node.revoked_at is None}
    missing = [party for party in settings.nodes if party not in enrolled]
    if missing:
        what = f"it names {', '.join(missing)}, and no institution of that name is enrolled"
        raise ConfigurationError(run_file.name, what, f"Enrolled are {', '.join(sorted(enrolled)) or 'none'}: name these, or enrol others.")
    taken = {run.name for run in store.runs()}
    stem = f"{run_file.stem}-{settings.digest[:6]}"
    called = name or next(each for number in range(1, len(taken) + 2) if (each := stem if number == 1 else f"{stem}-{number}") not in taken)
    store.submit(called, run_file.read_bytes(), moment())
    if idle:
        typer.echo(f"Not counted, since each institution's node.toml says it: {', '.join(idle)}.")
    typer.echo(f"{called} is submitted. Each institution: creditfed node approve {called}")
    if follow:
        _follow(place, store, called)
    store.close()


@app.command(epilog="Example: creditfed coordinator status scorecard-1a2b3c --home coordinator")
def status(
    run: Annotated[str | None, typer.Argument(metavar="RUN", help="One run; all of them where not given.", show_default=False)] = None,
    home: HomeOption = HERE,
    follow: Annotated[bool, typer.Option("--follow", help="Show how it goes until it ends.")] = False,  # noqa: FBT002  # a flag
) -> None:
    """The server, the institutions and the runs; or one run, with why it failed."""
    from server.overview import show, show_run

    place, store = _there(home)
    if run is None:
        show(place, store)
    elif follow:
        _follow(place, store, run)
    else:
        show_run(place, store.run(run))
    store.close()


@app.command(epilog="Example: creditfed coordinator stop scorecard-1a2b3c --home coordinator")
def stop(run: Annotated[str, typer.Argument(metavar="RUN", help="The run's name.")], home: HomeOption = HERE) -> None:
    """End a run; the institutions are told. It cannot be taken up again, only submitted anew."""
    _, store = _there(home)
    store.request_stop(run)
    typer.echo(f"{run} will end as soon as the server has heard of it: creditfed coordinator status {run} --home {home}")
    store.close()


def _follow(place: Place, store: RunStore, name: str) -> Run:
    """Until the run is over. Raises typer.Exit with the code of its failure."""
    from server.overview import follow, show_run

    found = follow(place, store, name)
    show_run(place, found)
    if found.failure is not None:
        raise typer.Exit(found.failure.exit_code)
    return found
