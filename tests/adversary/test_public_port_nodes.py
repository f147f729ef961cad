"""What a node that is enrolled and means ill may do, by way of the public port, to other nodes and to the coordinator's disk."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest
from flwr.app import Message
from flwr.proto.fleet_pb2 import (
    DeactivateNodeRequest,
    PullMessagesRequest,
    PullMessagesResponse,
    PushMessagesRequest,
    PushMessagesResponse,
)
from flwr.proto.message_pb2 import ConfirmMessageReceivedRequest, ObjectTree, PullObjectRequest, PullObjectResponse, PushObjectRequest
from flwr.proto.node_pb2 import Node
from flwr.supercore.inflatable.inflatable_object import get_all_nested_objects, get_object_id, get_object_tree
from flwr.superlink.servicer.fleet import fleet_handlers

import federation.carriage.fleet
import federation.carriage.flower
import federation.carriage.mailbox
import federation.carriage.whole
from federation.carriage.dealings import MOST_TRIES, Dealings, pieces_of
from federation.carriage.fleet import inflated
from federation.carriage.mailbox import MESSAGE_TYPE, Parcel, pack, unpack
from federation.kernel.errors import PeerError
from server.post import GridPost
from tests.port_scene import (
    Port,
    a_message,
    a_reply,
    an_attacked_port,
    asked,
    replies,
)


@pytest.fixture(scope="module")
def port(tmp_path_factory) -> Iterator[Port]:
    with an_attacked_port(tmp_path_factory.mktemp("port")) as made:
        yield made


# -- what a node may do to others ----------------------------------------------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def in_pieces(monkeypatch):
    """As long messages travel, of whatever length."""
    monkeypatch.setattr(federation.carriage.fleet, "OBJECT_WAIT", 0.2)
    monkeypatch.setattr(federation.carriage.whole, "WHOLE", -1)


@pytest.fixture
def given(port) -> Iterator[tuple[Any, int, int, PullMessagesResponse]]:
    """A line, the numbers of bank and platform, and what the bank was given."""
    bank, platform = (port.link.register(port.keys[name].public_key(), name) for name in ("bank", "platform"))
    for name in ("bank", "platform"):
        with closing(port.fleet(name)) as fleet:
            fleet.activate(port.link.register(port.keys[name].public_key(), name))
    with port.link.line() as line:
        line.sent = line.push_messages([a_message(bank, b"for the bank")])
        yield (
            line,
            bank,
            platform,
            PullMessagesResponse.FromString(asked(port, "pull-messages", PullMessagesRequest(node=Node(node_id=bank))).content),
        )


def test_a_node_cannot_fetch_a_piece_of_anothers_message(port, given, monkeypatch):
    _, bank, platform, told = given
    head = told.messages_list[0].metadata

    def fetched(node: int, name: str) -> tuple[int, bytes]:
        answer = asked(port, "pull-object", PullObjectRequest(node=Node(node_id=node), run_id=head.run_id, object_id=head.message_id), name)
        return answer.status_code, PullObjectResponse.FromString(answer.content).object_content if answer.status_code == 200 else b""

    assert fetched(platform, "platform") == (403, b"")
    assert fetched(bank, "bank")[0] == 200
    monkeypatch.setattr(Dealings, "require", lambda *_: None)
    assert fetched(platform, "platform")[1], "control: Flower gives it to whoever knows its hash"


def test_a_node_cannot_throw_anothers_message_away(port, given):
    _, _, platform, told = given
    head, store = told.messages_list[0].metadata, port.link.state.object_store
    order = ConfirmMessageReceivedRequest(node=Node(node_id=platform), run_id=head.run_id, message_object_id=head.message_id)
    assert asked(port, "confirm-message-received", order, "platform").status_code == 403 and head.message_id in store
    fleet_handlers.confirm_message_received(order, port.link.state, store)
    assert head.message_id not in store, "control: Flower's handler does it for whoever asks"


def changed(message: PushMessagesRequest, **fields: Any) -> PushMessagesRequest:
    made = PushMessagesRequest.FromString(message.SerializeToString())
    for name, value in fields.items():
        setattr(made.messages_list[0].metadata, name, value)
    return made


def test_a_reply_in_another_nodes_name_is_refused(port, given):
    _, bank, platform, told = given
    reply = a_reply(port, told, bank)
    reply.node.node_id = platform
    for forged in (reply, changed(reply, src_node_id=platform), changed(reply, src_node_id=platform, reply_to_message_id="0" * 64)):
        assert asked(port, "push-messages", forged, "platform").status_code == 403
    assert port.link.state.num_message_res() == 0
    own = a_reply(port, told, bank)
    assert asked(port, "push-messages", changed(own, run_id=7)).status_code == 403
    assert asked(port, "push-messages", changed(own, reply_to_message_id="0" * 64)).status_code == 403
    assert asked(port, "push-messages", own).status_code == 200, "control"


def test_a_reply_whose_own_pieces_name_another_message_is_taken_for_what_its_head_says(port, given):
    """Flower checks the head and not the piece that repeats it: whose answer it is must come from the head."""
    line, bank, _, told = given
    with closing(port.fleet("bank")) as fleet:
        fleet.node_id = bank
        contents = {}
        for tree in told.message_object_trees:
            contents = {piece: fleet._pull(told.messages_list[0].metadata.run_id, piece) for piece in pieces_of(tree)}
        question = inflated(told.messages_list[0].metadata.message_id, contents)
        question.metadata.__dict__["_message_id"] = told.messages_list[0].metadata.message_id
        reply = Message(pack(Parcel("answer", "run", b"as somebody else")), reply_to=question)
        true = reply.metadata.reply_to_message_id
        reply.metadata.__dict__["_reply_to_message_id"] = "f" * 64  # in the piece; the head keeps the true one
        reply.metadata.__dict__["_src_node_id"] = 999
        identifier = reply.object_id
        announced = a_reply(port, told, bank)
        del announced.message_object_trees[:]
        announced.message_object_trees.append(get_object_tree(reply))
        announced.messages_list[0].metadata.message_id = identifier
        answer = PushMessagesResponse.FromString(asked(port, "push-messages", announced).content)
        for piece, thing in get_all_nested_objects(reply).items():
            if piece in answer.objects_to_push:
                request = PushObjectRequest(node=Node(node_id=bank), run_id=told.messages_list[0].metadata.run_id, session_id=answer.session_id,
                                            object_id=piece, object_content=thing.deflate())  # fmt: skip
                assert asked(port, "push-object", request).status_code == 200
    (heard,) = replies(line, line.sent)
    assert heard.metadata.reply_to_message_id == true == line.sent[0] and heard.metadata.src_node_id == bank
    assert unpack(heard.content, "bank").payload == b"as somebody else"


def test_a_reply_that_makes_no_message_comes_as_one_that_no_mailbox_takes(port, given, monkeypatch):
    """And is that node's fault, not an error in the run's thread."""
    line, bank, _, told = given
    reply = a_reply(port, told, bank)
    rubbish = b"Nonsense,,3\x00abc"
    del reply.message_object_trees[:]
    reply.message_object_trees.add(object_id=get_object_id(rubbish))
    reply.messages_list[0].metadata.message_id = get_object_id(rubbish)
    answer = PushMessagesResponse.FromString(asked(port, "push-messages", reply).content)
    assert list(answer.objects_to_push) == [get_object_id(rubbish)]
    asked(port, "push-object", PushObjectRequest(node=Node(node_id=bank), run_id=told.messages_list[0].metadata.run_id,
                                                 session_id=answer.session_id, object_id=get_object_id(rubbish), object_content=rubbish))  # fmt: skip
    monkeypatch.setattr(federation.carriage.flower, "waits", lambda: iter([0.01] * 3))
    post = GridPost(line, {"bank": bank})
    post._due = {line.sent[0]: "bank"}
    with pytest.raises(PeerError, match="bank"):
        post.collect()


@pytest.mark.parametrize("way", ["an error", "asked again", "gone offline", "answered"])
def test_nothing_that_a_node_announced_stays_once_its_answer_was_taken_or_given_up(port, given, way):
    """Else a node that comes and goes could have the coordinator keep 3 GiB a second for as long as the run lasts."""
    line, bank, _, told = given
    reply = a_reply(port, told, bank)
    if way == "an error":
        reply.messages_list[0].ClearField("content")
        reply.messages_list[0].error.code = 3
    answer = PushMessagesResponse.FromString(asked(port, "push-messages", reply).content)
    assert len(answer.objects_to_push) == 3 and len(port.link.state.object_store) == 6
    if way == "gone offline":
        asked(port, "deactivate-node", DeactivateNodeRequest(node_id=bank))
    if way == "asked again":
        line.withdraw(line.sent)
    else:
        assert len(replies(line, line.sent)) == 1
    assert len(port.link.state.object_store) == 0 == port.link.state.num_message_res() == port.link.state.num_message_ins()
    piece = PushObjectRequest(
        node=Node(node_id=bank), run_id=told.messages_list[0].metadata.run_id, session_id=answer.session_id, object_id=answer.objects_to_push[0],
        object_content=b"x",
    )  # fmt: skip
    asked(port, "push-object", piece)
    assert len(port.link.state.object_store) == 0, "and it cannot be sent later"


def poisoned(port: Port, given: Any) -> list[str]:
    """The bank announces, in another form, the records that the coordinator is going to ask the platform with in another run."""
    _, bank, platform, told = given
    expected = get_object_tree(Message(pack(Parcel("describe", "tomorrow", b"")), platform, MESSAGE_TYPE)).children[0].object_id
    reply = a_reply(port, told, bank)
    poison = reply.message_object_trees[0].children.add(object_id=expected)
    poison.children.add(object_id="0" * 64)
    assert asked(port, "push-messages", reply).status_code == 200
    with port.link.line() as other:
        return other.push_messages([Message(pack(Parcel("describe", "tomorrow", b"")), platform, MESSAGE_TYPE)])


def test_a_node_cannot_keep_the_coordinators_questions_from_others_by_announcing_them_first(port, given):
    assert len(poisoned(port, given)) == 1


def test_control_without_the_salt_it_can(port, given, monkeypatch):
    monkeypatch.setattr(federation.carriage.mailbox.secrets, "token_bytes", bytes)
    with pytest.raises(ValueError, match="different children"):
        poisoned(port, given)


def stored_megabytes(port: Port) -> float:
    from sqlalchemy import text

    with port.link.state.session() as session:
        return float(session.execute(text("select coalesce(sum(length(content)), 0) from objects")).scalar() or 0) / 1e6


def filled(port: Port, told: PullMessagesResponse, bank: int, rounds: int, own_root: bool) -> Counter[int]:
    """Announce pieces that nobody asked for, by one reply again and again, and send them."""
    found: Counter[int] = Counter()
    base = a_reply(port, told, bank)
    for number in range(rounds):
        content = f"ArrayChunk  {10**5}".encode() + b"\x00" + number.to_bytes(8, "big") * 12500
        reply = PushMessagesRequest.FromString(base.SerializeToString())
        if own_root:
            reply.message_object_trees[0].children.add(object_id=get_object_id(content))
        else:
            reply.message_object_trees[0].CopyFrom(ObjectTree(object_id=get_object_id(content)))
        answer = asked(port, "push-messages", reply)
        found[answer.status_code] += 1
        if answer.status_code == 200:
            told_back = PushMessagesResponse.FromString(answer.content)
            asked(port, "push-object", PushObjectRequest(node=Node(node_id=bank), run_id=told.messages_list[0].metadata.run_id,
                                                         session_id=told_back.session_id, object_id=get_object_id(content), object_content=content))  # fmt: skip
    return found


@pytest.mark.parametrize("own_root", [False, True])
def test_a_node_cannot_fill_the_coordinators_disk_by_one_reply(port, given, own_root):
    _, bank, _, told = given
    before = stored_megabytes(port)
    found = filled(port, told, bank, 20, own_root)
    assert stored_megabytes(port) - before < 0.2, "one tree at most"
    assert set(found) <= {200, 400, 403, 409} and found[200] <= 1


def test_control_without_the_checks_it_can(port, given, monkeypatch):
    _, bank, _, told = given
    monkeypatch.setattr(Dealings, "require", lambda *_: None)
    before = stored_megabytes(port)
    assert filled(port, told, bank, 20, own_root=False)[200] == 20
    assert stored_megabytes(port) - before > 1.9, "every one of them"


def test_a_node_may_send_its_reply_again_and_not_for_ever(port, given):
    _, bank, _, told = given
    reply = a_reply(port, told, bank)
    found = Counter(asked(port, "push-messages", reply).status_code for _ in range(MOST_TRIES + 5))
    assert found == {200: MOST_TRIES, 403: 5}
