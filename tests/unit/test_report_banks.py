"""The report of a run over many banks: side by side, uncertainty, selection, statistics, drop-outs; nothing of it in other reports."""

from __future__ import annotations

import copy
import re
from typing import Any

import pytest
from markupsafe import Markup

from federation.kernel.errors import ConfigurationError
from server.report import chance, digits, render
from server.report_banks import bank_view, chosen_fit, common_columns, compared, fit_rows, lost, side_by_side
from server.report_findings import findings, verdict
from server.report_statistics import statistics_view, strongest
from server.result import parse
from tests.unit.report_page import Page
from tests.unit.sample_bank_result import bank_result, statistics_result
from tests.unit.sample_result import sample_result

HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>&amp; {{7*7}}"


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "server.report_charts.as_svg", lambda *_, **__: Markup("<svg></svg>")
    )  # figures are built and not drawn: 10 x faster


@pytest.fixture(scope="module")
def trained() -> str:
    return render(bank_result())


@pytest.fixture(scope="module")
def measured() -> str:
    return render(statistics_result())


@pytest.mark.parametrize(
    "words",
    [
        "Banks side by side", "On 2 of 3 banks the bank's own model ranks better than the common one (AUC, test rows)",
        "the mean difference is +0.003", "At 3 of them the two 95 % intervals lie apart",
        "On 1 of 3 banks the model with the bank's own intercept", "the best AUC is 0.712: Own intercept",
        "Mean over the banks", "All banks' rows together", "within 0.004", "PSI of 0.012",
        "Coefficients common to all banks", "< 0.0001", "0.0455", "3.33", "What was left out, and why", "p-value 0.65, p_max = 0.05",
        "bank-d: dropped out", "dropped out, no result", "4, 1 lost", "It converged in 7 iterations", "Most banks do better alone",
        "Masked sum", "Personal slopes",
    ],
)  # fmt: skip
def test_a_training_says(trained: str, words: str) -> None:
    assert words in Page(trained).text


@pytest.mark.parametrize(
    "words",
    [
        "Statistics computed", "4 columns over 3 banks and 2,100 rows", "1 of 4 banks did not stay to the end", "152,756", "21.67",
        "Low and high are no minimum and maximum", "staff (rows, missing)", "Fewer than 10 rows with or without a value",
        "8 more levels", "+0.970", "-0.550", "minimum cohort of 10", "Banks in the last sum",
    ],
)  # fmt: skip
def test_statistics_say(measured: str, words: str) -> None:
    assert words in Page(measured).text


@pytest.mark.parametrize(
    "words", ["Match rate", "In training", "Universe", "Score reveal", "matched", "Only a simulation shows all parties"]
)
def test_nothing_of_an_alignment_is_shown(trained: str, measured: str, words: str) -> None:
    assert words not in Page(trained).text
    assert words not in Page(measured).text


def test_statistics_claim_no_model(measured: str) -> None:
    text = Page(measured).text
    for words in ("Model trained", "How well it ranks", "No independent test figure", "Banks side by side"):
        assert words not in text


def test_other_reports_have_nothing_of_it(undrawn: None) -> None:
    text = render(sample_result())
    for words in ("Banks side by side", "<dt>Masked sum", ".side ", "Statistics</h2>", "PSI"):
        assert words not in text
    assert ".side " in render(bank_result())  # the control


def test_a_column_of_all_banks_is_ranked_and_flagged_once(trained: str) -> None:
    run = parse(bank_result())
    assert [finding.title for finding in findings(run)].count("all banks / sales: suspiciously predictive") == 1
    (party,) = common_columns(run.parties or ())
    assert [column.name for column in party.columns or ()] == ["sales", "staff", "industry"]
    assert [column.iv for column in common_columns(list(reversed(run.parties or ())))[0].columns or ()] == [0.6, 0.6, 0.6]
    assert Page(trained).text.count("suspicious: leak?") == 3


def test_the_note_of_a_lost_bank_is_not_said_twice(trained: str) -> None:
    text = Page(trained).text
    assert "bank-d was lost on the way and has no result" not in text
    assert "column 'flag' is the same for all training rows" in text


def test_the_best_of_each_row_is_marked_and_ties_are_all_best() -> None:
    document = bank_result()
    document["banks"]["alone"]["bank-a"]["per bank"]["test"]["auc"] = 0.74
    (side,) = side_by_side(parse(document).banks)
    best = {row.bank: [model for model, part in row.measures["auc"].items() if part.best] for row in side.shown}
    assert best == {"bank-a": ["per bank", "local"], "bank-b": ["local"], "bank-c": ["global"], "all banks": ["per bank"]}
    assert side.best_at("auc", "local") == 2
    assert side.mean("auc", "global") == pytest.approx(0.70)
    assert render(document).count('class="best"') >= 5


