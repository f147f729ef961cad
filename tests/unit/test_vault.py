"""The vault's table is the same whatever order and format the source has; what breaks a rule is named without any value of the data."""

from __future__ import annotations

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

from clients.sources import rules
from clients.vault import Facts, PartyConfig, describe_table, open_table
from federation.align.uscc import check_character
from federation.kernel.errors import ConfigurationError, DataError, PolicyRefusal
from federation.kernel.manifest import AlignSettings, Manifest, PartyDeclaration, PrivacySettings, SampleSettings
from federation.kernel.secret import Secret
from federation.models.table import Table

SEED = 20240131
SALT = Secret(b"s" * 32)
SHARED = Path(__file__).resolve().parents[2].parent / "shared" / "data"
CANARIES = ("CANARY", "7654321.125", "91999999")


def credit_code(number: int) -> str:
    first = f"91310000{number:09d}"
    return first + check_character(first)


def frame(rows: int = 60) -> pd.DataFrame:
    rng = np.random.default_rng(SEED)
    return pd.DataFrame({
        "id": [credit_code(i) for i in range(rows)],
        "gmv": np.round(rng.normal(1e6, 1e5, rows), 2),
        "orders": rng.integers(0, 50, rows),
        "tier": rng.choice(["gold", "silver", "basic"], rows),
        "label": np.arange(rows) % 2,
        "weight": rng.uniform(0.5, 2.0, rows),
    })  # fmt: skip


def config(path: Path, **changes: Any) -> PartyConfig:
    return PartyConfig.from_dict({"name": "bank", "role": "bank", "source": str(path), "label": "label"} | changes, path.parent)


def partner(path: Path, **changes: Any) -> PartyConfig:
    return PartyConfig.from_dict({"name": "tax", "role": "tax", "source": str(path)} | changes, path.parent)


def saved(folder: Path, data: pd.DataFrame, name: str = "data.parquet") -> Path:
    path = folder / name
    data.to_parquet(path, index=False) if name.endswith("parquet") else data.to_csv(path, index=False)
    return path


def manifest(settings: PartyConfig, facts: Facts, **sample: Any) -> Manifest:
    party = PartyDeclaration(name=settings.name, role=settings.role, identity="", label=settings.label is not None, columns=facts.columns)
    return Manifest(
        run="r", task="train", model="logistic", purpose="p", seed=1, coordinator="", parties=(party,), contracts=(),
        sample=SampleSettings(**sample), align=AlignSettings(kind=facts.id_kind), privacy=PrivacySettings(max_rows=10_000),
    )  # fmt: skip


def opened(settings: PartyConfig, salt: Secret = SALT, **sample: Any) -> Table:
    return open_table(settings, manifest(settings, describe_table(settings), **sample), salt)


def same(one: Table, other: Table) -> bool:
    columns = one.columns.keys() == other.columns.keys() and all(
        (a.kind, a.name) == (b.kind, b.name) and pd.Series(a.values).equals(pd.Series(b.values))
        for a, b in zip(one.columns.values(), other.columns.values(), strict=True)
    )
    rest = all(np.array_equal(getattr(one, k), getattr(other, k)) for k in ("label", "weight", "as_of"))
    return columns and rest and (one.keys, one.firms, one.commitment) == (other.keys, other.firms, other.commitment)


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


# -- rules: each with canaries planted in ids and values ----------------------------------------------------------------------------------


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
