"""The courier: how long it waits, when it stops, and what a refusal becomes."""

from __future__ import annotations

import pytest

from federation.carriage.mailbox import Parcel
from federation.kernel.errors import AbortCode
from server.courier import Courier, Refused, Stopped, refusal
from server.post import LostNode


class FakePost:
    """Answers so many waits after it was asked. silent: who never does."""

    def __init__(self, clock: list[float], after: int = 1, silent: tuple[str, ...] = (), **answers: Parcel | LostNode) -> None:
        self.clock, self.after, self.silent, self.answers = clock, after, silent, answers
        self.asked: dict[str, Parcel] = {}
        self.waits = self.forgotten = 0

    def send(self, parcels):
        self.asked |= parcels

    def collect(self):
        if self.waits < self.after:
            return {}
        found = {name: self.answers.get(name, Parcel("answer", "run", name.encode())) for name in self.asked if name not in self.silent}
        self.asked = {name: parcel for name, parcel in self.asked.items() if name in self.silent}
        return found

    def forget(self):
        self.forgotten += 1

    def wait(self):
        self.waits += 1
        self.clock[0] += 1.0


def courier(post, names=("a", "b"), patience=10.0, stopped=lambda: False, **more):
    posts = dict.fromkeys(names, post) | more
    return Courier(posts, patience, stopped, lambda: post.clock[0])


def asking(*names):
    return {name: Parcel("deliver", "run", b"x") for name in names}


def test_answers_come_by_name_and_are_counted():
    found = courier(post := FakePost([0.0]))
    assert {name: parcel.payload for name, parcel in found.exchange(asking("a", "b")).items()} == {"a": b"a", "b": b"b"}
    assert found.messages == {"a": 1, "b": 1} and found.bytes_sent == {"a": 1, "b": 1} and not post.asked


def test_who_was_not_asked_is_not_counted():
    found = courier(FakePost([0.0]))
    assert list(found.exchange(asking("b"))) == ["b"] and found.messages == {"a": 0, "b": 1}


def test_who_does_not_answer_in_time_is_lost_and_the_others_are_heard():
    found = courier(FakePost([0.0], silent=("b",)), patience=5)
    heard, lost = found.ask(asking("a", "b"))
    assert list(heard) == ["a"] and "no answer within 5 s" in str(lost["b"])
    with pytest.raises(LostNode, match="b"):
        courier(FakePost([0.0], silent=("b",)), patience=5).exchange(asking("a", "b"))


def test_control_within_its_patience_nobody_is_lost():
    assert len(courier(FakePost([0.0], after=4), patience=5).exchange(asking("a", "b"))) == 2


def test_a_stop_is_heeded_while_it_waits():
    post = FakePost([0.0], silent=("b",))
    with pytest.raises(Stopped) as told:
        courier(post, stopped=lambda: post.waits >= 3).exchange(asking("a", "b"))
    assert post.waits == 3 and told.value.code is AbortCode.STOPPED


def test_an_answer_that_is_there_is_not_lost_to_a_stop():
    post = FakePost([0.0], after=0)
    assert len(courier(post, stopped=lambda: True).exchange(asking("a", "b"))) == 2


def test_a_refusal_ends_the_exchange_with_its_code_and_no_more():
    post = FakePost([0.0], b=Parcel("refused", "run", AbortCode.CONSENT.value.encode()))
    with pytest.raises(Refused) as told:
        courier(post).exchange(asking("a", "b"))
    assert told.value.code is AbortCode.CONSENT and told.value.where == "b"
    assert courier(FakePost([0.0], b=Parcel("refused", "run", b"consent"))).hear(asking("a", "b"))["b"].operation == "refused"


@pytest.mark.parametrize("payload", [b"", b"nonsense", b"\xff" * 1000, b"firm 91440300MA5DA1234X is overdue", b"POLICY"])
def test_a_refusal_with_other_words_is_internal_and_is_not_quoted(payload):
    told = refusal("b", Parcel("refused", "run", payload))
    assert told.code is AbortCode.INTERNAL and (not payload or payload.decode("latin1") not in str(told))


def test_a_lost_node_of_the_posts_own_is_lost():
    _, lost = courier(FakePost([0.0], b=LostNode("b", "its process ended", ""))).ask(asking("a", "b"))
    assert list(lost) == ["b"]


def test_several_posts_are_each_asked_for_their_own():
    clock = [0.0]
    one, other = FakePost(clock), FakePost(clock, after=2)
    found = Courier({"a": one, "b": other, "c": one}, 60, lambda: False, lambda: clock[0])
    assert set(found.exchange(asking("a", "b", "c"))) == {"a", "b", "c"} and found.names == ("a", "b", "c")


def test_what_an_earlier_process_counted_is_added():
    found = courier(FakePost([0.0]))
    found.count({"a": 10, "gone": 5}, {"a": 2})
    found.exchange(asking("a", "b"))
    assert found.bytes_sent == {"a": 11, "b": 1} and found.messages == {"a": 3, "b": 1}
