"""A coordinator's server that does not keep to anything, against a bank's node in a process of its own, over TLS with node authentication."""

from __future__ import annotations

import io
import json
import ssl
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pandas as pd
import pytest
import uvicorn
from flwr.app import ConfigRecord, Message, RecordDict
from flwr.supercore.task_identity import TaskIdentity

from clients.consortium import Member, write
from clients.home import Home
from clients.joined import node_key
from federation.carriage.flower import SuperLink
from federation.carriage.mailbox import Parcel
from federation.kernel import suite
from federation.kernel.batch import Batch
from federation.kernel.codec import encode
from federation.kernel.manifest import Description, Manifest, PartyDeclaration
from federation.kernel.signatures import Opening, Signature, sign_manifest
from privacy.approval.learning import contracts_of
from privacy.audit.lines import entries
from privacy.store.audit_folder import find
from server.conducting import moment
from server.courier import Courier
from server.enrolment import let_in
from server.guard import Guard
from server.line_post import LinePost
from server.pki import make_ca, make_server
from server.place import Place
from server.post import LostNode
from tests.deployed_scene import Deployment, deployed, said, until
from tests.end_to_end.scene import creditfed, finish, start
from tests.post import identity, manifest

OTHERS = ("platform", "tax")
replace = msgspec.structs.replace


class Server:
    """The hostile one: the coordinator's own keys, Flower's state to do with as it likes, and the other members' signatures."""

    def __init__(self, deployment: Deployment) -> None:
        self.deployment, self.place = deployment, Place.there(deployment.coordinator)
        self.link = SuperLink(str(deployment.coordinator / "superlink.db"))
        tls = self.place.tls
        config = uvicorn.Config(
            Guard(self.link), host="127.0.0.1", port=deployment.port, ssl_keyfile=str(tls / "server.key"),
            ssl_certfile=str(tls / "server.pem"), log_config=None, ws="none",
        )  # fmt: skip
        self.web = uvicorn.Server(config)
        self.thread = threading.Thread(target=self.web.run, daemon=True)
        self.thread.start()
        until(lambda: self.web.started, 10, "the server starts")
        with deployment.store() as store:
            self.numbers = let_in(self.link, store.nodes())

    def ask(self, *parcels: Parcel) -> list[Parcel]:
        """What the node answers, one by one."""
        answers = []
        with self.link.line() as line:
            post = LinePost(line, self.numbers)
            courier = Courier({"bank": post}, patience=60)
            for parcel in parcels:
                answer = courier.hear({"bank": parcel})["bank"]
                assert not isinstance(answer, LostNode), answer
                answers.append(answer)
        return answers

    def drafted(self, **changes: Any) -> Manifest:
        (answer,) = self.ask(Parcel("describe", "test", b""))
        mine = msgspec.json.decode(answer.payload, type=Description).party
        others = tuple(PartyDeclaration(name=n, role="platform", identity=suite.signing_public(identity(n)).hex()) for n in OTHERS)
        coordinator = suite.signing_public(self.place.identity).hex()
        base = replace(
            manifest("bank", *OTHERS), parties=(mine, *others), purpose="decide", expires="2099-06-01T00:00:00Z", coordinator=coordinator
        )  # fmt: skip
        changed = replace(base, **changes)
        return replace(changed, contracts=contracts_of(changed))

    def proposed(self, made: Manifest) -> Parcel:
        return self.ask(Parcel("propose", made.run, made.canonical()))[0]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with deployed(tmp_path_factory.mktemp("hostile")) as deployment:
        deployment.found()
        rng, rows = np.random.default_rng(3), 60
        table = {"id": [f"firm{i}" for i in range(rows)], "label": rng.integers(0, 2, rows), "turnover": rng.random(rows)}
        pd.DataFrame(table).to_csv(deployment.folder / "bank.csv", index=False)
        deployment.invite("bank", "bank", deployment.folder / "bank.csv", None, "--label", "label")
        home, place = Home(deployment.home("bank")), Place.there(deployment.coordinator)
        mine = Member("bank", "bank", suite.signing_public(home.key("identity")).hex())
        others = [Member(n, "platform", suite.signing_public(identity(n)).hex()) for n in OTHERS]
        write(home.root, suite.signing_public(place.identity).hex(), [mine, *others])
        hostile = Server(deployment)
        deployment.start("bank")
        until(lambda: hostile.numbers["bank"] in hostile.link.online(), 30, deployment.log("bank"))
        yield hostile
        hostile.web.should_exit = True
        hostile.thread.join(5)


def refusals(server: Server) -> list[str]:
    """What the node's audit log has of what it refused, by kind."""
    log = entries(find(server.deployment.home("bank") / "audit").lines())
    return [json.dumps(msgspec.to_builtins(entry)) for entry in log if entry.kind in ("refusal", "decision", "abort", "failure")]


