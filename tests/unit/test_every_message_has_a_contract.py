"""No protocol sends a kind of message that no contract of the manifest lists."""

from __future__ import annotations

from typing import Any

import pytest

from federation.kernel.manifest import AlignSettings, BinningSettings
from privacy import contracts
from server.draft import SPINE
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
    names = (*SPINE, "logistic", *(("binning",) if model == "scorecard" else ()))
    print(f"{model}: {len(kinds)} kinds of message")
    assert unlisted(kinds, names) == set()


def test_control_a_kind_that_nobody_listed_is_found() -> None:
    assert unlisted({"align/keyed", "align/secret"}, SPINE) == {"align/secret"}
