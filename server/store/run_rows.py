"""Runs, as rows."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Mapping
from typing import Any, Final

import sqlalchemy as sa

from federation.kernel.errors import ConfigurationError, LocalError
from federation.kernel.manifest_rules import is_moment
from server.store.records import Failure, Run
from server.store.states import OVER, RunState
from server.store.tables import runs

MOST_BYTES: Final = 1 << 20
"""Of a run file."""
_HASH: Final = re.compile(r"[0-9a-f]{64}")
_WORKER: Final = re.compile(r"[!-~]{1,128}")
_FAILURE: Final = "failure_"
_COLUMNS: Final = tuple(column for column in runs.c if column.name != "number")
_TIME: Final = "%Y-%m-%dT%H:%M:%SZ"


def select_runs() -> sa.Select[Any]:
    """All runs, in the order in which they were submitted."""
    return sa.select(*_COLUMNS).order_by(runs.c.number)


def run_of(row: Mapping[Any, Any]) -> Run:
    """A row as a record."""
    fields: dict[str, Any] = {name: value for name, value in row.items() if not name.startswith(_FAILURE)}
    failure: dict[str, Any] = {name.removeprefix(_FAILURE): value for name, value in row.items() if name.startswith(_FAILURE)}
    fields |= {"state": RunState(row["state"]), "run_file": bytes(row["run_file"])}
    if row["conduct"] is not None:
        fields["conduct"] = bytes(row["conduct"])
    return Run(**fields, failure=None if failure["code"] is None else Failure(**failure))


def failure_columns(failure: Failure) -> dict[str, str | int]:
    """What a failure's columns hold. Text that a database would refuse is escaped: a failure must not be lost for the sake of its words."""
    text = failure.text.replace("\0", "\\0").encode("utf-8", "backslashreplace").decode()
    return {
        "failure_code": failure.code[:32], "failure_kind": failure.kind[:64], "failure_text": text, "failure_exit_code": failure.exit_code,
    }  # fmt: skip


def free(now: str, lapse: int) -> sa.ColumnElement[bool]:
    """Of runs that are not over and that nobody works on: nobody ever did, or whoever did has not been heard of for `lapse` seconds."""
    since = (dt.datetime.strptime(now, _TIME) - dt.timedelta(seconds=lapse)).strftime(_TIME)  # noqa: DTZ007  # UTC, as the text says
    return sa.and_(runs.c.state.not_in(sorted(OVER)), sa.or_(runs.c.worker.is_(None), runs.c.beat_at < since))


def require_moment(now: str) -> None:
    """Raises LocalError: whoever asks has the clock, and has it wrong."""
    if not is_moment(now):
        raise LocalError("run store", "it was given a time that is not one such as 2027-01-31T00:00:00Z", "Report this bug.")


def require_worker(worker: str) -> None:
    """Raises LocalError."""
    if not _WORKER.fullmatch(worker):
        raise LocalError("run store", "a worker's token is not 1 to 128 printing characters without spaces", "Report this bug.")


def require_values(changes: Mapping[str, Any]) -> None:
    """What a run's worker says of it. Raises LocalError."""
    for name in ("manifest_hash", "session", "model_hash"):
        if name in changes and not _HASH.fullmatch(changes[name]):
            raise LocalError("run store", f"{name} is not 64 hexadecimal digits", "Report this bug.")
    for name, least in (("exchanges", 0), ("attempt", 1)):
        if name in changes and not least <= changes[name] < 1 << 63:
            raise LocalError("run store", f"{name} is below {least}, or no number for a database", "Report this bug.")


def require_run_file(name: str, run_file: bytes) -> None:
    """Raises ConfigurationError."""
    if len(run_file) > MOST_BYTES:
        raise ConfigurationError(f"run {name}", f"its run file has more than {MOST_BYTES:,} bytes", "Name the run file itself.")
