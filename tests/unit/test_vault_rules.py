"""What breaks a rule is named by column, rule and count, and no value of the data is in any message; each with canaries planted in ids and values."""

from __future__ import annotations

import os
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pandera.pandas as pandera
import pyarrow as pa
import pyarrow.csv as pa_csv
import pytest

import clients.vault
from clients.sources import rules
from clients.vault import Vault, describe_table, open_table
from federation.align.uscc import check_character
from federation.kernel.errors import ConfigurationError, DataError
from tests.vault_scene import SALT, config, frame, manifest, opened, partner, saved

CANARIES = ("CANARY", "7654321.125", "91999999")


def with_canaries() -> pd.DataFrame:
    """A table whose ids, numbers and texts can be recognised in any message."""
    data = frame()
    data["id"] = [(text := f"91999999{i:09d}") + check_character(text) for i in range(60)]
    data["gmv"] = 7654321.125
    data["tier"] = [f"CANARY{i % 3}" for i in range(60)]
    return data


def broken(rows: list[int], column: str, value: Any) -> Callable[[pd.DataFrame], pd.DataFrame]:
    def change(data: pd.DataFrame) -> pd.DataFrame:
        data[column] = data[column].astype(object)
        data.loc[rows, column] = value
        return data

    return change


WEIGHTED = {"weight": "weight"}
BROKEN: dict[str, tuple[Callable[[pd.DataFrame], pd.DataFrame], dict[str, Any], tuple[str, ...]]] = {
    "infinite": (broken([1, 2], "gmv", np.inf), {}, ("'gmv'", "2 of 60", "finite")),
    "minus infinite": (broken([5], "gmv", -np.inf), {}, ("'gmv'", "1 of 60", "finite")),
    "label missing": (broken([0, 3, 4], "label", None), {}, ("'label'", "3 of 60", "not missing")),
    "label of three classes": (broken([0], "label", 2), {}, ("'label'", "1 of 60", "0 or 1")),
    "label is text": (broken([0], "label", "CANARY"), {}, ("'label'", "1 of 60", "numeric")),
    "one class": (lambda d: d.assign(label=0), {}, ("'label'", "60 rows are of one class")),
    "negative weight": (broken([1], "weight", -7654321.125), WEIGHTED, ("'weight'", "1 of 60", "not negative")),
    "weight missing": (broken([1, 2], "weight", None), WEIGHTED, ("'weight'", "2 of 60", "not missing")),
    "weight infinite": (broken([1], "weight", np.inf), WEIGHTED, ("'weight'", "finite")),
    "weights all zero": (lambda d: d.assign(weight=0.0), WEIGHTED, ("'weight'", "zero")),
    "number is text": (lambda d: d, {"types": {"tier": "numeric"}}, ("'tier'", "60 of 60", "numeric")),
    "duplicate id": (lambda d: pd.concat([d, d.iloc[[4, 5]]]), {}, ("'id'", "2 of 62", "rows 61, 62")),
    "duplicate in another spelling": (lambda d: pd.concat([d, d.iloc[[4]].assign(id=d.id[4].lower())]), {}, ("'id'", "rows 61")),
    "bad check character": (broken([6], "id", "919999990000000060"), {}, ("'id'", "1 of 60", "rows 7")),
    "id missing": (broken([8], "id", None), {}, ("'id'", "1 of 60", "rows 9")),
    "declared codes are none": (lambda d: d.assign(id=[f"CANARY{i}" for i in range(60)]), {"id_kind": "uscc"}, ("60 of 60", "GB 32100")),
    "date is none": (broken([1], "tier", "CANARY"), {"as_of": "tier"}, ("'tier'", "60 of 60", "date")),
    "firm twice in a month": (
        lambda d: pd.concat([d, d.iloc[[4]]]).assign(as_of="2024-01-15"),
        {"as_of": "as_of", "_key": "firm and month"},
        ("'as_of'", "1 of 61"),
    ),
    "no rows": (lambda d: d.iloc[:0], {}, ("no rows",)),
    "no such id": (lambda d: d, {"id": "ids"}, ("'ids'", "Did you mean 'id'?")),
    "no such label": (lambda d: d, {"label": "lable"}, ("'lable'", "Did you mean 'label'?")),
    "no such weight": (lambda d: d, {"weight": "wieght"}, ("'wieght'", "Did you mean 'weight'?")),
    "no such date": (lambda d: d, {"as_of": "as_of"}, ("'as_of'",)),
    "no such include": (lambda d: d, {"include": ["gmw"]}, ("'gmw'", "Did you mean 'gmv'?")),
    "no such exclude": (lambda d: d, {"exclude": ["orderz"]}, ("'orderz'", "Did you mean 'orders'?")),
    "no such type": (lambda d: d, {"types": {"teir": "categorical"}}, ("'teir'", "Did you mean 'tier'?")),
    "no such level": (lambda d: d, {"levels": {"teir": 3}}, ("'teir'",)),
    "label as feature": (lambda d: d, {"include": ["label", "gmv"]}, ("'label'", "cannot be a feature")),
    "one column twice": (lambda d: d, {"weight": "label"}, ("two of",)),
    "include a date": (lambda d: d.assign(day="2024-01-01"), {"include": ["day"]}, ("'day'", "dates")),
}  # fmt: skip


