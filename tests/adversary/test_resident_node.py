"""A resident node whose server means ill: over real TLS, a server that speaks as Flower's does and then otherwise.

It may refuse service. It may not make the node run code, follow it elsewhere, end, fill the memory, or spin; and nothing goes to one whose
certificate the invitation's authority has not signed.
"""

from __future__ import annotations

import gzip
import json
import threading
import time
from collections.abc import Callable

import pytest
from flwr.app import ArrayRecord, ConfigRecord, Error, Message, RecordDict
from flwr.common.serde import message_to_proto
from flwr.proto.fleet_pb2 import PullMessagesResponse, PushMessagesRequest, PushMessagesResponse
from flwr.proto.message_pb2 import ObjectTree
from flwr.supercore.inflatable.inflatable_object import get_object_id

import federation.carriage.whole
from clients.joined import node_key
from clients.resident_node import ResidentNode
from clients.residents import resident_megabytes
from federation.carriage.dealings import LONGEST_PIECE
from federation.carriage.mailbox import MESSAGE_TYPE, Parcel
from server.courier import Courier
from server.line_post import LinePost
from server.pki import CA
from tests.hostile_server import ENDLESS, NODE, Answer, Hostile, Scene, answers_still, asking, quick, said
from tests.port_scene import a_port, serving


@pytest.fixture(autouse=True)
def hurried(monkeypatch):
    quick(monkeypatch)
    monkeypatch.setattr(federation.carriage.whole, "WHOLE", -1)  # in pieces, as long messages travel


def test_a_short_message_travels_whole(scene, monkeypatch):
    monkeypatch.undo()
    question = asking()
    question.metadata.__dict__.update(_run_id=7, _src_node_id=1, _message_id="a" * 64)
    scene.server.messages.append((message_to_proto(question), ObjectTree(object_id="a" * 64)))
    with scene.running():
        scene.until(lambda: scene.server.asked["push-messages"] == 1)
        (told,) = scene.server.bodies["push-messages"]
    reply = PushMessagesRequest.FromString(told)
    assert reply.messages_list[0].metadata.reply_to_message_id == "a" * 64
    assert len(reply.messages_list[0].content.items) == 1 and not reply.message_object_trees[0].children
    assert not {"pull-object", "push-object"} & set(scene.server.asked), "however many pieces the server says it lacks"


@pytest.mark.parametrize("content", [b"\xff", b"", bytes(1 << 20)], ids=len)
def test_a_whole_message_that_is_none_is_not_answered(scene, content):
    head = message_to_proto(asking())
    head.metadata.message_id, head.metadata.run_id = "a" * 64, 7
    head.content.Clear()
    array = head.content.items.add(key="body").array_record.items.add(key="payload").value
    array.dtype, array.stype, array.data = "uint8", "raw", content
    head.content.items.add(key="nothing")  # a record that is of no kind
    scene.server.messages.append((head, ObjectTree(object_id="a" * 64)))
    with scene.running():
        scene.until(lambda: scene.counts.get("malformed", 0) == 1)
        assert scene.server.asked["push-messages"] == 0
        answers_still(scene)


@pytest.fixture
def scene(tmp_path) -> Scene:
    return Scene(tmp_path, Hostile())


def test_control_behind_the_deployed_port_it_works(scene, tmp_path):
    """Courier, post, Flower's state, guard, TLS and the resident node; the node restarts between two questions."""
    with a_port(tmp_path / "coordinator", hold=1.0) as port, port.link.line() as line:
        number = port.link.register(node_key(scene.home).public_key(), "agency")
        scene.tls = tmp_path / "coordinator" / "tls"
        scene.invite(port.number)
        courier = Courier(dict.fromkeys(["agency"], LinePost(line, {"agency": number})), patience=20)
        for _ in range(2):
            over, node = threading.Event(), ResidentNode(scene.home, scene.told.append)
            thread = threading.Thread(target=node.run, args=(over,), daemon=True)
            thread.start()
            started = time.monotonic()
            (answer,) = courier.exchange({"agency": Parcel("describe", "run", b"")}).values()
            assert answer.operation != "" and time.monotonic() - started < 5
            over.set()
            thread.join(10)
            assert number not in port.link.online()
        assert [line.split()[0] for line in scene.told] == ["connected", "connected"]


