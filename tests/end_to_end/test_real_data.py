"""Real loans (US Small Business Administration): a federated model has the AUC and KS of the pooled one, to four decimals, on every sample.

The data are not part of the repository; where they are absent these tests are skipped and say so.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import tomli_w

from tests.end_to_end.scene import ROOT, simulated

DATA = ROOT.parent / "shared" / "data"
PARTIES = ("bank", "platform", "tax")


def folder_of(name: str) -> Path:
    """The data set's folder, or a visible skip."""
    folder = DATA / name
    if not folder.is_dir():
        pytest.skip(f"real loans are not here: {folder}")
    return folder


def loans(name: str, model: str, tmp_path: Path, **sample: Any) -> dict[str, Any]:
    """A run over a data set's three files, with the pooled reference."""
    folder = folder_of(name)
    parties = [{"name": party, "role": party, "source": str(folder / f"{party}.parquet"), "id": "id"} for party in PARTIES]
    parties[0]["label"] = "label"
    document = {
        "run": {"task": "train", "model": model, "purpose": "decide", "seed": 7, "holdout": 0.3},
        "sample": {"as_of": "as_of"} | sample, "party": parties,
    }  # fmt: skip
    run_file = tmp_path / f"{model}.toml"
    run_file.write_text(tomli_w.dumps(document))
    return simulated(run_file, tmp_path / "out", "--pooled")


def equals_pooled(document: dict[str, Any], splits: tuple[str, ...]) -> None:
    """AUC and KS to four decimals, coefficients to 1e-6 in standardised units; `as_of` is no feature; partners help
    in the period that the model was fitted on.
    """
    assert document["converged"], document.get("stop_reason")
    for split in splits:
        mine, pooled = document["metrics"][split], document["pooled"]["metrics"][split]
        alone = document["pooled"]["label_party_alone"][split]
        print(
            f"{split}: n {mine['n']}, AUC {mine['auc']:.4f} = {pooled['auc']:.4f}, KS {mine['ks']:.4f} = {pooled['ks']:.4f}; alone {alone['auc']:.4f}"
        )
        assert round(mine["auc"], 4) == round(pooled["auc"], 4) and round(mine["ks"], 4) == round(pooled["ks"], 4)
        if split != "out_of_time":  # later loans met another economy: there the partners' columns need not help, and the scorecard's do not
            assert mine["auc"] > alone["auc"], "the bank alone does as well"
    assert document["pooled"]["max_difference"] <= 1e-6
    assert not [column for columns in document["model"]["coefficients"].values() for column in columns if "as_of" in column]


@pytest.mark.parametrize("model", [pytest.param("logistic", marks=pytest.mark.slow), "scorecard"])
def test_eight_thousand_loans(model: str, tmp_path: Path) -> None:
    document = loans("sba_vertical_sample8k", model, tmp_path)
    equals_pooled(document, ("train", "test"))
    assert len(pd.read_parquet(tmp_path / "out" / "scores" / "bank.parquet")) == 8_000


@pytest.mark.slow
@pytest.mark.parametrize("model", ["logistic", "scorecard"])
def test_forty_thousand_loans(model: str, tmp_path: Path) -> None:
    equals_pooled(loans("sba_vertical_full", model, tmp_path), ("train", "test"))


@pytest.mark.slow
@pytest.mark.parametrize("model", ["logistic", "scorecard"])
def test_weighted_loans_out_of_time(model: str, tmp_path: Path) -> None:
    document = loans("sba_vertical_weighted30k", model, tmp_path, weight="weight", out_of_time_from="2005-01-01")
    equals_pooled(document, ("train", "test", "out_of_time"))