def everything(error: BaseException) -> str:
    """All text that a log or a traceback could show of an error and of whatever hangs on to it."""
    seen, text = [error], ""
    while seen:
        one = seen.pop()
        text += str(one) + repr(one) + repr(one.args) + "".join(traceback.format_exception(one))
        seen += [other for other in (one.__cause__, one.__context__) if other is not None]
    return text


@pytest.mark.parametrize("form", ["data.csv", "data.parquet"])
@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_rule_gives_column_rule_and_count_and_no_value(tmp_path: Path, name: str, form: str) -> None:
    change, settings, findings = BROKEN[name]
    data = change(with_canaries())
    if form.endswith("parquet"):  # a Parquet column has one type
        data = data.astype({column: "str" for column in data if any(isinstance(value, str) for value in data[column])})
    key = settings.get("_key", "firm")
    declared = config(saved(tmp_path, data, form), **{k: v for k, v in settings.items() if k != "_key"})
    with pytest.raises(DataError) as caught:
        opened(declared, key=key, periods=("2024-01",) if key != "firm" else ())
    text = str(caught.value)
    assert caught.value.exit_code == 5
    for finding in ("bank", *findings):
        assert finding in text
    leaked = everything(caught.value)
    assert not [canary for canary in CANARIES if canary in leaked]


def test_control_pandera_s_own_error_shows_the_values(tmp_path: Path) -> None:
    typed = pd.DataFrame({"label": [0.0, 1.0, 7654321.125]})
    with pytest.raises(pandera.errors.SchemaErrors) as caught:
        rules.schema({"label": "label"}, {}).validate(typed, lazy=True)
    assert "7654321.125" in everything(caught.value)
    with pytest.raises(DataError) as ours:
        rules.check("bank", typed, {"label": "label"}, {})
    assert "7654321.125" not in everything(ours.value)


def test_control_arrow_s_own_error_shows_the_row() -> None:
    with pytest.raises(pa.ArrowInvalid, match="CANARY"):
        pa_csv.read_csv(pa.BufferReader(MALFORMED["cells too many"][0]))