# -- code ----------------------------------------------------------------------------------------------------------------------------------------


def test_control_an_honest_message_is_answered(scene):
    with scene.running():
        answers_still(scene)
        scene.until(lambda: scene.server.asked["push-object"] >= 3)
    assert scene.server.asked["deactivate-node"] == 1 and scene.told[0].startswith("connected")


def test_code_is_never_asked_for(scene):
    """Whatever a run says about a bundle: no request for one, nor for a run that would name it."""
    bundle = RecordDict({"fab": ConfigRecord({"fab_hash": "a" * 64, "fab_id": "evil/app", "fab": b"PK\x03\x04"})})
    with scene.running():
        for kind in (MESSAGE_TYPE, "train", "evaluate", "query", "query.get-fab", "system.install"):
            scene.server.give(asking(kind, bundle))
        scene.until(lambda: not scene.server.messages)
        answers_still(scene)
    allowed = {"activate-node", "deactivate-node", "send-node-heartbeat", "pull-messages", "pull-object", "push-messages", "push-object"}
    assert set(scene.server.asked) <= allowed


@pytest.mark.parametrize("kind", ["train", "evaluate", "query", "query.other", "train.mailbox", "x" * 5000, "query.mailbox.more"])
def test_a_message_of_another_kind_is_not_answered(scene, kind):
    with scene.running():
        scene.server.give(asking(kind))
        scene.until(lambda: scene.counts.get("answered") or scene.counts.get("not answered") or scene.counts.get("malformed"))
        for body in scene.server.bodies.get("push-messages", []):
            assert PushMessagesRequest.FromString(body).messages_list[0].HasField("error")
        answers_still(scene)


@pytest.mark.parametrize("content", [
    RecordDict(), RecordDict({"head": ConfigRecord({"operation": "describe"})}), RecordDict({"body": ArrayRecord({})}),
    RecordDict({"head": ConfigRecord({"operation": "../x", "run": "../../etc", "payload": b"\x80\x04cos\nsystem\n"})}),
])  # fmt: skip
def test_records_that_are_no_parcel_are_refused_by_a_code_alone(scene, content):
    with scene.running():
        scene.server.give(asking(content=content))
        scene.until(lambda: scene.server.asked["push-object"] >= 3)
        answers_still(scene)
    told = b"".join(scene.server.bodies["push-object"])
    assert b"refused" in told and str(scene.home.root).encode() not in told


def test_an_error_in_place_of_a_question_is_survived(scene):
    question = asking()
    error = Message(Error(code=3, reason="x"), reply_to=question)
    error.metadata.__dict__.update(_dst_node_id=NODE)
    with scene.running():
        scene.server.give(error)
        scene.until(lambda: not scene.server.messages)
        answers_still(scene)


# -- what it makes of answers --------------------------------------------------------------------------------------------------------------------


def deep() -> bytes:
    body = b""
    for _ in range(5000):
        size, prefix = len(body), b""
        while size > 127:
            prefix, size = prefix + bytes([size & 127 | 128]), size >> 7
        body = b"\x12" + prefix + bytes([size]) + body
    return body


def wide() -> bytes:
    tree = ObjectTree(object_id="0" * 64)
    for number in range(10**5):
        tree.children.add(object_id=f"{number:064x}")
    head = message_to_proto(asking())
    return bytes(PullMessagesResponse(messages_list=[head], message_object_trees=[tree]).SerializeToString())


