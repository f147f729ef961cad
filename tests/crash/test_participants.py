"""A party killed after any step and built again from its journal sends the same bytes and ends with the same result."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from federation.carriage.journal_file import JournalFile
from federation.kernel.manifest import AlignSettings, BinningSettings
from federation.kernel.role import COORDINATOR
from federation.kernel.secret import Secret
from federation.models.training import Coordinator
from tests.pooled_case import Firms, PooledCase
from tests.post import Post


def post(case: PooledCase, killed: Callable[[str, int], bool] = lambda _party, _number: False) -> Post:
    def make(name: str) -> Callable[[], Any]:
        return lambda: case.program(name)

    programs: dict[str, Callable[[], Any]] = {name: make(name) for name in case.tables}
    return Post(case.manifest, programs | {COORDINATOR: lambda: Coordinator(case.manifest)}, killed=killed)


def case(model: str, visibility: str) -> PooledCase:
    firms = Firms(rows=500, columns=2, strength=0.8).draw()
    others: dict[str, Any] = {"model": model, "binning": BinningSettings(max_bins=3)}
    align = AlignSettings(visibility=visibility)  # type: ignore[arg-type]
    settings = {"C": None, "missing": "bin"} if model == "scorecard" else {}
    return PooledCase(firms, others=others, align=align, model=settings, privacy={"label_disclosure": True})


@pytest.mark.parametrize(("model", "visibility"), [("logistic", "hidden"), ("logistic", "book"), ("scorecard", "intersection")])
def test_killed_before_every_batch_the_run_ends_with_the_same_bytes(model: str, visibility: str) -> None:
    calm = post(case(model, visibility))
    calm.play()
    assert all(party.finished for party in calm.parties.values()), {n: p.failure for n, p in calm.parties.items()}
    stormy = post(case(model, visibility), killed=lambda _party, _number: True)
    stormy.play()
    assert [e for e in stormy.passed if e.recipient == COORDINATOR and e.kind != "kernel/abort"]
    assert len(stormy.passed) == len(calm.passed)
    for name, party in calm.parties.items():
        assert stormy.parties[name].finished
        assert stormy.parties[name].state.model_hash == party.state.model_hash != b""


def test_a_repeated_batch_gives_the_stored_bytes_and_another_number_is_refused() -> None:
    repeated: list[bool] = []
    run = post(case("logistic", "hidden"))
    run.parties = {name: run.build(name) for name in run.programs}
    first = run.parties["bank"].deliver(0, ())
    repeated.append(run.parties["bank"].deliver(0, ()) == first)
    rebuilt = run.build("bank")
    repeated.append(rebuilt.deliver(0, ()) == first)
    assert all(repeated)
    with pytest.raises(Exception, match="batch 5"):
        rebuilt.deliver(5, ())


def test_a_journal_on_disk_resumes_and_shows_nothing(tmp_path: Path) -> None:
    plain = post(case("logistic", "hidden"))
    plain.play()
    key = Secret(bytes(range(32)))
    disk = post(case("logistic", "hidden"), killed=lambda _party, number: number % 3 == 1)
    disk.journals = {name: JournalFile(tmp_path / f"{name}.db", key) for name in disk.programs}  # type: ignore[misc]
    disk.play()
    assert {n: p.state.model_hash for n, p in disk.parties.items()} == {n: p.state.model_hash for n, p in plain.parties.items()}
    stored = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert b"f000001" not in stored and b"encrypted_linear" not in stored
    assert all(path.stat().st_mode & 0o077 == 0 for path in tmp_path.glob("*.db"))
