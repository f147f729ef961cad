"""Bins, merging and the edited document: every value has one bin, and no small bin survives."""

from __future__ import annotations

import copy
import tomllib
from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np
import pytest
import tomli_w
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from federation.kernel.errors import ConfigurationError, DataError
from federation.models import bin_merging
from federation.models.bin_merging import fold, make_monotone, merge, merge_few_bads, merge_small
from federation.models.bins import OWN, Bins, Direction, cut, frequent_levels, quantile_edges, shortest_between
from federation.models.bins_document import from_toml_dict, generated_digest, to_toml_dict
from federation.models.table import Column


def numeric(values: Sequence[float | None], name: str = "x") -> Column:
    return Column(name, "numeric", np.array([np.nan if v is None else v for v in values], np.float64))


def levels(values: Sequence[str | None], name: str = "state") -> Column:
    return Column(name, "categorical", np.array(values, object))


AMOUNT = Bins(column="x", kind="numeric", edges=(10.0, 200.0), special=(-1.0,), joined=(OWN, OWN))
STATE = Bins(column="state", kind="categorical", groups=(("CA",), ("NY", "TX"), ()), other=2)


# -- codes and labels -------------------------------------------------------------------------------------------------------------


def test_intervals_are_closed_on_the_left_and_special_missing_and_absent_follow() -> None:
    codes = AMOUNT.codes(numeric([9.999, 10, 199.99, 200, np.inf, -np.inf, -1, None]))
    assert codes.tolist() == [0, 1, 1, 2, 2, 0, 3, 4]
    assert AMOUNT.labels == ("(-inf, 10)", "[10, 200)", "[200, inf)", "= -1", "missing", "absent")
    assert (AMOUNT.size, AMOUNT.absent) == (6, 5)


def test_a_level_that_no_group_names_goes_to_other() -> None:
    assert STATE.codes(levels(["CA", "TX", "XX", None])).tolist() == [0, 1, 2, 3]
    assert STATE.labels == ("CA", "NY, TX", "other", "missing", "absent")


def test_bins_survive_json_to_the_last_bit() -> None:
    odd = Bins(column="x", kind="numeric", edges=(0.1 + 0.2, 1e300), special=(-999.0,), joined=(1, OWN), direction="auto")
    for bins in (odd, STATE):
        assert msgspec.json.decode(msgspec.json.encode(bins), type=Bins) == bins


@pytest.mark.parametrize(
    "wrong",
    [
        {"kind": "numeric", "edges": (2.0, 1.0)},
        {"kind": "numeric", "edges": (1.0, 1.0)},
        {"kind": "numeric", "edges": (float("nan"),)},
        {"kind": "numeric", "edges": (1.0,), "joined": (2,)},
        {"kind": "numeric", "special": (1.0, 1.0), "joined": (OWN,) * 3},
        {"kind": "numeric", "special": ("a",), "joined": (OWN, OWN)},
        {"kind": "categorical", "groups": (("A",), ("A",), ()), "other": 2},
        {"kind": "categorical", "groups": (("A",), (), ()), "other": 2},
        {"kind": "categorical", "groups": (("A", "other"), ()), "other": 1},
        {"kind": "categorical", "groups": (("A",),)},
    ],
)
def test_bins_that_cannot_be_are_refused_also_from_json(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError):
        Bins(column="x", **wrong)
    if "edges" not in wrong or wrong["edges"][0] == wrong["edges"][0]:
        with pytest.raises(ConfigurationError):
            msgspec.json.decode(msgspec.json.encode({"column": "x", **wrong}), type=Bins)


def test_a_column_of_the_other_kind_is_refused_without_a_value() -> None:
    with pytest.raises(DataError) as refused:
        AMOUNT.codes(levels(["secret-level"], "x"))
    assert "secret-level" not in str(refused.value)


# -- cutting ----------------------------------------------------------------------------------------------------------------------

VALUES = st.lists(st.one_of(st.sampled_from([0.0, 0.0, 1.0, -5.0]), st.floats(-1e6, 1e6, width=32)), max_size=300)


@settings(max_examples=200, deadline=None)
@given(VALUES, st.integers(1, 9), st.floats(0, 0.3))
def test_quantile_edges_increase_leave_no_bin_small_and_do_not_depend_on_order(values: list[float], max_bins: int, share: float) -> None:
    array = np.array(values, np.float64)
    edges = quantile_edges(array, max_bins, share)
    assert list(edges) == sorted(set(edges)) and len(edges) < max_bins
    sizes = np.bincount(np.searchsorted(np.array(edges), array, side="right"), minlength=len(edges) + 1)
    assert len(edges) == 0 or sizes.min() >= max(1, share * len(values))
    assert quantile_edges(array[::-1], max_bins, share) == edges


