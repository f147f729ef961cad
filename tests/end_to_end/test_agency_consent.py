"""`creditfed simulate` with an agency that holds the platform's consents: the model is the one over the firms that consent, and no other."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import tomli_w

from simulations.simulate import simulate

ROWS = 200
FIRMS = [f"firm{i}" for i in range(ROWS)]
REFUSING = [f"firm{i}" for i in range(0, ROWS, 5)]
"""Firms of which the agency has no consent."""
NODES = ("bank", "platform-a", "tax", "agency-a")


def run_file(folder: Path, *, platform: Sequence[str] = FIRMS, agency: bool = True, withdrawal: str = "abort") -> Path:
    """A logistic run; platform: the firms in the platform's file; agency: whether an agency holds consents of all but some of them."""
    folder.mkdir(exist_ok=True, parents=True)
    rng = np.random.default_rng(1)
    x = rng.normal(size=(ROWS, 3))
    labels = (rng.random(ROWS) < 1 / (1 + np.exp(-x.sum(1)))).astype(int)
    tables = {"bank": {"label": labels, "a": x[:, 0]}, "platform-a": {"b": x[:, 1]}, "tax": {"c": x[:, 2]}}
    parties: list[dict[str, Any]] = []
    for name, columns in tables.items():
        table = pd.DataFrame({"id": FIRMS} | columns)
        table[table["id"].isin(platform) if name == "platform-a" else table["id"] != ""].to_csv(folder / f"{name}.csv", index=False)
        parties.append({"name": name, "role": name.partition("-")[0], "source": f"{name}.csv"})
    parties[0]["label"] = "label"
    document: dict[str, Any] = {"run": {"task": "train", "model": "logistic", "purpose": "decide"}, "party": parties}
    document["privacy"] = {"withdrawal": withdrawal}
    if agency:
        consenting = [firm for firm in FIRMS if firm not in REFUSING] + ["a firm that the platform does not know"]
        lines = [f"{firm},decide,3,bank;tax,2020-01-01,2099-12-31,form {firm}" for firm in consenting]
        (folder / "consents.csv").write_text("\n".join(["id,purpose,levels,recipients,from,until,evidence", *lines]))
        parties[1] |= {"through": "agency-a", "consents": "consents.csv", "consents_at": "agency"}
        document["agency"] = [{"name": "agency-a"}]
    path = folder / "run.toml"
    path.write_text(tomli_w.dumps(document))
    return path


@pytest.fixture(scope="module")
def held(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    folder = tmp_path_factory.mktemp("held")
    return folder, simulate(run_file(folder), folder / "out", journal="disk")


@pytest.fixture(scope="module")
def without(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The same run of a platform that never had the firms that refuse, and goes through no agency."""
    folder = tmp_path_factory.mktemp("without")
    return simulate(
        run_file(folder, platform=[firm for firm in FIRMS if firm not in REFUSING], agency=False), folder / "out", journal="memory"
    )


def coefficients(result: dict[str, Any]) -> np.ndarray[Any, Any]:
    return np.array([c["coefficient"] for c in result["model"]["coefficients"]] + [result["model"]["intercept"]])


def test_the_model_is_the_one_over_the_firms_that_consent(held: tuple[Path, dict[str, Any]], without: dict[str, Any]) -> None:
    print(json.dumps(held[1]["model"], indent=1)[:1500])
    assert held[1]["model_hash"] == without["model_hash"]
