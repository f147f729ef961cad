"""No protocol sends a kind of message that no contract of the manifest lists."""

from __future__ import annotations

from typing import Any

import pytest

from federation.kernel.manifest import AlignSettings, BinningSettings
from privacy import contracts
from privacy.approval.learning import ACROSS, CHECKING, OVER_BANKS, contracts_of
from tests.bank_case import BankCase, bank_table, five
from tests.check_scene import CheckCase, books, played
from tests.common_scene import CommonCase
from tests.pooled_case import Firms, PooledCase


def unlisted(kinds: set[str], names: tuple[str, ...]) -> set[str]:
    """Kinds that none of the contracts lists."""
    return kinds - {message.kind for name in names for message in contracts.load(name).messages}


@pytest.mark.parametrize("model", ["logistic", "scorecard"])
def test_every_message_is_in_a_contract_of_its_run(model: str) -> None:
    others: dict[str, Any] = {"model": model, "binning": BinningSettings(max_bins=3)}
    settings = {"C": None, "missing": "bin"} if model == "scorecard" else {}
    case = PooledCase(
        Firms(rows=500, columns=2).draw(), others=others, align=AlignSettings(), model=settings, privacy={"label_disclosure": True}
    )
    played = case.play()
    assert played.finished, played.failures
    kinds = {envelope.kind for envelope in played.post.passed}
    names = (*ACROSS, "logistic", *(("binning",) if model == "scorecard" else ()))
    print(f"{model}: {len(kinds)} kinds of message")
    assert unlisted(kinds, names) == set()


OWNERS = {name: {"firm 1": 2.0, name: 1.0} for name in ("bank-b", "bank-c", "bank-d")}
BANK_TASKS = {
    "logistic": {"model": "logistic"}, "scorecard": {"model": "scorecard"}, "binning": {"task": "binning"}, "statistics": {"task": "statistics"},
}  # fmt: skip


@pytest.mark.parametrize("task", BANK_TASKS)
def test_every_message_among_banks_is_in_a_contract_of_its_run(task: str) -> None:
    """With a categorical column, so that levels are told, and with a bank that is lost on the way."""
    for lost in ({}, {"bank4": "sum 2"}):
        case = BankCase(five(), BANK_TASKS[task])
        post = case.play(lost)
        assert all(party.finished and party.failure is None for name, party in post.parties.items() if name not in lost)
        kinds = {envelope.kind for envelope in post.passed}
        print(f"{task}, {len(lost)} lost: {len(kinds)} kinds of message")
        assert "banks/levels" in kinds
        assert unlisted(kinds, OVER_BANKS) == set()


def test_every_message_among_more_than_64_banks_is_in_a_contract_of_its_run() -> None:
    case = BankCase({f"bank{place}": bank_table(place, 20, categorical=False) for place in range(66)}, BANK_TASKS["binning"])
    post = case.play()
    assert all(party.finished for party in post.parties.values())
    kinds = {envelope.kind for envelope in post.passed}
    assert {"session/introduction", "session/lots"} < kinds
    assert unlisted(kinds, OVER_BANKS) == set()


@pytest.mark.parametrize("task", ["multi_lender", "shared_identity"])
def test_every_message_of_a_check_is_in_a_contract_of_it_and_none_besides(task: str) -> None:
    post, _ = played(CheckCase(("firm 1", "firm 2"), books(1), task) if task == "multi_lender" else CheckCase(("firm 1",), OWNERS, task))
    kinds = {envelope.kind for envelope in post.passed}
    assert unlisted(kinds, (*CHECKING, task)) == set()
    listed = {message.kind for name in ("hidden_union", "partial_scores", task) for message in contracts.load(name).messages}
    assert listed <= kinds


def test_every_message_of_a_comparison_of_counterparties_is_in_a_contract_of_it_and_none_besides() -> None:
    case = CommonCase()
    post = case.make()
    assert all(party.finished for party in post.play().values())
    kinds = {envelope.kind for envelope in post.passed}
    assert unlisted(kinds, contracts_of(case.manifest)) == set()
    assert {message.kind for message in contracts.load(case.manifest.task).messages} <= kinds


def test_no_contract_lists_a_message_among_banks_that_is_never_sent() -> None:
    """Of the two contracts that runs over banks alone have."""
    sent = {envelope.kind for envelope in BankCase(five(), {"task": "binning"}).play().passed}
    listed = {message.kind for name in ("bonawitz", "banks") for message in contracts.load(name).messages}
    assert listed <= sent


def test_control_a_kind_that_nobody_listed_is_found() -> None:
    assert unlisted({"align/keyed", "align/secret"}, ACROSS) == {"align/secret"}
