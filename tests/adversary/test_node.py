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
from clients.budget_commands import ledger_path
from clients.clock import utc_now
from clients.consortium import Member, write
from clients.founding import found
from clients.node import Node
from federation.carriage.mailbox import Parcel
from federation.kernel import suite
from federation.kernel.batch import Abort, Batch
from federation.kernel.codec import decode, encode
from federation.kernel.errors import AbortCode, ConfigurationError, CreditfedError, DataError, PeerError
from federation.kernel.manifest import (
    BinningSettings,
    ColumnDeclaration,
    Description,
    Manifest,
    ModelSettings,
    PartyDeclaration,
    PrivacySettings,
    SampleSettings,
    ScorecardSettings,
)
from federation.kernel.manifest_rules import check_manifest
from federation.kernel.role import COORDINATOR
from federation.kernel.signatures import Opening, Signature, sign_manifest
from privacy.approval.learning import contracts_of
from privacy.budget.limits import Limits
from privacy.store.budget_file import BudgetFile
from tests.post import identity, manifest

CANARY = 987_654_321.5
OTHERS = ("platform", "tax")
replace = msgspec.structs.replace


@pytest.fixture
def node(tmp_path: Path) -> Node:
    return made(tmp_path / "bank")


def made(home: Path, journal: str = "disk") -> Node:
    rng, rows = np.random.default_rng(1), 60
    home.mkdir()
    table = {"id": [f"firm{i}" for i in range(rows)], "label": rng.integers(0, 2, rows), "turnover": np.r_[CANARY, rng.random(rows - 1)]}
    pd.DataFrame(table).to_csv(home / "bank.csv", index=False)
    section = {"name": "bank", "role": "bank", "source": "bank.csv", "label": "label", "journal": journal}
    founded = found(home, section | {"legal_basis": "simulation"}, utc_now, ("owner",))
    BudgetFile(ledger_path(home)).set_limits("bank", "any", Limits(), "risk officer")
    members = [Member(n, "platform", suite.signing_public(identity(n)).hex()) for n in OTHERS]
    write(home, suite.signing_public(identity(COORDINATOR)).hex(), [Member("bank", "bank", founded.key), *members])
    return Node(home, at_once=True)


def drafted(node: Node, **changes: Any) -> Manifest:
    mine = msgspec.json.decode(ask(node, "describe").payload, type=Description).party
    others = tuple(PartyDeclaration(name=n, role="platform", identity=suite.signing_public(identity(n)).hex()) for n in OTHERS)
    made = replace(manifest("bank", *OTHERS), parties=(mine, *others), **({"purpose": "decide"} | changes))
    return replace(made, contracts=contracts_of(made))


def ask(node: Node, operation: str, payload: bytes = b"", run: str = "test") -> Parcel:
    return node.answer(Parcel(operation, run, payload))


def opening(node: Node, made: Manifest) -> bytes:
    mine = msgspec.json.decode(ask(node, "propose", made.canonical(), made.run).payload, type=Signature)
    return msgspec.json.encode(Opening(made.canonical(), (mine, *(sign_manifest(made, n, bytes(32), identity(n)) for n in OTHERS))))


def opened(node: Node) -> bytes:
    """A run that is open, and its first reply: the node's hello."""
    ask(node, "open", opening(node, drafted(node)))
    return ask(node, "deliver", encode(Batch(0))).payload


def test_an_honest_opening_is_answered_with_a_hello_and_the_same_again_changes_nothing(node: Node) -> None:
    first = opened(node)
    assert {e.kind for e in decode(first, Batch, "bank", 1 << 20).envelopes} == {"session/hello"}
    ask(node, "open", opening(node, drafted(node)))
    assert ask(node, "deliver", encode(Batch(0))).payload == first
    assert ask(Node(node.home.root, at_once=True), "deliver", encode(Batch(0))).payload == first


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
def test_a_setting_out_of_its_range_is_refused_whatever_the_coordinator_let_pass(node: Node, setting: str) -> None:
    changes, place = OUT_OF_RANGE[setting]
    unfit = drafted(node, **changes)
    check_manifest(unfit)  # control: without the ranges there is nothing wrong with it
    for operation, payload in (("propose", unfit.canonical()), ("open", _signed(node, unfit))):
        with pytest.raises(PeerError, match=re.escape(place)):
            ask(node, operation, payload)


def test_a_level_that_there_is_none_of_is_refused_at_every_party(node: Node) -> None:
    fit = drafted(node)
    columns = (ColumnDeclaration(name="orders", kind="numeric", level=77),)
    unfit = replace(fit, parties=(*fit.parties[:2], replace(fit.parties[2], columns=columns)))
    with pytest.raises(PeerError, match=re.escape("$.parties[2].columns[0].level")):
        ask(node, "propose", unfit.canonical())
    fit = replace(unfit, parties=(*fit.parties[:2], replace(fit.parties[2], columns=(replace(columns[0], level=5),))))
    assert msgspec.json.decode(ask(node, "propose", fit.canonical()).payload, type=Signature).party == "bank"  # control


@pytest.mark.parametrize("run", ["../../outside", "..", "", "/tmp/outside", "a/b", "a\0b", ".hidden", "x" * 65, "run\n"])
def test_a_run_reaches_no_file_outside_the_journals_folder(node: Node, run: str) -> None:
    before = everything(node.home.root.parent)
    for operation, payload in (
        ("deliver", encode(Batch(0))),
        ("open", _forced(node, run)),
        ("propose", replace(drafted(node), run=run).canonical()),
    ):
        with pytest.raises(ConfigurationError, match="run's name"):
            ask(node, operation, payload, run)
    assert everything(node.home.root.parent) == before | {"bank/results/failure.json", "bank/approvals/lock"}