BROKEN: dict[str, Callable[[], Answer]] = {
    "noise": lambda: (200, {}, bytes(range(256))),
    "html": lambda: (200, {"content-type": "text/html"}, b"<html>"),
    "a tree without end": lambda: (200, {}, deep()),
    "a tree of 100,000": lambda: (200, {}, wide()),
    "a message without a tree": lambda: said(PullMessagesResponse(messages_list=[message_to_proto(asking())])),
    "a tree without hashes": lambda: said(PullMessagesResponse(messages_list=[message_to_proto(asking())], message_object_trees=[ObjectTree(object_id="x")])),
    "empty names": lambda: said(PullMessagesResponse(messages_list=[message_to_proto(asking())], message_object_trees=[ObjectTree()])),
    "500": lambda: (500, {}, b"no"), "503": lambda: (503, {}, b""), "429": lambda: (429, {}, b""), "204": lambda: (204, {}, b""),
    "a version that does not fit": lambda: (400, {"content-type": "application/json"}, b'{"code": 1003, "message": "upgrade", "public_details": "now"}'),
    "gzip": lambda: (200, {"content-encoding": "gzip"}, gzip.compress(bytes(1000))),
    "brotli": lambda: (200, {"content-encoding": "br"}, b"\x0b\x02\x80"),
    "deflate that is none": lambda: (200, {"content-encoding": "deflate"}, b"xx"),
}  # fmt: skip


@pytest.mark.parametrize("what", BROKEN)
@pytest.mark.parametrize("name", ["pull-messages", "activate-node"])
def test_an_answer_that_is_none_of_flowers_neither_ends_the_node_nor_makes_it_spin(scene, what, name):
    answer = BROKEN[what]()
    scene.server.replaced[name] = lambda _: answer
    with scene.running():
        time.sleep(0.4)
        assert 1 <= scene.server.asked[name] <= 30, "about ten at first, then fewer"
        answers_still(scene)


def test_no_error_of_flowers_ends_the_process(scene, monkeypatch):
    """Flower's own client exits where an answer says that the versions do not fit."""
    import flwr.supercore.exit.exit

    monkeypatch.setattr(flwr.supercore.exit.exit.os, "_exit", lambda _: pytest.fail("the process was ended"))
    from flwr.supercore.error import ApiErrorCode, FlowerError

    body = FlowerError(ApiErrorCode.RUNTIME_VERSION_INCOMPATIBLE, "x", public_details="now").to_json("Upgrade.")
    scene.server.replaced["pull-messages"] = lambda _: (400, {"content-type": "application/json"}, json.dumps(body).encode())
    with scene.running():
        scene.until(lambda: scene.server.asked["pull-messages"] > 1)
        answers_still(scene)


def another(scene: Scene, change: Callable[[dict[str, bytes]], None]) -> None:
    scene.server.give(asking())
    change(scene.server.pieces)


@pytest.mark.parametrize("change", [
    dict.clear,
    lambda pieces: pieces.update(dict.fromkeys(pieces, b"")),
    lambda pieces: pieces.update(dict.fromkeys(pieces, b"something else")),
    lambda pieces: pieces.update(zip(pieces, reversed(list(pieces.values())), strict=True)),
    lambda pieces: pieces.popitem(),
], ids=["gone", "never available", "other bytes", "turned round", "one gone"])  # fmt: skip
def test_pieces_that_are_not_those_whose_hash_was_given_make_no_message(scene, change):
    with scene.running():
        another(scene, change)
        scene.until(lambda: scene.counts.get("malformed") or scene.counts.get("answered") or scene.server.asked["pull-object"] >= 1)
        time.sleep(0.5)
        assert scene.server.asked["push-messages"] == 0
        answers_still(scene)


@pytest.mark.parametrize(
    "content", [b"Nonsense,,3\x00abc", b"Message  0\x00", b"RecordDict  2\x00{}", b"", b"\x00" * 100, b"Message x" * 99], ids=repr
)
def test_pieces_that_are_right_and_make_no_message_are_not_answered(scene, content):
    identifier = get_object_id(content)
    head = message_to_proto(asking())
    head.metadata.message_id = identifier
    head.ClearField("content")
    with scene.running():
        scene.server.pieces[identifier] = content
        scene.server.messages.append((head, ObjectTree(object_id=identifier)))
        scene.until(lambda: scene.server.asked["pull-object"] >= 1)
        time.sleep(0.3)
        assert scene.server.asked["push-messages"] == 0
        answers_still(scene)


