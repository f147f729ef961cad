"""Nodes that come and go, over a line that is not there: what waits, what is asked again and when, and that nothing counts twice."""

from __future__ import annotations

import itertools

import pytest
from flwr.app import Error, Message, RecordDict
from flwr.supercore.task_identity import TaskIdentity

from federation.carriage.mailbox import Parcel, pack, unpack
from federation.kernel.errors import PeerError
from server import line_post
from server.line_post import LinePost
from server.post import LostNode

NODES = {"bank": 11, "platform": 12}
ASK = Parcel("deliver", "run", b"ask")


class FakeLine:
    """The grid that LinePost uses, with a clock."""

    def __init__(self) -> None:
        TaskIdentity.run_id, TaskIdentity.node_id, TaskIdentity.task_id = 1, 1, 1
        self.now, self.online, self.activated = 1000.0, set(NODES.values()), dict.fromkeys(NODES.values(), 0.0)
        self.pushed: list[tuple[str, int, Parcel]] = []
        self.withdrawn: list[str] = []
        self.coming: list[Message] = []
        self.waited: list[float] = []

    def get_node_ids(self):
        return list(self.online)

    def came_online(self, node):
        return self.activated.get(node, 0.0)

    def push_messages(self, messages):
        found = []
        for message in messages:
            found.append(f"m{len(self.pushed)}")
            self.pushed.append((found[-1], message.metadata.dst_node_id, unpack(message.content, "coordinator")))
        return found

    def pull_messages(self, identifiers):
        found = [reply for reply in self.coming if reply.metadata.reply_to_message_id in identifiers]
        self.coming = [reply for reply in self.coming if reply not in found]
        return found

    def withdraw(self, identifiers):
        self.withdrawn += identifiers

    def wait(self, seconds):
        self.waited.append(seconds)

    # -- what the test does

    def restart(self, node):
        self.activated[node], self.online = self.now, self.online | {node}

    def answers(self, identifier, content=None):
        node = next(node for each, node, _ in self.pushed if each == identifier)
        question = Message(RecordDict(), node, "query.mailbox")
        question.metadata.__dict__["_message_id"] = identifier
        content = content if content is not None else pack(Parcel("answer", "run", identifier.encode()))
        self.coming.append(Message(content, reply_to=question))


@pytest.fixture
def line():
    return FakeLine()


@pytest.fixture
def post(line):
    return LinePost(line, NODES, lambda: line.now)


def given(line, node=None):
    return [identifier for identifier, to, _ in line.pushed if node in (None, to)]


def collected(post):
    return {name: answer.payload for name, answer in post.collect().items()}


def test_control_who_is_online_is_asked_at_once_and_answers(line, post):
    post.send({"bank": ASK, "platform": ASK})
    assert given(line) == ["m0", "m1"] and post.collect() == {}
    line.answers("m1")
    line.answers("m0")
    assert collected(post) == {"bank": b"m0", "platform": b"m1"} and post.collect() == {}
    assert line.withdrawn == [], "the line does so itself with what was answered"


def test_what_is_for_an_offline_node_waits_for_it(line, post):
    line.online.discard(12)
    post.send({"bank": ASK, "platform": ASK})
    assert [node for _, node, _ in line.pushed] == [11]
    for _ in range(100):
        line.now += 60
        post._asked.clear()
        post.collect()
    assert given(line, 12) == []
    line.restart(12)
    line.now += 2
    post.collect()
    assert [parcel for _, node, parcel in line.pushed if node == 12] == [ASK]


def test_who_comes_online_is_looked_for_once_a_second(line, post):
    line.online.clear()
    post.send({"bank": ASK})
    looked = []
    line.get_node_ids = lambda: looked.append(line.now) or []
    for _ in range(100):
        line.now += 0.1
        post.collect()
    assert 9 <= len(looked) <= 11


def test_a_node_that_was_killed_while_it_worked_is_asked_again(line, post):
    post.send({"bank": ASK, "platform": ASK})
    line.now += 5
    line.restart(11)
    post.collect()
    assert given(line, 11) == ["m0", "m2"] and given(line, 12) == ["m1"]
    assert line.withdrawn == ["m0"], "what the killed process was asked is of no use any more"
    line.answers("m2")
    assert collected(post) == {"bank": b"m2"}


def test_a_node_that_was_online_before_it_was_asked_is_not_asked_again(line, post):
    line.restart(11)
    line.now += 1
    post.send({"bank": ASK})
    for _ in range(10):
        line.now += 10
        post.collect()
    assert given(line) == ["m0"]


def test_a_node_that_comes_and_goes_all_the_time_is_asked_once_a_second_and_piles_nothing_up(line, post):
    post.send({"bank": ASK})
    for _ in range(1000):
        line.now += 0.01
        line.restart(11)
        post.collect()
    assert len(line.pushed) <= 11 and line.withdrawn == given(line)[:-1]


