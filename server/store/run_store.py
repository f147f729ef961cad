"""The run store: nodes that may take part, and runs with whoever works on them.

A worker is a process that claimed a run, by a token that no other process has. All it says about the run holds only while the run is still
its own: each change is one UPDATE whose WHERE names the worker and the state that it relies on, so that of two who believe the same, one is
told otherwise. A worker that is not heard of for `lapse` seconds is taken for dead, and its run may be claimed; should it live after all, its
next word raises RunTaken, and it must let the run be.

Nothing here has a clock: `now` is the caller's, as a text such as 2026-05-01T12:00:00Z.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, Self

import sqlalchemy as sa

from federation.kernel.errors import ConfigurationError, LocalError
from federation.kernel.manifest_rules import require_run_name
from federation.kernel.suite import plain_digest
from server.store import node_rows, run_rows
from server.store.database import Database, store_password
from server.store.records import Failure, Node, Run
from server.store.states import OVER, RunState, WrongTransition, require_transition
from server.store.tables import nodes, runs

LAPSE: Final = 60
"""Seconds without a beat after which a worker is taken for dead."""


class RunTaken(LocalError):
    """The run is not, or no longer, this worker's: another may work on it, and this one must let it be."""


class RunStore:
    """The coordinator's store. Every call is one transaction; on disk when it returns. Raises DataError where the database cannot be used."""

    def __init__(self, database: Database, lapse: int = LAPSE) -> None:
        self._database, self._lapse = database, lapse

    @classmethod
    def open(cls, url: str, password_file: Path | None = None, lapse: int = LAPSE) -> Self:
        """The store at a URL (sqlite:///FILE or postgresql+psycopg://USER@HOST/DATABASE), made or upgraded when it needs to be.

        The password is in `password_file`, or else in CREDITFED_STORE_PASSWORD. Raises ConfigurationError, DataError.
        """
        return cls(Database(url, store_password(password_file)), lapse)

    def close(self) -> None:
        """Let go of all connections."""
        self._database.close()

    # -- nodes ---------------------------------------------------------------------------------------------------------------------------------

    def enrol(self, node: Node) -> None:
        """Let a node take part. Raises ConfigurationError where its name or one of its keys is taken, or a key of it was ever revoked."""
        node_rows.require_node(node)
        with self._database.changing(alone=True) as connection:
            node_rows.require_room(connection, node)
            values = {column.name: getattr(node, column.name) for column in nodes.c if column.name != "number"}
            connection.execute(nodes.insert().values(values))

    def revoke(self, name: str, now: str) -> None:
        """No more of a node: final, and none of its keys comes back; its name may, with new ones. Raises ConfigurationError."""
        run_rows.require_moment(now)
        with self._database.changing() as connection:
            change = nodes.update().where(nodes.c.name == name, nodes.c.revoked_at.is_(None)).values(revoked_at=now)
            done = connection.execute(change).rowcount
        if not done:
            raise ConfigurationError(f"node {name}", "no node of this name is enrolled", "creditfed coordinator status lists them.")

    def nodes(self) -> tuple[Node, ...]:
        """All that were ever enrolled, in that order; `revoked_at` says who may not take part any more."""
        with self._database.reading() as connection:
            return tuple(node_rows.node_of(row) for row in connection.execute(node_rows.select_nodes()).mappings())

    def node(self, name: str) -> Node:
        """The last one enrolled under a name, revoked or not. Raises ConfigurationError."""
        found = [node for node in self.nodes() if node.name == name]
        if not found:
            raise ConfigurationError(f"node {name}", "no node of this name was enrolled", "creditfed coordinator status lists them.")
        return found[-1]

    # -- runs: whoever asks for them ---------------------------------------------------------------------------------------------------------

    def submit(self, name: str, run_file: bytes, now: str) -> Run:
        """Ask for a run. Raises ConfigurationError for a name that is none or taken."""
        require_run_name(name)
        run_rows.require_run_file(name, run_file)
        run_rows.require_moment(now)
        digest = plain_digest(run_file).hex()
        with self._database.changing(alone=True) as connection:
            there = connection.execute(sa.select(runs.c.digest).where(runs.c.name == name)).scalar()
            if there is not None:
                what = f"there is a run of this name, with {'this very' if there == digest else 'another'} run file"
                raise ConfigurationError(f"run {name}", what, "See creditfed coordinator status; a new run needs another name.")
            connection.execute(runs.insert().values(
                name=name, run_file=run_file, digest=digest, submitted_at=now, state=RunState.SUBMITTED.value, state_at=now, stage="",
                exchanges=0, attempt=1, stop_requested=False,
            ))  # fmt: skip
            return self._run(connection, name)

    def runs(self) -> tuple[Run, ...]:
        """All runs, in the order in which they were submitted."""
        with self._database.reading() as connection:
            return tuple(run_rows.run_of(row) for row in connection.execute(run_rows.select_runs()).mappings())

    def run(self, name: str) -> Run:
        """Raises ConfigurationError where there is none of this name."""
        with self._database.reading() as connection:
            return self._run(connection, name)

    def request_stop(self, name: str) -> None:
        """Ask whoever works on a run, now or later, to end it. Raises ConfigurationError for one that is not there or over."""
        with self._database.changing() as connection:
            change = runs.update().where(runs.c.name == name, runs.c.state.not_in(sorted(OVER))).values(stop_requested=True)
            if not connection.execute(change).rowcount:
                state = self._run(connection, name).state
                raise ConfigurationError(f"run {name}", f"it is {state} already", "There is nothing to stop.")

    def stop_requested(self, name: str) -> bool:
        """Whether somebody has asked for a run's end. Raises ConfigurationError where there is none of this name."""
        return self.run(name).stop_requested

    # -- runs: whoever works on them -----------------------------------------------------------------------------------------------------------

    def claim(self, worker: str, now: str) -> Run | None:
        """The run that was submitted first of those that nobody works on, from now on this worker's; None where there is none.

        Its state is as it was left: a run that a dead worker was at may be waiting or running.
        """
        run_rows.require_worker(worker)
        run_rows.require_moment(now)
        free = run_rows.free(now, self._lapse)
        with self._database.reading() as connection:
            names: Sequence[str] = connection.execute(sa.select(runs.c.name).where(free).order_by(runs.c.number)).scalars().all()
        for name in names:
            change = self._taking(name, free).values(worker=worker, beat_at=now)
            with self._database.changing() as connection:
                if connection.execute(change).rowcount:
                    return self._run(connection, name)
        return None

    def _taking(self, name: str, free: sa.ColumnElement[bool]) -> sa.Update:
        """Compare and set: the run is taken only if it is still free, whatever it was a moment ago."""
        return runs.update().where(runs.c.name == name, free)

    def beat(self, name: str, worker: str, now: str) -> Run:
        """Say that the worker lives; returns the run, which tells whether a stop was asked for. Raises RunTaken."""
        return self._change(name, worker, now, None, {})

    def release(self, name: str, worker: str, now: str) -> Run:
        """Let go of a run that is not over, so that another worker need not wait for a lapse. Raises RunTaken."""
        return self._change(name, worker, now, None, {"worker": None, "beat_at": None})

    def advance(
        self, name: str, worker: str, now: str, *, state: RunState | None = None, stage: str | None = None, exchanges: int | None = None,
        attempt: int | None = None, manifest_hash: str | None = None, session: str | None = None,
    ) -> Run:  # fmt: skip
        """Say how far a run is, and that the worker lives; what is None stays as it is, and the state it is in may be said again.

        Raises RunTaken; WrongTransition for a state that does not follow, and for an end: finish, fail and stop are for those.
        """
        said = {
            "stage": stage, "exchanges": exchanges, "attempt": attempt, "manifest_hash": manifest_hash, "session": session,
        }  # fmt: skip
        if state in OVER:
            raise WrongTransition(f"run {name}", f"it was advanced to {state}", "Report this bug.")
        return self._change(name, worker, now, state, {key: value for key, value in said.items() if value is not None})

    def finish(self, name: str, worker: str, now: str, *, conduct: bytes, model_hash: str | None = None) -> Run:
        """A run has come to its end. Raises RunTaken, WrongTransition."""
        hashed = {} if model_hash is None else {"model_hash": model_hash}
        return self._change(name, worker, now, RunState.FINISHED, {"conduct": conduct} | hashed)

    def fail(self, name: str, worker: str, now: str, failure: Failure, *, conduct: bytes | None = None) -> Run:
        """A run cannot go on. Raises RunTaken, WrongTransition."""
        kept = {} if conduct is None else {"conduct": conduct}
        return self._change(name, worker, now, RunState.FAILED, run_rows.failure_columns(failure) | kept)

    def stop(self, name: str, worker: str, now: str, *, conduct: bytes | None = None) -> Run:
        """A run was ended because somebody asked for it. Raises RunTaken, WrongTransition."""
        kept = {} if conduct is None else {"conduct": conduct}
        return self._change(name, worker, now, RunState.STOPPED, kept)

    def _change(self, name: str, worker: str, now: str, state: RunState | None, values: dict[str, Any]) -> Run:
        run_rows.require_moment(now)
        run_rows.require_values(values)
        with self._database.changing() as connection:
            before = self._run(connection, name)
            if before.worker != worker:
                raise _taken(before)
            values = {"beat_at": now} | values
            if state is not None and state is not before.state:
                require_transition(name, before.state, state)
                values |= {"state": state.value, "state_at": now}
                if state in OVER:
                    values |= {"worker": None, "beat_at": None}
            change = runs.update().where(runs.c.name == name, runs.c.worker == worker, runs.c.state == before.state.value)
            if not connection.execute(change.values(values)).rowcount:
                raise _taken(self._run(connection, name))
            return self._run(connection, name)

    def _run(self, connection: sa.Connection, name: str) -> Run:
        row = connection.execute(run_rows.select_runs().where(runs.c.name == name)).mappings().first()
        if row is None:
            raise ConfigurationError(f"run {name}", "there is none of this name", "creditfed coordinator status lists them.")
        return run_rows.run_of(row)


def _taken(run: Run) -> RunTaken:
    what = f"it is {run.state}" if run.over else "another process works on it" if run.worker else "no process works on it"
    return RunTaken(f"run {run.name}", f"{what}, and this one does not, or no longer", "Leave the run be; `claim` says which one is free.")
