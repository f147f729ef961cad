"""Kinds of dirt at the raw door: each is handled or refused by name, with its exact count, and no value of the data is in any message.

A case is a clean table of sales invoices in which some cells, or the file itself, are dirty. `expected` has the rules that must be counted, as
(column, rule): count; nothing else may be counted. A case with `refused` must end in that error.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pa_parquet
import pytest

from clients.own_tables import load
from clients.vault import open_records
from federation.align import uscc
from federation.kernel.errors import DataError

ROWS = 200
TODAY = dt.date(2025, 1, 31)
HEAD = ["firm", "code", "number", "date", "counterparty", "amount", "tax", "status"]
Row = dict[str, str]
SHORT = 4
"""Canaries: texts of the data at least so long must be in no message."""


def firm(number: int) -> str:
    first = f"9111010{number % 9}MA{number:07d}"
    return first + uscc.check_character(first)


def clean() -> list[Row]:
    days = np.datetime64("2023-01-02") + np.arange(ROWS)
    return [
        {
            "firm": firm(i % 7), "code": f"CODE{i % 3}", "number": f"{70_000_000 + i}", "date": str(days[i]), "counterparty": f"buyer{i % 11}",
            "amount": f"{1000 + i}.25", "tax": f"{60 + i % 5}.50", "status": "valid" if i % 9 else "void",
        }
        for i in range(ROWS)
    ]  # fmt: skip


def csv(rows: list[Row], head: list[str] | None = None, end: str = "\n") -> str:
    names = head or HEAD
    lines = [names, *([row[name] for name in HEAD] for row in rows)]
    return end.join(",".join(f'"{cell}"' if "," in cell else cell for cell in line) for line in lines) + end


@dataclass(frozen=True)
class Dirt:
    """change: of the rows, in place; write: of the file, in place of plain UTF-8; kept: rows that stay; value: (row, column, clean value)."""

    change: Callable[[list[Row]], Any] = lambda rows: None
    write: Callable[[Path, list[Row]], Any] = lambda path, rows: path.write_text(csv(rows), "utf-8")
    expected: Mapping[tuple[str, str], int] = field(default_factory=dict)
    kept: int = ROWS
    refused: str = ""
    value: tuple[int, str, Any] | None = None
    settings: str = ""
    tolerated: float = 0.05


def cells(column: str, *texts: str) -> Callable[[list[Row]], Any]:
    """The first rows' cells of a column."""

    def change(rows: list[Row]) -> None:
        for row, text in zip(rows, texts, strict=False):
            row[column] = text

    return change


def every(column: str, spell: Callable[[str], str]) -> Callable[[list[Row]], Any]:
    def change(rows: list[Row]) -> None:
        for row in rows:
            row[column] = spell(row[column])

    return change


def text(encoding: str, end: str = "\n") -> Callable[[Path, list[Row]], Any]:
    return lambda path, rows: path.write_bytes(csv(rows, end=end).encode(encoding))


def written(make: Callable[[list[Row]], str]) -> Callable[[Path, list[Row]], Any]:
    return lambda path, rows: path.write_text(make(rows), "utf-8")


def parquet(**columns: Callable[[pd.DataFrame], Any]) -> Callable[[Path, list[Row]], Any]:
    def write(path: Path, rows: list[Row]) -> None:
        frame = pd.DataFrame(rows)
        arrays = {name: columns[name](frame) if name in columns else pa.array(frame[name], pa.string()) for name in HEAD}
        pa_parquet.write_table(pa.table(arrays), path)

    return write


def swap(one: str, other: str) -> Callable[[list[Row]], Any]:
    def change(rows: list[Row]) -> None:
        for row in rows:
            row[one], row[other] = row[other], row[one]

    return change


def serial(day: str) -> str:
    return str((dt.date.fromisoformat(day) - dt.date(1899, 12, 30)).days)


def wide(plain: str) -> str:
    """Full-width."""
    return "".join(chr(ord(character) + 0xFEE0) if "!" <= character <= "~" else character for character in plain)


def first(day: str) -> np.datetime64:
    return np.datetime64(day, "s")


