"""A column that knows the outcome, and values that were recorded after the decision, are flagged in the report by name and in plain words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import tomli_w

from tests.end_to_end.scene import simulated
from tests.unit.report_page import Page

DATA = Path(__file__).parents[3] / "shared/data/sba_vertical_sample8k"
SEED = 20_260_804


def run(folder: Path, parties: list[dict[str, Any]], **tables: Any) -> tuple[dict[str, Any], str]:
    path = folder / "run.toml"
    path.write_text(tomli_w.dumps({**tables, "party": parties}))
    document = simulated(path, folder / "out")
    return document, Page((folder / "out" / "report.html").read_text()).text


def test_the_leaking_term_of_real_loans_is_flagged_and_honest_columns_are_not(tmp_path: Path) -> None:
    if not DATA.is_dir():
        pytest.skip(f"{DATA} is not there")
    bank = pd.read_parquet(DATA / "bank.parquet").merge(pd.read_parquet(DATA / "bank_term_LEAKY.parquet"), on="id").head(3_000)
    bank[["id", "label", "term", "gross_approved"]].to_parquet(tmp_path / "bank.parquet")
    pd.read_parquet(DATA / "platform.parquet")[["id", "create_job", "new_business"]].to_parquet(tmp_path / "platform.parquet")
    parties = [
        {"name": "bank", "role": "bank", "source": "bank.parquet", "label": "label"},
        {"name": "platform", "role": "platform", "source": "platform.parquet"},
    ]
    document, text = run(tmp_path, parties, run={"task": "binning", "model": "scorecard"}, binning={"max_bins": 5})
    ivs = {column["name"]: column["iv"] for party in document["parties"] for column in party["columns"]}
    assert ivs["term"] > 1.0 and max(iv for name, iv in ivs.items() if name != "term") < 0.5
    assert "bank / term: implausibly predictive" in text and "carries the outcome itself" in text
    for honest in ("gross_approved", "create_job", "new_business"):  # control: the rule flags what leaks, and nothing else
        assert f"{honest}: implausibly" not in text and f"{honest}: suspiciously" not in text


@pytest.fixture
def dated(tmp_path: Path) -> dict[str, pd.DataFrame]:
    print(f"seed {SEED}")
    rng, n = np.random.default_rng(SEED), 400
    ids, x = [f"firm-{at}" for at in range(n)], rng.standard_normal((3, n))
    months = np.array(["2023-03", "2023-06"], "datetime64[M]")[np.arange(n) % 2]
    label = (rng.random(n) < 1 / (1 + np.exp(-x[0] - x[1]))).astype(int)
    bank = pd.DataFrame({"id": ids, "as_of": (months + 0).astype(str), "balance": x[0], "label": label})
    tax = pd.DataFrame({"id": ids, "as_of": months.astype(str), "invoices": x[1]})
    bank.to_parquet(tmp_path / "bank.parquet")
    return {"tax": tax, "bank": bank}


def flagged(folder: Path, tax: pd.DataFrame, **more: Any) -> tuple[dict[str, Any], str]:
    tax.to_parquet(folder / "tax.parquet")
    parties = [
        {"name": "bank", "role": "bank", "source": "bank.parquet", "label": "label"},
        {"name": "tax", "role": "tax", "source": "tax.parquet", **more},
    ]
    tables = {"run": {"task": "binning", "model": "scorecard"}, "binning": {"max_bins": 3}, "sample": {"as_of": "as_of"}}
    document, text = run(folder, parties, **tables)
    return next(party for party in document["parties"] if party["name"] == "tax"), text


def test_rows_of_a_later_month_than_the_banks_are_counted_and_flagged(tmp_path: Path, dated: dict[str, pd.DataFrame]) -> None:
    late = dated["tax"].assign(as_of=np.where(np.arange(400) < 150, "2023-07", dated["tax"]["as_of"]))
    party, text = flagged(tmp_path, late)
    assert (party["later"], party["compared"]) == (150, 400)
    assert "tax: recorded after the decision" in text and "150 of 400" in text and "Columns: invoices" in text


def test_control_rows_of_the_banks_own_months_are_not_flagged(tmp_path: Path, dated: dict[str, pd.DataFrame]) -> None:
    party, text = flagged(tmp_path, dated["tax"])
    assert party["later"] == 0 and "recorded after" not in text and "undated" not in text


@pytest.mark.parametrize(("taken", "later"), [("2023-02-28", None), ("2023-06-01", 200), ("2023-12-31", 400)])
def test_a_snapshot_taken_after_the_rows_is_flagged(tmp_path: Path, dated: dict[str, pd.DataFrame], taken: str, later: int | None) -> None:
    party, text = flagged(tmp_path, dated["tax"].drop(columns="as_of"), taken=taken)
    assert party.get("later") == later and ("recorded after the decision" in text) == (later is not None)
    assert "undated snapshot" not in text


def test_a_snapshot_that_does_not_say_when_it_was_taken_is_flagged(tmp_path: Path, dated: dict[str, pd.DataFrame]) -> None:
    party, text = flagged(tmp_path, dated["tax"].drop(columns="as_of"))
    assert party["undated"] and "tax: undated snapshot" in text
