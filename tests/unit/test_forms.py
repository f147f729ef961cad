"""Forms in TOML are read as the same answers in a CSV are, and what is wrong with one is told without an answer or a file's name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import tomli_w
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from clients.dictionary_commands import app as dictionary_app
from clients.feature_commands import app as features_app
from federation.kernel.errors import ConfigurationError, DataError
from privacy.dictionary.entries import record_kinds
from tests.unit.test_feature_commands import BROKEN

RUN = CliRunner()
FIRM, SECRET = "91110100MA0000000N", "91310000SECRET0001"
ANSWERS = {
    "owner_age": st.integers(16, 100),
    "owner_experience": st.integers(0, 80),
    "owner_education": st.sampled_from(["primary", "secondary", "college", "university"]),
    "owner_married": st.booleans(),
    "owner_property": st.booleans(),
    "employees": st.integers(0, 500),
    "premises": st.sampled_from(["owned", "rented", "shared", "home"]),
    "premises_order": st.integers(1, 5),
    "stock_seen": st.decimals(0, 10**9, places=2).map(str),
    "books_kept": st.sampled_from(["none", "simple", "double"]),
    "neighbours": st.integers(1, 5),
    "recommends": st.booleans(),
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The template, as the command writes it."""
    RUN.invoke(features_app, ["template", "visits", "--out", str(tmp_path / "visits")], catch_exceptions=False)
    return tmp_path / "visits"


def form(folder: Path, name: str, **answers: Any) -> None:
    (folder / name).write_text(tomli_w.dumps({"firm": FIRM, "date": "2024-03-05"} | answers))


def check(folder: Path) -> Any:
    return RUN.invoke(dictionary_app, ["check", str(folder.with_suffix(".toml"))])


