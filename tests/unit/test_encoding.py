"""The encoding: one path from raw values to design values, the same in a batch and alone, before and after JSON."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from federation.kernel.errors import ConfigurationError, DataError
from federation.models.bins import OWN, Bins
from federation.models.encoding import Encoding, Numeric, OneHot, Standard, Woe, one_hot, plain
from federation.models.table import Column

BINS = Bins(column="gmv", kind="numeric", edges=(10.0,), joined=(OWN,))


def numeric(name: str, values: Sequence[float | None]) -> Column:
    return Column(name, "numeric", np.array([np.nan if v is None else v for v in values], np.float64))


def levels(name: str, values: Sequence[str | None]) -> Column:
    return Column(name, "categorical", np.array(values, object))


COLUMNS = {
    "x": numeric("x", [1.0, None, 3.0, 8.0, 4.0]),
    "state": levels("state", ["CA", "NY", "CA", None, "TX"]),
    "gmv": numeric("gmv", [5.0, 10.0, None, -1.0, 99.0]),
}


def mixed(missing: Any = "indicator") -> Encoding:
    return Encoding((*plain({k: COLUMNS[k] for k in ("x", "state")}, missing).columns, Woe("gmv", BINS, (-0.5, 0.25, 0.1, 0.7))))


def fitted(encoding: Encoding) -> Encoding:
    raw, counted = encoding.raw(COLUMNS), encoding.counted(COLUMNS)
    mean = raw.sum(axis=0) / counted.sum(axis=0)
    filled = np.where(counted, raw, mean)
    return encoding.fitted(mean, filled.std(axis=0))


def test_names_of_design_columns() -> None:
    assert mixed().names == ("x", "x is missing", "state=NY", "state=TX", "state is missing", "gmv")
    assert one_hot(levels("zip", ["a"] * 9 + ["b"] * 9 + ["c", "d"]), 0.1).names == ("zip=b", "zip=other")
    assert one_hot(levels("zip", ["a", "b", "c"]), 0.5).names == (), "all rare: the pooled level is the reference"


def test_plain_values_before_moments() -> None:
    design = mixed().design(COLUMNS)
    assert design[:, 0].tolist() == [1, 0, 3, 8, 4] and design[:, 1].tolist() == [0, 1, 0, 0, 0]
    assert design[:, 2:5].tolist() == [[0, 0, 0], [1, 0, 0], [0, 0, 0], [0, 0, 1], [0, 1, 0]]
    assert design[:, 5].tolist() == [-0.5, 0.25, 0.1, -0.5, 0.25]


def test_standardised_columns_have_mean_zero_and_spread_one_and_absent_is_their_mean() -> None:
    encoding = fitted(mixed())
    design = encoding.design(COLUMNS)
    assert np.allclose(design.mean(axis=0), 0) and np.allclose(design.std(axis=0), 1)
    assert (encoding.absent_row[:5] == 0).all(), "numbers and levels: the training mean"
    woe = encoding.standard[5]
    assert encoding.absent_row[5] == (0.7 - woe.centre) / woe.scale, "WOE: the absent bin's"
    assert design[1, 0] == 0.0 and encoding.standard[0].centre == 4.0, "missing is filled with the mean of what is there"


def test_the_rules_for_missing() -> None:
    x = {"x": COLUMNS["x"]}
    assert Encoding((Numeric("x", "zero", standard=(Standard(4, 2, 0),)),)).design(x)[1, 0] == -2.0
    assert Encoding((Numeric("x", "mean", fill=4.0, standard=(Standard(4, 2, 0),)),)).design(x)[1, 0] == 0.0
    with pytest.raises(DataError, match="1 of 5 values are missing"):
        Encoding((Numeric("x", "error"),)).design(x)


def test_a_constant_column_does_not_divide_by_zero() -> None:
    encoding = plain({"x": numeric("x", [2.0, 2.0])}, "mean").fitted(np.array([2.0]), np.array([0.0]))
    assert encoding.design({"x": numeric("x", [2.0, 3.0])}).tolist() == [[0.0], [1.0]]


def test_what_training_never_saw_is_encoded_as_absent() -> None:
    known = levels("state", ["CA", "CA", "NY"])
    encoding = Encoding((one_hot(known, 0.0),)).fitted(np.array([1 / 3]), np.array([0.4]))
    assert encoding.design({"state": levels("state", ["ZZ", None])}).tolist() == [[0.0], [0.0]]
    pooled = Encoding((one_hot(levels("state", ["CA"] * 9 + ["NY"]), 0.2),))
    assert pooled.design({"state": levels("state", ["ZZ", "NY", "CA"])}).tolist() == [[1.0], [1.0], [0.0]], "unless there is a level other"


def test_weights_that_are_not_one_for_each_bin_or_a_scale_of_zero_are_refused() -> None:
    with pytest.raises(ConfigurationError):
        Woe("gmv", BINS, (0.0, 1.0))
    with pytest.raises(ConfigurationError):
        Standard(scale=0.0)
    with pytest.raises(ConfigurationError, match="two design columns"):
        Encoding((Numeric("state=CA"), OneHot("state", ("NY", "CA"), "NY", other=False, missing=False)))


def test_a_column_that_is_not_there_or_of_the_other_kind_is_refused_without_a_value() -> None:
    encoding = plain({"x": COLUMNS["x"], "state": COLUMNS["state"]}, "mean")
    with pytest.raises(DataError, match="'state'"):
        encoding.design({"x": COLUMNS["x"]})
    with pytest.raises(DataError) as refused:
        encoding.design({"x": levels("x", ["private"] * 5), "state": COLUMNS["state"]})
    assert "private" not in str(refused.value)
    with pytest.raises(DataError):
        encoding.design({"x": numeric("x", [float("inf")]), "state": levels("state", ["CA"])})


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.one_of(st.none(), st.floats(-1e9, 1e9)), st.sampled_from(["CA", "NY", "??", None])), min_size=1, max_size=20))
def test_one_row_alone_gives_the_bits_of_the_batch(rows: list[tuple[float | None, str | None]]) -> None:
    encoding = fitted(mixed())

    def design(part: list[tuple[float | None, str | None]]) -> Any:
        x, state = [row[0] for row in part], [row[1] for row in part]
        return encoding.design({"x": numeric("x", x), "state": levels("state", state), "gmv": numeric("gmv", x)})

    batch = design(rows)
    assert np.isfinite(batch).all()
    assert b"".join(design([row]).tobytes() for row in rows) == batch.tobytes()
