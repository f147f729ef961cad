"""A party of a check that is killed at any batch and built again from its journal sends the same bytes, and the answer is the same."""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest

from federation.kernel.batch import Batch
from federation.kernel.codec import decode
from federation.kernel.envelope import Envelope
from federation.kernel.participant import Participant
from federation.kernel.role import Run
from tests.check_scene import CheckCase, books, played
from tests.mortal import MortalJournal, dying
from tests.post import Post

SEED = 20_261_130


def case(task: str, **post: Any) -> CheckCase:
    some = {name: {key: float(int(amount) % 5) for key, amount in book.items()} for name, book in books(SEED, 3, 20).items()}
    return CheckCase(tuple(f"firm {number}" for number in range(6)), some, task, post=post)


@cache
def calm(task: str) -> tuple[Post, dict[str, tuple[int, ...]]]:
    """Undisturbed."""
    return played(case(task))


@pytest.mark.parametrize("task", ["multi_lender", "shared_identity"])
def test_killed_before_every_batch_the_check_ends_with_the_same_bytes(task: str) -> None:
    post, answer = played(case(task, killed=lambda _party, _number: True))
    assert answer == calm(task)[1] == case(task).truth()
    assert [(one.header(), one.body) for one in post.passed] == [(one.header(), one.body) for one in calm(task)[0].passed]


@pytest.mark.parametrize("before", [True, False], ids=["before it is stored", "after"])
def test_killed_in_the_midst_of_every_batch_what_was_to_be_sent_is_sent(before: bool) -> None:
    compared = 0

    def delivers(here: Post, name: str, number: int, batch: tuple[Envelope, ...]) -> bytes:
        nonlocal compared
        lost, reply = dying(here, name, number, batch)
        unsent, sent = decode(lost, Batch, name, len(lost)), decode(reply, Batch, name, len(reply))
        assert sent == unsent
        compared += len(sent.envelopes)
        return reply

    stormy = case("multi_lender", delivers=delivers)
    post = stormy.make()
    post.journals = {name: MortalJournal(before=before) for name in post.programs}
    parties = post.play()
    assert all(party.finished and party.failure is None for party in parties.values())
    assert stormy.answer(post) == calm("multi_lender")[1]
    print(f"{compared} envelopes the same to the byte")
    assert compared > 60


def test_control_with_randomness_that_is_not_the_runs_a_killed_party_does_not_send_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    count, random = [0], Run.random

    def fresh(self: Run, label: str) -> Any:
        count[0] += 1
        return random(self, f"{label} {count[0]}")

    monkeypatch.setattr(Run, "random", fresh)
    post = case("multi_lender", killed=lambda _party, _number: True).make()
    parties: dict[str, Participant[Any]] | None = None
    try:
        parties = post.play()
    except Exception as error:  # noqa: BLE001  # it does not replay to where it was, whichever check says so first
        print(type(error).__name__)
    assert parties is None or not all(party.finished and party.failure is None for party in parties.values())