def fab_that_writes(target: Path) -> bytes:
    """An application as Flower ships one, whose module writes a file when it is imported."""
    code = f"import pathlib\npathlib.Path({str(target)!r}).write_text('code of the server ran here')\n"
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("evil.py", code)
        archive.writestr("pyproject.toml", '[tool.flwr.app.components]\nclientapp = "evil:app"\n')
    return content.getvalue()


def run_with_code(server: Server, content: bytes) -> tuple[int, str]:
    """A Flower run that brings code, and a message of it to the node, as `flwr run` makes both."""
    from flwr.common.constant import NOOP_FLWR_AID
    from flwr.supercore.constant import NOOP_FEDERATION_ID, TaskType
    from flwr.supercore.fab import Fab

    state = server.link.state
    digest = suite.plain_digest(content).hex()
    assert state.store_fab(Fab(digest, content, {})) == digest
    run = state.create_run("evil/evil", "1.0", digest, {}, NOOP_FEDERATION_ID, None, NOOP_FLWR_AID, TaskType.SERVER_APP)
    task = state.get_run_info(run_ids=[run])[0].primary_task_id
    assert state.claim_task(task) and state.activate_task(task)
    TaskIdentity.run_id, TaskIdentity.node_id, TaskIdentity.task_id = run, 1, task
    return run, digest


def test_code_that_the_server_ships_is_neither_fetched_nor_run(server: Server, tmp_path: Path) -> None:
    from federation.carriage.flower import Line

    target = tmp_path / "ran"
    run, _ = run_with_code(server, fab_that_writes(target))
    asked: list[str] = []
    flower = server.link.routes

    async def watching(scope: Any, receive: Any, send: Any) -> None:
        asked.append(scope["path"])
        await flower(scope, receive, send)

    server.link.routes = watching  # type: ignore[assignment]
    try:
        line = Line(server.link, run)
        kinds = ("train", "evaluate", "query", "query.mailbox")
        due = {
            identifier
            for kind in kinds
            for identifier in line.push_messages([Message(RecordDict({"c": ConfigRecord({"n": 1})}), server.numbers["bank"], kind)])
        }
        replies: list[Message] = []

        def all_answered() -> bool:
            for reply in line.pull_messages(list(due)):
                due.discard(reply.metadata.reply_to_message_id)
                replies.append(reply)
            return not due

        until(all_answered, 30, server.deployment.log("bank"))
    finally:
        server.link.routes = flower
    assert sum(reply.has_error() for reply in replies) == 3, "only the mailbox answers"
    assert all("evil" not in reply.error.reason for reply in replies if reply.has_error())
    assert not target.exists()
    assert not [path for path in asked if "get-fab" in path or "get-run" in path] and len(asked) > 4


def test_control_a_node_that_runs_what_is_shipped_as_the_stock_one_does_writes_the_file(server: Server, tmp_path: Path) -> None:
    """tests/end_to_end/test_stock_supernode.py has the stock node itself."""
    target = tmp_path / "ran"
    _, digest = run_with_code(server, fab_that_writes(target))
    with zipfile.ZipFile(io.BytesIO(server.link.state.get_fab(digest).content)) as archive:
        exec(archive.read("evil.py"), {})
    assert target.exists()


