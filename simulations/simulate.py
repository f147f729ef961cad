"""`creditfed simulate`: a whole consortium on one machine, each institution in a home folder of its own, and then what the researcher sees.

    DIR/parties/NAME/      each institution's home (node.toml with its own section of the run file, keys, journal, results)
    DIR/coordinator/       the coordinator's
    DIR/result.json, report.html, scores/, models/, bins/, audit/    gathered from them at the end

Only here do all shares come together, and result.json says so.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import sys
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from threadpoolctl import threadpool_limits

from clients.approvals import Approvals
from clients.home import Home
from federation.kernel.errors import AbortCode, ConfigurationError, CreditfedError
from federation.kernel.manifest import AGENCY
from server.keys import file_key
from server.report import write_report
from server.run_file import RunFile, load
from simulations.founding import AT_ONCE, found_homes, simulated
from simulations.gather import gather
from simulations.progress import Followed, Screen
from simulations.ray_client import PROGRESS

BACKENDS = ("inline", "ray")
JOURNALS = ("memory", "disk")
PARTITION = "partition-id"
"""Flower's name for a simulated client's number, in its node configuration; `home` beside it is the client's folder."""


class RunFailed(CreditfedError):
    """A run that ended early: the first party's own reason, with its exit code."""

    def __init__(self, exit_code: int, text: str, code: AbortCode = AbortCode.INTERNAL) -> None:
        super().__init__("run", text, code=code)
        self.exit_code = exit_code

    def __str__(self) -> str:
        return self.what


def simulate(
    run_file: Path, out: Path, *, backend: str = "inline", journal: str | None = None, pooled: bool = False, ray_address: str | None = None
) -> dict[str, Any]:
    """Run RUN.toml into a folder; returns the result as written. journal: None stands for the back end's own.

    Raises CreditfedError with the exit code of DESIGN section 10.
    """
    journal = _journal(backend, journal, ray_address)
    settings = load(run_file)
    started = time.monotonic()
    run = f"run-{settings.digest[:12]}"
    homes = prepare_homes(settings, out, run, "shared" if ray_address else journal)
    screen = Screen(settings)
    with threadpool_limits(1), screen:  # floating-point sums must not depend on the number of cores
        conduct = run_apps(run_file, out, homes, run, journal, screen, backend=backend, ray_address=ray_address)
    failure = first_failure(homes, conduct)
    if failure is not None:
        if failure.code not in (AbortCode.APPROVAL, AbortCode.REVOKED):  # those runs are with people
            erase_journals(out)
        raise failure
    seconds = time.monotonic() - started
    agencies = {agency.name: homes.pop(agency.name) for agency in settings.agencies}
    agencies = {name: home for name, home in agencies.items() if (home / "results" / "relayed.json").exists()}
    result = gather(settings, out, homes, agencies, conduct, seconds, screen.history, backend=backend, pooled=pooled)
    write_report(out)
    erase_journals(out)
    screen.summary(result, out, pooled=pooled)
    return dict(json.loads((out / "result.json").read_bytes()))


def _journal(backend: str, journal: str | None, ray_address: str | None) -> str:
    """Where journals are kept. Raises ConfigurationError for what does not go together."""
    if backend not in BACKENDS or journal not in (*JOURNALS, None):
        given = f"--backend {backend}" + ("" if journal is None else f" --journal {journal}")
        what = f"there is no such choice as {given}"
        raise ConfigurationError("command line", what, f"Back ends are {', '.join(BACKENDS)}; journals {', '.join(JOURNALS)}.")
    if backend == "ray" and journal == "memory":
        what = "--backend ray --journal memory: a client's messages may come to several processes, which must find its journal"
        raise ConfigurationError("command line", what, "Leave --journal out: with ray it is always on disk.")
    if ray_address is not None and backend != "ray":
        raise ConfigurationError("command line", f"--ray-address with --backend {backend}", "Add --backend ray, or leave the address out.")
    if backend == "ray":
        from simulations.ray_workers import require_ray

        require_ray()
    return journal or ("disk" if backend == "ray" else "memory")


