"""Flower is the courier: the same two apps as in a deployment, every message serialised, no telemetry, and no text of an error on the wire."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
from flwr.app import ArrayRecord, ConfigRecord, Context, Message, RecordDict
from flwr.clientapp import ClientApp
from flwr.common.serde import message_from_proto, message_to_proto
from flwr.serverapp import Grid, ServerApp

import clients.app
import clients.node
import clients.vault
import server.app
from federation.carriage.mailbox import LARGEST, MESSAGE_TYPE, QUERY, SHORT, Parcel, pack, unpack
from federation.kernel.errors import AbortCode, CreditfedError, PeerError
from simulations import inline
from simulations.inline import InlineGrid
from tests.end_to_end.scene import ROOT, World, creditfed, result, simulated

NODE = 11


def a_home(world: World, folder: Path) -> Path:
    """A node's home with the tax bureau's section."""
    from server.run_file import load
    from simulations.simulate import prepare_homes

    return prepare_homes(load(world.run_file("flower")), folder / "out", "run-x", "memory")["tax"]


def ask(app: ClientApp, home: Path, parcel: Parcel) -> Parcel:
    """One parcel to a node, through the grid."""
    return asked(app, home, pack(parcel))


def asked(app: ClientApp, home: Path, content: RecordDict) -> Parcel:
    """Whatever records, to a node, through the grid."""
    grid = InlineGrid(app, {NODE: {"home": str(home)}})
    (reply,) = grid.send_and_receive([Message(content, NODE, MESSAGE_TYPE)])
    assert not reply.has_error()
    return unpack(reply.content, "tax")


# -- the same apps ------------------------------------------------------------------------------------------------------------------


def test_the_apps_are_those_that_flower_is_told_to_run() -> None:
    components = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["flwr"]["app"]["components"]
    assert components == {"serverapp": "server.app:app", "clientapp": "clients.app:app"}
    assert isinstance(server.app.app, ServerApp) and isinstance(clients.app.app, ClientApp)
    assert issubclass(InlineGrid, Grid)


def test_a_simulation_calls_just_these_objects(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    called: set[int] = set()
    for kind in (ServerApp, ClientApp):
        real = kind.__call__

        def call(self: Any, *arguments: Any, _real: Any = real) -> Any:
            called.add(id(self))
            return _real(self, *arguments)

        monkeypatch.setattr(kind, "__call__", call)
    simulated(world.run_file("apps", "scorecard", "binning"), tmp_path / "out")
    assert called == {id(server.app.app), id(clients.app.app)}


# -- every message is serialised ----------------------------------------------------------------------------------------------------


def test_every_message_of_a_run_is_serialised_both_ways(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    carried: list[Message] = []

    def passed(message: Message) -> Any:
        carried.append(message)
        return message_to_proto(message)

    monkeypatch.setattr(inline, "message_to_proto", passed)
    document = simulated(world.run_file("serialised", "scorecard", "binning"), tmp_path / "out")
    answers = sum(document["cost"]["messages"].values())
    assert answers > 30
    assert len(carried) >= 2 * answers, "question and answer"
    assert {message.metadata.message_type for message in carried} == {MESSAGE_TYPE} == {f"query.{QUERY}"}


def test_a_value_that_flower_cannot_carry_fails_in_process_as_on_the_wire() -> None:
    app = ClientApp()

    @app.query(QUERY)
    def too_large(message: Message, _context: Context) -> Message:
        return Message(RecordDict({"head": ConfigRecord({"n": 2**64})}), reply_to=message)

    with pytest.raises(ValueError, match="out of range"):
        InlineGrid(app, {NODE: {}}).send_and_receive([Message(RecordDict(), NODE, MESSAGE_TYPE)])


def test_no_object_reaches_the_other_side() -> None:
    """What a node receives is a copy: it shares no memory with what was sent."""
    app, seen = ClientApp(), []

    @app.query(QUERY)
    def keep(message: Message, _context: Context) -> Message:
        seen.append(message.content)
        return Message(message.content, reply_to=message)

    sent = pack(Parcel("deliver", "run", b"x" * 100))
    (reply,) = InlineGrid(app, {NODE: {}}).send_and_receive([Message(sent, NODE, MESSAGE_TYPE)])
    assert seen[0] is not sent and reply.content is not seen[0]
    assert unpack(reply.content, "node") == unpack(sent, "node") == Parcel("deliver", "run", b"x" * 100)


@pytest.mark.parametrize("size", [0, 1, SHORT, SHORT + 1, 5_000_000])
def test_a_parcel_survives_the_wire(size: int) -> None:
    parcel = Parcel("deliver", "run", bytes(range(256)) * (size // 256) + bytes(size % 256))
    message = Message(pack(parcel), NODE, MESSAGE_TYPE)
    message.metadata.__dict__.update(_message_id="m", _run_id=1, _src_node_id=1)
    assert unpack(message_from_proto(message_to_proto(message)).content, "node") == parcel


def test_a_short_parcel_is_one_record_and_a_long_one_an_array() -> None:
    """Each record is a request more over HTTP; 5 MB as bytes of a ConfigRecord take 1.5 s."""
    assert list(pack(Parcel("deliver", "run", bytes(SHORT)))) == ["head"]
    assert list(pack(Parcel("deliver", "run", bytes(SHORT + 1)))) == ["head", "body"]


LONG = pack(Parcel("", "", bytes(SHORT + 1))).array_records["body"]
HEAD = {"operation": "describe", "run": ""}


@pytest.mark.parametrize(
    "records",
    [
        RecordDict(),
        RecordDict({"head": ConfigRecord(dict(HEAD))}),
        RecordDict({"head": ConfigRecord({**HEAD, "operation": 3}), "body": LONG}),
        RecordDict({"head": ConfigRecord(dict(HEAD)), "body": ArrayRecord()}),
        RecordDict({"head": ConfigRecord({**HEAD, "more": 1}), "body": LONG}),
        RecordDict({"head": ConfigRecord({**HEAD, "payload": b""}), "body": LONG}),
        RecordDict({"head": ConfigRecord({**HEAD, "payload": "text"})}),
        RecordDict({"head": ConfigRecord({**HEAD, "payload": bytes(SHORT + 1)})}),
        RecordDict({"head": ConfigRecord({**HEAD, "payload": b""}), "more": ConfigRecord()}),
    ],
)
def test_records_that_are_no_parcel_are_refused(records: RecordDict, world: World, tmp_path: Path) -> None:
    with pytest.raises(PeerError):
        unpack(records, "node")
    assert asked(clients.app.app, a_home(world, tmp_path), records) == Parcel("refused", "", AbortCode.PROTOCOL.value.encode())


def test_a_parcel_above_the_limit_is_refused() -> None:
    assert LARGEST == 2**31 - 1, "Flower's own limit on a message"
    for size, limit in ((101, 100), (SHORT + 101, SHORT + 100)):
        with pytest.raises(PeerError, match=f"{size} bytes"):
            unpack(pack(Parcel("deliver", "run", bytes(size))), "node", limit=limit)


# -- what an error tells --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ValueError("value 73519.25 of firm 91310000B6ENAD6HLH"), AbortCode.INTERNAL),
        (KeyError("73519.25"), AbortCode.INTERNAL),
        (MemoryError("73519.25"), AbortCode.INTERNAL),
        (CreditfedError("tax", "value 73519.25", "look at it", AbortCode.COHORT), AbortCode.COHORT),
    ],
)
def test_an_exception_in_the_client_app_reaches_the_server_as_a_code(
    error: Exception, code: AbortCode, world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> Any:
        raise error

    home = a_home(world, tmp_path)
    monkeypatch.setattr(clients.vault, "describe_table", fail)
    assert ask(clients.app.app, home, Parcel("describe", "run", b"")) == Parcel("refused", "run", code.value.encode())


def test_a_home_that_is_not_there_is_a_code_too(tmp_path: Path) -> None:
    assert ask(clients.app.app, tmp_path / "none", Parcel("describe", "run", b"")).operation == "refused"


@pytest.mark.parametrize("operation", ["execute", "", "describe "])
def test_an_unknown_operation_is_refused(operation: str, world: World, tmp_path: Path) -> None:
    answer = ask(clients.app.app, a_home(world, tmp_path), Parcel(operation, "run", b""))
    assert answer == Parcel("refused", "run", AbortCode.PROTOCOL.value.encode())


def test_a_batch_of_a_run_that_was_never_opened_is_refused(world: World, tmp_path: Path) -> None:
    answer = ask(clients.app.app, a_home(world, tmp_path), Parcel("deliver", "run-unknown", b"\x80"))
    assert answer == Parcel("refused", "run-unknown", AbortCode.PROTOCOL.value.encode())


def test_one_nodes_bug_ends_the_run_for_all_with_one_message(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The others are told by an abort of the session, so that nobody waits; each says in its own log why its run ended."""
    real, calls = clients.node.Node.deliver, iter(range(1 << 30))

    def deliver(self: clients.node.Node, run: str, payload: bytes) -> bytes:
        if self.name == "tax" and next(calls) == 12:
            raise ZeroDivisionError("73519.25")
        return real(self, run, payload)

    monkeypatch.setattr(clients.node.Node, "deliver", deliver)
    answer = creditfed("simulate", world.run_file("bug"), "--out", tmp_path / "out")
    assert answer.code != 0 and "tax: an internal error (ZeroDivisionError)" in answer.err and "73519" not in answer.err
    failures = {path.parts[-3]: json.loads(path.read_text()) for path in (tmp_path / "out" / "parties").glob("*/results/failure.json")}
    assert set(failures) == {"bank", "platform", "tax"}
    assert {failures[name]["kind"] for name in ("bank", "platform")} == {"PeerAborted"}


