"""The report stands alone, escapes what it shows, says what must be said, and survives whatever is missing from its input."""

from __future__ import annotations

import copy
import re
from typing import TYPE_CHECKING, Any

import pytest
from markupsafe import Markup

from federation.kernel.errors import ConfigurationError
from server import result as documents
from server.report import render
from server.report_findings import findings, verdict
from tests.unit.report_page import Page
from tests.unit.sample_result import sample_curves, sample_result

if TYPE_CHECKING:
    from collections.abc import Iterator

HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>&amp;$\\frac{1}{2}$ 企业 {{7*7}}"


@pytest.fixture(scope="module")
def html() -> str:
    return render(sample_result(), sample_curves())


def test_nothing_is_loaded_from_anywhere(html: str) -> None:
    page = Page(html)
    for forbidden in ("script", "iframe", "object", "embed", "base", "img", "video", "audio", "source", "form"):
        assert page.all(forbidden) == [], forbidden
    for tag, attributes in page.tags:
        for name, value in attributes.items():
            assert not name.startswith("on"), (tag, name)
            if name in {"src", "href", "xlink:href", "action", "data", "srcset", "poster"}:
                assert value is not None
                assert value.startswith("#") or value == "data:,", (tag, name)
    assert not re.search(r"https?://|@import|url\((?!#)|javascript:", html)
    policy = next(meta["content"] for meta in page.all("meta") if meta.get("http-equiv") == "Content-Security-Policy")
    assert policy is not None
    assert "default-src 'none'" in policy


def test_control_the_search_for_references_finds_one() -> None:
    assert re.search(r"https?://|@import|url\((?!#)|javascript:", '<link href="https://example.org/a.css">')
    assert Page("<script>x</script>").all("script")


def test_the_same_result_gives_the_same_bytes(html: str) -> None:
    assert render(sample_result(), sample_curves()) == html


def test_everything_from_the_run_is_escaped() -> None:
    hostile = _replaced(sample_result(), HOSTILE)
    html = render(hostile, sample_curves())
    page = Page(html)
    assert page.all("script") == []
    assert page.all("img") == []
    assert all(not name.startswith("on") for _, attributes in page.tags for name in attributes)
    assert "{{7*7}}" in page.text
    assert HOSTILE in page.text  # shown as it is, and harmless


def test_identifiers_are_unique_and_local_links_lead_somewhere(html: str) -> None:
    page = Page(html)
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    links = {value for _, attributes in page.tags for name, value in attributes.items() if name.endswith("href") and value != "data:,"}
    assert {f"#{name}" for name in ids} >= links
    clips = set(re.findall(r"url\(#([^)]+)\)", html))
    assert clips <= set(ids)


def test_charts_have_words_and_tables_have_headers(html: str) -> None:
    page = Page(html)
    charts = page.all("svg")
    assert len(charts) == 7 + 9  # seven of the run, one for each binned column
    assert all(chart.get("role") == "img" and len(chart.get("aria-label") or "") > 20 for chart in charts)
    assert all(header.get("scope") for header in page.all("th"))
    assert page.all("html")[0]["lang"] == "en"


@pytest.mark.parametrize(
    "words",
    [
        "Summary", "Warnings", "Who took part", "How well it ranks", "The model", "Scorecard", "Columns and bins", "Convergence",
        "Time and traffic", "What each party learned", "Federated against pooled", "Glossary",
        "It converged in 12 iterations", "e07a4c19b2f85d3360c1a9d47be8f2051d6c3a9e8b7f40215c6d8e9fa0b1c2d3",
        "9c1f5b2a70e4d1c68fb0a3b7d25e9f1046ce8a3b5d7f90124c6e8a0b2d4f6071", "60.3 %", "k = 13 >= 6", "undated snapshot",
        "What the partners add", "What each source adds", "adds nothing that this sample can show (dropped)", "81.0 %",
        "one snapshot taken in 2019-12", "8.0e-9",
    ],
)  # fmt: skip
def test_it_says(html: str, words: str) -> None:
    assert words in Page(html).text


