"""An import takes every row or none; what is wrong is told by row number and rule, and never by value."""

from __future__ import annotations

import sqlite3

import pytest

from federation.kernel.errors import ConfigurationError, DataError
from privacy.consent.row import Row
from privacy.store import consent_ledger
from privacy.store.consent_import import import_csv, import_sql
from privacy.store.consent_ledger import ConsentLedger, Imported
from tests.consent_scene import KEY, KINDS, new_database, terms

NOW, WITHIN = "2026-03-01T00:00:00Z", "2026-03-15T04:00:00Z"
HEADER = "id,purpose,columns,recipients,from,until,evidence"
GOOD = "ann,decide,turnover;staff,bank;tax,2026-03-10,2026-03-20,form 1"


@pytest.fixture(params=KINDS)
def ledger(request, tmp_path):
    ledger = ConsentLedger(new_database(request.param, tmp_path), KEY)
    yield ledger
    ledger.close()


@pytest.fixture
def file(tmp_path):
    def write(*lines: str, encoding: str = "utf-8"):
        path = tmp_path / "consents.csv"
        path.write_text("\n".join(lines) + "\n", encoding=encoding)
        return path

    return write


def allowed(ledger, *ids: str, columns=(("turnover", 4),)) -> list[bool]:
    return ledger.permitted(ids, "decide", columns, ["bank", "tax"], WITHIN).tolist()


def test_a_file_is_imported_and_again_without_effect(ledger, file):
    path = file(HEADER, GOOD, GOOD.replace("ann", "bob"), GOOD.replace("ann", '"Eve, Ltd."'), encoding="utf-8-sig")
    assert import_csv(ledger, path, NOW) == Imported(3, 3, 0, 0)
    assert allowed(ledger, "bob", "eve, ltd.", "Eve", "ann") == [True, True, False, True]
    assert allowed(ledger, "ann", columns=[("staff", 5), ("stock", 1)]) == [False]
    assert import_csv(ledger, path, NOW) == Imported(3, 0, 3, 0)
    ledger.withdraw(["ann"], NOW)
    assert import_csv(ledger, path, NOW) == Imported(3, 0, 3, 0)
    assert import_csv(ledger, file(HEADER, GOOD.replace("form 1", "form 2").replace("2026-03-10", "2026-02-10")), NOW) == Imported(
        1, 1, 0, 1
    )
    assert allowed(ledger, "ann", "bob") == [False, True]


def test_levels_instead_of_columns_or_beside_them(ledger, file):
    header = HEADER.replace("columns", "levels")
    rows = [f"n{cell},decide,{cell},bank;tax,2026-03-10,2026-03-20,form" for cell in ("1", "3", "1-3")]
    import_csv(ledger, file(header, *rows), NOW)
    assert allowed(ledger, "n1", "n3", "n1-3", columns=[("turnover", 3)]) == [False, True, True]
    both = "id,purpose,levels,columns,recipients,from,until,evidence"
    import_csv(ledger, file(both, "both,decide,2,turnover,bank;tax,2026-03-10,2026-03-20,form"), NOW)
    assert allowed(ledger, "both", columns=[("turnover", 4), ("staff", 2)]) == [True]
    assert allowed(ledger, "both", columns=[("staff", 3)]) == [False]


BAD = {
    "id": ",decide,a,bank,2026-03-10,2026-03-20,form", "purpose": "SECRET,SECRET,a,bank,2026-03-10,2026-03-20,form",
    "columns": "SECRET,decide,,bank,2026-03-10,2026-03-20,form", "names": "SECRET,decide,a;;b,bank,2026-03-10,2026-03-20,form",
    "recipients": "SECRET,decide,a,,2026-03-10,2026-03-20,form", "all": "SECRET,decide,*,bank,2026-03-10,2026-03-20,form",
    "from": "SECRET,decide,a,bank,SECRET,2026-03-20,form", "no until": "SECRET,decide,a,bank,2026-03-10,,form",
    "order": "SECRET,decide,a,bank,2026-03-21,2026-03-20,form", "evidence": "SECRET,decide,a,bank,2026-03-10,2026-03-20,",
    "short": "SECRET,decide,a,bank,2026-03-10", "long": "SECRET,decide,a,bank,2026-03-10,2026-03-20,form,SECRET",
    "invisible": "\u200b,decide,a,bank,2026-03-10,2026-03-20,form",
}  # fmt: skip


def test_bad_rows_are_told_by_number_and_rule_and_nothing_is_imported(ledger, file):
    for name, row in BAD.items():
        with pytest.raises(DataError, match=r"rows? 3\b") as error:
            import_csv(ledger, file(HEADER, GOOD, GOOD.replace("ann", "bob"), row), NOW)
        assert "rule" in str(error.value) and "SECRET" not in str(error.value), name
        assert "Nothing was imported" in str(error.value)
    assert ledger.revision() == 0 and allowed(ledger, "ann", "bob") == [False, False]


def test_all_bad_rows_of_a_file_are_told_at_once(ledger, file):
    rows = [GOOD, *[BAD["order"]] * 7, GOOD, BAD["from"]]
    with pytest.raises(DataError) as error:
        import_csv(ledger, file(HEADER, *rows), NOW)
    assert "of 10 rows" in str(error.value)
    assert "7 break the rule 'until: not before from': rows 2, 3, 4, 5, 6, ..." in str(error.value)
    assert "1 break the rule 'from, until: days, as 2026-01-31': rows 10" in str(error.value)


