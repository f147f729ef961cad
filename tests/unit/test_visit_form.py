"""The visit form: blank, filled, and filled wrongly; no answer is ever repeated."""

from __future__ import annotations

import datetime as dt
import math

import numpy as np
import pandas as pd
import pytest

from clients.roles.bank import visit_form, visits
from clients.roles.bank.features import build
from federation.kernel.errors import ConfigurationError, CreditfedError, DataError
from privacy.dictionary.entries import features, record_kinds

FILLED = {
    "firm": "91310000SECRET0001", "date": "2024-03-31", "owner_age": "47", "owner_experience": "12", "owner_education": "college", "owner_married": "yes",
    "owner_property": "no", "employees": "8", "premises": "rented", "premises_order": "4", "stock_seen": "125000.50", "books_kept": "simple", "neighbours": "5",
    "recommends": "是",
}  # fmt: skip


def toml(**changes: str) -> str:
    """The blank form, filled in line by line as an officer does."""
    answers, lines = FILLED | changes, visit_form.blank_toml().splitlines()
    return "\n".join(f'{name} = "{answers[name]}"' if (name := line.partition(" = ")[0]) in answers else line for line in lines)


def csv(*forms: dict[str, str]) -> str:
    heading = visit_form.blank_csv().strip().split(",")
    return visit_form.blank_csv() + "".join(",".join(form.get(name, "") for name in heading) + "\n" for form in forms)


def test_toml_and_csv_are_the_same_record():
    one, other = visit_form.read_toml(toml(), "form"), visit_form.read_csv(csv(FILLED), "forms")
    pd.testing.assert_frame_equal(one, other)
    assert one.loc[0].to_dict() == {
        "firm": "91310000SECRET0001", "date": pd.Timestamp("2024-03-31"), "owner_age": 47, "owner_experience": 12, "owner_education": "college",
        "owner_married": True, "owner_property": False, "employees": 8, "premises": "rented", "premises_order": 4, "stock_seen": 12_500_050,
        "books_kept": "simple", "neighbours": 5, "recommends": True,
    }  # fmt: skip
    assert one["date"].dtype == "datetime64[s]" and one["stock_seen"].dtype == "Int64" and one["recommends"].dtype == "boolean"


def test_toml_may_have_its_own_types():
    typed = 'firm = "f"\ndate = 2024-03-31\nowner_age = 47\nowner_married = true\nstock_seen = 125000.5\nemployees = 8\n'
    found = visit_form.read_toml(typed, "form").loc[0]
    assert (found["owner_age"], bool(found["owner_married"]), found["stock_seen"]) == (47, True, 12_500_050)
    assert pd.isna(found["neighbours"]) and found["premises"] is None


def test_the_form_asks_every_question_of_the_dictionary_and_says_its_rule():
    blank, columns = visit_form.blank_toml(), record_kinds()["visits"].columns
    assert visit_form.blank_csv().strip().split(",") == [column.name for column in columns]
    for column in columns:
        assert f'\n{column.name} = ""\n' in blank and column.definition in blank
        assert all(word in blank for word in column.values)
    assert "a whole number, 16 to 100" in blank and "a whole number, 1 to 5" in blank
    assert blank.count("Required.") == 2


def test_features_of_the_owner_have_the_levels_of_the_form():
    """What is sensitive on the form is not less so as a feature."""
    for feature, column in visits.FEATURES.items():
        asked, made = record_kinds()["visits"].column(column), features()[feature]
        assert (made.level, made.classification) == (asked.level, asked.classification), feature
    owner = [features()[name] for name in visits.FEATURES if name.startswith("owner_")]
    assert len(owner) == 5 and {feature.classification for feature in owner} == {"C2"}


BROKEN = {
    "owner_age": ("170", "a whole number, 16 to 100"),
    "owner_experience": ("-1", "a whole number, 0 to 80"),
    "owner_education": ("doctor", "one of: primary, secondary, college, university"),
    "owner_married": ("perhaps", "yes or no"),
    "owner_property": ("2", "yes or no"),
    "employees": ("7.5", "a whole number"),
    "premises": ("tent", "one of: owned, rented, shared, home"),
    "premises_order": ("6", "a whole number, 1 to 5"),
    "stock_seen": ("1234.567", "CNY with at most two decimals"),
    "books_kept": ("thrice", "one of: none, simple, double"),
    "neighbours": ("0", "a whole number, 1 to 5"),
    "recommends": ("nan", "yes or no"),
    "date": ("31/03/2024", "a day, as 2024-03-31"),
    "firm": ("", "required"),
}


def test_every_question_has_a_broken_answer_here():
    assert set(BROKEN) == {column.name for column in record_kinds()["visits"].columns}