CHINESE = '[sales_invoices.values.status]\nvalid = ["有效发票"]\nvoid = ["作废发票"]\n'
SHORTER = "wrong number of cells"
DIRT: dict[str, Dirt] = {
    # -- the file
    "UTF-8 with byte order mark": Dirt(write=text("utf-8-sig")),
    "GB 18030": Dirt(
        change=every("status", lambda s: "有效发票" if s == "valid" else "作废发票"), write=text("gb18030"), settings=CHINESE, value=(1, "status", "valid")
    ),
    "UTF-16": Dirt(write=text("utf-16"), value=(0, "amount", 100_025)),
    "mixed line endings": Dirt(write=written(lambda rows: csv(rows).replace("\n", "\r\n", 90).replace("\n", "\r", 40) if rows else "")),
    "null bytes": Dirt(cells("number", "70\x00000000", "7\x000000001"), expected={("number", "invisible characters or null bytes"): 2}, value=(0, "number", "70000000")),
    "header missing": Dirt(write=written(lambda rows: csv(rows).partition("\n")[2]), refused="header missing"),
    "header in the middle": Dirt(
        write=written(lambda rows: csv(rows[:99]) + csv(rows[99:])), expected={("", "header in the middle"): 1}, kept=ROWS
    ),
    "header with blanks and capitals": Dirt(write=written(lambda rows: csv(rows, [f" {name.upper()} " for name in HEAD]))),
    "trailing total row": Dirt(
        write=written(lambda rows: csv(rows) + "合计,,,,,229900.00,9999,\n"), expected={("", "total row"): 1}
    ),
    "empty rows": Dirt(write=written(lambda rows: csv(rows) + ",,,,,,,\n" * 3), expected={("", "empty row"): 3}),
    "wrong number of cells": Dirt(
        write=written(lambda rows: csv(rows) + f"{firm(1)},CODE1,7001,2024-01-01\n" * 2), expected={("", SHORTER): 2}
    ),
    "required column missing": Dirt(
        write=written(lambda rows: csv(rows, [*HEAD[:5], "ammount", *HEAD[6:]])), refused="Nearest: 'ammount'"
    ),
    # -- ids and texts
    "full-width ids": Dirt(every("firm", wide), expected={("firm", "full-width characters"): ROWS}, value=(0, "firm", firm(0))),
    "lower-case ids": Dirt(every("firm", str.lower), expected={("firm", "lower case"): ROWS}, value=(0, "firm", firm(0))),
    "blanks within ids": Dirt(cells("firm", f"{firm(0)[:6]} {firm(0)[6:]}"), expected={("firm", "blanks within"): 1}, value=(0, "firm", firm(0))),
    "ideographic and non-breaking blanks": Dirt(
        cells("counterparty", "　buyer0", "\u00a0buyer1 ", "buyer2\u3000"), expected={("counterparty", "blanks around"): 3}, value=(0, "counterparty", "buyer0")
    ),
    "bad check character": Dirt(
        cells("firm", firm(0)[:-1] + "!", firm(1)[:-1] + ("A" if firm(1)[-1] != "A" else "B")),
        expected={("firm", "not a valid Unified Social Credit Code"): 2}, kept=ROWS - 2,
    ),
    "ids in scientific notation": Dirt(cells("firm", "9.11101E+17"), expected={("firm", "id in scientific notation"): 1}, kept=ROWS - 1),
    "numbers of documents in scientific notation": Dirt(
        cells("number", "7.0E+07"), expected={("number", "id in scientific notation"): 1}, kept=ROWS - 1
    ),
    "ids missing": Dirt(cells("firm", "", "N/A"), expected={("firm", "missing"): 2, ("firm", "a word for missing"): 1}, kept=ROWS - 2),
    # -- words
    "leading blanks in status": Dirt(every("status", lambda s: f" {s}"), expected={("status", "blanks around"): ROWS}, value=(0, "status", "void")),
    "own spellings of status": Dirt(
        every("status", lambda s: "有效发票" if s == "valid" else "作废发票"), settings=CHINESE, value=(0, "status", "void")
    ),
    "unknown spellings of status": Dirt(
        cells("status", "reversed", "reversed"), expected={("status", "unknown spelling"): 2}, kept=ROWS - 2
    ),
    # -- days
    "dates with slashes": Dirt(
        every("date", lambda s: f"{int(s[:4])}/{int(s[5:7])}/{int(s[8:])}"), expected={("date", "date spelled otherwise"): ROWS}, value=(0, "date", first("2023-01-02"))
    ),
    "dates without marks": Dirt(
        every("date", lambda s: s.replace("-", "")), expected={("date", "date spelled otherwise"): ROWS}, value=(3, "date", first("2023-01-05"))
    ),
    "dates in Chinese": Dirt(cells("date", "2023年1月5日"), expected={("date", "date spelled otherwise"): 1}, value=(0, "date", first("2023-01-05"))),
    "Excel dates": Dirt(every("date", serial), expected={("date", "Excel serial date"): ROWS}, value=(0, "date", first("2023-01-02"))),
    "day and month in an unknown order": Dirt(
        every("date", lambda s: f"{s[8:]}/{s[5:7]}/{s[:4]}"), refused="date: day and month in an unknown order 200"
    ),
    "day and month in a stated order": Dirt(
        every("date", lambda s: f"{s[8:]}/{s[5:7]}/{s[:4]}"), settings='day_order = "day first"\n',
        expected={("date", "date spelled otherwise"): ROWS}, value=(0, "date", first("2023-01-02")),
    ),
    "time stamps with a zone": Dirt(
        cells("date", "2023-01-05T20:30:00Z", "2023-01-05 23:59:59-05:00", "2023-01-05T00:30:00+09:00"),
        expected={("date", "converted to China Standard Time"): 3}, value=(2, "date", first("2023-01-04")),
    ),
    "time stamps in another zone": Dirt(
        cells("date", "2023-01-05 20:30:00", "2023-01-05 00:00:00"), settings="", expected={("date", "converted to China Standard Time"): 1},
        value=(0, "date", first("2023-01-06")),
    ),
    "time of day": Dirt(cells("date", "2023-01-05 23:59:59"), expected={("date", "time of day left out"): 1}, value=(0, "date", first("2023-01-05"))),
    "seconds since 1970": Dirt(cells("date", "1672934400"), expected={("date", "seconds or milliseconds since 1970"): 1}, value=(0, "date", first("2023-01-06"))),
    "milliseconds since 1970": Dirt(
        cells("date", "1672934400000"), expected={("date", "seconds or milliseconds since 1970"): 1}, value=(0, "date", first("2023-01-06"))
    ),
    "impossible dates": Dirt(cells("date", "2023-02-30", "2023-13-01", "20230431"), expected={("date", "impossible date"): 3}, kept=ROWS - 3),
    "no dates": Dirt(cells("date", "yesterday"), expected={("date", "not a date"): 1}, kept=ROWS - 1),
    "dates after the extract": Dirt(cells("date", "2025-02-01", "2099-12-31"), expected={("date", "after the extract"): 2}, kept=ROWS - 2),
    "years before 1990": Dirt(cells("date", "1899-12-30", "1970-01-01"), expected={("date", "before 1990"): 2}, kept=ROWS - 2),
    # -- amounts
    "full-width digits and minus": Dirt(cells("amount", "－１２３．５０"), expected={("amount", "full-width characters"): 1}, value=(0, "amount", -12_350)),
    "negative zero": Dirt(cells("amount", "-0", "-0.00"), expected={("amount", "negative zero"): 2}, value=(0, "amount", 0)),
    "thousands separators": Dirt(
        every("amount", lambda s: f"{float(s):,.2f}"), expected={("amount", "thousands separators"): ROWS}, value=(0, "amount", 100_025)
    ),
    "currency signs": Dirt(
        cells("amount", "¥1234.5", "￥9.01", "12元", "CNY 5"), expected={("amount", "currency sign"): 4, ("amount", "full-width characters"): 1},
        value=(0, "amount", 123_450),
    ),
    "another currency": Dirt(cells("amount", "$1234.5", "USD 9"), expected={("amount", "another currency"): 2}, kept=ROWS - 2),
    "parentheses as negative": Dirt(cells("amount", "(1,234.50)"), expected={
        ("amount", "parentheses for negative"): 1, ("amount", "thousands separators"): 1}, value=(0, "amount", -123_450)),
    "minus behind the number": Dirt(cells("amount", "1234.50-"), expected={("amount", "minus behind the number"): 1}, value=(0, "amount", -123_450)),
    "percent signs on money": Dirt(cells("tax", "13%"), expected={("tax", "percent sign"): 1}, kept=ROWS - 1),
    "scientific notation": Dirt(cells("amount", "1.5E+05"), expected={("amount", "scientific notation"): 1}, value=(0, "amount", 15_000_000)),
    "more than two decimals": Dirt(
        cells("amount", "1000.005", "-1000.005"), expected={("amount", "more than two decimals"): 2}, value=(1, "amount", -100_001)
    ),
    "decimal comma": Dirt(cells("amount", "1234,5"), expected={("amount", "comma that parts no thousands"): 1}, kept=ROWS - 1),
    "words for a missing amount": Dirt(
        cells("amount", "NaN", "-", "N/A", ""), expected={("amount", "missing"): 4, ("amount", "a word for missing"): 3}, kept=ROWS - 4
    ),
    "infinite amounts": Dirt(cells("amount", "inf", "-Infinity", "∞"), expected={("amount", "infinite"): 3}, kept=ROWS - 3),
    "beyond int64 fen": Dirt(
        cells("amount", "92233720368547758.08", "1e400", "99999999999999999999"), expected={("amount", "beyond the range of fen"): 3}, kept=ROWS - 3
    ),
    "text in amounts": Dirt(cells("amount", "about nine hundred"), expected={("amount", "not a number"): 1}, kept=ROWS - 1),
    # -- rows
    "invoices twice": Dirt(lambda rows: rows.extend(rows[:9]), expected={("", "the same record again"): 9}, kept=ROWS),
    "one key with another content": Dirt(
        lambda rows: rows.extend({**row, "amount": "5555.55"} for row in rows[:4]), expected={("", "the same key with another content"): 4}, kept=ROWS
    ),
    # -- columns
    "date and number swapped": Dirt(swap("date", "number"), refused="columns swapped"),
    "date and amount swapped": Dirt(swap("date", "amount"), refused="columns swapped"),
    "amount and tax swapped": Dirt(swap("amount", "tax"), refused="tax above amount in 200 of 200 rows (rule: columns swapped)"),
    "too many failures": Dirt(
        cells("amount", *["many"] * 11), refused="11 of 200 rows fail, more than the tolerated share of 0.05: amount: not a number 11"
    ),
    "Parquet column of flags for money": Dirt(
        write=parquet(amount=lambda frame: pa.array([True] * len(frame))), refused="column 'amount' is of type bool (rule: money)"
    ),
    "Parquet column of lists for days": Dirt(
        write=parquet(date=lambda frame: pa.array([[day] for day in frame["date"]])), refused="column 'date' is of type list (rule: day)"
    ),
    "Parquet floats with noise": Dirt(
        write=parquet(amount=lambda frame: pa.array([0.1 + 0.2, -0.0, float("nan"), float("inf"), *frame["amount"].astype(float)[4:]])),
        expected={("amount", "negative zero"): 1, ("amount", "missing"): 1, ("amount", "infinite"): 1}, kept=ROWS - 2, value=(0, "amount", 30),
    ),
    "Parquet time stamps in UTC": Dirt(
        write=parquet(date=lambda frame: pa.array(pd.to_datetime(frame["date"] + " 18:00"), pa.timestamp("us", tz="UTC"))),
        expected={("date", "converted to China Standard Time"): ROWS}, value=(0, "date", first("2023-01-03")),
    ),
    "Parquet numbers with missing ones as floats": Dirt(
        write=parquet(number=lambda frame: pa.array([float(one) for one in frame["number"]])), value=(0, "number", "70000000")
    ),
}  # fmt: skip
ZONES = {"time stamps in another zone": 'time_zone = "America/New_York"\n'}


