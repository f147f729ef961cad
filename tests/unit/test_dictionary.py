"""The dictionary: entries that contradict themselves are refused when loaded, pages are current, codes are looked up."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from federation.kernel.errors import ConfigurationError
from privacy.dictionary import VERSION, document
from privacy.dictionary.codes import division_of, province_of, provinces, section_of, sections
from privacy.dictionary.conventions import MONEY_UNITS, conventions
from privacy.dictionary.entries import dictionary, features, read, record_kinds, shipped
from privacy.generated_pages import stale, write

ROOT = Path(__file__).parents[2]
RECORD = """
[[record]]
name = "sales"
role = "shop"
title = "Sales"
definition = "One row for each sale."
key = ["firm", "number"]
date = "date"
column = [
  { name = "firm", type = "id", definition = "Firm." },
  { name = "number", type = "text", definition = "Number." },
  { name = "date", type = "day", definition = "Day." },
  { name = "state", type = "code", values = ["open", "closed"], definition = "State.", required = false },
]
"""
FEATURE = """
[[feature]]
name = "sales_12m"
role = "shop"
source = "sales"
definition = "Sales."
formula = "sum"
unit = "CNY"
period = "12 months"
level = 3
class = "C1"
range = [0.0, 1.0]
direction = "either"
comparable = "within industry"
"""


def loaded(text: str) -> object:
    return read([("shop.toml", text.encode())])


def test_control_the_sound_entries_load() -> None:
    loaded(RECORD + FEATURE)


@pytest.mark.parametrize(
    ("before", "after", "finding"),
    [
        ("range = [0.0, 1.0]", "range = [1.0, 0.0]", "not ordered"),
        ("range = [0.0, 1.0]", "range = [nan, 1.0]", "not ordered"),
        ('source = "sales"', 'source = "salles"', "neither a kind of record nor a named source"),
        ('key = ["firm", "number"]', 'key = ["firm", "nummer"]', "none of its columns"),
        ('date = "date"', 'date = "number"', "its date is no day"),
        ('values = ["open", "closed"], ', "", "has values and is no code"),
        ('{ name = "number"', '{ name = "firm"', "a column is there twice"),
        ("level = 3", "level = 6", "level"),
        ("level = 3", "level = 3\nsecret = 1", "secret"),
        ('name = "sales_12m"', 'name = "Sales 12"', "name"),
    ],
    ids=["range turned", "range not a number", "source", "key", "date", "code", "column twice", "level", "unknown field", "name"],
)
def test_an_entry_that_contradicts_itself_is_refused(before: str, after: str, finding: str) -> None:
    assert before in RECORD + FEATURE
    with pytest.raises(ConfigurationError, match=finding):
        loaded((RECORD + FEATURE).replace(before, after, 1))


def test_a_name_has_one_meaning() -> None:
    with pytest.raises(ConfigurationError, match="defined twice"):
        loaded(RECORD + FEATURE + FEATURE)


def test_pages_are_current() -> None:
    assert document.main(["--check", "--to", str(ROOT / document.FOLDER)]) == 0


def test_control_a_page_that_somebody_edited_or_left_over_is_noticed(tmp_path: Path) -> None:
    write(tmp_path, document.pages())
    assert stale(tmp_path, document.pages()) == []
    (tmp_path / "tax.md").write_text("edited")
    (tmp_path / "left.md").write_text("over")
    (tmp_path / "codes.md").unlink()
    assert stale(tmp_path, document.pages()) == ["codes.md", "left.md", "tax.md"]
    write(tmp_path, document.pages())
    assert stale(tmp_path, document.pages()) == []


def test_the_file_for_programs_has_every_entry_and_the_version() -> None:
    found = json.loads((ROOT / document.FOLDER / "dictionary.json").read_text("utf-8"))
    assert found["version"] == VERSION
    assert {entry["name"] for entry in found["features"]} == set(features())
    assert {entry["name"] for entry in found["records"]} == set(record_kinds())
    assert {entry["name"] for entry in found["sources"]} == set(dictionary().sources)
    assert set(found["industries"]["sections"]) == set(sections()) and set(found["regions"]["provinces"]) == set(provinces())


def test_what_is_shipped_has_each_feature_described() -> None:
    assert [name for name, _ in shipped()]
    for feature in features().values():
        assert feature.definition.endswith(".") or len(feature.definition) > 10, feature.name
        assert feature.unit and feature.formula, feature.name


def test_industries_are_those_of_the_standard() -> None:
    divisions = [division for section in sections().values() for division in section.divisions]
    assert "".join(sections()) == "ABCDEFGHIJKLMNOPQRST"
    assert divisions == [f"{number:02d}" for number in range(1, 98)]


@pytest.mark.parametrize(
    ("code", "section", "division"),
    [
        ("C", "C", None),
        ("C13", "C", "13"),
        ("1310", "C", "13"),
        ("f52", "F", "52"),
        ("D13", None, None),
        ("98", None, None),
        ("", None, None),
        ("C1", None, None),
    ],
)
def test_a_section_is_found_by_letter_or_digits(code: str, section: str | None, division: str | None) -> None:
    assert (section_of(code), division_of(code)) == (section, division)


def test_provinces() -> None:
    assert len(provinces()) == 34
    assert (province_of("110105"), province_of("44"), province_of("99"), province_of("4x")) == ("11", "44", None, None)


def test_conventions_are_those_of_the_shared_rules() -> None:
    assert conventions().currency.code == "CNY" and conventions().calendar.windows == (3, 6, 12)
    assert MONEY_UNITS["fen"] == 0 and MONEY_UNITS["yuan"] == 2 and MONEY_UNITS["10k yuan"] == 6
