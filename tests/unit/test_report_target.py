"""The report's part on outcomes: definition, waterfall, roll rates and vintages, whatever of it is missing or hostile."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import pytest
from markupsafe import Markup

from server.report import render
from tests.unit.report_page import Page
from tests.unit.sample_result import sample_curves, sample_result, sample_target

HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>{{7*7}}"


def with_target(target: Any = None) -> dict[str, Any]:
    return sample_result() | {"target": sample_target() if target is None else target}


@pytest.fixture(scope="module")
def html() -> str:
    return render(with_target(), sample_curves())


@pytest.mark.parametrize(
    "words",
    [
        "How outcomes were made", "90 days past due", "12 months", "rows of the feature table", "left out: not matured", "2,100", "17.5 %",
        "left out: fraud", "in no sample: performance window reaches over the split", "roll rates: from one month's end to the next", "90.0 %",
        "Vintage curves", "Quarters left out for too few firms: 2", "Performance window", "Roll rate", "Indeterminate", "2019-07", "3 months",
    ],
)  # fmt: skip
def test_it_says(html: str, words: str) -> None:
    assert words in Page(html).text


def test_a_hidden_count_is_a_dash_and_no_number(html: str) -> None:
    table = html.split("left out: fraud", 1)[1].split("</tr>", 1)[0]
    assert table.count("–") == 2 and not any(digit in table for digit in "123456789")


def test_it_is_one_more_section_with_one_more_chart_and_a_link(html: str) -> None:
    page, plain = Page(html), Page(render(sample_result(), sample_curves()))
    assert len(page.all("svg")) == len(plain.all("svg")) + 1
    assert all(header.get("scope") for header in page.all("th"))
    assert any(link.get("href") == "#target" for link in page.all("a"))
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    charts = [chart.get("aria-label") or "" for chart in page.all("svg")]
    assert any("2018Q1 6.4 %" in words for words in charts)


def test_control_a_run_with_a_column_of_outcomes_has_no_such_section() -> None:
    text = Page(render(sample_result(), sample_curves())).text
    assert "How outcomes were made" not in text and "Roll rate" not in text


def test_many_banks_are_cut_to_the_first_and_that_is_said() -> None:
    many = {f"bank-{number}": next(iter(sample_target().values())) for number in range(11)}
    text = Page(render(with_target(many))).text
    assert "The first 8 of 11 parties are shown" in text and "bank-7" in text and "bank-9:" not in text


def test_everything_of_it_is_escaped() -> None:
    hostile = {HOSTILE: replaced(next(iter(sample_target().values())))}
    page = Page(render(with_target(hostile)))
    assert page.all("script") == [] and page.all("img") == []
    assert "{{7*7}}" in page.text


def test_every_part_may_be_missing_or_null(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("server.report_charts.as_svg", lambda *_, **__: Markup("<svg></svg>"))  # figures are built and not drawn
    count = 0
    for path in paths(sample_target()["bank-a"]):
        for null in (False, True):
            if null and (isinstance(path[-1], int) or path[-1] in ("name", "kind", "quarter")):
                continue
            broken = sample_target()
            part: Any = broken["bank-a"]
            for key in path[:-1]:
                part = part[key]
            if null:
                part[path[-1]] = None
            else:
                del part[path[-1]]
            assert "Glossary" in render({"run": "r", "target": broken})
            count += 1
    print(f"{count} incomplete documents")
    assert count > 60
    for empty in ({}, {"bank": {}}, {"bank": {"roll_rates": {}, "vintages": [], "waterfall": []}}):
        assert "Glossary" in render({"run": "r", "target": empty})


def paths(node: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every key, the first entry of a list standing for the rest."""
    items = list(node.items()) if isinstance(node, dict) else list(enumerate(node))[:1] if isinstance(node, list) else []
    for key, value in items:
        yield (*at, key)
        yield from paths(value, (*at, key))


def replaced(node: Any) -> Any:
    """Hostile text for every string."""
    if isinstance(node, dict):
        return {key: replaced(value) for key, value in copy.deepcopy(node).items()}
    if isinstance(node, list):
        return [replaced(value) for value in node]
    return HOSTILE if isinstance(node, str) else node