@pytest.mark.parametrize(
    "header", ["", "id,purpose", HEADER.replace("columns,", ""), HEADER + ",SECRET", HEADER.replace("evidence", "id"), HEADER + ",evidence"]
)
def test_a_header_that_lacks_or_adds_something_is_refused(ledger, file, header):
    with pytest.raises(ConfigurationError) as error:
        import_csv(ledger, file(header, GOOD), NOW)
    assert "SECRET" not in str(error.value)


def test_files_that_are_none(ledger, file, tmp_path):
    broken = file(HEADER, GOOD)
    broken.write_bytes(broken.read_bytes() + b"\xff\xfe\n")
    quote = tmp_path / "quote.csv"
    quote.write_text(f'{HEADER}\n{GOOD}\n"SECRET"x,decide,a,bank,2026-03-10,2026-03-20,form\n')
    for path in (broken, quote, tmp_path / "missing.csv", tmp_path):
        with pytest.raises(ConfigurationError, match=r"cannot be read|not UTF-8|no such file|not those of a CSV|folder") as error:
            import_csv(ledger, path, NOW)
        assert "SECRET" not in str(error.value)
    assert ledger.revision() == 0


def test_from_a_database(ledger, tmp_path):
    with sqlite3.connect(tmp_path / "crm.db") as crm:
        crm.execute("CREATE TABLE consents (firm INTEGER, purpose, level INTEGER, parties, since, till, form)")
        crm.executemany(
            "INSERT INTO consents VALUES (?, 'decide', 4, 'bank;tax', '2026-03-10', '2026-03-20', 'form')", [(9007199254740993,), (12,)]
        )
    crm.close()
    url = f"sqlite:///{tmp_path / 'crm.db'}"
    query = 'SELECT firm AS id, purpose, NULL AS columns, level AS levels, parties AS recipients, since AS "from", till AS until, form AS evidence FROM consents'
    assert import_sql(ledger, url, query, NOW).added == 2
    assert allowed(ledger, "9007199254740993", "9007199254740992", "12") == [True, False, True]
    with pytest.raises(ConfigurationError, match="no column"):
        import_sql(ledger, url, "SELECT firm AS id FROM consents", NOW)
    with pytest.raises(DataError, match="rows 1, 2"):
        import_sql(ledger, url, query.replace("till AS", "'SECRET' AS"), NOW)
    with pytest.raises(DataError, match="cannot be used"):
        import_sql(ledger, url, "SELECT SECRET FROM nowhere", NOW)
    with pytest.raises(ConfigurationError, match="no such SQLite file"):
        import_sql(ledger, f"sqlite:///{tmp_path / 'other.db'}", query, NOW)
    assert ledger.revision() == 1


def test_from_the_same_kind_of_database_with_real_dates(ledger, tmp_path):
    if ledger._db.dialect != "postgresql":
        return
    query = (
        "SELECT 'ann' AS id, 'decide' AS purpose, 'turnover' AS columns, 'bank;tax' AS recipients, DATE '2026-03-10' AS \"from\", "
        "TIMESTAMP '2026-03-20 10:00' AS until, 'form' AS evidence"
    )
    assert import_sql(ledger, new_database("postgresql", tmp_path), query, NOW).added == 1
    assert allowed(ledger, "ann") == [True]


def test_progress_is_told_and_what_it_raises_takes_all_back(ledger, file, monkeypatch):
    monkeypatch.setattr(consent_ledger, "BATCH", 2)
    path, seen = file(HEADER, *(GOOD.replace("ann", f"n{i}") for i in range(5))), []

    def stop(rows: int) -> None:
        seen.append(rows)
        if rows >= 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        import_csv(ledger, path, NOW, stop)
    assert seen == [2, 4] and ledger.revision() == 0 and allowed(ledger, "n0") == [False]
    seen.clear()
    import_csv(ledger, path, NOW, seen.append)
    assert seen == [2, 4, 5] and allowed(ledger, "n0", "n4") == [True, True]


def test_a_row_that_only_the_ledger_refuses_takes_all_back(ledger, monkeypatch):
    monkeypatch.setattr(consent_ledger, "BATCH", 2)
    rows = [Row(name, terms(), 0, 40_000, "form") for name in ("ann", "bob", "cat", " ")]
    with pytest.raises(DataError, match="row 4 "):
        ledger.import_rows(rows, NOW)
    assert ledger.revision() == 0 and ledger.standing(NOW) == ()


def test_invisible_marks_in_an_id_are_none_of_it(ledger, file):
    import_csv(ledger, file(HEADER, GOOD.replace("ann", "\u200ba\u2060nn")), NOW)
    assert allowed(ledger, "ann", "an n") == [True, False]


def test_the_last_day_is_a_day_and_no_time(ledger, file):
    path = file(HEADER, GOOD.replace("2026-03-20", "2026-03-20T10:00:00"))
    with pytest.raises(DataError, match="days"):
        import_csv(ledger, path, NOW)