def prepare_homes(settings: RunFile, out: Path, run: str, journal: str) -> dict[str, Path]:
    """A home for each institution, with its own section of the run file and nothing of the others'.

    What an earlier run left is cleared, unless it was this same run and is not over: then it goes on, or begins where people have approved it.
    """
    homes = {name: out / "parties" / name for name in settings.nodes}
    resuming = (out / "coordinator" / "drafts" / f"{run}.json").exists() and not (journal == "memory" and _any_opened(homes))
    if not resuming and any(_people_voted(home) for home in homes.values()):
        what = "people voted on a run in this folder, and a new one would forget their votes, revocations and logs"
        raise ConfigurationError(str(out), what, "Give another --out, or move the folder away.")
    try:
        out.mkdir(parents=True, exist_ok=True)
        if not resuming:
            erase_journals(out)
            for name in ("result.json", "report.html", "curves.json"):
                (out / name).unlink(missing_ok=True)
        for home in homes.values():
            home.mkdir(parents=True, exist_ok=True)
            (home / "results" / "failure.json").unlink(missing_ok=True)  # of the last attempt, which may have waited for people
        (out / "coordinator").mkdir(exist_ok=True)
        coordinator = file_key(out / "coordinator" / "keys" / "identity.key")
        if not resuming:
            shutil.rmtree(out / "coordinator" / "audit", ignore_errors=True)
        found_homes(settings, homes, coordinator, journal, resuming=resuming)
    except OSError as error:
        raise ConfigurationError(
            str(out), f"the output folder cannot be written ({error.strerror})", "Choose a folder you may write to."
        ) from None
    return homes


def _any_opened(homes: dict[str, Path]) -> bool:
    """Whether a node has opened a run, which with journals in memory ended with its process."""
    return any(event.event == "opened" for home in homes.values() for event in Approvals(Home(home)).events())


def _people_voted(home: Path) -> bool:
    """Whether a node that does not approve at once has votes."""
    return not (home / AT_ONCE).exists() and bool(Approvals(Home(home)).votes())


def erase_journals(out: Path) -> None:
    """Forget the sessions of a run that is over, and their secrets with them."""
    for folder in (out / "coordinator", *(out / "parties").glob("*")):
        shutil.rmtree(folder / "journal", ignore_errors=True)
    shutil.rmtree(out / "coordinator" / "drafts", ignore_errors=True)


def run_apps(
    run_file: Path, out: Path, homes: dict[str, Path], run: str, journal: str, screen: Screen, *, backend: str, ray_address: str | None
) -> dict[str, Any]:
    """The same ServerApp and ClientApp as in a deployment, over the in-process Grid: clients in this process, or in Ray's workers."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from flwr.app import Context, RecordDict

        from clients.residents import RESIDENTS, dismiss, resident
        from server.app import Watcher, watchers
        from server.app import app as server_app
        from simulations.inline import InlineGrid

    logging.getLogger("flwr").setLevel(logging.ERROR)
    logging.getLogger("creditfed.node").setLevel(logging.CRITICAL)  # each node's failure.json has it; `first_failure` prints it once
    RESIDENTS.make = simulated
    for home in homes.values():
        dismiss(home)
        resident(home).observer = screen.party
    configs = {name: config for name, home in homes.items() if (config := resident(home).config).role != AGENCY}
    screen.estimate(configs)
    folder = out / "coordinator"
    context = Context(
        run_id=1, node_id=0, node_config={}, state=RecordDict(),
        run_config={"folder": str(folder), "run-file": str(run_file), "run": run, "journal": journal},
    )  # fmt: skip
    nodes = {11 + i: {"home": str(home.absolute()), PARTITION: str(i)} for i, home in enumerate(homes.values())}
    watching: list[Watcher] = [screen.coordinator]
    if backend == "ray":
        followed = list(homes)[:1] if all(config.label for config in configs.values()) else list(homes)  # banks all report the same sums
        watching.append(Followed(screen, {name: homes[name] / "results" / PROGRESS for name in followed}))
    watchers.extend(watching)
    try:
        with clients(backend, ray_address, len(nodes)) as (app, workers):
            server_app(InlineGrid(app, nodes, workers), context)
    finally:
        for watch in watching:
            watchers.remove(watch)
    return dict(json.loads((folder / "conduct.json").read_text()))


@contextmanager
def clients(backend: str, ray_address: str | None, count: int) -> Iterator[tuple[Any, int]]:
    """What answers for the clients, and for how many it works at once."""
    if backend == "inline":
        from clients.app import app

        yield app, os.cpu_count() or 1
        return
    from simulations.ray_workers import RayWorkers

    with RayWorkers(ray_address, count) as workers:
        yield workers, 2 * workers.count  # while a worker works, its next message is on its way


def first_failure(homes: dict[str, Path], conduct: dict[str, Any]) -> RunFailed | None:
    """The failure that started it: an institution's own rather than the news of it at the others."""
    found = [json.loads(path.read_text()) for home in homes.values() if (path := home / "results" / "failure.json").exists()]
    own = [failure for failure in found if failure["kind"] != "PeerAborted"]
    coordinators = [conduct["failure"]] if conduct["failure"] else []
    for failure in own + [f for f in coordinators if f["kind"] not in ("PeerAborted", "Refused")] + found + coordinators:
        return RunFailed(failure["exit_code"], failure["text"], AbortCode(failure["code"]))
    return None


if __name__ == "__main__":
    simulate(Path(sys.argv[1]), Path(sys.argv[2]))