def mapping(folder: Path, dirt: Dirt, name: str) -> Path:
    path = folder / "mapping.toml"
    file = "table.parquet" if "Parquet" in name else "table.csv"
    path.write_text(
        f'role = "tax"\ndictionary = "1.0"\nname = "tax-a"\nextracted = {TODAY}\ntolerated = {dirt.tolerated}\n{ZONES.get(name, "")}'
        f'[sales_invoices]\nsource = "{file}"\n{dirt.settings}',
        "utf-8",
    )
    return path


def read(folder: Path, dirt: Dirt, name: str) -> tuple[pd.DataFrame, Any]:
    rows = clean()
    dirt.change(rows)
    path = mapping(folder, dirt, name)
    dirt.write(folder / ("table.parquet" if "Parquet" in name else "table.csv"), rows)
    raw = open_records(load(path), "sales_invoices", TODAY)
    return pd.concat(list(raw.batches()), ignore_index=True), raw.cleaned


def canaries(dirt: Dirt) -> set[str]:
    """Texts of the dirty table that no message may have; column names and plain words of rules aside."""
    rows = clean()
    dirt.change(rows)
    found = {cell.strip() for row in rows for cell in row.values()}
    return {cell for cell in found if len(cell) >= SHORT and cell.casefold() not in {"valid", "void", "-infinity"}}