MALFORMED = {
    "empty": (b"", "empty"),
    "header alone": (b"id,label,x\n", "no rows"),
    "cells too many": (b"id,label,x\n" + b"".join(b"CANARY%d,1,2\n" % i for i in range(9)) + b"CANARY,1,2,3\n", "rows 10"),
    "no header": (b"CANARY1,0,7654321.125\nCANARY2,1,7654321.125\n", "no column 'id'"),
    "numbers as header": (b"91999999,0,7654321.125\n91999998,1,7654321.125\n", "column names"),
    "binary": (b"\xff\xfe\x00CANARY\x81\x20\n", "neither"),
    "broken parquet": (b"PAR1CANARY7654321.125", "Parquet"),
    "a name twice": (b"id,label,x,x\nCANARY,1,2,3\n", "more than once"),
    "stray text among numbers": (
        b"id,label,x\n" + b"".join(b"CANARY%d,%d,%d.5\n" % (i, i % 2, i) for i in range(99)) + b"CANARY,1,7654321.125?\n",
        "'x' has 1 of 100",
    ),
    "quote without end": (b'id,label,x\nCANARY1,0,"7654321.125\nCANARY2,1,3\n', "bank"),
}  # fmt: skip


@pytest.mark.parametrize("name", MALFORMED)
def test_a_malformed_file_is_refused_without_its_content(tmp_path: Path, name: str) -> None:
    raw, finding = MALFORMED[name]
    (tmp_path / "data.csv").write_bytes(raw)
    with pytest.raises(DataError) as caught:
        opened(config(tmp_path / "data.csv"))
    assert finding in str(caught.value)
    assert not [canary for canary in CANARIES if canary in everything(caught.value)]


def test_a_parquet_file_damaged_inside_is_refused_without_its_content(tmp_path: Path) -> None:
    path = saved(tmp_path, with_canaries())
    raw = bytearray(path.read_bytes())
    raw[10:400] = b"\xff" * 390
    path.write_bytes(bytes(raw))
    with pytest.raises(DataError) as caught:
        opened(config(path))
    assert not [canary for canary in CANARIES if canary in everything(caught.value)]


def test_a_missing_file_is_refused_with_its_path(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"gone\.csv"):
        describe_table(config(tmp_path / "gone.csv"))


def test_a_partner_with_nothing_to_offer_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no feature column"):
        describe_table(partner(saved(tmp_path, frame()[["id"]])))


def test_several_undated_rows_of_a_firm_are_refused_and_point_to_the_date(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="as_of"):
        describe_table(config(saved(tmp_path, pd.concat([frame(), frame()]))))


def test_node_toml_is_read_strictly(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError):
        config(tmp_path / "x", lable="label")
    with pytest.raises(ConfigurationError):
        config(tmp_path / "x", levels={"a": 9})
    assert config(tmp_path / "x", source="data.csv").source == tmp_path / "data.csv"


def test_a_duplicates_row_is_the_files_own_also_where_consents_leave_rows_out(tmp_path: Path) -> None:
    dated = frame().assign(as_of="2024-03-31")
    settings = config(saved(tmp_path, pd.concat([dated, dated.iloc[[7]].assign(as_of="2024-04-30")])), as_of="as_of")
    drafted, said = manifest(settings, describe_table(settings)), []
    for first in (0, 5):
        with pytest.raises(DataError) as caught:
            open_table(settings, drafted, SALT, lambda firms, _owners, first=first: np.arange(len(firms)) >= first)  # type: ignore[misc]
        said.append(str(caught.value).partition("; rows ")[2])
    assert said[0] == said[1] and said[0].startswith("61\n")


def test_a_vault_reads_its_source_again_only_when_that_has_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read, load = [], clients.vault.load
    monkeypatch.setattr(clients.vault, "load", lambda config: read.append(1) or load(config))  # type: ignore[func-returns-value]
    path = saved(tmp_path, frame())
    settings = config(path)
    vault = Vault(settings, SALT)
    for _ in range(3):
        facts = vault.facts()
        made = manifest(settings, facts)
        assert vault.rows_anew(made).rows == vault.rows(made).rows == 60
    assert len(read) == 2
    times = path.stat()
    path.write_bytes(path.read_bytes())
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert vault.facts() is not facts, "a file that was overwritten in place, with its times put back, is read again"
    read.clear()
    saved(tmp_path, frame(50))
    assert vault.rows_anew(made).rows == 50 and vault.facts().rows == 50 and len(read) == 2
