"""A party of a check that is killed at any batch and built again from its journal sends the same bytes, and the answer is the same."""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest

from tests.check_scene import CheckCase, books, played
from tests.mortal import MortalJournal, SentAgain, draw_afresh
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
    delivers = SentAgain()
    stormy = case("multi_lender", delivers=delivers)
    post = stormy.make()
    post.journals = {name: MortalJournal(before=before) for name in post.programs}
    parties = post.play()
    assert all(party.finished and party.failure is None for party in parties.values())
    assert stormy.answer(post) == calm("multi_lender")[1]
    print(f"{delivers.compared} envelopes the same to the byte")
    assert delivers.compared > 60


def test_control_with_randomness_that_is_not_the_runs_a_killed_party_does_not_send_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    draw_afresh(monkeypatch)
    parties = case("multi_lender", killed=lambda _party, _number: True).make().play()
    assert any("another set of announcements" in str(party.failure) for party in parties.values())  # two blinded lists of one party
    assert not any(party.finished for party in parties.values())
