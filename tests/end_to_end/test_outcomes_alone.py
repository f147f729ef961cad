"""A bank that has outcomes and no column of its own: the partners' columns make the model, and the bank alone ranks nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.end_to_end.scene import make_world, simulated


@pytest.mark.parametrize("kind", [pytest.param("logistic", marks=pytest.mark.slow), "scorecard"])
def test_it_is_equal_to_pooled(kind: str, tmp_path: Path) -> None:
    world = make_world(tmp_path, 600)
    world.tables["bank"][["id", "as_of", "label"]].to_parquet(tmp_path / "bank.parquet", index=False)
    allowed: dict[str, Any] = {"label_disclosure": True}  # so few firms have too few bads for the default cap
    run_file = world.run_file("run", kind, party_bank={"include": []}, privacy=allowed)
    document = simulated(run_file, tmp_path / "out", "--pooled")
    assert document["converged"] and document["pooled"]["max_difference"] <= 1e-6
    assert document["parties"][0]["columns"] == [] and document["model"]["coefficients"]["bank"] == {}
    assert document["metrics"]["test"]["auc"] == pytest.approx(document["pooled"]["metrics"]["test"]["auc"], abs=5e-5)
    assert document["pooled"]["label_party_alone"]["test"]["auc"] == 0.5 < document["metrics"]["test"]["auc"]