def test_a_value_that_most_firms_have_gets_its_own_interval_and_the_rest_are_still_cut() -> None:
    values = np.concatenate([np.zeros(600), np.arange(1, 401)])
    sizes = np.bincount(np.searchsorted(np.array(quantile_edges(values, 6, 0.05)), values, side="right"))
    assert sizes.tolist() == [600, 80, 80, 80, 80, 80]


def test_without_ties_the_shares_are_equal() -> None:
    values = np.random.default_rng(1).normal(size=6000)
    assert np.bincount(np.searchsorted(np.array(quantile_edges(values, 6, 0.05)), values, side="right")).tolist() == [1000] * 6


@given(st.floats(allow_nan=False), st.floats(allow_nan=False))
def test_an_edge_lies_above_the_left_value_and_not_above_the_right(a: float, b: float) -> None:
    if a != b:
        edge = shortest_between(min(a, b), max(a, b))
        assert min(a, b) < edge <= max(a, b) and np.isfinite(edge)


def test_an_edge_is_short() -> None:
    assert shortest_between(199.5, 203.7) == 200.0
    assert shortest_between(-12.0, -3.7) == -4.0
    assert shortest_between(0.0, 0.0123) == 0.01


def test_levels_by_frequency_then_name_and_the_rest_is_other() -> None:
    values = np.array(["B"] * 5 + ["A"] * 5 + ["C"] * 3 + ["D"], object)
    assert frequent_levels(values, 6, 0) == ("A", "B", "C", "D")
    assert frequent_levels(values, 3, 0) == ("A", "B")
    assert frequent_levels(values, 6, 0.2) == ("A", "B", "C")
    assert frequent_levels(np.array(["other", "A"], object), 6, 0) == ("A",)


def test_a_special_value_takes_no_part_in_the_quantiles_and_has_a_bin_only_where_it_occurs() -> None:
    column = numeric([-999.0] * 50 + [float(v) for v in range(60)])
    bins = cut(column, 6, 0.05, (-999.0, -1.0))
    assert bins.special == (-999.0,) and min(bins.edges) > 0
    assert np.bincount(bins.codes(column)).tolist() == [10] * 6 + [50]


# -- merging ----------------------------------------------------------------------------------------------------------------------


def test_merging_intervals_groups_and_missing() -> None:
    assert merge(AMOUNT, 1, 0).labels == ("(-inf, 200)", "[200, inf)", "= -1", "missing", "absent")
    assert merge(AMOUNT, 2, 4).labels == ("(-inf, 10)", "[10, 200)", "[200, inf), missing", "= -1", "absent")
    assert merge(merge(AMOUNT, 2, 4), 0, 1).labels == ("(-inf, 200)", "[200, inf), missing", "= -1", "absent")
    assert merge(STATE, 0, 2).labels == ("CA, other", "NY, TX", "missing", "absent")
    for i, j in [(0, 2), (3, 4), (0, 5), (1, 1), (-1, 0)]:
        with pytest.raises(ConfigurationError):
            merge(AMOUNT, i, j)


@st.composite
def counted(draw: st.DrawFn, least: int = 0) -> tuple[Bins, np.ndarray[Any, Any]]:
    special = draw(st.integers(0, 2))
    joined = (OWN,) * (special + 1)
    k = draw(st.integers(1, 6))
    direction: Direction | None = draw(st.sampled_from([None, "increasing"]))
    if draw(st.booleans()):
        bins = Bins(
            column="x", kind="numeric", edges=tuple(map(float, range(1, k))), special=tuple(map(float, range(-special, 0))), joined=joined
        )
    else:
        other = draw(st.integers(0, k - 1))
        groups = tuple(() if i == other and draw(st.booleans()) else (f"L{i}",) for i in range(k))
        special_levels = tuple(f"S{i}" for i in range(special))
        bins = Bins(column="x", kind="categorical", groups=groups, other=other, special=special_levels, joined=joined, direction=direction)
    rows = draw(st.lists(st.one_of(st.integers(least, 30), st.just(least)), min_size=bins.size, max_size=bins.size))
    goods = [draw(st.integers(0, n)) for n in rows]
    return bins, np.column_stack([rows, goods, np.subtract(rows, goods)]).astype(np.int64)


