"""A folder of Parquet parts is one table, and what is not one is refused in counts."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pandas as pd
import pytest

from clients.sources import records
from clients.sources.opening import stamp
from clients.vault import Vault, describe_table
from federation.kernel.errors import DataError
from tests.source_scene import source
from tests.vault_scene import SALT, config, frame, manifest, opened, partner, same, saved


def parts(folder: Path, data: pd.DataFrame, key: str = "region") -> Path:
    """Parts in folders by the values of a column."""
    root = folder / "parts"
    for value, rows in data.groupby(key, dropna=False):
        at = root / f"{key}={'__HIVE_DEFAULT_PARTITION__' if pd.isna(value) else value}"
        at.mkdir(parents=True)
        rows.drop(columns=key).to_parquet(at / "part-0.parquet", index=False)
    return root


def test_folders_named_by_key_and_value_are_a_column(tmp_path: Path) -> None:
    data = frame().assign(region=[f"0{i % 3}" if i % 5 else None for i in range(60)])
    one, other = opened(config(parts(tmp_path, data))), opened(config(saved(tmp_path, data)))
    assert same(one, other)
    assert set(one.columns["region"].values) == {"00", "01", "02", None}


def test_a_folder_may_hold_the_dates(tmp_path: Path) -> None:
    data = pd.concat([frame(20).assign(as_of=f"2024-0{month}-15") for month in (1, 2, 3)], ignore_index=True)
    facts = describe_table(config(parts(tmp_path, data, "as_of"), as_of="as_of"))
    assert (facts.periods, facts.rows, facts.firms) == (("2024-01", "2024-02", "2024-03"), 60, 20)


def test_percent_signs_in_a_folders_name_are_read(tmp_path: Path) -> None:
    root = parts(tmp_path, frame().assign(region="x"))
    (root / "region=x").rename(root / "region=%E4%B8%8A%E6%B5%B7%2Fa")
    assert set(opened(config(root)).columns["region"].values) == {"上海/a"}


def test_what_a_writer_has_not_finished_is_passed_over(tmp_path: Path) -> None:
    root = parts(tmp_path, frame().assign(region="x"))
    before = opened(config(root))
    for name in ("_temporary/0.parquet", ".hidden.parquet", "_SUCCESS", "region=x/_part.parquet", "region=x/notes.txt"):
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_text("not Parquet")
    assert same(before, opened(config(root)))
    (root / "region=x" / "whole.parquet").write_text("not Parquet")
    with pytest.raises(DataError, match="well-formed Parquet"):
        opened(config(root))


@pytest.mark.parametrize(
    ("change", "finding"),
    [
        (lambda d: d.astype({"orders": "float64"}), "column 'orders' is of another type, or missing, in 1 of 3 parts"),
        (lambda d: d.drop(columns="tier"), "column 'tier' is of another type, or missing, in 1 of 3 parts"),
        (lambda d: d.assign(more=1), "column 'more' is of another type, or missing, in 1 of 3 parts"),
    ],
)
def test_parts_of_another_schema_are_refused_by_column_and_count(tmp_path: Path, change: Any, finding: str) -> None:
    root = Path(source("folder", frame(), tmp_path))
    part = root / "deep" / "2.parquet"
    change(pd.read_parquet(part)).to_parquet(part, index=False)
    with pytest.raises(DataError, match=finding):
        describe_table(config(root))


def test_another_order_of_columns_is_the_same_schema(tmp_path: Path) -> None:
    root = Path(source("folder", frame(), tmp_path))
    part = root / "deep" / "2.parquet"
    pd.read_parquet(part)[frame().columns[::-1]].to_parquet(part, index=False)
    assert same(opened(config(root)), opened(config(saved(tmp_path, frame()))))


def test_parts_under_other_keys_and_a_key_that_is_a_column_are_refused(tmp_path: Path) -> None:
    root = parts(tmp_path, frame().assign(region=np.arange(60) % 3))
    (root / "region=2").rename(root / "zone=2")
    with pytest.raises(DataError, match="1 of 3 parts lie in folders with other"):
        describe_table(config(root))
    (root / "zone=2").rename(root / "region=2")
    for path in root.rglob("*.parquet"):
        pd.read_parquet(path).assign(region=1).to_parquet(path, index=False)
    with pytest.raises(DataError, match="1 column names occur more than once"):
        describe_table(config(root))


def test_a_folder_without_parts_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"no \*\.parquet file"):
        describe_table(partner(tmp_path / "empty"))


def test_a_change_of_any_part_is_noticed(tmp_path: Path) -> None:
    root = Path(source("folder", frame(), tmp_path))
    settings, part = config(root), root / "deep" / "2.parquet"
    vault = Vault(settings, SALT)
    drafted = manifest(settings, vault.facts())
    begun = vault.rows_anew(drafted)
    assert vault.rows_anew(drafted) is begun
    seen = {stamp(settings)}
    os.utime(part)
    seen.add(stamp(settings))
    part.rename(root / "3.parquet")
    seen.add(stamp(settings))
    (root / "3.parquet").unlink()
    seen.add(stamp(settings))
    assert len(seen) == 4
    assert vault.rows_anew(drafted).rows == vault.facts().rows == 40


@pytest.mark.parametrize("kind", ["csv", "parquet", "folder"])
def test_a_source_that_changes_while_it_is_read_is_refused(tmp_path: Path, kind: str) -> None:
    settings = config(Path(source(kind, frame(), tmp_path)))
    file = settings.source / "0.parquet" if kind == "folder" else settings.source
    real = records._offered

    def write(*arguments: Any) -> Any:
        os.utime(file)
        return real(*arguments)

    assert describe_table(settings).rows == 60
    with mock.patch.object(records, "_offered", write), pytest.raises(DataError, match="changed while it was read"):
        describe_table(settings)