def test_control_without_the_pause_it_would_be_asked_each_time(line, post, monkeypatch):
    monkeypatch.setattr(line_post, "_ASK_AGAIN", 0.0)
    post.send({"bank": ASK})
    for _ in range(100):
        line.now += 0.01
        line.restart(11)
        line.now += 0.01
        post.collect()
    assert len(line.pushed) > 90


def test_silence_is_broken_after_a_while_and_then_after_twice_as_long(line, post):
    post.send({"bank": ASK})
    asked_at = [line.now]
    while line.now < 1000 + 3700:
        line.now += 1
        post.collect()
        if len(line.pushed) > len(asked_at):
            asked_at.append(line.now)
    assert [round(later - before) for before, later in itertools.pairwise(asked_at)] == [121, 241, 481, 961, 1921][: len(asked_at) - 1]
    assert len(asked_at) == 5


def test_a_silent_node_that_has_gone_offline_or_was_revoked_is_given_nothing(line, post):
    """Flower's state refuses a message for a revoked node, which would end the run as a bug."""
    post.send({"bank": ASK, "platform": ASK})
    line.online.discard(11)
    line.now += line_post._SILENCE + 1
    for _ in range(10):
        line.now += 2
        post.collect()
    assert given(line, 11) == ["m0"] == line.withdrawn[:1] and len(given(line, 12)) == 2
    line.restart(11)
    line.now += 2
    post.collect()
    assert len(given(line, 11)) == 2, "control: it is asked when it is back"


def test_patience_begins_anew_with_the_next_question(line, post):
    post.send({"bank": ASK})
    line.now += line_post._SILENCE + 1
    post.collect()
    line.answers(line.pushed[-1][0])
    assert post.collect()
    post.send({"bank": ASK})
    line.now += line_post._SILENCE + 1
    post.collect()
    assert len(line.pushed) == 4


def test_the_answer_to_a_question_that_was_asked_again_counts_once(line, post):
    post.send({"bank": ASK})
    line.now += line_post._SILENCE + 1
    post.collect()
    line.answers("m0")  # the first one after all
    line.answers("m1")
    assert collected(post) == {"bank": b"m1"}
    line.answers("m1", pack(Parcel("answer", "run", b"once more")))
    assert post.collect() == {}


def test_an_answer_to_nothing_that_was_asked_is_not_taken(line, post):
    post.send({"bank": ASK})
    real = line.pull_messages
    line.answers("m0")
    line.coming[0].metadata.__dict__["_reply_to_message_id"] = "elsewhere"
    line.pull_messages = lambda identifiers: real([*identifiers, "elsewhere"])
    assert post.collect() == {}


def test_a_node_that_fails_is_asked_again_and_not_lost(line, post):
    post.send({"bank": ASK})
    question = Message(RecordDict(), 11, "query.mailbox")
    question.metadata.__dict__["_message_id"] = "m0"
    for turn in range(1, 4):
        question.metadata.__dict__["_message_id"] = given(line)[-1]
        line.coming.append(Message(Error(code=3, reason="x"), reply_to=question))
        assert post.collect() == {}
        line.now += 2
        post.collect()
        assert len(line.pushed) == 1 + turn
    line.answers(given(line)[-1])
    assert set(post.collect()) == {"bank"}


def test_a_node_that_always_fails_is_not_asked_more_than_once_a_second(line, post):
    post.send({"bank": ASK})
    question = Message(RecordDict(), 11, "query.mailbox")
    for _ in range(1000):
        line.now += 0.01
        question.metadata.__dict__["_message_id"] = given(line)[-1]
        if not line.coming:
            line.coming.append(Message(Error(code=3, reason="x"), reply_to=question))
        post.collect()
    assert len(line.pushed) <= 12


def test_records_that_are_no_parcel_are_the_fault_of_who_sent_them(line, post):
    post.send({"bank": ASK, "platform": ASK})
    line.answers("m1", RecordDict())
    with pytest.raises(PeerError, match="platform"):
        post.collect()


def test_what_was_forgotten_is_neither_waited_for_nor_asked_again(line, post):
    line.online.discard(12)
    post.send({"bank": ASK, "platform": ASK})
    post.forget()
    line.restart(11)
    line.restart(12)
    line.now += 1000
    line.answers("m0")
    assert post.collect() == {} and len(line.pushed) == 1


def test_nobody_is_lost_here(line, post):
    post.send({"bank": ASK})
    for _ in range(50):
        line.now += 1000
        assert not any(isinstance(answer, LostNode) for answer in post.collect().values())


def test_it_waits_at_the_line(line, post):
    post.wait()
    assert line.waited == [line_post._HELD]