def built(mapping: Path, out: Path) -> pd.DataFrame:
    done = RUN.invoke(features_app, ["build", str(mapping), "--as-of", "2024-03..2024-05", "--out", str(out)], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return pd.read_parquet(out)


def test_every_question_of_a_copied_blank_form_is_answered_between_the_quotation_marks(folder: Path, tmp_path: Path) -> None:
    blank = (folder / "_blank.toml").read_text()
    given = {"firm": FIRM, "date": "2024-03-05", "owner_age": "45", "recommends": "yes", "stock_seen": "1200.50", "premises": "rented"}
    filled = blank
    for question, answer in given.items():
        assert f'\n{question} = ""\n' in filled
        filled = filled.replace(f'\n{question} = ""\n', f'\n{question} = "{answer}"\n')
    (folder / f"{FIRM}.toml").write_text(filled)
    assert check(folder).exit_code == 0
    table = built(folder.with_suffix(".toml"), tmp_path / "features.parquet").set_index("as_of")
    assert list(table.index.strftime("%Y-%m")) == ["2024-04", "2024-05"], "not before the visit"
    assert set(table["owner_age"]) == {45.0} and set(table["visit_stock"]) == {1200.5} and table["visit_employees"].isna().all()


def test_the_blank_form_explains_each_question_and_is_never_read_nor_written_over(folder: Path) -> None:
    text = (folder / "_blank.toml").read_text()
    for column in record_kinds()["visits"].columns:
        assert f'{column.name} = ""' in text and column.definition in text
    assert "1 (poor) to 5 (excellent). (a whole number, 1 to 5)" in text and text.count("needed)") == 2
    assert "no form that is filled in" in str(check(folder).exception)
    again = RUN.invoke(features_app, ["template", "visits", "--out", str(folder)])
    assert isinstance(again.exception, ConfigurationError) and (folder / "_blank.toml").read_text() == text
    onto = RUN.invoke(features_app, ["template", "visits", "--out", str(folder.with_suffix(".toml"))])
    assert isinstance(onto.exception, ConfigurationError)


@settings(max_examples=6, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.lists(st.fixed_dictionaries({}, optional=ANSWERS), min_size=1, max_size=4))
def test_features_are_those_of_the_same_answers_in_a_csv(tmp_path_factory: pytest.TempPathFactory, forms: list[dict[str, Any]]) -> None:
    place = tmp_path_factory.mktemp("forms")
    for kind in ("visits", "cells.csv"):
        RUN.invoke(features_app, ["template", "visits", "--out", str(place / kind)], catch_exceptions=False)
    rows = [{"firm": FIRM, "date": f"2024-0{number + 1}-15"} | answers for number, answers in enumerate(forms)]
    for number, row in enumerate(rows):
        (place / "visits" / f"{number}.toml").write_text(tomli_w.dumps(row))
    words = [{name: ("yes" if value else "no") if isinstance(value, bool) else value for name, value in row.items()} for row in rows]
    heading = [column.name for column in record_kinds()["visits"].columns]
    pd.DataFrame(words, columns=heading, dtype=object).to_csv(place / "cells.csv", index=False)
    of_forms, of_cells = built(place / "visits.toml", place / "a.parquet"), built(place / "cells.toml", place / "b.parquet")
    pd.testing.assert_frame_equal(of_forms, of_cells)


@pytest.mark.parametrize("question", list(BROKEN))
def test_an_answer_that_breaks_its_rule_is_refused_as_in_a_csv(question: str, folder: Path) -> None:
    answer, rule = BROKEN[question]
    form(folder, "1.toml", **{question: answer})
    error = check(folder).exception
    assert isinstance(error, DataError) and question in str(error) and rule in str(error)
    assert SECRET not in str(error)


def test_answers_in_the_types_of_toml_are_those_in_words_and_control_a_wrong_one_is_refused(folder: Path) -> None:
    (folder / "1.toml").write_text(f'firm = "{FIRM}"\ndate = 2024-03-05\nowner_age = 45\nstock_seen = 10.10\nrecommends = true\n')
    assert check(folder).exit_code == 0
    (folder / "1.toml").write_text(f'firm = "{FIRM}"\ndate = 2024-03-05\nowner_age = 45.5\n')
    assert isinstance(check(folder).exception, DataError)


BAD = {
    "not TOML": (f'firm = "{SECRET}"\nemployees = \n'.encode(), "not well-formed TOML, line 2"),
    "not text": (b'firm = "\xff\xfe' + SECRET.encode() + b'"', "not text in UTF-8"),
    "too long": (b"#" * 70_000, "longer than 65,536 bytes"),
    "deep": (b"employees = " + b"[" * 20_000 + b"]" * 20_000, "not well-formed TOML"),
    "huge": (b"employees = " + b"9" * 6_000, "not well-formed TOML"),
    "huge in hexadecimals": (b"employees = 0x" + b"f" * 6_000, "a number of twenty digits"),
    "a list": (f'firm = "{FIRM}"\nemployees = ["{SECRET}"]'.encode(), "'employees' is a list, a table, a time of day"),
    "a table": (f'firm = "{FIRM}"\n[employees]\n{SECRET} = 1'.encode(), "'employees' is a list, a table, a time of day"),
    "a time": (b"employees = 12:00:00", "'employees' is a list, a table, a time of day"),
    "no question": (f'firm = "{FIRM}"\n{SECRET} = 1'.encode(), "1 of its keys are none of the form's questions"),
    "misspelt": (f'firm = "{FIRM}"\nemployes = 3'.encode(), "Nearest: 'employees'"),
}


@pytest.mark.parametrize("case", list(BAD))
def test_a_form_that_cannot_be_read_is_told_by_its_number_without_its_name_or_an_answer(case: str, folder: Path) -> None:
    content, rule = BAD[case]
    form(folder, "1.toml")
    assert check(folder).exit_code == 0, "the control"
    (folder / f"{SECRET}.toml").write_bytes(content)
    error = check(folder).exception
    assert isinstance(error, DataError) and rule in str(error)
    assert "form 2 of 2" in str(error) and SECRET not in str(error) and FIRM not in str(error)


def test_parquet_parts_come_before_forms_which_a_note_counts(folder: Path) -> None:
    """A mapping may lie in the folder of parts that it leads to."""
    form(folder, "1.toml", employees=3)
    pd.DataFrame({"firm": [FIRM], "date": ["2024-03-05"], "employees": [9]}).to_parquet(folder / "part.parquet")
    said = check(folder)
    assert said.exit_code == 0 and "1 files *.toml lie beside the Parquet parts and are not read" in said.output
    (folder / "1.toml").unlink()
    assert "beside" not in check(folder).output, "the blank form is none"
    assert set(built(folder.with_suffix(".toml"), folder.parent / "features.parquet")["visit_employees"]) == {9.0}


def test_no_form_is_lost_without_a_word(folder: Path) -> None:
    form(folder, "1.toml", stock_seen="1_000.50")
    (folder / "2.TOML").write_text((folder / "1.toml").read_text().replace('"1_000.50"', "1_000.50").replace("03-05", "03-06"))
    (folder / "1.toml").unlink()
    assert set(built(folder.with_suffix(".toml"), folder.parent / "features.parquet")["visit_stock"]) == {1000.5}
    (folder / "2025").mkdir()
    (folder / "2.TOML").rename(folder / "2025" / "2.toml")
    assert check(folder).exit_code == 0, "below the folder, too"
    for target in (folder / "nowhere", folder / "2025" / "2.toml"):
        (folder / "3.toml").unlink(missing_ok=True)
        (folder / "3.toml").symlink_to(target)
        assert "form 2 of 2" in str(check(folder).exception) and "is a link" in str(check(folder).exception)
    (folder / "3.toml").unlink()
    (folder / "2025" / "2.toml").unlink()
    (folder / "_blank.toml").unlink()
    assert "no form that is filled in (*.toml), and no Parquet part" in str(check(folder).exception)


@pytest.mark.parametrize("out", [".", "..", "visits.v2", "taken", "visits.toml"])
def test_a_template_goes_to_a_csv_or_a_folder_and_nowhere_else(out: str, tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file")
    answer = RUN.invoke(features_app, ["template", "visits", "--out", f"{tmp_path}/{out}" if out != "." else "."])
    assert isinstance(answer.exception, ConfigurationError) and "folder whose name has no dot" in str(answer.exception)