def _forced(node: Node, run: str) -> bytes:
    return _signed(node, replace(drafted(node), run=run))


def _signed(node: Node, made: Manifest) -> bytes:
    """An opening that bears every party's signature, this node's too."""
    mine = sign_manifest(made, "bank", bytes(32), node.identity)
    return msgspec.json.encode(Opening(made.canonical(), (mine, *(sign_manifest(made, n, bytes(32), identity(n)) for n in OTHERS))))


def everything(folder: Path) -> set[str]:
    return {
        str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file() and path.suffix not in (".key", ".db-wal", ".db-shm")
    }


def test_another_manifest_under_the_same_name_is_refused_also_after_a_restart(node: Node) -> None:
    first = opened(node)
    for at in (node, Node(node.home.root, at_once=True)):
        with pytest.raises(PeerError, match="open already"):
            ask(at, "open", opening(at, drafted(at, seed=8)))
        assert ask(at, "deliver", encode(Batch(0))).payload == first


@pytest.mark.parametrize(
    "how", ["unsigned", "signed by others", "altered after signing", "another run's name", "malformed", "widened columns"]
)
def test_a_manifest_that_not_all_have_signed_opens_nothing(node: Node, how: str) -> None:
    honest = drafted(node)
    whole = msgspec.json.decode(opening(node, honest), type=Opening)
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
        ask(node, "open", msgspec.json.encode(forged), "other" if how == "another run's name" else "test")
    with pytest.raises(PeerError, match="no journal"):
        ask(node, "deliver", encode(Batch(0)))
    with pytest.raises(ConfigurationError, match="declares other columns"):
        ask(node, "propose", wider.canonical())


def test_a_node_that_lost_an_open_runs_journal_refuses_it(node: Node) -> None:
    opened(node)
    for path in (node.home.root / "journal").glob("test.db*"):
        path.unlink()
    again = Node(node.home.root, at_once=True)
    for operation, payload in (("deliver", encode(Batch(0))), ("deliver", encode(Batch(1))), ("open", opening(again, drafted(again)))):
        with pytest.raises(DataError, match="journal"):
            ask(again, operation, payload)


def test_a_node_that_lost_a_runs_manifest_does_not_go_on_under_another(node: Node) -> None:
    opened(node)
    (node.home.root / "journal" / "test.opening").unlink()
    again = Node(node.home.root, at_once=True)
    with pytest.raises(PeerError, match="no journal"):
        ask(again, "deliver", encode(Batch(0)))
    with pytest.raises(DataError, match="journal"):
        ask(again, "open", opening(again, drafted(again, seed=8)))


def test_a_node_killed_while_it_opened_a_run_opens_it_after_all(node: Node) -> None:
    payload = opening(node, drafted(node))
    ask(node, "open", payload)
    (node.home.root / "journal" / "test.opening").unlink()  # it was the last to be written, and nothing had been sent
    again = Node(node.home.root, at_once=True)
    ask(again, "open", payload)
    assert decode(ask(again, "deliver", encode(Batch(0))).payload, Batch, "bank", 1 << 20).envelopes


def test_a_journal_in_memory_ends_with_its_process(tmp_path: Path) -> None:
    node = made(tmp_path / "bank", "memory")
    first = opened(node)
    again = Node(node.home.root, at_once=True)
    with pytest.raises(PeerError, match="no journal"):
        ask(again, "deliver", encode(Batch(1)))
    with pytest.raises(DataError, match="its journal is gone"):  # opened anew it would be another session, with fresh noise, at no cost
        opened(again)
    next_one = drafted(again, attempt=1)
    ask(again, "open", opening(again, next_one))
    assert ask(again, "deliver", encode(Batch(0))).payload != first


def test_garbage_is_refused_with_a_code_and_no_text_leaves(node: Node) -> None:
    opened(node)
    rng, refused = np.random.default_rng(5), 0
    for _ in range(400):
        operation = str(rng.choice(["describe", "propose", "open", "deliver", "delete", ""]))
        raw = rng.bytes(int(rng.integers(0, 200)))
        try:
            answer = answered(node, Parcel(operation, "test", raw))
        except CreditfedError as error:
            assert error.code in AbortCode
            refused += 1
            continue
        assert operation == "describe"
        assert str(CANARY).encode() not in answer.payload
    print(f"seed 5: {refused} of 400 parcels of garbage refused, the rest asked what anyone may ask")
    assert decode(ask(node, "deliver", encode(Batch(0))).payload, Batch, "bank", 1 << 20).envelopes


def test_a_bug_at_the_node_ends_the_run_for_its_peers_with_a_code_and_a_restart_does_not_take_it_up(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened(node)
    monkeypatch.setattr("federation.kernel.participant.Participant._pump", lambda *_: {}[str(CANARY)])
    answer = answered(node, Parcel("deliver", "test", encode(Batch(1))))
    batch = decode(answer.payload, Batch, "bank", 1 << 20)
    assert batch.done
    assert {e.kind for e in batch.envelopes} == {Abort.kind()}
    assert {e.body for e in batch.envelopes if e.recipient == COORDINATOR} == {encode(Abort(AbortCode.INTERNAL))}
    assert str(CANARY) not in (node.home.root / "results" / "failure.json").read_text()
    monkeypatch.undo()
    again = Node(node.home.root, at_once=True)
    assert ask(again, "deliver", encode(Batch(1))).payload == answer.payload
    assert decode(ask(again, "deliver", encode(Batch(2))).payload, Batch, "bank", 1 << 20) == Batch(2, (), done=True)
    assert json.loads((node.home.root / "results" / "failure.json").read_text())["code"] == AbortCode.INTERNAL