def test_a_model_of_no_columns_is_named_and_a_single_model_is_never_best() -> None:
    document = bank_result()
    document["banks"]["alone"]["bank-c"]["local"]["test"] |= {"auc": 0.5, "intervals": {"auc": [0.5, 0.5]}}
    (side,) = side_by_side(parse(document).banks)
    assert any("At 1 of them no column is left" in line for line in side.lines)
    for bank in document["banks"]["alone"].values():
        del bank["global"], bank["per bank"]
    document["banks"]["overall"] = {}
    (side,) = side_by_side(parse(document).banks)
    assert not any(part.best for row in side.rows for part in row.measures["auc"].values())
    assert side.lines == ()
    assert compared(side, "local", "global") is None


def test_a_bank_without_a_model_of_its_own_has_a_dash_and_is_not_counted() -> None:
    document = bank_result()
    del document["banks"]["alone"]["bank-c"]["local"]
    (side,) = side_by_side(parse(document).banks)
    assert side.lines[0].startswith("On 2 of 2 banks")
    assert side.mean("auc", "local") == pytest.approx(0.725)


def test_out_of_time_stands_beside_test_and_training_alone_where_there_is_nothing_else() -> None:
    document = bank_result()
    for own in document["banks"]["alone"].values():
        for splits in own.values():
            splits["out_of_time"] = splits["test"]
    assert [side.split for side in side_by_side(parse(document).banks)] == ["test", "out-of-time"]
    for own in document["banks"]["alone"].values():
        for splits in own.values():
            del splits["out_of_time"], splits["test"]
    document["banks"]["overall"] = {}
    assert [side.split for side in side_by_side(parse(document).banks)] == ["training"]


def test_coefficients_carry_their_uncertainty_and_vif_stands_once() -> None:
    rows = {row.name: row for row in fit_rows(chosen_fit(parse(bank_result()).banks))}
    assert list(rows) == ["Intercept", "sales", "staff", "staff is missing", "industry=23", "industry=other"]
    assert (rows["Intercept"].coefficient, rows["Intercept"].error, rows["Intercept"].z) == (-1.7, 0.2, -30.0)
    assert [row.vif for row in rows.values()] == [None, 1.11, 2.22, None, 3.33, None]
    assert rows["staff"].error == pytest.approx(0.000125)
    assert rows["industry=other"].p is None


def test_an_intercept_of_each_banks_own_is_said_and_pooled_is_compared_with_the_common_model() -> None:
    document = bank_result()
    document["banks"]["variant"] = "per bank"
    document["pooled"]["coefficients"] = {"all banks": {"sales": 0.00025}}
    document["banks"]["fits"]["per bank"]["coefficients"]["sales"] = 9.0
    text = Page(render(document)).text
    assert "each bank's own" in text
    assert "The comparison is with the common model" in text
    pooled = text[text.index("Federated against pooled") :]
    assert "0.000250" in pooled
    assert "9.000000" not in pooled
    assert "AUC, test" not in pooled


def test_a_drop_out_is_told_only_of_runs_over_banks() -> None:
    assert lost(parse(bank_result())) == ("bank-d",)
    assert lost(parse(sample_result())) == ()
    nobody = bank_result()
    for party in nobody["parties"]:
        party.pop("rows", None)
    assert lost(parse(nobody)) == ()
    assert bank_view(parse(sample_result())) is None


def test_bins_alone_say_so_with_their_stability() -> None:
    document = bank_result()
    for key in ("metrics", "pooled", "converged", "stop_reason"):
        del document[key]
    document["banks"] = {
        "stability": {"sales": {"test": {"value": 0.0125, "reason": ""}, "out_of_time": {"value": None, "reason": "no rows"}}}
    }
    rows = [{"label": "low", "share": 0.5, "goods": 60.0, "bads": 40.0, "woe": -0.4}]
    document["model"] = {"type": "binning", "bins": {"all banks": {"sales": rows}}}
    assert verdict(parse(document)).title == "Bins found"
    text = Page(render(document)).text
    assert "Common bins of 1 columns over 3 banks." in text
    assert "PSI against training: test 0.013" in text or "PSI against training: test 0.012" in text
    assert "IV 0.600" in text


def test_charts_have_words_ids_are_unique_and_nothing_is_loaded(trained: str, measured: str) -> None:
    for html, least in ((trained, 2), (measured, 1)):
        page = Page(html)
        assert len(page.all("svg")) >= least
        assert all(chart.get("role") == "img" and len(chart.get("aria-label") or "") > 20 for chart in page.all("svg"))
        assert all(header.get("scope") for header in page.all("th"))
        ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
        assert len(ids) == len(set(ids))
        links = {value for _, attributes in page.tags for name, value in attributes.items() if name.endswith("href") and value != "data:,"}
        assert {f"#{name}" for name in ids} >= links
        assert not re.search(r"https?://|@import|url\((?!#)|javascript:", html)
    assert render(bank_result()) == trained  # the same bytes