def _lean() -> dict[str, Any]:
    """The sample with one binned column, one coefficient map and two iterations, so that it renders quickly."""
    document = sample_result()
    document["model"]["bins"] = {"tax-c": {"void_invoice_share": document["model"]["bins"]["tax-c"]["void_invoice_share"]}}
    document["cost"]["history"] = document["cost"]["history"][:2]
    return document


@pytest.mark.parametrize("every", [12, pytest.param(1, marks=pytest.mark.slow)])
def test_every_part_may_be_missing(every: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each key of the document left out, one at a time (a twelfth of them in the quick tests), and each field set to null; then all of it."""
    monkeypatch.setattr(
        "server.report_charts.as_svg", lambda *_, **__: Markup("<svg></svg>")
    )  # figures are built and not drawn: 10 x faster
    rendered = 0
    for path in list(_paths(_lean()))[::every]:
        for null in (False, True):
            broken = _lean()
            parent = broken
            for key in path[:-1]:
                parent = parent[key]
            if null and _nullable(path):
                parent[path[-1]] = None
            elif not null:
                del parent[path[-1]]
            else:
                continue
            render(broken, None)
            rendered += 1
    print(f"{rendered} incomplete documents rendered")
    assert rendered > 150 // every
    nothing: list[dict[str, Any]] = [
        {},
        {"schema_version": 1},
        {"run": "run-7"},
        {"parties": []},
        {"metrics": {}, "cost": {}, "privacy": {}, "pooled": {}},
    ]
    for empty in nothing:
        assert "Glossary" in render(empty)
        assert "Glossary" in render(empty, {})


def test_curves_of_one_class_are_left_out() -> None:
    curves: dict[str, Any] = {"test": {"roc": None, "ks": None, "calibration": [], "histogram": None}, "train": None}
    page = Page(render(sample_result(), curves))
    assert len(page.all("svg")) == 3 + 9


@pytest.mark.parametrize(("value", "level"), [(0.3, None), (0.51, "warning"), (1.2, "alarm")])
def test_an_implausible_column_is_flagged(value: float, level: str | None) -> None:
    document = sample_result()
    document["parties"][1]["columns"][0]["iv"] = value
    found = [finding for finding in findings(documents.parse(document)) if "gmv_12m" in finding.title]
    assert [finding.level for finding in found] == ([level] if level else [])
    assert ("check for a leak" in render(document)) == (level == "warning")


def test_a_fit_that_did_not_converge_says_so_first_and_why() -> None:
    document = sample_result() | {"converged": False, "stop_reason": "the cap of 13 score vectors was reached"}
    told = verdict(documents.parse(document))
    assert told.level == "alarm"
    assert "the cap of 13 score vectors was reached" in told.text
    assert findings(documents.parse(document))[0].level == "alarm"
    del document["stop_reason"]
    document["privacy"]["max_score_reveals"] = 13
    assert "max_score_reveals" in verdict(documents.parse(document)).text


def test_fewer_reveals_than_columns_is_no_warning() -> None:
    document = sample_result()
    document["privacy"]["score_reveals"] = 5
    titles = [finding.title for finding in findings(documents.parse(document))]
    assert "Score vectors span the partners' columns" not in titles
    assert "Score vectors seen by the label party" in titles


LIFTED = {
    "single_partner_disclosure": "The bank saw the single partner's scores",
    "label_disclosure": "A partner can work out who defaulted",
    "minimum_cohort": "Very small groups were counted",
    "partner_columns": "Few firms for so many columns",
}


def of_few_firms(**privacy: Any) -> dict[str, Any]:
    """A run of a bank and one partner over 87 training firms, 18 of them bad."""
    document = sample_result()
    document["parties"] = document["parties"][:2]
    document["metrics"]["train"] |= {"n": 87, "goods": 69, "bads": 18}
    document["privacy"] |= {"releases": 31, "partner_columns": 6, "minimum_cohort": 10} | privacy
    return document


@pytest.mark.parametrize(
    ("key", "value"), [("single_partner_disclosure", True), ("label_disclosure", True), ("minimum_cohort", 5), ("partner_columns", 9)]
)
def test_what_was_given_up_is_said_in_plain_words(key: str, value: Any) -> None:
    def said(document: dict[str, Any]) -> set[str]:
        return {finding.title for finding in findings(documents.parse(document))} & set(LIFTED.values())

    assert said(of_few_firms()) == set()
    document = of_few_firms(**{key: value})
    assert said(document) == {LIFTED[key]}
    page = " ".join(Page(render(document)).text.split())
    assert LIFTED[key] in page and (key == "partner_columns" or f"agreed ({key})" in page)


def test_a_disclosure_that_was_allowed_and_not_used_is_no_warning() -> None:
    document = of_few_firms(label_disclosure=True, releases=1, single_partner_disclosure=True)
    document["parties"] = sample_result()["parties"]
    assert not {finding.title for finding in findings(documents.parse(document))} & set(LIFTED.values())
    document["privacy"] |= {"max_released_counts": 31, "label_disclosure": False, "releases": 31}
    told = next(finding for finding in findings(documents.parse(document)) if finding.title == LIFTED["label_disclosure"])
    assert "31 counts" in told.text and "1 for each is the default with 18 bads" in told.text and "max_released_counts" in told.text


AGENCIES = [{"name": "agency-a", "parties": ["platform", "tax"], "messages": 1234}, {"name": "agency-<b>"}]


def test_agencies_are_told_with_whom_they_stood_before_and_what_passed() -> None:
    html = render(sample_result() | {"agencies": AGENCIES})
    text = " ".join(Page(html).text.split())
    assert "Credit agencies between them" in text and "agency-aplatform, tax1,234" in text
    assert "agency-<b>––" in text and "agency-<b>" not in html


def test_control_a_run_without_an_agency_has_no_such_table(html: str) -> None:
    assert "agenc" not in Page(html).text


def test_a_contract_this_installation_lacks_is_named() -> None:
    document = sample_result()
    document["privacy"]["leakage"] = ["divination"]
    assert "divination" in Page(render(document)).text


def test_another_schema_version_and_wrong_types_are_refused() -> None:
    for broken in ({"schema_version": 2}, {"parties": "nobody"}, {"metrics": {"test": {"auc": "high"}}}):
        with pytest.raises(ConfigurationError):
            render(broken)


def _paths(node: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every key of the document, the first entry of a list standing for the rest."""
    if at and at[-1] in {
        "intervals",
        "reasons",
        "coefficients",
        "p_values",
        "seconds",
        "bytes_sent",
        "messages",
        "leakage",
        "notes",
        "auc_interval",
        "ks_interval",
        "final_auc_interval",
    }:
        return
    items = list(node.items()) if isinstance(node, dict) else list(enumerate(node))[:1] if isinstance(node, list) else []
    for key, value in items:
        yield (*at, key)
        yield from _paths(value, (*at, key))


def _nullable(path: tuple[Any, ...]) -> bool:
    """Whether a reader may find null there: fields of parts, not entries of lists or maps, names or the version."""
    maps = {"coefficients", "bins", "p_values", "seconds", "bytes_sent", "messages", "intervals", "reasons"}
    return not (set(path[:-1]) & maps or isinstance(path[-1], int) or path[-1] in {"schema_version", "name", "label"})


def _replaced(node: Any, text: str) -> Any:
    """The document with hostile text for every string, names of parties and columns included; keys of fields stay."""
    document = copy.deepcopy(node)
    for key in ("id", "name", "task", "model", "purpose", "backend", "version"):
        document["run"][key] = text
    document |= {"manifest_hash": text, "model_hash": text, "notes": [text], "stop_reason": text, "converged": False}
    document["model"]["type"] = document["alignment"]["visibility"] = text
    document["privacy"]["leakage"] = [text]
    for party in document["parties"]:
        party |= {"name": text, "role": text, "undated": True}
        for column in party["columns"]:
            column |= {"name": text, "kind": text, "iv": 2.0}
    for bins in (columns for columns in document["model"]["bins"].values()):
        for rows in bins.values():
            for row in rows:
                row["label"] = text
    document["model"]["bins"] = {text: {text: next(iter(next(iter(document["model"]["bins"].values())).values()))}}
    document["model"]["coefficients"] = document["pooled"]["coefficients"] = {text: {text: 1.0}}
    for part in ("seconds", "bytes_sent", "messages"):
        document["cost"][part] = {text: 3}
    document["metrics"]["test"] = {"n": 3, "reasons": {"auc": text}}
    return document
