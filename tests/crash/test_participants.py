"""A party killed after any step and built again from its journal sends the same bytes and ends with the same result.

The real training programs, with every party killed at every batch: before it is stored (the batch is worked out again), and after (its
stored bytes are sent). SEAL draws the noise of a ciphertext itself, so a batch of fresh ciphertexts that was never stored and never sent is
another when it is worked out again; all else is the same to the byte.
"""

from __future__ import annotations

import stat
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from federation.carriage.journal_file import JournalFile
from federation.kernel.batch import Batch
from federation.kernel.codec import decode
from federation.kernel.envelope import Envelope
from federation.kernel.manifest import AlignSettings, BinningSettings
from federation.kernel.participant import Participant
from federation.kernel.role import COORDINATOR
from federation.kernel.secret import Secret
from federation.models.training import Coordinator
from tests.mortal import MortalJournal, dying
from tests.pooled_case import Firms, PooledCase
from tests.post import Post

KEY = Secret(bytes(range(32)))
RUNS = [(model, visibility) for model in ("logistic", "scorecard") for visibility in ("hidden", "book", "intersection")]
QUICK = (("logistic", "hidden"), ("scorecard", "book"), ("logistic", "intersection"))
FRESH = ("encrypted_linear/encrypted", "encrypted_linear/answers")
"""The message kinds that hold fresh ciphertexts, whose noise SEAL draws: the owner's vector, and the zeros that cover a holder's answers."""


def post(case: PooledCase, **hostile: Any) -> Post:
    def make(name: str) -> Callable[[], Any]:
        return lambda: case.program(name)

    programs: dict[str, Callable[[], Any]] = {name: make(name) for name in case.tables}
    return Post(case.manifest, programs | {COORDINATOR: lambda: Coordinator(case.manifest)}, **hostile)


def case(model: str, visibility: str) -> PooledCase:
    firms = Firms(rows=300, columns=1, strength=0.8).draw()
    others: dict[str, Any] = {"model": model, "binning": BinningSettings(max_bins=3)}
    align = AlignSettings(visibility=visibility)  # type: ignore[arg-type]
    settings: dict[str, Any] = {"max_iterations": 4} | ({"C": 10.0, "missing": "bin"} if model == "scorecard" else {})
    return PooledCase(firms, others=others, align=align, model=settings, privacy={"label_disclosure": True})


@cache
def calm(model: str, visibility: str) -> Post:
    """The same run, undisturbed."""
    here = post(case(model, visibility))
    here.play()
    assert all(party.finished for party in here.parties.values()), {n: p.failure for n, p in here.parties.items()}
    return here


def hashes(here: Post) -> dict[str, bytes]:
    assert all(party.finished and party.failure is None for party in here.parties.values()), {n: p.failure for n, p in here.parties.items()}
    return {name: party.state.model_hash for name, party in here.parties.items()}


def headers(here: Post) -> list[bytes]:
    return [envelope.header() for envelope in here.passed]


@pytest.mark.parametrize(("model", "visibility"), [pytest.param(*run, marks=() if run in QUICK else pytest.mark.slow) for run in RUNS])
def test_killed_before_every_batch_the_run_ends_with_the_same_bytes(model: str, visibility: str) -> None:
    """3 of 6 runs in the quick tests."""
    stormy = post(case(model, visibility), killed=lambda _party, _number: True)
    stormy.play()
    assert hashes(stormy) == hashes(calm(model, visibility))
    assert headers(stormy) == headers(calm(model, visibility))
    plain = [(e.header(), e.body) for e in stormy.passed if not e.kind.startswith("encrypted_linear/")]
    assert plain == [(e.header(), e.body) for e in calm(model, visibility).passed if not e.kind.startswith("encrypted_linear/")]