def told(cleaned: Any) -> str:
    return repr(cleaned.findings()) + repr(cleaned.notes)


@pytest.mark.parametrize("name", DIRT)
def test_each_kind_of_dirt_is_handled_or_refused_by_name_with_counts(tmp_path: Path, name: str) -> None:
    dirt = DIRT[name]
    if dirt.refused:
        with pytest.raises(DataError) as caught:
            read(tmp_path, dirt, name)
        assert dirt.refused in str(caught.value)
        assert not [canary for canary in canaries(dirt) if canary in str(caught.value)]
        assert caught.value.__context__ is None
        return
    frame, cleaned = read(tmp_path, dirt, name)
    assert {(one.column, one.rule): one.times for one in cleaned.findings()} == dict(dirt.expected)
    assert (len(frame), cleaned.kept) == (dirt.kept, dirt.kept)
    assert not [canary for canary in canaries(dirt) if canary in told(cleaned)]
    if dirt.value:
        row, column, value = dirt.value
        assert frame[column].iloc[row] == value
    assert frame["amount"].dtype == np.int64 and frame["date"].dtype == "datetime64[s]"


def test_there_are_more_than_thirty_kinds() -> None:
    assert len(DIRT) >= 60


@pytest.mark.parametrize("name", [name for name, dirt in DIRT.items() if dirt.kept < ROWS and not dirt.refused])
def test_control_without_tolerance_what_drops_rows_refuses_the_table(tmp_path: Path, name: str) -> None:
    strict = Dirt(**{**{key: getattr(DIRT[name], key) for key in Dirt.__dataclass_fields__}, "tolerated": 0.0})
    with pytest.raises(DataError, match="more than the tolerated share of 0") as caught:
        read(tmp_path, strict, name)
    for (column, rule), count in DIRT[name].expected.items():
        if rule not in ("a word for missing", "negative zero"):
            assert f"{column + ': ' if column else ''}{rule} {count}" in str(caught.value)
    assert not [canary for canary in canaries(strict) if canary in str(caught.value)]


def test_control_the_clean_table_has_nothing_to_tell(tmp_path: Path) -> None:
    frame, cleaned = read(tmp_path, Dirt(tolerated=0.0), "clean")
    assert cleaned.findings() == [] and cleaned.notes == [] and len(frame) == ROWS
    rows = clean()
    assert frame["amount"].tolist() == [round(float(row["amount"]) * 100) for row in rows]
    assert frame["firm"].tolist() == [row["firm"] for row in rows]
    assert frame["date"].dt.strftime("%Y-%m-%d").tolist() == [row["date"] for row in rows]