def test_what_nobody_approved_or_was_changed_or_is_for_another_is_refused_and_logged(server: Server) -> None:
    before = len(refusals(server))
    # an envelope of a run that nobody approved
    (stray,) = server.ask(Parcel("deliver", "never", encode(Batch(0))))
    assert (stray.operation, stray.payload) == ("refused", b"protocol")
    # a run that waits, and is opened without a vote
    made = server.drafted(run="hostile")
    assert server.proposed(made).payload == b"approval"
    forged = Opening(made.canonical(), tuple(sign_manifest(made, n, bytes(32), identity("platform")) for n in ("bank", *OTHERS)))
    (opened,) = server.ask(Parcel("open", made.run, msgspec.json.encode(forged)))
    assert opened.operation == "refused"
    # approved, and then another manifest under its name
    said(creditfed("node", "approve", made.run, "--as", "alice", "--yes", "--home", server.deployment.home("bank")))
    signature = msgspec.json.decode(server.proposed(made).payload, type=Signature)
    wider = server.drafted(run="hostile", privacy=replace(made.privacy, max_score_reveals=made.privacy.max_score_reveals + 1))
    others = [sign_manifest(wider, n, bytes(32), identity(n)) for n in OTHERS]
    (changed,) = server.ask(Parcel("open", made.run, msgspec.json.encode(Opening(wider.canonical(), (signature, *others)))))
    assert (changed.operation, changed.payload) == ("refused", b"protocol")
    assert server.proposed(wider).payload == b"approval", "the vote was for the other one"
    # the run itself, and in it an envelope for another institution
    others = [sign_manifest(made, n, bytes(32), identity(n)) for n in OTHERS]
    good = msgspec.json.encode(Opening(made.canonical(), (signature, *others)))
    (right, hello) = server.ask(Parcel("open", made.run, good), Parcel("deliver", made.run, encode(Batch(0))))
    assert right.operation == "open" and hello.operation == "deliver"
    envelopes = msgspec.msgpack.decode(hello.payload, type=Batch).envelopes
    foreign = next(envelope for envelope in envelopes if envelope.recipient in OTHERS)
    (spliced,) = server.ask(Parcel("deliver", made.run, encode(Batch(1, (foreign,)))))
    ended = msgspec.msgpack.decode(spliced.payload, type=Batch)
    assert ended.done and {envelope.kind for envelope in ended.envelopes} == {"kernel/abort"}
    failure = json.loads((server.deployment.home("bank") / "results" / "failure.json").read_bytes())
    assert failure["code"] == "protocol"
    assert len(refusals(server)) > before
    log = server.deployment.log("bank")
    assert "a batch of a run that this node has no journal of" in log and "waits for the approval" in log
    assert said(creditfed("audit", "verify", server.deployment.home("bank") / "audit"))


def test_control_the_same_run_with_what_was_approved_goes_on(server: Server) -> None:
    made = server.drafted(run="honest")
    server.proposed(made)
    said(creditfed("node", "approve", made.run, "--as", "alice", "--yes", "--home", server.deployment.home("bank")))
    signature = msgspec.json.decode(server.proposed(made).payload, type=Signature)
    others = [sign_manifest(made, n, bytes(32), identity(n)) for n in OTHERS]
    good = msgspec.json.encode(Opening(made.canonical(), (signature, *others)))
    _, hello = server.ask(Parcel("open", made.run, good), Parcel("deliver", made.run, encode(Batch(0))))
    assert not msgspec.msgpack.decode(hello.payload, type=Batch).done


def test_a_node_goes_nowhere_near_a_server_with_another_authority(server: Server, tmp_path: Path) -> None:
    """The server of the invitation's address has a certificate by another CA: nothing is sent, and the operator is told."""
    heard: list[bytes] = []
    make_ca(tmp_path, moment())
    make_server(tmp_path, ("localhost",), moment())
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "server.pem", tmp_path / "server.key")
    with deployed(tmp_path / "other") as deployment:
        deployment.found()
        deployment.invite("bank", "bank", server.deployment.folder / "bank.csv", None, "--label", "label")

        async def application(scope: Any, receive: Any, send: Any) -> None:
            heard.append(scope["path"].encode())

        config = uvicorn.Config(
            application, host="127.0.0.1", port=deployment.port, lifespan="off", log_config=None, ws="none",
            ssl_keyfile=str(tmp_path / "server.key"), ssl_certfile=str(tmp_path / "server.pem"),
        )  # fmt: skip
        web = uvicorn.Server(config)
        thread = threading.Thread(target=web.run, daemon=True)
        thread.start()
        until(lambda: web.started, 10, "the other server starts")
        answer = finish(start("node", "start", "--home", deployment.home("bank")))
        web.should_exit = True
        thread.join(5)
    assert answer.code == 2 and "authority has not signed" in answer.err and "Ask the coordinator" in answer.err
    assert heard == []


@pytest.mark.parametrize("how", [pytest.param("never enrolled", marks=pytest.mark.slow), "revoked"])
def test_a_node_that_is_not_let_in_is_told_so_and_gets_nothing(server: Server, tmp_path: Path, how: str) -> None:
    stranger = tmp_path / "home"
    invitation = server.deployment.coordinator / "invitation.toml"
    words = [
        "--name",
        "stranger",
        "--role",
        "bank",
        "--label",
        "label",
        "--source",
        server.deployment.folder / "bank.csv",
        "--home",
        stranger,
    ]
    said(creditfed("node", "init", *words, "--invitation", invitation))
    if how == "revoked":
        public = node_key(Home(stranger)).public_key()
        server.link.register(public, "stranger")
        server.link.unregister(public)
    process = start("node", "start", "--home", stranger)
    status = stranger / "resident.json"
    until(lambda: status.exists() and json.loads(status.read_bytes())["state"] == "refused", 30, "the node is refused")
    process.terminate()
    answer = finish(process)
    assert "refused: the server does not know this node's key" in answer.err and answer.code == 0
    assert len(server.numbers) == 1 and not list((stranger / "approvals").glob("*.json"))
