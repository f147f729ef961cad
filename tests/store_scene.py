"""Run stores for tests: nodes of every role, a run in any state, and times that pass when told to."""

from __future__ import annotations

import datetime as dt
from functools import cache

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from federation.kernel import suite
from federation.kernel.joining import joining
from federation.kernel.secret import Secret
from server.store.records import Failure, Node
from server.store.run_store import RunStore
from server.store.states import RunState

START = dt.datetime(2026, 5, 1, 12, tzinfo=dt.UTC)
LAPSE = 60
FAILURE = Failure("data", "DataError", "bank: column 'age' has 3 values that are not finite", 5)


def at(seconds: int) -> str:
    return (START + dt.timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")


@cache
def node(name: str = "bank-a", seed: int = 1, role: str = "bank", way="connected") -> Node:
    """A node whose keys come from its seed."""
    identity, exchange = Secret(bytes([seed]) * 32), suite.agreement_public(Secret(bytes([seed + 100]) * 32))
    shown = ec.derive_private_key(seed + 1000, ec.SECP384R1()).public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)
    return Node.of(joining(name, role, identity, shown.decode(), exchange.hex()), way, at(0))


def run_in(store: RunStore, state: RunState, name: str = "r", worker: str = "w") -> None:
    """Submit a run and bring it there, worked on by `worker` unless it is only submitted or over."""
    store.submit(name, b"[run]", at(0))
    if state is RunState.SUBMITTED:
        return
    claimed = store.claim(worker, at(0))
    assert claimed is not None and claimed.name == name
    if state in (RunState.WAITING, RunState.RUNNING, RunState.FINISHED):
        store.advance(name, worker, at(1), state=RunState.WAITING)
    if state in (RunState.RUNNING, RunState.FINISHED):
        store.advance(name, worker, at(2), state=RunState.RUNNING)
    if state is RunState.FINISHED:
        store.finish(name, worker, at(3), conduct=b"{}")
    if state is RunState.FAILED:
        store.fail(name, worker, at(3), FAILURE)
    if state is RunState.STOPPED:
        store.stop(name, worker, at(3))