@settings(max_examples=300, deadline=None)
@given(counted(), st.integers(1, 20))
def test_after_merging_no_present_bin_is_below_the_cohort_and_nothing_is_lost(case: tuple[Bins, Any], minimum: int) -> None:
    bins, counts = case
    after, merged = merge_small(bins, counts, minimum)
    assert len(merged) == after.size and (merged.sum(axis=0) == counts.sum(axis=0)).all()
    assert (merged[-1] == counts[-1]).all(), "absent is never merged"
    if counts[:-1, 0].sum() >= minimum:
        assert all(n == 0 or n >= minimum for n in merged[:-1, 0])
        again, same = merge_small(after, merged, minimum)
        assert again == after and (same == merged).all()


@settings(max_examples=200, deadline=None)
@given(counted(), st.integers(1, 20))
def test_merged_codes_count_what_merged_counts_say(case: tuple[Bins, Any], minimum: int) -> None:
    bins, counts = case
    after, merged = merge_small(bins, counts, minimum)
    if bins.kind == "numeric":
        values: list[Any] = [*(e - 0.5 for e in bins.edges), bins.edges[-1] if bins.edges else 5.0, *bins.special, None]
        column = numeric(values)
    else:
        values = [group[0] if group else "unnamed" for group in bins.groups] + [*bins.special, None]
        column = levels(values, "x")
    assert bins.codes(column).tolist() == list(range(bins.size - 1))
    recount = np.zeros((after.size, 3), np.int64)
    np.add.at(recount, after.codes(column), counts[:-1])
    assert (recount[:-1] == merged[:-1]).all()


def test_a_small_missing_bin_joins_the_largest_interval_and_an_empty_one_stays_neutral() -> None:
    rows = np.array([[40], [90], [60], [0], [3], [500]])
    after, merged = merge_small(AMOUNT, rows, 10)
    assert after.labels == ("(-inf, 10)", "[10, 200), missing", "[200, inf)", "= -1", "absent")
    assert merged[:, 0].tolist() == [40, 93, 60, 0, 500]


def test_a_small_group_goes_to_the_smallest_and_an_empty_other_stays() -> None:
    bins = Bins(column="s", kind="categorical", groups=(("A",), ("B",), ("C",), ()), other=3)
    after, merged = merge_small(bins, np.array([[50], [4], [20], [0], [0], [0]]), 10)
    assert after.labels == ("A", "B, C", "other", "missing", "absent")
    assert merged[:, 0].tolist() == [50, 24, 0, 0, 0]


@settings(max_examples=300, deadline=None)
@given(counted(least=1), st.sampled_from(["increasing", "decreasing", "auto"]))
def test_pooling_gives_rates_that_run_one_way(case: tuple[Bins, Any], direction: Any) -> None:
    bins, counts = case
    assume(counts[:, 1].sum() and counts[:, 2].sum())
    after, pooled = make_monotone(bins, counts, direction, 0.5)
    assert (pooled.sum(axis=0) == counts.sum(axis=0)).all()
    if after.ordered:
        rates = [b / (g + b) for _, g, b in pooled[: after.ordinary].tolist()]
        up, down = rates == sorted(rates), rates == sorted(rates, reverse=True)
        assert {"increasing": up, "decreasing": down, "auto": up or down}[direction]
    else:
        assert after == bins


def test_pool_adjacent_violators_equals_isotonic_regression() -> None:
    from sklearn.isotonic import IsotonicRegression

    rng = np.random.default_rng(5)
    for _ in range(20):
        rows = rng.integers(1, 50, 8)
        bads = rng.binomial(rows, 0.3)
        counts = np.column_stack([rows, rows - bads, bads]).astype(np.int64)
        counts = np.vstack([counts, np.zeros((2, 3), np.int64)])
        bins = Bins(column="x", kind="numeric", edges=tuple(map(float, range(1, 8))))
        after, pooled = make_monotone(bins, counts, "increasing", 0.5)
        expected = IsotonicRegression().fit_transform(np.arange(8), bads / rows, sample_weight=rows)
        codes = after.codes(numeric([v + 0.5 for v in range(8)]))
        assert np.allclose((pooled[:, 2] / np.maximum(pooled[:, 0], 1))[codes], expected)


