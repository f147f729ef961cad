"""Sources of checks: rows of one firm are one, whatever their order; names and addresses have one spelling; who asks brings ids alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from clients.party_config import PartyConfig
from clients.sources.records import load
from clients.sources.together import together
from clients.sources.typed import Records
from clients.vault import describe_table
from federation.align import uscc
from federation.kernel.errors import DataError
from federation.models.table import Column


def records(ids: list[str], column: Column) -> Records:
    return Records(ids, "any", {column.name: column}, None, None, None, ())


def test_amounts_of_one_firm_add_up_exactly_in_any_order() -> None:
    amounts = [0.1, 0.2, 1e9, 0.3, np.nan, -0.0]
    for order in ([0, 1, 2, 3, 4, 5], [5, 3, 4, 1, 2, 0]):
        found = together(records(["a"] * 6, Column("owed", "numeric", np.array(amounts)[order])), "bank")
        assert found.firms == ["a"]
        assert found.columns["owed"].values.tolist() == [1_000_000_000.6]
        assert found.notes == ("bank: 5 rows were put together with an earlier row of their id",)


def test_texts_of_one_owner_are_counted_once_each() -> None:
    firms = np.array(["Ｆ1", "f1", "F2", None, "f2 ", "f3"], object)
    found = together(records(["a", "a", "a", "a", "b", "b"], Column("firm", "categorical", firms)), "bank")
    assert (found.firms, found.columns["firm"].kind) == (["a", "b"], "numeric")
    assert found.columns["firm"].values.tolist() == [2.0, 2.0]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Zhang  San", "ZHANG·SAN"), ("北京市 海淀区（中关村）1-2号", "北京市海淀区(中关村)１２号"), ("Straße 5", "STRASSE 5"), ("a\u200bb", "ab"),
        ("张三，男", "张三男"),
    ],
    ids=["dot and case", "Chinese address", "sharp s", "invisible mark", "wide comma"],
)  # fmt: skip
def test_names_are_spelled_alike(one: str, other: str) -> None:
    assert uscc.spellings([one], "name") == uscc.spellings([other], "name") != [""]
    assert uscc.spellings(uscc.spellings([one], "name"), "name") == uscc.spellings([one], "name")


@pytest.mark.parametrize("text", ["", " ", "·-（）", "\u200b"], ids=["empty", "blank", "marks alone", "invisible"])
def test_what_has_no_letter_is_no_name(text: str) -> None:
    assert uscc.spellings([text], "name") == [""]
    with pytest.raises(DataError, match="1 of 2 identifiers are not valid"):
        uscc.normalise(["somebody", text], "name")


def source(folder: Path, **more: object) -> PartyConfig:
    table = pd.DataFrame({"id": ["f1", "f2", "f1"], "owed": [1.5, 2.0, 3.25], "secret": ["x", "y", "z"]})
    table.to_csv(folder / "loans.csv", index=False)
    return PartyConfig.from_dict({"name": "bank", "role": "bank", "source": "loans.csv", "id_kind": "any"} | more, folder)


def test_who_asks_brings_ids_alone(tmp_path: Path) -> None:
    facts = describe_table(source(tmp_path, serves="asking"))
    assert (facts.columns, facts.rows, facts.several_rows_per_firm) == ((), 2, False)


def test_who_is_asked_brings_one_number_for_each_firm(tmp_path: Path) -> None:
    found = load(source(tmp_path, serves="counting", include=["owed"]))
    assert found.firms == ["f1", "f2"]
    assert found.columns["owed"].values.tolist() == [4.75, 2.0]


def test_control_a_source_for_models_refuses_a_firm_twice(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="repeat the identifier"):
        describe_table(source(tmp_path, include=["owed"]))
