"""The vault's table is the same whatever order and format the source has."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from clients.vault import describe_table, open_table
from federation.kernel.errors import DataError, PolicyRefusal
from federation.kernel.secret import Secret
from tests.vault_scene import SALT, config, credit_code, frame, manifest, opened, partner, same, saved

SHARED = Path(__file__).resolve().parents[2].parent / "shared" / "data"


# -- one table ------------------------------------------------------------------------------------------------------------------------


def test_shuffled_rows_give_the_identical_table_and_commitment(tmp_path: Path) -> None:
    data = frame()
    data.loc[3, "gmv"] = np.nan
    data.loc[4, "tier"] = None
    first = opened(config(saved(tmp_path, data), weight="weight"))
    for seed in range(5):
        mixed = data.sample(frac=1, random_state=seed)
        assert same(first, opened(config(saved(tmp_path, mixed, f"mixed{seed}.parquet"), weight="weight")))
    assert list(first.keys) == sorted(first.keys)


def test_control_any_changed_cell_label_weight_id_type_or_salt_changes_the_commitment(tmp_path: Path) -> None:
    data = frame()
    settings = config(saved(tmp_path, data), weight="weight")
    seen = {opened(settings).commitment, opened(settings, Secret(b"t" * 32)).commitment}
    cells: list[tuple[int, str, Any]] = [
        (0, "gmv", 1.0), (1, "tier", "none"), (2, "label", 1), (3, "weight", 9.0), (4, "id", credit_code(999)), (5, "gmv", np.nan),
    ]  # fmt: skip
    for number, (row, column, value) in enumerate(cells):
        changed = data.copy()
        changed.loc[row, column] = value
        seen.add(opened(config(saved(tmp_path, changed, f"{number}.parquet"), weight="weight")).commitment)
    seen.add(opened(config(settings.source, weight="weight", types={"orders": "categorical"})).commitment)
    assert len(seen) == 2 + 6 + 1


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "gb18030"])
def test_csv_in_any_encoding_and_parquet_give_the_identical_table(tmp_path: Path, encoding: str) -> None:
    data = frame().assign(region=lambda d: np.where(d.orders > 20, "上海", "四川"), new=lambda d: d.orders > 10)
    data.loc[7, ["gmv", "region"]] = [np.nan, None]
    data.to_csv(tmp_path / "data.csv", index=False, encoding=encoding)
    declared = {"types": {"orders": "categorical"}, "weight": "weight"}
    one, other = opened(config(saved(tmp_path, data), **declared)), opened(config(tmp_path / "data.csv", **declared))
    assert same(one, other)
    assert one.columns["new"].kind == "categorical"
    assert set(one.columns["region"].values) == {"上海", "四川", None}


def test_spellings_of_one_id_are_one_key(tmp_path: Path) -> None:
    data = frame()
    spelled = data.assign(id=[f" {text.lower()} " for text in data.id])
    assert opened(config(saved(tmp_path, data))).keys == opened(config(saved(tmp_path, spelled, "b.parquet"))).keys


def test_ids_keep_their_leading_zeros_and_kind(tmp_path: Path) -> None:
    data = frame().assign(id=[f"{i:05d}" for i in range(60)])
    saved(tmp_path, data, "data.csv")
    table = opened(config(tmp_path / "data.csv"))
    assert table.keys[0] == "00000"
    assert describe_table(config(tmp_path / "data.csv")).id_kind == "any"
    assert describe_table(config(saved(tmp_path, frame()))).id_kind == "uscc"
    numbered = saved(tmp_path, frame().assign(id=range(60)), "numbers.parquet")
    assert opened(config(numbered)).keys[0] == "0"


# -- columns ----------------------------------------------------------------------------------------------------------------------------


def test_types_are_inferred_and_id_label_weight_and_dates_are_never_features(tmp_path: Path) -> None:
    data = frame().assign(
        as_of="2024-01-31", opened=pd.Timestamp("2020-02-03"), code=[f"{i % 4:03d}" for i in range(60)], empty=np.nan,
        firm_name=[f"firm {i}" for i in range(60)], flag=lambda d: d.orders > 3, constant=1.5,
    )  # fmt: skip
    for name in ("data.csv", "data.parquet"):
        facts = describe_table(config(saved(tmp_path, data, name), as_of="as_of", weight="weight"))
        kinds = {column.name: column.kind for column in facts.columns}
        assert kinds == {
            "gmv": "numeric", "orders": "numeric", "tier": "categorical",
            "code": "categorical", "flag": "categorical", "constant": "numeric",
        }  # fmt: skip
        notes = "\n".join(facts.notes)
        for left_out in ("opened", "empty", "firm_name", "constant"):
            assert f"'{left_out}'" in notes


def test_undeclared_label_and_weight_columns_do_not_become_features(tmp_path: Path) -> None:
    facts = describe_table(partner(saved(tmp_path, frame())))
    assert [column.name for column in facts.columns] == ["gmv", "orders", "tier"]
    assert sum("was left out" in note for note in facts.notes) == 2
    asked = describe_table(partner(tmp_path / "data.parquet", include=["gmv", "weight"]))  # shipping weight, said by name
    assert [column.name for column in asked.columns] == ["gmv", "weight"]


def test_include_exclude_types_and_levels_are_followed(tmp_path: Path) -> None:
    path = saved(tmp_path, frame())
    facts = describe_table(config(path, exclude=["gmv", "weight"], types={"orders": "categorical"}, levels={"tier": 4}))
    assert [(c.name, c.kind, c.level) for c in facts.columns] == [("orders", "categorical", 3), ("tier", "categorical", 4)]
    table = opened(config(path, include=["orders"], types={"orders": "categorical"}))
    assert all(isinstance(value, str) and "." not in value for value in table.columns["orders"].values)


def test_missing_cells_are_nan_or_none(tmp_path: Path) -> None:
    (tmp_path / "data.csv").write_text("id,label,x,c\na,0,1.5,red\nb,1,NA,\nc,0,,NaN\nd,1,-0.0,blue\n")
    table = opened(config(tmp_path / "data.csv"))
    assert np.array_equal(table.columns["x"].values, [1.5, np.nan, np.nan, 0.0], equal_nan=True)
    assert table.columns["c"].values.tolist() == ["red", None, None, "blue"]
    assert table.columns["c"].missing.tolist() == [False, True, True, False]


# -- periods ----------------------------------------------------------------------------------------------------------------------------


def dated(months: int = 3) -> pd.DataFrame:
    whole = frame(20)
    return pd.concat([whole.assign(as_of=f"2024-0{month + 1}-15") for month in range(months)], ignore_index=True)


def test_several_rows_per_firm_are_keyed_by_month_and_keep_their_firm(tmp_path: Path) -> None:
    settings = config(saved(tmp_path, dated()), as_of="as_of")
    facts = describe_table(settings)
    assert (facts.dated, facts.several_rows_per_firm, facts.periods) == (True, True, ("2024-01", "2024-02", "2024-03"))
    table = opened(settings, key="firm and month", periods=facts.periods)
    assert len(set(table.keys)) == 60
    assert len(set(table.firms)) == 20
    assert all(key == f"{firm}|{str(day)[:7]}" for key, firm, day in zip(table.keys, table.firms, table.as_of, strict=True))  # type: ignore[arg-type]
    mixed = saved(tmp_path, dated().sample(frac=1, random_state=1), "mixed.parquet")
    assert same(table, opened(config(mixed, as_of="as_of"), key="firm and month", periods=facts.periods))


def test_an_undated_partner_serves_every_period_and_says_so(tmp_path: Path) -> None:
    periods = ("2024-01", "2024-02")
    table = opened(partner(saved(tmp_path, frame(20)), as_of="as_of"), key="firm and month", periods=periods)
    assert table.rows == 40
    assert {key[-7:] for key in table.keys} == set(periods)
    assert any("undated snapshot" in note for note in table.notes)


def test_a_dated_partner_offers_only_the_months_it_has_within_the_window(tmp_path: Path) -> None:
    table = opened(partner(saved(tmp_path, dated()), as_of="as_of"), key="firm and month", periods=("2024-02", "2024-03", "2024-07"))
    assert {key[-7:] for key in table.keys} == {"2024-02", "2024-03"}


@pytest.mark.parametrize("spelled", ["2024-01-31", "2024/1/31", "20240131", 20240131, "2024-01-31 12:30:00", "2024.01.31"])
def test_days_are_read_in_their_usual_spellings(tmp_path: Path, spelled: str | int) -> None:
    table = opened(config(saved(tmp_path, frame().assign(as_of=spelled)), as_of="as_of"))
    assert table.as_of is not None
    assert set(table.as_of) == {np.datetime64("2024-01-31")}


def test_months_are_days_too_and_time_zones_do_not_move_them(tmp_path: Path) -> None:
    zoned = frame().assign(as_of=pd.Timestamp("2024-01-31 23:30", tz="Asia/Shanghai"))
    table = opened(config(saved(tmp_path, zoned), as_of="as_of"))
    assert table.as_of is not None
    assert set(table.as_of) == {np.datetime64("2024-01-31")}
    assert describe_table(config(saved(tmp_path, frame().assign(as_of="2024-03"), "m.csv"), as_of="as_of")).periods == ("2024-03",)


def test_an_undated_table_larger_than_the_cap_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PolicyRefusal, match="max_rows"):
        opened(partner(saved(tmp_path, frame())), key="firm and month", periods=tuple(f"{year}-01" for year in range(1800, 2000)))


def test_a_source_that_changed_since_it_was_described_is_refused(tmp_path: Path) -> None:
    settings = config(saved(tmp_path, frame()))
    drafted = manifest(settings, describe_table(settings))
    saved(tmp_path, frame().drop(columns="tier"))
    with pytest.raises(DataError, match="no longer"):
        open_table(settings, drafted, SALT)


# -- real data --------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("party", ["bank", "platform", "tax"])
def test_real_loans_give_the_same_columns_and_keys_as_csv_and_parquet(party: str) -> None:
    folder = SHARED / "sba_vertical_sample8k"
    if not folder.exists():
        pytest.skip(f"{folder} is not there")
    changes = {"label": "label", "as_of": "as_of"} if party == "bank" else {"name": "tax", "label": None}
    one, other = (opened(config(folder / f"{party}.{form}", **changes)) for form in ("csv", "parquet"))
    assert same(one, other)
    assert one.rows == {"bank": 8000, "platform": 5800, "tax": 6600}[party]


def test_real_weights_are_read_and_left_out_of_the_features() -> None:
    path = SHARED / "sba_vertical_weighted30k" / "bank.parquet"
    if not path.exists():
        pytest.skip(f"{path} is not there")
    table = opened(config(path, weight="weight", as_of="as_of"))
    assert table.weight is not None
    assert table.label is not None
    assert np.average(table.label, weights=table.weight) == pytest.approx(0.176, abs=0.001)
    assert not {"weight", "label", "as_of", "id"} & set(table.columns)
    assert "weight" not in {column.name for column in describe_table(config(path)).columns}  # forgotten in the run file


def test_a_level_called_other_is_said_to_count_with_the_rarer_ones(tmp_path: Path) -> None:
    data = frame()
    before = describe_table(config(saved(tmp_path, data))).notes
    data.loc[:4, "tier"] = "other"
    notes = [note for note in describe_table(config(saved(tmp_path, data))).notes if note not in before]
    assert len(notes) == 1
    assert "'tier'" in notes[0]
    assert "'other'" in notes[0]
