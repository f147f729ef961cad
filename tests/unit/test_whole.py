"""A short message travels whole and a long one in pieces; one transaction at a time; a line asks for what has come."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest
from flwr.app import Message
from flwr.proto.fleet_pb2 import PullMessagesRequest, PullMessagesResponse, PushMessagesRequest
from flwr.proto.node_pb2 import Node

import federation.carriage.flower
from federation.carriage.dealings import Dealings
from federation.carriage.flower import Line, NotFlowers
from federation.carriage.mailbox import Parcel, pack, unpack
from federation.carriage.whole import WHOLE, sent
from tests.port_scene import Port, a_message, a_port, a_reply, asked, replies


@pytest.fixture
def port(tmp_path: Any) -> Iterator[Port]:
    with a_port(tmp_path) as made:
        made.enrol("bank")
        made.link.state.activate_node(number(made), 30)
        yield made


def number(port: Port, name: str = "bank") -> int:
    return port.link.register(port.keys[name].public_key(), name)


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Of nodes, by name."""
    found: list[str] = []
    real = federation.carriage.flower.SuperLink._called

    def called(self: Any, name: str, *rest: Any) -> Any:
        found.append(name)
        return real(self, name, *rest)

    monkeypatch.setattr(federation.carriage.flower.SuperLink, "_called", called)
    return found


@pytest.mark.parametrize(("length", "pieces"), [(0, False), (1_000, False), (WHOLE, False), (WHOLE + 1, True)])
def test_a_short_message_and_its_reply_take_two_calls_and_a_long_one_its_pieces(port, calls, length, pieces):
    with port.link.line() as line, closing(port.fleet("bank")) as fleet:
        fleet.activate(number(port))
        identifiers = line.push_messages([a_message(number(port), b"x" * length)])
        question = fleet.receive()
        assert unpack(question.content, "coordinator").payload == b"x" * length
        fleet.reply(Message(pack(Parcel("answer", "run", b"y" * length)), reply_to=question), 0.0)
        (reply,) = replies(line, identifiers)
        assert unpack(reply.content, "bank").payload == b"y" * length
        assert [name for name in calls if "messages" in name] == ["pull-messages", "push-messages"]
        assert ({"pull-object", "push-object"} <= set(calls)) == pieces
        state = port.link.state
        assert len(state.object_store) == state.num_message_ins() == state.num_message_res() == 0, "nothing of an exchange stays"


def a_whole_reply(port: Port, given: PullMessagesResponse) -> PushMessagesRequest:
    made = a_reply(port, given, number(port))
    identifier = made.messages_list[0].metadata.message_id
    content = a_message(number(port), b"whole").content
    from flwr.common.serde import recorddict_to_proto

    made.messages_list[0].content.CopyFrom(recorddict_to_proto(content))
    del made.message_object_trees[:]
    made.message_object_trees.add(object_id=identifier)
    return made


def asks(port: Port) -> PullMessagesResponse:
    return PullMessagesResponse.FromString(asked(port, "pull-messages", PullMessagesRequest(node=Node(node_id=number(port)))).content)


def test_a_reply_is_whole_or_in_pieces_and_not_both(port, monkeypatch):
    """Else its pieces would be announced for nothing, and stay."""
    with port.link.line() as line:
        identifiers = line.push_messages([a_message(number(port))])
        given = asks(port)
        both = a_whole_reply(port, given)
        both.message_object_trees[0].children.add(object_id="0" * 64)
        assert asked(port, "push-messages", both).status_code == 400
        assert port.link.state.num_message_res() == 0 and "0" * 64 not in port.link.state.object_store
        with monkeypatch.context() as patch:
            patch.setattr(Dealings, "require", lambda *_: None)
            assert asked(port, "push-messages", both).status_code == 200 and "0" * 64 in port.link.state.object_store, "control"
        line.withdraw(identifiers)
        line.push_messages([a_message(number(port))])
        assert asked(port, "push-messages", a_whole_reply(port, asks(port))).status_code == 200


def test_a_line_asks_the_state_for_answered_messages_alone_until_it_looks_again(port, monkeypatch):
    looked: list[int] = []
    real = port.link.state.get_message_res
    monkeypatch.setattr(
        port.link.state, "get_message_res", lambda message_ids, run_id: looked.append(len(message_ids)) or real(message_ids, run_id)
    )
    monkeypatch.setattr(federation.carriage.flower, "LOOK", 60.0)
    with port.link.line() as line:
        identifiers = line.push_messages([a_message(number(port)) for _ in range(20)])
        line._looked = float("inf")
        assert line.pull_messages(identifiers) == [] and looked == []
        assert asked(port, "push-messages", a_whole_reply(port, asks(port))).status_code == 200
        assert len(line.pull_messages(identifiers)) == 1 and looked == [1]
        line._looked = -60.0
        assert line.pull_messages(identifiers[1:]) == [] and looked == [1, 19], "a look at all, for what Flower itself replies"


def test_a_line_does_not_remember_what_nobody_asked(port):
    with port.link.line() as line:
        line.noted("f" * 64)
        assert not line._answered


def test_a_line_that_has_ended_is_told_nothing_more(port):
    with port.link.line() as line:
        assert port.link.lines == {line._run_id: line}
    assert port.link.lines == {}


def test_short_messages_are_given_out_together_or_not_at_all(port, monkeypatch):
    nobody = 12345
    with port.link.line() as line:
        with pytest.raises(NotFlowers):
            line.push_messages([a_message(number(port)), a_message(nobody)])
        assert port.link.state.num_message_ins() == 0
        real = Line._push
        rung: list[int] = []
        monkeypatch.setattr(port.link.sent, "ring", rung.append)
        monkeypatch.setattr(Line, "_push", lambda self, message: (real(self, message), rung.append(0)))
        line.push_messages([a_message(number(port)) for _ in range(3)])
        assert rung == [0, 0, 0, *[number(port)] * 3], "nobody is woken before all are there"


def test_a_transaction_is_alone_and_leaves_nothing_where_it_fails(port):
    order: list[str] = []

    def other() -> None:
        with port.link.transaction():
            order.append("other")

    thread = threading.Thread(target=other)

    def fails() -> None:
        with port.link.transaction():
            port.link.state.create_node("<id:none>", "none", b"key", 30, name="half")
            thread.start()
            thread.join(0.2)
            order.append("first")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fails()
    thread.join(5)
    assert order == ["first", "other"] and port.link.state.get_node_id_by_public_key(b"key") is None


def test_a_message_that_travels_whole_has_a_name_that_nobody_can_guess():
    names = {sent(a_message(7))[0].metadata.message_id for _ in range(100)}
    assert len(names) == 100 and all(len(bytes.fromhex(name)) == 32 for name in names)