def test_everything_from_the_run_is_escaped() -> None:
    """Names of banks, columns, models, levels and reasons are hostile; keys of fields stay."""
    first, second = bank_result(), statistics_result()
    banks = first["banks"]
    banks |= {
        "variant": HOSTILE,
        "fits": {HOSTILE: banks["fits"]["global"]},
        "alone": {HOSTILE: {HOSTILE: banks["alone"]["bank-a"]["local"]}},
    }
    banks["overall"] = {HOSTILE: banks["overall"]["local"]}
    banks["selection"] = [{"column": HOSTILE, "rule": HOSTILE, "reason": HOSTILE}]
    for name in ("coefficients", "standardized", "p", "inflation"):
        banks["fits"][HOSTILE][name] = {HOSTILE: 1.0}
    for column in second["statistics"]["columns"]:
        column |= {"name": HOSTILE, "withheld": {"mean": HOSTILE}}
        for level in column.get("levels", ()):
            level["label"] = HOSTILE
    second["statistics"]["correlation"] |= {"columns": [HOSTILE] * 3, "withheld": HOSTILE}
    for document in (first, second):
        for party in document["parties"]:
            party["name"] = HOSTILE
        page = Page(render(document))
        assert page.all("script") == []
        assert page.all("img") == []
        assert all(not name.startswith("on") for _, attributes in page.tags for name in attributes)
        assert HOSTILE in page.text


def test_the_model_is_shown_without_the_part_that_other_runs_have(undrawn: None) -> None:
    document = bank_result()
    del document["model"]
    assert "Coefficients common to all banks" in render(document)


@pytest.mark.parametrize("every", [12, pytest.param(1, marks=pytest.mark.slow)])
@pytest.mark.parametrize("make", [bank_result, statistics_result])
def test_every_part_may_be_missing(undrawn: None, make: Any, every: int) -> None:
    """Each key left out, one at a time (a twelfth of them in the quick tests)."""
    rendered = 0
    for path in list(_paths(make()))[::every]:
        broken = copy.deepcopy(make())
        parent: Any = broken
        for key in path[:-1]:
            parent = parent[key]
        del parent[path[-1]]
        if path[-1] == "probability":
            continue  # a quantile of nothing is refused
        assert "Glossary" in render(broken)
        rendered += 1
    print(f"{rendered} incomplete documents rendered")
    assert rendered > 50 // every
    parts: list[dict[str, Any]] = [
        {"banks": {}},
        {"statistics": {}},
        {"banks": {"variant": "global"}},
        {"banks": {"alone": {}, "fits": {}}},
    ]
    for part in parts:
        assert "Glossary" in render(part)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("banks", "overall", "global", "test"), {"auc": "high"}),
        (("banks", "fits", "global"), {"z": [1, 2]}),
        (("banks", "selection"), [{"column": 3}]),
    ],
)
def test_loose_parts_of_wrong_types_are_refused(path: tuple[str, ...], value: Any) -> None:
    document = bank_result()
    parent = document
    for key in path[:-1]:
        parent = parent[key]
    parent[path[-1]] = value
    with pytest.raises(ConfigurationError):
        render(document)
    with pytest.raises(ConfigurationError):
        render(statistics_result() | {"statistics": {"columns": "none"}})


def test_correlations_are_read_once_each_and_withheld_ones_not_at_all() -> None:
    view = statistics_view(statistics_result()["statistics"])
    assert view is not None
    assert [(pair.first, pair.second, pair.value) for pair in view.pairs] == [("sales", "staff", 0.97), ("sales", "debt", -0.55)]
    assert strongest(view.document.correlation) == view.pairs
    assert view.probabilities == (0.05, 0.25, 0.5, 0.75, 0.95)


@pytest.mark.parametrize(
    ("value", "text"), [(None, "–"), (0.0, "0"), (152755.7, "152,756"), (0.51894, "0.5189"), (6.487e-07, "6.487e-7"), (6.2e10, "6.200e10")]
)
def test_figures_of_any_unit(value: float | None, text: str) -> None:
    assert digits(value) == text


@pytest.mark.parametrize(("value", "text"), [(None, "–"), (0.0, "< 0.0001"), (0.0001, "0.0001"), (0.65476, "0.6548")])
def test_p_values(value: float | None, text: str) -> None:
    assert chance(value) == text


def _paths(node: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every key of the document, the first entry of a list standing for the rest."""
    if at and at[-1] in {"intervals", "seconds", "bytes_sent", "messages", "run", "metrics", "interval", "matrix"}:
        return []
    items = list(node.items()) if isinstance(node, dict) else list(enumerate(node))[:1] if isinstance(node, list) else []
    return [path for key, value in items for path in ((*at, key), *_paths(value, (*at, key)))]
