"""A party of a comparison of counterparties that is killed at any batch sends the same bytes again, and the answer is the same."""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest

from federation.kernel.role import COORDINATOR
from tests.common_scene import ASKED, ASKS, EXPECTED, CommonCase
from tests.mortal import MortalJournal, SentAgain, draw_afresh
from tests.post import Post


def played(**post: Any) -> Post:
    here = CommonCase(post=post).make()
    parties = here.play()
    assert all(party.finished and party.failure is None for party in parties.values()), {n: str(p.failure) for n, p in parties.items()}
    return here


@cache
def calm() -> Post:
    return played()


def test_undisturbed_the_counts_are_exact_and_nobody_else_has_them() -> None:
    parties = calm().parties
    assert parties[ASKS].state.found == EXPECTED
    assert parties[ASKED].state.found == parties[COORDINATOR].state.found == ()
    assert parties[ASKED].state.universe == parties[COORDINATOR].state.universe == 0


def test_killed_before_every_batch_the_bytes_are_the_same() -> None:
    post = played(killed=lambda _party, _number: True)
    assert post.parties[ASKS].state.found == EXPECTED
    assert [(one.header(), one.body) for one in post.passed] == [(one.header(), one.body) for one in calm().passed]


@pytest.mark.parametrize("before", [True, False], ids=["before it is stored", "after"])
def test_killed_in_the_midst_of_every_batch_what_was_to_be_sent_is_sent(before: bool) -> None:
    delivers = SentAgain()
    post = CommonCase(post={"delivers": delivers}).make()
    post.journals = {name: MortalJournal(before=before) for name in post.programs}
    parties = post.play()
    assert all(party.finished and party.failure is None for party in parties.values())
    assert parties[ASKS].state.found == EXPECTED
    print(f"{delivers.compared} envelopes the same to the byte")
    assert delivers.compared > 60


def test_control_with_randomness_that_is_not_the_runs_a_killed_party_does_not_send_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    draw_afresh(monkeypatch)
    parties = CommonCase(post={"killed": lambda _party, _number: True}).make().play()
    assert any("another set of announcements" in str(party.failure) for party in parties.values())  # two blinded lists of one party
    assert not any(party.finished for party in parties.values())