@pytest.mark.parametrize("fields", [
    {"created_at": float("nan")}, {"ttl": float("-inf")}, {"created_at": 1e300}, {"run_id": 2**64 - 1, "dst_node_id": 2**64 - 1},
    {"reply_to_message_id": "x"}, {"group_id": "y" * 10000}, {"message_type": ""},
], ids=str)  # fmt: skip
def test_a_head_with_odd_numbers_neither_ends_the_node_nor_keeps_it_from_its_work(scene, fields):
    question = asking()
    question.metadata.__dict__.update({f"_{name}": value for name, value in fields.items()})
    with scene.running():
        scene.server.give(question)
        scene.until(lambda: not scene.server.messages)
        answers_still(scene)


def test_a_wish_for_pieces_that_a_reply_does_not_have_gets_none(scene):
    scene.server.replaced["push-messages"] = lambda _: said(
        PushMessagesResponse(objects_to_push=["0" * 64, "../node.toml"], session_id="s")
    )
    with scene.running():
        scene.server.give(asking())
        scene.until(lambda: scene.server.asked["push-messages"])
        time.sleep(0.2)
        assert scene.server.asked["push-object"] == 0
        answers_still(scene)


def test_a_piece_is_sent_once_however_often_it_is_wished_for(scene):
    from federation.carriage.dealings import pieces_of

    def wish(body: bytes) -> Answer:
        pieces = pieces_of(PushMessagesRequest.FromString(body).message_object_trees[0])
        return said(PushMessagesResponse(objects_to_push=pieces * 1000, session_id="s"))

    scene.server.replaced["push-messages"] = wish
    with scene.running():
        scene.server.give(asking())
        scene.until(lambda: scene.counts.get("answered"))
        assert scene.server.asked["push-object"] == 3


@pytest.mark.parametrize("name", ["pull-messages", "pull-object", "push-messages"])
def test_an_answer_without_end_is_not_read_to_its_end(scene, name):
    scene.server.replaced[name] = lambda _: (200, {}, ENDLESS)
    with scene.running():
        before = resident_megabytes()
        scene.server.give(asking())
        scene.until(lambda: scene.server.poured)
        assert resident_megabytes() - before < 150 and scene.server.poured < 50, "it hung up"
        answers_still(scene)


def test_control_flowers_own_client_reads_and_unpacks_whatever_comes(scene):
    from flwr.supernode.fleet_http_client import FleetHttpClient

    bomb = gzip.compress(bytes(20 << 20))
    scene.server.replaced["pull-messages"] = lambda _: (200, {"content-encoding": "gzip"}, bomb)
    with serving(scene.server, scene.tls) as (number, _):
        client = FleetHttpClient.from_server_address(f"localhost:{number}", False, (scene.tls / CA).read_bytes(), [])
        with client, pytest.raises(ValueError, match="Invalid protobuf"):
            client.PullMessages(PullMessagesResponse())
        assert len(bomb) < LONGEST_PIECE / 100


def test_empty_answers_do_not_make_it_spin(scene):
    with scene.running():
        scene.until(lambda: scene.server.asked["pull-messages"] >= 1)
        before = scene.server.asked["pull-messages"]
        time.sleep(2.0)
        assert scene.server.asked["pull-messages"] - before <= 12
        answers_still(scene)


def test_a_question_that_is_held_for_ever_does_not_keep_it_from_ending(scene):
    held = threading.Event()

    def hold(_: bytes) -> Answer:
        held.wait(8)
        return said(PullMessagesResponse())

    scene.server.replaced["pull-messages"] = hold
    started = time.monotonic()
    with scene.running():
        scene.until(lambda: scene.server.asked["pull-messages"] >= 1)
        held.set()
    assert time.monotonic() - started < 8