@pytest.mark.parametrize(
    ("model", "visibility", "before"),
    [
        *(pytest.param(*run, True, marks=() if run in QUICK else pytest.mark.slow) for run in RUNS),
        ("scorecard", "book", False), pytest.param("logistic", "book", False, marks=pytest.mark.slow),
        pytest.param("scorecard", "hidden", False, marks=pytest.mark.slow),
    ],
)  # fmt: skip
def test_killed_in_the_midst_of_every_batch_what_was_to_be_sent_is_sent(model: str, visibility: str, before: bool) -> None:
    """4 of 9 runs in the quick tests."""
    compared, fresh = 0, 0

    def delivers(here: Post, name: str, number: int, batch: tuple[Envelope, ...]) -> bytes:
        nonlocal compared, fresh
        lost, reply = dying(here, name, number, batch)
        unsent, sent = decode(lost, Batch, name, len(lost)), decode(reply, Batch, name, len(reply))
        assert (len(sent.envelopes), sent.done) == (len(unsent.envelopes), unsent.done)
        for one, other in zip(unsent.envelopes, sent.envelopes, strict=True):
            assert one.header() == other.header()
            if before and one.kind in FRESH:
                fresh += 1
            else:
                assert one == other, one.kind
                compared += 1
        return reply

    stormy = post(case(model, visibility), delivers=delivers)
    stormy.journals = {name: MortalJournal(before=before) for name in stormy.programs}
    stormy.play()
    print(f"{compared} envelopes the same to the byte, {fresh} fresh ciphertexts")
    assert hashes(stormy) == hashes(calm(model, visibility))
    assert compared > 100


def test_control_without_its_effects_a_killed_party_does_not_end_with_the_same_result(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Participant, "effect", lambda _self, _label, produce: produce())  # a key lost: what returns cannot be read
    stormy = post(case("logistic", "hidden"), killed=lambda _party, _number: True)
    stormy.play()
    assert {n: p.state.model_hash for n, p in stormy.parties.items()} != hashes(calm("logistic", "hidden"))


@pytest.mark.parametrize("every", [12, pytest.param(4, marks=pytest.mark.slow)])
@pytest.mark.parametrize("party", ["bank", "platform"])
def test_one_party_killed_at_one_batch_after_another(party: str, every: int) -> None:
    """At every twelfth batch in the quick tests, at every fourth in the long ones."""
    batches = calm("logistic", "hidden").parties[party]._number + 1
    for number in range(1, batches, every):
        here = post(case("logistic", "hidden"), killed=lambda name, at, number=number: (name, at) == (party, number))
        here.play()
        assert hashes(here) == hashes(calm("logistic", "hidden"))
    print(f"{party}: {len(range(1, batches, every))} runs, each killed at another of {batches} batches")


def test_a_repeated_batch_gives_the_stored_bytes_and_another_number_is_refused() -> None:
    run = post(case("logistic", "hidden"))
    run.parties = {name: run.build(name) for name in run.programs}
    first = run.parties["bank"].deliver(0, ())
    assert run.parties["bank"].deliver(0, ()) == first
    rebuilt = run.build("bank")
    assert rebuilt.deliver(0, ()) == first
    with pytest.raises(Exception, match="batch 5"):
        rebuilt.deliver(5, ())


@pytest.mark.parametrize("model", [pytest.param("logistic", marks=pytest.mark.slow), "scorecard"])
def test_a_journal_on_disk_resumes_and_shows_nothing(tmp_path: Path, model: str) -> None:
    shown: list[bytes] = []

    def opened(name: str) -> JournalFile:
        shown.extend(path.read_bytes() for path in tmp_path.iterdir() if path.name.startswith(name))
        return JournalFile(tmp_path / f"{name}.db", KEY)  # as a new process opens it

    disk = post(case(model, "hidden"), opened=opened, killed=lambda _party, number: number % 2 == 1)
    disk.play()
    assert hashes(disk) == hashes(calm(model, "hidden"))
    shown.extend(path.read_bytes() for path in tmp_path.iterdir())
    print(f"{len(shown)} files read, {sum(map(len, shown))} bytes: 0 with a firm, a column's name or a message kind")
    shown = [
        content.replace(b" for platform", b"") for content in shown
    ]  # an effect's label ends so, and a random byte follows: once in 256 "0"
    for needle in (b"f000001", b"platform0", b"masked_sum/", b"session/"):
        assert not any(needle in content for content in shown), needle
    assert all(stat.S_IMODE(path.stat().st_mode) == 0o600 for path in tmp_path.iterdir())


def test_control_in_memory_the_journal_holds_what_the_disk_does_not_show() -> None:
    journal = calm("logistic", "hidden").journals["bank"]
    record = journal.load()
    assert record is not None
    assert b"bank0" in record.snapshot