def test_auto_keeps_the_direction_with_the_larger_information_value() -> None:
    falling = np.array([[100, 50, 50], [100, 70, 30], [100, 75, 25], [100, 90, 10], [0, 0, 0], [0, 0, 0]])
    bins = Bins(column="x", kind="numeric", edges=(1.0, 2.0, 3.0))
    assert make_monotone(bins, falling, "auto", 0.5)[0] == bins
    assert make_monotone(bins, falling, "increasing", 0.5)[0].edges == ()


def test_bins_with_few_bads_merge_with_a_neighbour_and_missing_stays() -> None:
    counts = np.array([[100, 97, 3], [100, 80, 20], [100, 90, 10], [0, 0, 0], [20, 20, 0], [0, 0, 0]])
    after, merged = merge_few_bads(AMOUNT, counts, 5)
    assert after.edges == (200.0,) and merged[:, 2].tolist() == [23, 10, 0, 0, 0]


def test_fold_is_the_inverse_of_nothing_but_addition() -> None:
    counts = np.arange(6)[:, None]
    assert fold(counts, 4, 1)[:, 0].tolist() == [0, 5, 2, 3, 5]
    assert counts[:, 0].tolist() == list(range(6)), "the input is left alone"
    assert bin_merging.ROWS == 0


# -- the edited document ----------------------------------------------------------------------------------------------------------


def document() -> dict[str, Any]:
    return tomllib.loads(tomli_w.dumps(to_toml_dict({"x": AMOUNT, "state": STATE})))


def test_an_unedited_document_gives_the_same_bins_and_no_edit() -> None:
    untouched = document()
    assert from_toml_dict(untouched, generated_digest(untouched)) == ({"x": AMOUNT, "state": STATE}, [])


def test_every_kind_of_edit_is_taken_and_reported() -> None:
    original = document()
    edited = copy.deepcopy(original)
    edited["columns"]["x"] |= {"edges": [50.0], "special": [-1.0, -2.0], "joined": [-1, -1, 0]}
    edited["columns"]["x"] |= {"direction": "decreasing", "reason": "policy"}
    edited["columns"]["state"] |= {"groups": [["NY"], ["TX", "other"], ["CA"]], "direction": "increasing", "reason": " regional desk "}
    bins, edits = from_toml_dict(edited, generated_digest(original))
    assert bins["x"] == Bins(column="x", kind="numeric", edges=(50.0,), special=(-1.0, -2.0), joined=(OWN, OWN, 0), direction="decreasing")
    assert bins["state"].groups == (("NY",), ("TX",), ("CA",)) and bins["state"].other == 1 and bins["state"].ordered
    assert [(e.column, e.what, e.reason) for e in edits] == [
        ("x", "direction, edges, joined, special", "policy"), ("state", "direction, groups", "regional desk")
    ]  # fmt: skip


def test_an_integer_edge_is_no_edit() -> None:
    original = document()
    edited = copy.deepcopy(original)
    edited["columns"]["x"]["edges"] = [10, 200]
    assert from_toml_dict(edited, generated_digest(original))[1] == []


def change(path: tuple[str, ...], value: Any) -> dict[str, Any]:
    edited = document()
    place: Any = edited
    for key in path[:-1]:
        place = place[key]
    if value is None:
        del place[path[-1]]
    else:
        place[path[-1]] = value
    return edited


@pytest.mark.parametrize(
    ("edited", "says"),
    [
        (change(("columns", "x", "edges"), [10.0]), "edges changed without a reason"),
        (change(("columns", "x", "edgse"), [10.0]), "'edges'"),
        (change(("columns", "stat"), {"kind": "numeric"}), "'state'"),
        (change(("colums",), {}), "'columns'"),
        (change(("columns", "x"), None), "was removed"),
        (change(("columns", "x", "edges"), ["ten"]), "Expected `float`"),
        (change(("columns", "x", "edges"), [9.0, 3.0]), "do not increase"),
        (change(("columns", "x", "groups"), [["A"]]), "needs edges, not groups"),
        (change(("columns", "state", "groups"), [["CA"], ["NY"]]), "in 0 groups"),
        (change(("generated", "x", "edges"), "0" * 16), "was not generated"),
        (change(("generated", "x"), None), "was not generated"),
    ],
)
def test_a_wrong_edit_is_refused_and_says_where(edited: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        from_toml_dict(edited, generated_digest(document()))
    assert says in str(refused.value)