@pytest.mark.parametrize("name", BROKEN)
@pytest.mark.parametrize("kind", ["toml", "csv"])
def test_a_broken_answer_is_refused_by_question_and_rule_and_never_repeated(kind, name):
    value, rule = BROKEN[name]
    forms = {
        "toml": (toml(**{name: value}), visit_form.read_toml),
        "csv": (csv(FILLED, FILLED | {"firm": "other", name: value}), visit_form.read_csv),
    }
    text, read = forms[kind]
    with pytest.raises(DataError) as caught:
        read(text, "form")
    assert f"{name!r} has 1 of {1 if kind == 'toml' else 2} answers" in str(caught.value) and rule in str(caught.value)
    silent(caught.value, value)


@pytest.mark.parametrize("value", ["inf", "nan", "1e400", "-0.01", "12abc", "1e20", "--"])
def test_amounts_that_are_none(value):
    with pytest.raises(DataError, match="'stock_seen' has 1 of 1") as caught:
        visit_form.read_toml(toml(stock_seen=value), "form")
    silent(caught.value, value)


@pytest.mark.parametrize(
    "line", ["owner_age = true", "owner_married = 1", "date = 2024-03-31T10:00:00", "firm = 9131", "premises = 3", "owner_age = []"]
)
def test_toml_of_the_wrong_type_is_refused(line):
    name = line.partition(" =")[0]
    rest = {"firm": 'firm = "f"', "date": "date = 2024-03-31"}
    text = "\n".join([*(value for key, value in rest.items() if key != name), line])
    with pytest.raises(DataError, match=f"{name!r} has 1 of 1"):
        visit_form.read_toml(text, "form")


def test_unknown_names_and_the_nearest():
    with pytest.raises(ConfigurationError, match=r"key 'owner_aeg' is none .*\n.*Did you mean 'owner_age'"):
        visit_form.read_toml(toml() + "\nowner_aeg = 5", "form")
    with pytest.raises(ConfigurationError, match=r"column 'Neighbors' is none .*\n.*Did you mean 'neighbours'"):
        visit_form.read_csv("firm,date,Neighbors\n", "forms")


def test_a_table_without_its_heading_shows_no_answer():
    with pytest.raises(ConfigurationError, match="column 1 is none") as caught:
        visit_form.read_csv(csv(FILLED).partition("\n")[2], "forms")
    silent(caught.value)


def test_text_that_is_no_form_shows_no_answer():
    for text in ("firm = 91310000SECRET0001", 'firm = "91310000SECRET0001', "91310000SECRET0001"):
        with pytest.raises(CreditfedError) as caught:
            visit_form.read_toml(text, "form")
        silent(caught.value)
    with pytest.raises(DataError, match="no heading"):
        visit_form.read_csv("\n \n", "forms")
    with pytest.raises(DataError, match="1 of 1 rows have another number of cells") as caught:
        visit_form.read_csv("firm,date\n91310000SECRET0001,2024-03-31,secret\n", "forms")
    silent(caught.value)
    with pytest.raises(ConfigurationError, match="a column is there twice"):
        visit_form.read_csv("firm,date,firm\n", "forms")


def test_one_form_for_a_firm_and_day_and_none_of_tomorrow():
    with pytest.raises(DataError, match="1 of 2 forms are of a firm and day that have one already"):
        visit_form.read_csv(csv(FILLED, FILLED), "forms")
    with pytest.raises(DataError, match="not later than today"):
        visit_form.read_toml(toml(), "form", today=dt.date(2024, 3, 30))
    assert len(visit_form.read_toml(toml(), "form", today=dt.date(2024, 3, 31))) == 1


def test_a_form_becomes_features():
    table = build(
        {"visits": [visit_form.read_csv(csv(FILLED), "forms")]},
        [np.datetime64("2024-04"), np.datetime64("2026-03"), np.datetime64("2026-04")],
    )
    first, oldest, too_old = (table.iloc[number] for number in range(3))
    assert (first["owner_age"], first["owner_education"], first["visit_stock"], first["visit_recommends"]) == (47, "college", 125_000.5, 1)
    assert first["visit_days_since_last"] == 1 and math.isnan(first["relation_months"])
    assert oldest["owner_age"] == 47
    assert math.isnan(too_old["owner_age"]) and too_old["owner_education"] is None and math.isnan(too_old["visit_days_since_last"])


def silent(error: CreditfedError, value: str = "") -> None:
    assert "SECRET" not in str(error)
    assert not value or value in ("0", "2", "6") or value not in str(error)
    assert error.__cause__ is None
    assert error.__suppress_context__ or error.__context__ is None
