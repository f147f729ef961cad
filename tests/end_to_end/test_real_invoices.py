"""123 real firms, a bank with outcomes alone and a bureau's invoice features: the federated scorecard is the pooled one, and its report says
what so few firms cost. The data are not part of the repository; where they are absent this is skipped and says so.
"""

from __future__ import annotations

import pytest

from simulations.benchmarks.real_invoices import COLUMNS, FOLDER, write_run
from tests.end_to_end.scene import ROOT, creditfed, result

DATA = ROOT.parent / "shared" / "data"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict, str, str]:
    if not (DATA / FOLDER).is_dir():
        pytest.skip(f"real invoices are not here: {DATA / FOLDER}")
    folder = tmp_path_factory.mktemp("invoices")
    path = write_run(DATA, folder)
    text = path.read_text()
    (folder / "strict.toml").write_text(text.replace("max_released_counts = 48", ""))
    refused = creditfed("simulate", folder / "strict.toml", "--out", folder / "strict")
    assert refused.code != 0
    answer = creditfed("simulate", path, "--out", folder / "out", "--pooled")
    assert answer.code == 0, answer.err
    return result(folder / "out"), (folder / "out" / "report.html").read_text(), refused.err


def test_the_federated_scorecard_is_the_pooled_one(run: tuple[dict, str, str]) -> None:
    document, _, _ = run
    pooled = document["pooled"]
    assert document["converged"] and pooled["max_difference"] <= 1e-6 and pooled["score_difference"] <= 1e-6
    for split in ("train", "test"):
        for figure in ("auc", "ks"):
            assert document["metrics"][split][figure] == pytest.approx(pooled["metrics"][split][figure], abs=5e-5)
    assert sum(party["rows"] for party in document["parties"]) == 2 * 123
    assert pooled["label_party_alone"]["test"]["auc"] == 0.5 < document["metrics"]["test"]["auc"]
    assert set(document["model"]["coefficients"]["tax"]) <= set(COLUMNS) and document["model"]["coefficients"]["bank"] == {}


def test_nothing_of_the_rating_takes_part(run: tuple[dict, str, str]) -> None:
    document, page, _ = run
    assert "rating" not in {column["name"] for party in document["parties"] for column in party["columns"]}
    assert ">rating<" not in page


def test_without_leave_so_few_firms_are_refused(run: tuple[dict, str, str]) -> None:
    _, _, refusal = run
    assert "a tenth of the bads in training" in refusal and "Nothing that depends on a label was sent" in refusal


@pytest.mark.parametrize(
    "words",
    ["The bank saw the single partner's scores", "A partner can work out who defaulted", "Few firms for so many columns", "Wide interval"],
)
def test_the_report_says_what_so_few_firms_cost(run: tuple[dict, str, str], words: str) -> None:
    _, page, _ = run
    assert words in page.replace("&#39;", "'").replace("&#x27;", "'")