# -- nothing is reported to anyone ------------------------------------------------------------------------------------------------------

_QUIET = """
import os
for name in ("FLWR_TELEMETRY_ENABLED", "FLWR_DISABLE_UPDATE_CHECK"):
    os.environ.pop(name, None)
import simulations.command
from flwr.supercore import telemetry
print(os.environ["FLWR_TELEMETRY_ENABLED"], os.environ["FLWR_DISABLE_UPDATE_CHECK"], telemetry.FLWR_TELEMETRY_ENABLED)
"""


def test_telemetry_and_update_checks_are_off_before_flower_is_imported() -> None:
    said = subprocess.run([sys.executable, "-W", "ignore", "-c", _QUIET], capture_output=True, text=True, check=True, cwd=ROOT).stdout
    assert said.split() == ["0", "1", "0"]


def test_a_run_opens_no_connection(world: World, tmp_path: Path) -> None:
    """No socket of any kind to the network is made; the control makes one."""
    script = (
        "import sys, socket\n"
        "def audit(event, arguments):\n"
        "    if event in ('socket.connect', 'socket.getaddrinfo', 'socket.bind'):\n"
        "        sys.stderr.write('network: ' + event + '\\n')\n"
        "sys.addaudithook(audit)\n"
        "if len(sys.argv) == 2:\n"
        "    socket.socket().bind(('127.0.0.1', 0))\n"
        "else:\n"
        "    from simulations.command import main\n"
        "    main()\n"
    )
    words = [str(world.run_file("quiet", "scorecard", "binning")), "--out", str(tmp_path / "out")]
    run = subprocess.run(
        [sys.executable, "-c", script, "simulate", *words], capture_output=True, text=True, check=True, cwd=ROOT, env=os.environ
    )
    assert "network: " not in run.stderr and result(tmp_path / "out")["run"]["task"] == "binning"
    control = subprocess.run([sys.executable, "-c", script, "control"], capture_output=True, text=True, check=True, cwd=ROOT)
    assert "network: socket.bind" in control.stderr
