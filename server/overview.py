"""What `creditfed coordinator status` shows: the server, who is enrolled and online, and how far runs are. Nothing of it is an institution's."""

from __future__ import annotations

import json
import time
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Column, Table

from privacy.approval.words import fingerprint
from server.only_one import there_is_one
from server.place import Place
from server.store.records import Run
from server.store.run_store import RunStore

_LOOK = 0.3


def server_says(place: Place) -> dict[str, Any]:
    """What the server wrote last about itself; empty where none runs, also where one was killed."""
    if not there_is_one(place.root):
        return {}
    try:
        return dict(json.loads((place.root / "server.json").read_bytes()))
    except (OSError, ValueError):
        return {}


def show(place: Place, store: RunStore) -> None:
    """Everything, in three parts."""
    console, said, settings = Console(), server_says(place), place.settings
    at = f"{settings.host}:{settings.port}"
    console.print(
        f"The server runs (process {said['pid']}) and listens on {at}."
        if said
        else f"The server for {at} begins, or ends."
        if there_is_one(place.root)
        else f"No server runs for {at}: creditfed coordinator start."
    )
    institutions = Table(
        Column("institution", overflow="fold"),
        Column("role", no_wrap=True),
        Column("fingerprint", no_wrap=True),
        Column("state", no_wrap=True),
    )
    for node in store.nodes():
        state = (
            "revoked"
            if node.revoked_at
            else "by files"
            if node.way == "files"
            else "online"
            if node.name in said.get("online", ())
            else "offline"
        )
        institutions.add_row(node.name, node.role, fingerprint(node.key), state)
    console.print(institutions if institutions.row_count else "Nobody is enrolled yet: creditfed coordinator enrol.")
    runs = Table(Column("run", overflow="fold", no_wrap=True), Column("state", no_wrap=True), Column("since", no_wrap=True), "how far")
    for run in store.runs():
        runs.add_row(run.name, run.state.value, run.state_at, escape(_how_far(run)))
    console.print(runs if runs.row_count else "No run was submitted yet: creditfed coordinator submit RUN.toml.")


def _how_far(run: Run) -> str:
    """In a few words."""
    if run.failure is not None:
        return f"reason: {run.failure.code}"
    exchanges = f"{run.exchanges} exchanges" if run.over else f"exchange {run.exchanges}"
    return ", ".join(filter(None, ("" if run.over else run.stage, exchanges if run.exchanges else "")))


def show_run(place: Place, run: Run) -> None:
    """One run: what it is, how far, what came of it or why nothing did."""
    console = Console()
    table = Table(Column(), Column(overflow="fold"), show_header=False)
    rows: list[tuple[str, object]] = [
        ("run", run.name), ("submitted", run.submitted_at), ("state", f"{run.state.value} since {run.state_at}"),
        ("at", "" if run.over else run.stage),
        ("exchanges", run.exchanges or ""), ("manifest", run.manifest_hash or ""), ("model hash", run.model_hash or ""),
    ]  # fmt: skip
    record = json.loads(run.conduct) if run.conduct else {}
    if record.get("seconds"):
        rows.append(("seconds", f"{sum(record['seconds'].values()):.1f}"))
        rows.append(("sent", ", ".join(f"{name} {size / 1e6:.1f} MB" for name, size in record["bytes_sent"].items())))
        rows.append(("record", place.run(run.name) / "conduct.json"))
    for key, value in rows:
        if value != "":
            table.add_row(key, escape(str(value)))
    console.print(table)
    if run.failure is not None:
        console.print(escape(run.failure.text), style="red", soft_wrap=True)


def follow(place: Place, store: RunStore, name: str) -> Run:
    """A line that moves until the run is over, or where there is no terminal a line for each phase; returns the run then."""
    console = Console(stderr=True)
    run, begun, before = store.run(name), time.monotonic(), ""
    with console.status(_line(run, 0.0)) as shown:
        while not run.over:
            time.sleep(_LOOK)
            run = store.run(name)
            note = "" if server_says(place) else " (no server runs: creditfed coordinator start)"
            shown.update(_line(run, time.monotonic() - begun) + note)
            if (
                not console.is_terminal
                and (now := f"{run.state.value}, {run.stage.partition(' ')[0] if run.exchanges else run.stage}") != before
            ):
                console.print(_line(run, time.monotonic() - begun) + note, soft_wrap=True)
                before = now
    return run


def _line(run: Run, seconds: float) -> str:
    exchanges = f", exchange {run.exchanges}" if run.exchanges else ""
    return escape(f"{run.name}: {run.state.value}, {run.stage or 'not taken up yet'}{exchanges}, {seconds:.0f} s")
