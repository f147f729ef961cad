"""No count of a few firms can be read off what leaves of a waterfall, of roll rates or of vintage curves, nor worked out from sums."""

from __future__ import annotations

from functools import cache
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from federation.kernel.manifest import TargetSettings
from federation.models.target.findings import find
from federation.models.target.observation import observed
from federation.models.target.outcomes import judge_rows
from privacy.disclosure.portfolio import shown
from tests.repayment_tables import make_book
from tests.unit.test_target import as_histories

LEAST = 10


@cache
def document(firms: int, seed: int) -> dict[str, Any]:
    """Exact findings of a book, as JSON values."""
    book = make_book(firms, 24, seed)
    loans, definition = as_histories(book.repayments, book.loans), TargetSettings(performance_months=6)
    months = np.repeat(np.arange(np.datetime64("2021-02"), np.datetime64("2022-07")), firms)
    names = list(book.firms) * (len(months) // firms)
    assert observed(definition, months).all()
    found = find(loans, definition, judge_rows(loans, definition, names, months), names, months, LEAST)
    return found.document({"train": (40, 30), "test": (3, 2), "out_of_time": (20, 15)})


def readable(rolls: dict[str, Any], exact: dict[str, Any], least: int) -> list[tuple[int, int]]:
    """Cells of 1 to least - 1 firms that can be read, or worked out as what a row's total leaves for its one hidden cell."""
    found = []
    for start, (counts, total) in enumerate(zip(rolls["counts"], rolls["totals"], strict=True)):
        hidden = [end for end, count in enumerate(counts) if count is None]
        alone = hidden if total is not None and len(hidden) == 1 else []
        for end, count in enumerate(counts):
            few = 0 < exact["firms"][start][end] < least
            if few and (count is not None or end in alone):
                found.append((start, end))
    return found


def steps_of(shares: list[float], loans: int) -> list[int]:
    """How many loans more each step of a curve has."""
    counts = [round(share * loans) for share in [0.0, *shares]]
    return [after - before for before, after in pairwise(counts) if after != before]


@pytest.mark.parametrize(("firms", "seed"), [(40, 1), (150, 2), (400, 3)])
def test_no_cell_of_a_few_firms_is_shown_or_follows_from_a_total(firms: int, seed: int) -> None:
    exact = document(firms, seed)
    told = shown(exact, LEAST)
    for part in ("monthly", "window"):
        assert readable(told["roll_rates"][part], exact["roll_rates"][part], LEAST) == []
        for row, counts in zip(told["roll_rates"][part]["shares"], told["roll_rates"][part]["counts"], strict=True):
            assert all(share is None for share, count in zip(row, counts, strict=True) if count is None)
    assert told["roll_rates"]["monthly"].keys() == {"counts", "totals", "shares"}  # how many firms is not told


@pytest.mark.parametrize("part", ["monthly", "window"])
def test_control_without_the_rule_and_without_its_second_half_small_cells_are_read(part: str) -> None:
    exact = document(150, 2)["roll_rates"][part]
    assert readable(shown(document(150, 2), 1)["roll_rates"][part], exact, LEAST)
    half = {
        "counts": [[None if 0 < f < LEAST else c for c, f in zip(*row, strict=True)] for row in zip(exact["counts"], exact["firms"], strict=True)],
        "totals": [sum(row) for row in exact["counts"]],
    }  # fmt: skip
    assert readable(half, exact, LEAST)


def test_curves_move_in_steps_of_enough_firms_and_small_quarters_are_left_out() -> None:
    exact = document(400, 3)
    told = shown(exact, LEAST)
    by_quarter = {one["quarter"]: one for one in exact["vintages"]}
    assert len(told["vintages"]) + told["vintages_left_out"] == len(exact["vintages"])
    moved = 0
    for curve in told["vintages"]:
        whole = by_quarter[curve["quarter"]]
        assert whole["firms"] >= LEAST
        places = [place for place, (a, b) in enumerate(pairwise([0.0, *curve["shares"]])) if a != b]
        before = 0
        for place in places:
            assert whole["bad_firms"][place] - before >= LEAST
            before = whole["bad_firms"][place]
            moved += 1
        assert all(share <= count / whole["loans"] for share, count in zip(curve["shares"], whole["bad"], strict=True))
    assert moved > 3
    everything = shown(exact, 1)  # the control
    assert min(min(steps_of(one["shares"], one["loans"]), default=99) for one in everything["vintages"]) < LEAST


def test_two_definitions_do_not_differ_in_a_few_loans_of_a_quarter_and_control_unrounded_they_do() -> None:
    """From 90 days and from 95: enough firms turn in all for the gate, and in most quarters one or two loans."""
    book = make_book(400, 24, 3)
    loans = as_histories(book.repayments, book.loans)
    exact, codes = [], []
    for days in (90, 95):
        definition = TargetSettings(performance_months=6, days_past_due=days, indeterminate_from=days)
        months = np.full(len(book.firms), np.datetime64("2021-02"))
        judged = judge_rows(loans, definition, list(book.firms), months)
        codes.append(judged.code)
        exact.append(find(loans, definition, judged, list(book.firms), months, LEAST).document({}))
    assert int((codes[0] != codes[1]).sum()) >= LEAST

    def differences(least: int) -> set[int]:
        one, other = ({v["quarter"]: v for v in shown(document, least)["vintages"]} for document in exact)
        return {
            abs(round((a - b) * curve["loans"]))
            for quarter, curve in one.items()
            for a, b in zip(curve["shares"], other[quarter]["shares"], strict=True)
        }

    assert all(difference % LEAST == 0 for difference in differences(LEAST))
    assert differences(1) & set(range(1, LEAST))


def test_two_windows_or_tables_do_not_differ_in_a_few_moves_and_control_unrounded_they_do() -> None:
    """A window a month longer turns enough firms in all for the gate, and in most cells a few; a month more of records adds a few moves."""
    book = make_book(400, 24, 3)
    months = np.full(len(book.firms), np.datetime64("2021-02"))
    last = max(book.repayments["date"])
    documents, codes = [], []
    for window, repayments in ((6, book.repayments), (7, book.repayments), (6, book.repayments[book.repayments["date"] < last])):
        loans, definition = as_histories(repayments, book.loans), TargetSettings(performance_months=window, days_past_due=90)
        judged = judge_rows(loans, definition, list(book.firms), months)
        codes.append(judged.code)
        documents.append(find(loans, definition, judged, list(book.firms), months, LEAST).document({}))
    assert all(turned == 0 or turned >= LEAST for turned in (int((code != codes[0]).sum()) for code in codes))

    def differences(part: str, least: int) -> set[int]:
        told = [shown(document, least)["roll_rates"][part] for document in documents]
        cells = [np.array([[*counts, total] for counts, total in zip(one["counts"], one["totals"], strict=True)], float) for one in told]
        apart = np.abs([one - cells[0] for one in cells[1:]])  # a hidden one is NaN
        for one in told:
            for counts, shares, total in zip(one["counts"], one["shares"], one["totals"], strict=True):
                assert all(share is None or share == count / total for count, share in zip(counts, shares, strict=True))
        return {int(difference) for difference in apart[np.isfinite(apart)]}

    for part in ("monthly", "window"):
        assert all(difference % LEAST == 0 for difference in differences(part, LEAST))
        assert differences(part, 1) & set(range(1, LEAST))


def test_a_quarter_of_a_few_firms_is_left_out() -> None:
    exact = document(40, 1)
    assert any(one["firms"] < LEAST for one in exact["vintages"])
    assert {one["quarter"] for one in shown(exact, LEAST)["vintages"]} == {q["quarter"] for q in exact["vintages"] if q["firms"] >= LEAST}


STEPS = st.lists(st.tuples(st.integers(0, 40), st.integers(1, 3)), min_size=1, max_size=6)


@settings(max_examples=200, deadline=None)
@given(STEPS, STEPS)
def test_a_waterfall_hides_a_small_step_and_another_of_its_sum(excluded: list[tuple[int, int]], samples: list[tuple[int, int]]) -> None:
    def step(name: str, kind: str, firms: int, times: int) -> dict[str, Any]:
        return {"name": name, "kind": kind, "rows": firms * times, "firms": firms}

    steps = [step("all", "all", 500, 3), *(step(f"r{i}", "excluded", *one) for i, one in enumerate(excluded))]
    steps += [step("good", "outcome", 60, 2), step("bad", "outcome", 30, 1)]
    steps += [step(f"s{i}", "sample", *one) for i, one in enumerate(samples)]
    told = shown(document(40, 1) | {"waterfall": steps}, LEAST)["waterfall"]
    for kind in ("excluded", "outcome", "sample"):
        mine = [(one, whole) for one, whole in zip(told, steps, strict=True) if whole["kind"] == kind]
        hidden = [whole for one, whole in mine if one["rows"] is None]
        assert all(whole["firms"] == 0 or whole["firms"] >= LEAST for one, whole in mine if one["rows"] is not None)
        if any(whole["firms"] >= LEAST for whole in hidden) or not hidden:
            continue
        assert told[0]["rows"] is None  # nothing was there to hide with it: then the sum is hidden


def test_a_small_sample_is_hidden_and_the_smallest_other_with_it() -> None:
    told = {step["name"]: step["rows"] for step in shown(document(400, 3), LEAST)["waterfall"]}
    assert told["test"] is None and told["out_of_time"] is None and told["train"] == 40
