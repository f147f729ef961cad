"""A party works on the rows that it signed for, and what it says of its log reaches everyone alike, before anything else is sent."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest

from federation.kernel.errors import PeerAborted, PeerError
from federation.kernel.session import LONGEST_NOTICE, Hello
from tests.post import Post, manifest
from tests.talk import EVERYONE, NAMES, Talk

SIGNED = {name: name.encode().ljust(32, b".") for name in NAMES}


def talk(more: dict[str, dict[str, Any]], killed: Callable[[str, int], bool] = lambda _party, _number: False) -> Post:
    programs = {name: (lambda name=name: Talk(name)) for name in EVERYONE}
    post = Post(manifest(*NAMES), programs, more=more, killed=killed)
    post.play()
    return post


def arguments(**changes: dict[str, Any]) -> dict[str, dict[str, Any]]:
    plain = {name: {"commitment": SIGNED.get(name, bytes(32)), "approved": SIGNED} for name in EVERYONE}
    return {name: plain[name] | changes.get(name, {}) for name in EVERYONE}


def test_a_party_that_brings_other_rows_than_it_signed_for_ends_the_run_before_any_word() -> None:
    post = talk(arguments(tax={"commitment": b"another snapshot".ljust(32, b".")}))
    found = [party.failure for name, party in post.parties.items() if name != "tax"]
    assert all(isinstance(failure, (PeerError, PeerAborted)) for failure in found)  # who is told of it first has nothing more to find
    assert any(isinstance(failure, PeerError) and "other data than it signed" in failure.what for failure in found)
    assert not any(party.finished for party in post.parties.values())
    assert "test/word" not in {envelope.kind for envelope in post.passed}


def test_control_where_signed_snapshots_are_not_looked_at_the_same_party_is_served() -> None:
    changed = arguments(tax={"commitment": b"another snapshot".ljust(32, b".")})
    post = talk({name: given | {"approved": None} for name, given in changed.items()})
    assert all(party.finished for party in post.parties.values())
    assert all(party.finished for party in talk(arguments()).parties.values())


def test_everyone_hears_everyones_notice_and_a_restart_repeats_the_old_one() -> None:
    heard: dict[str, dict[str, bytes]] = {}

    def hears(name: str) -> Callable[[Mapping[str, Hello], bytes], None]:
        def hear(hellos: Mapping[str, Hello], _session: bytes) -> None:
            said = {party: hello.notice for party, hello in hellos.items()}
            assert heard.setdefault(name, said) == said
            heard[name] = said

        return hear

    notices = {name: f"head of {name}".encode() for name in EVERYONE}
    counts = dict.fromkeys(EVERYONE, 0)

    class Growing(dict[str, Any]):
        """A log that has grown whenever a process starts again: the hello that was sent must not change with it."""

        def get(self, name: str, _default: Any = None) -> dict[str, Any]:
            counts[name] += 1
            notice = notices[name] if counts[name] == 1 else b"a later head"
            return {"notice": notice, "heard": hears(name)}

    post = Post(manifest(*NAMES), {n: (lambda n=n: Talk(n)) for n in EVERYONE}, more=Growing(), killed=lambda _party, _number: True)
    post.play()
    assert all(party.finished for party in post.parties.values()), {n: p.failure for n, p in post.parties.items()}
    assert heard == dict.fromkeys(EVERYONE, notices)
    assert min(counts.values()) > 2


def test_a_notice_that_is_refused_ends_the_run_with_its_reason() -> None:
    def refuse(_hellos: Mapping[str, Hello], _session: bytes) -> None:
        raise PeerError("tax", "a head that is older than one it gave before", "a log that only grows")

    post = talk(arguments(bank={"heard": refuse}))
    assert isinstance(post.parties["bank"].failure, PeerError)
    assert not any(party.finished for party in post.parties.values())


@pytest.mark.parametrize("size", [LONGEST_NOTICE + 1, 4 * LONGEST_NOTICE])
def test_a_notice_has_a_limit(size: int) -> None:
    post = talk(arguments(tax={"notice": b"x" * size}))
    assert not any(party.finished for party in post.parties.values())


def test_what_one_party_logs_as_sent_the_other_logs_as_received_also_after_restarts() -> None:
    told: dict[str, dict[str, Any]] = {name: {} for name in EVERYONE}

    def witness(name: str) -> Callable[..., None]:
        def note(session: str, stage: str, counts: dict[str, dict[str, tuple[int, bytes]]]) -> None:
            key = (session, stage)
            assert told[name].setdefault(key, counts) == counts  # told again after a crash, it is the same
            told[name][key] = counts

        return note

    for killed in (False, True):
        for name in told:
            told[name] = {}
        more = arguments(**{name: {"witness": witness(name)} for name in EVERYONE})
        post = talk(more, killed=lambda _party, _number, killed=killed: killed)
        assert all(party.finished for party in post.parties.values())
        pairs = 0
        for sender in EVERYONE:
            for key, counts in told[sender].items():
                for peer, sent in counts["sent"].items():
                    assert told[peer][key]["received"][sender] == sent
                    pairs += 1
        assert pairs == sum(len(counts["received"]) for stages in told.values() for counts in stages.values()) > 20
