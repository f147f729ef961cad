"""Nothing is counted once and released twice: a process that dies at any step of opening a run, or loses its session, gives no second one at no cost."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

import clients.gate
from clients.assent import Assent
from clients.gate import run_key
from federation.kernel.codec import encode
from federation.kernel.errors import DataError
from federation.kernel.manifest import Manifest
from tests.house import House, spent
from tests.mortal import Killed

replace = msgspec.structs.replace


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> House:
    return House(tmp_path / "bank", monkeypatch)


@pytest.mark.parametrize("weakened", [False, True], ids=["", "control"])
def test_a_session_that_was_lost_with_its_process_is_not_begun_again_at_no_cost(
    weakened: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    house = House(tmp_path / "bank", monkeypatch, journal="memory")
    if weakened:
        monkeypatch.setattr(Assent, "opened_before", lambda *_: False)
    made = house.opened()
    hellos = {encode(house.hello())}
    for _ in range(3):
        house.restart()
        try:
            house.open(made)
        except DataError:
            continue
        hellos.add(encode(house.hello()))
    print(f"{len(hellos) - 1} of 3 restarts gave another session at no cost")
    assert len(hellos) == (4 if weakened else 1)
    assert spent(house) == 1


@pytest.mark.parametrize("digits", [64, 3])
def test_two_manifests_whose_hashes_begin_alike_are_counted_as_two(digits: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 48 bits a coordinator finds two in 2^24 drafts; here the control has 12."""
    house = House(tmp_path / "bank", monkeypatch, journal="memory")
    drafts: dict[str, Manifest] = {}
    plain = house.drafted()
    for seed in range(10_000):
        one = replace(plain, seed=seed)
        two = drafts.setdefault(one.hash.hex()[:3], one)
        if two is not one:
            break
    if digits == 3:
        monkeypatch.setattr(clients.gate, "run_key", lambda made: f"{made.run}-{made.hash.hex()[:3]}")
    else:
        assert run_key(one) != run_key(two)
    for made in (one, two):
        house.vote(made.hash)
        house.open(made)
        assert house.hello().envelopes
        house.restart()
    assert spent(house) == (2 if digits == 64 else 1)


STEPS = [
    ("privacy.store.budget_file.BudgetFile.reserve", 1), ("privacy.store.releases.ReleaseFile.record", 1), ("clients.consented.Consents.opened", 1),
    ("privacy.store.budget_file.BudgetFile.spend", 1), ("clients.approvals.Approvals.note", 2), ("privacy.audit.witness.Witness.approved", 1),
    ("privacy.store.audit_file.AuditFile.sync", 2), ("clients.node.Node._open_run", 1), ("clients.home.Home.keep", 2),
]  # fmt: skip


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("step", range(len(STEPS)))
def test_killed_at_any_step_of_opening_a_run_is_counted_before_anything_leaves(
    step: int, after: bool, house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, which = STEPS[step]
    module, owner, name = path.rsplit(".", 2)
    place = getattr(__import__(module, fromlist=[owner]), owner)
    made = house.drafted()
    house.vote(made.hash)
    signed = house.signatures(made)
    real, calls = getattr(place, name), iter(range(1, 1 << 30))
    static = name == "keep"

    def dying(*arguments: Any, **options: Any) -> Any:
        last = next(calls) >= which
        if last and not after:
            raise Killed
        answer = real(*arguments, **options)
        if last:
            raise Killed
        return answer

    with monkeypatch.context() as patch:
        patch.setattr(place, name, staticmethod(dying) if static else dying)
        try:
            house.open(made, signed)
        except Killed:
            pass
        else:
            pytest.fail("the step was not reached")
    house.restart()
    house.open(made)
    assert spent(house) == 1
    assert house.node.gate.releases.history()[0].run == run_key(made)
    assert house.hello().envelopes
