"""A hostile coordinator at the node's door: it opens no second run under a name, reaches no other folder, and reads nothing in a refusal.

The node signs whatever manifest says of it what it says of itself; which purposes and settings it accepts is its policy's to decide.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pandas as pd
import pytest

from clients.app import answered
from federation.carriage.mailbox import Parcel
from federation.kernel.batch import Abort, Batch
from federation.kernel.codec import decode, encode
from federation.kernel.errors import AbortCode, ConfigurationError, CreditfedError, DataError, PeerError
from federation.kernel.manifest import (
    BinningSettings,
    ColumnDeclaration,
    Manifest,
    ModelSettings,
    PrivacySettings,
    SampleSettings,
    ScorecardSettings,
)
from federation.kernel.manifest_rules import check_manifest
from federation.kernel.role import COORDINATOR
from federation.kernel.signatures import Opening, Signature, sign_manifest
from tests.house import OTHERS, House
from tests.post import identity

CANARY = 987_654_321.5
replace = msgspec.structs.replace


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> House:
    return at_once(tmp_path, monkeypatch)


def at_once(folder: Path, monkeypatch: pytest.MonkeyPatch, **settings: Any) -> House:
    """A bank whose owners' keys approve every run, with a canary in its data."""
    house = House(folder / "bank", monkeypatch, at_once=True, **settings)
    table = pd.read_csv(house.root / "bank.csv")
    table.loc[0, "turnover"] = CANARY
    table.to_csv(house.root / "bank.csv", index=False)
    return house


def opened(house: House) -> bytes:
    """A run that is open, and its first reply: the node's hello."""
    house.opened()
    return house.ask("deliver", encode(Batch(0)))


def test_an_honest_opening_is_answered_with_a_hello_and_the_same_again_changes_nothing(house: House) -> None:
    first = opened(house)
    assert {e.kind for e in decode(first, Batch, "bank", 1 << 20).envelopes} == {"session/hello"}
    assert opened(house) == first
    house.restart()
    assert house.ask("deliver", encode(Batch(0))) == first


OUT_OF_RANGE: dict[str, tuple[dict[str, Any], str]] = {
    "max_bins": ({"binning": BinningSettings(max_bins=-5)}, "$.binning.max_bins"),
    "woe_smoothing": ({"binning": BinningSettings(woe_smoothing=-1.0)}, "$.binning.woe_smoothing"),
    "min_share": ({"binning": BinningSettings(min_share=7.0)}, "$.binning.min_share"),
    "holdout": ({"sample": SampleSettings(holdout=3.0)}, "$.sample.holdout"),
    "tolerance": ({"settings": ModelSettings(tolerance=9.0)}, "$.settings.tolerance"),
    "minimum_cohort": ({"privacy": PrivacySettings(minimum_cohort=-1)}, "$.privacy.minimum_cohort"),
    "max_released_counts": ({"privacy": PrivacySettings(max_released_counts=-1)}, "$.privacy.max_released_counts"),
    "C": ({"settings": ModelSettings(C=-1.0)}, "$.settings.C"),
    "pdo": ({"scorecard": ScorecardSettings(pdo=0.0)}, "$.scorecard.pdo"),
}


@pytest.mark.parametrize("setting", OUT_OF_RANGE)
def test_a_setting_out_of_its_range_is_refused_and_control_without_ranges_nothing_is_wrong_with_it(house: House, setting: str) -> None:
    changes, place = OUT_OF_RANGE[setting]
    unfit = house.drafted(**changes)
    check_manifest(unfit)  # control: without the ranges there is nothing wrong with it
    for operation, payload in (("propose", unfit.canonical()), ("open", _signed(house, unfit))):
        with pytest.raises(PeerError, match=re.escape(place)):
            house.ask(operation, payload)


def test_a_level_that_there_is_none_of_is_refused_at_every_party(house: House) -> None:
    fit = house.drafted()
    columns = (ColumnDeclaration(name="orders", kind="numeric", level=77),)
    unfit = replace(fit, parties=(*fit.parties[:2], replace(fit.parties[2], columns=columns)))
    with pytest.raises(PeerError, match=re.escape("$.parties[2].columns[0].level")):
        house.ask("propose", unfit.canonical())
    fit = replace(unfit, parties=(*fit.parties[:2], replace(fit.parties[2], columns=(replace(columns[0], level=5),))))
    assert msgspec.json.decode(house.ask("propose", fit.canonical()), type=Signature).party == "bank"  # control


@pytest.mark.parametrize("run", ["../../outside", "..", "", "/tmp/outside", "a/b", "a\0b", ".hidden", "x" * 65, "run\n"])
def test_a_run_reaches_no_file_outside_the_journals_folder(house: House, run: str) -> None:
    before = everything(house.root.parent)
    for operation, payload in (
        ("deliver", encode(Batch(0))),
        ("open", _forced(house, run)),
        ("propose", replace(house.drafted(), run=run).canonical()),
    ):
        with pytest.raises(ConfigurationError, match="run's name"):
            house.ask(operation, payload, run)
    assert everything(house.root.parent) == before | {"bank/results/failure.json", "bank/approvals/lock"}


def _forced(house: House, run: str) -> bytes:
    return _signed(house, replace(house.drafted(), run=run))


def _signed(house: House, made: Manifest) -> bytes:
    """An opening that bears every party's signature, this node's too."""
    mine = sign_manifest(made, "bank", bytes(32), house.node.identity)
    return msgspec.json.encode(Opening(made.canonical(), (mine, *(sign_manifest(made, n, bytes(32), identity(n)) for n in OTHERS))))


def everything(folder: Path) -> set[str]:
    return {
        str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file() and path.suffix not in (".key", ".db-wal", ".db-shm")
    }


def test_another_manifest_under_the_same_name_is_refused_also_after_a_restart(house: House) -> None:
    first = opened(house)
    for _ in range(2):
        other = house.drafted(seed=8)
        with pytest.raises(PeerError, match="open already"):
            house.open(other)
        assert house.ask("deliver", encode(Batch(0))) == first
        house.restart()


@pytest.mark.parametrize(
    "how", ["unsigned", "signed by others", "altered after signing", "another run's name", "malformed", "widened columns"]
)
def test_a_manifest_that_not_all_have_signed_opens_nothing(house: House, how: str) -> None:
    honest = house.drafted()
    whole = Opening(honest.canonical(), house.signatures(honest))
    party = honest.parties[0]
    wider = replace(
        honest, parties=(replace(party, columns=(*party.columns, replace(party.columns[0], name="secret"))), *honest.parties[1:])
    )
    forged = {
        "unsigned": Opening(whole.manifest, ()),
        "signed by others": Opening(whole.manifest, tuple(sign_manifest(honest, n, bytes(32), identity("x")) for n in honest.members)),
        "altered after signing": Opening(replace(honest, seed=8).canonical(), whole.signatures),
        "another run's name": whole,
        "malformed": Opening(whole.manifest + b" ", whole.signatures),
        "widened columns": Opening(wider.canonical(), whole.signatures),
    }[how]
    with pytest.raises((PeerError, ConfigurationError)):
        house.ask("open", msgspec.json.encode(forged), "other" if how == "another run's name" else "test")
    with pytest.raises(PeerError, match="no journal"):
        house.ask("deliver", encode(Batch(0)))
    with pytest.raises(ConfigurationError, match="declares other columns"):
        house.ask("propose", wider.canonical())


def test_a_node_that_lost_an_open_runs_journal_refuses_it(house: House) -> None:
    opened(house)
    for path in (house.root / "journal").glob("test.db*"):
        path.unlink()
    house.restart()
    made = house.drafted()
    anew = msgspec.json.encode(Opening(made.canonical(), house.signatures(made)))
    for operation, payload in (("deliver", encode(Batch(0))), ("deliver", encode(Batch(1))), ("open", anew)):
        with pytest.raises(DataError, match="journal"):
            house.ask(operation, payload)


def test_a_node_that_lost_a_runs_manifest_does_not_go_on_under_another(house: House) -> None:
    opened(house)
    (house.root / "journal" / "test.opening").unlink()
    house.restart()
    with pytest.raises(PeerError, match="no journal"):
        house.ask("deliver", encode(Batch(0)))
    other = house.drafted(seed=8)
    with pytest.raises(DataError, match="journal"):
        house.open(other)


def test_a_node_killed_while_it_opened_a_run_opens_it_after_all(house: House) -> None:
    made = house.drafted()
    signed = house.signatures(made)
    house.open(made, signed)
    (house.root / "journal" / "test.opening").unlink()  # it was the last to be written, and nothing had been sent
    house.restart()
    house.open(made, signed)
    assert decode(house.ask("deliver", encode(Batch(0))), Batch, "bank", 1 << 20).envelopes


def test_a_journal_in_memory_ends_with_its_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    house = at_once(tmp_path, monkeypatch, journal="memory")
    first = opened(house)
    house.restart()
    with pytest.raises(PeerError, match="no journal"):
        house.ask("deliver", encode(Batch(1)))
    with pytest.raises(DataError, match="its journal is gone"):  # opened anew it would be another session, with fresh noise, at no cost
        opened(house)
    next_one = house.drafted(attempt=1)
    house.open(next_one)
    assert house.ask("deliver", encode(Batch(0))) != first


def test_garbage_is_refused_with_a_code_and_no_text_leaves(house: House) -> None:
    opened(house)
    rng, refused = np.random.default_rng(5), 0
    for _ in range(400):
        operation = str(rng.choice(["describe", "propose", "open", "deliver", "delete", ""]))
        raw = rng.bytes(int(rng.integers(0, 200)))
        try:
            answer = answered(house.node, Parcel(operation, "test", raw))
        except CreditfedError as error:
            assert error.code in AbortCode
            refused += 1
            continue
        assert operation == "describe"
        assert str(CANARY).encode() not in answer.payload
    print(f"seed 5: {refused} of 400 parcels of garbage refused, the rest asked what anyone may ask")
    assert decode(house.ask("deliver", encode(Batch(0))), Batch, "bank", 1 << 20).envelopes


def test_a_bug_at_the_node_ends_the_run_for_its_peers_with_a_code_and_a_restart_does_not_take_it_up(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened(house)
    with monkeypatch.context() as patch:
        patch.setattr("federation.kernel.participant.Participant._pump", lambda *_: {}[str(CANARY)])
        answer = answered(house.node, Parcel("deliver", "test", encode(Batch(1))))
    batch = decode(answer.payload, Batch, "bank", 1 << 20)
    assert batch.done
    assert {e.kind for e in batch.envelopes} == {Abort.kind()}
    assert {e.body for e in batch.envelopes if e.recipient == COORDINATOR} == {encode(Abort(AbortCode.INTERNAL))}
    assert str(CANARY) not in (house.root / "results" / "failure.json").read_text()
    house.restart()
    assert house.ask("deliver", encode(Batch(1))) == answer.payload
    assert decode(house.ask("deliver", encode(Batch(2))), Batch, "bank", 1 << 20) == Batch(2, (), done=True)
    assert json.loads((house.root / "results" / "failure.json").read_text())["code"] == AbortCode.INTERNAL
