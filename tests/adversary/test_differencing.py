"""The same run minus one firm: whoever has two sums has the firm's values, so the second is refused."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import numpy as np
import pytest

from federation.kernel.errors import AbortCode, PolicyRefusal
from privacy.attacks.differencing import combined, left_out, telling, totals
from privacy.disclosure.differencing import ReleaseLedger
from privacy.disclosure.release import Release, Study
from simulations.analyst import Analyst, Book

COHORT = 10


def hashes(rng, count):
    return rng.integers(0, 1 << 63, count, dtype=np.uint64)


def asked(rows, columns=("turnover",), **more):
    return Release(rows, columns, **({"kind": "statistics", "purpose": "decide"} | more))


def refused(ledger, release, cohort=COHORT):
    try:
        ledger.admit(release, cohort)
    except PolicyRefusal as refusal:
        assert refusal.code is AbortCode.DISCLOSURE
        return str(refusal)
    return None


def near_pair(rng):
    """Two sets of rows that differ in 1 to COHORT - 1 of them: left out, added, or some of each; and the two as members of all rows."""
    rows = hashes(rng, int(rng.integers(2 * COHORT, 3000)))
    differ = int(rng.integers(1, COHORT))
    out = int(rng.integers(0, differ + 1))
    common = np.ones(len(rows), bool)
    common[rng.permutation(len(rows))[:differ]] = False
    spare = np.flatnonzero(~common)
    first, second = common.copy(), common.copy()
    first[spare[:out]], second[spare[out:]] = True, True
    return rows, first, second


@pytest.mark.parametrize("pairs", [1_000, pytest.param(10_000, marks=pytest.mark.slow)])
def test_no_pair_that_differs_in_fewer_firms_than_the_cohort_is_admitted(pairs):
    rng, accepted = np.random.default_rng(6), 0
    kinds, purposes = ("statistics", "binning", "train"), ("acquire", "decide", "monitor", "research")
    for _ in range(pairs):
        rows, first, second = near_pair(rng)
        columns = [("turnover", "age"), ("turnover",)]
        rng.shuffle(columns)
        former, later = (
            asked(rng.permutation(rows[members]), tuple(names), kind=str(rng.choice(kinds)), purpose=str(rng.choice(purposes)))
            for members, names in zip((first, second), columns, strict=True)
        )
        ledger = ReleaseLedger()
        ledger.admit(former, COHORT)
        accepted += refused(ledger.with_release("earlier", former), later) is None
    print(f"{accepted} of {pairs} accepted")
    assert accepted == 0


def test_control_without_the_rule_two_sums_give_the_firm_that_was_left_out_exactly():
    rng = np.random.default_rng(7)
    recovered = 0
    for _ in range(200):
        values = rng.integers(-(10**12), 10**12, (500, 3))
        everybody = np.ones(500, bool)
        firm = int(rng.integers(500))
        without = everybody.copy()
        without[firm] = False
        recovered += np.array_equal(left_out(totals(values, everybody), totals(values, without)), values[firm])
        rows = hashes(rng, 500)
        ledger = ReleaseLedger().with_release("all", asked(rows))
        assert "'all'" in refused(ledger, asked(rows[without])), "and this node would not have given the second"
    print(f"{recovered} of 200 firms recovered")
    assert recovered == 200


def test_pairs_that_differ_in_a_cohort_are_admitted():
    rng = np.random.default_rng(8)
    for _ in range(200):
        rows = hashes(rng, 600)
        cut = int(rng.integers(COHORT, 300))
        assert refused(ReleaseLedger().with_release("all", asked(rows)), asked(rows[cut:])) is None


def test_a_refusal_names_the_run_and_the_rule_and_not_by_how_many_firms():
    rng = np.random.default_rng(9)
    rows = hashes(rng, 600)
    ledger = ReleaseLedger().with_release("march", asked(rows))
    texts = {refused(ledger, asked(rows[cut:])) for cut in range(1, COHORT)}
    assert len(texts) == 1 and "'march'" in texts.copy().pop() and "difference" in texts.pop()


def test_two_halves_of_all_rows_but_one_are_refused_and_control_their_sums_give_the_firm():
    rng = np.random.default_rng(10)
    rows, values = hashes(rng, 400), rng.integers(0, 10**9, (400, 2))
    everybody, north = np.ones(400, bool), np.arange(400) < 150
    south = ~north
    south[399] = False
    ledger = ReleaseLedger()
    for name, members in (("all", everybody), ("north", north)):
        ledger.admit(asked(rows[members]), COHORT)
        ledger = ledger.with_release(name, asked(rows[members]))
    assert "combination" in refused(ledger, asked(rows[south]))
    assert np.array_equal(combined((1, -1, -1), [totals(values, m) for m in (everybody, north, south)]), values[399])


def test_a_union_of_three_and_longer_chains_are_refused():
    """A, B, C apart, then A + B + C and one firm more; and sets that overlap: (A+B) + (B+C) - (A+C) tells 2 B."""
    rng = np.random.default_rng(11)
    rows = hashes(rng, 500)
    parts = [rows[:100], rows[100:200], rows[200:300]]
    ledger = ReleaseLedger()
    for name, part in zip("abc", parts, strict=True):
        ledger.admit(asked(part), COHORT)
        ledger = ledger.with_release(name, asked(part))
    assert "combination" in refused(ledger, asked(rows[:301]))
    assert refused(ledger, asked(rows[:300])) is None and refused(ledger, asked(rows[:310])) is None
    a, b, c = rows[:100], rows[100:105], rows[105:300]  # b has five firms, and no set is near another
    ledger = ReleaseLedger()
    for name, part in (("ab", (a, b)), ("bc", (b, c))):
        ledger.admit(asked(np.concatenate(part)), COHORT)
        ledger = ledger.with_release(name, asked(np.concatenate(part)))
    assert "combination" in refused(ledger, asked(np.concatenate([a, c])))


@pytest.mark.parametrize("sequences", [100, pytest.param(2_000, marks=pytest.mark.slow)])
def test_no_combination_of_what_was_admitted_tells_of_few_firms(sequences):
    """Against trying every combination with coefficients -2 to 2 of up to six releases."""
    rng, least, found, admitted, asked_for = np.random.default_rng(12), 3, 0, 0, 0
    for _ in range(sequences):
        rows = hashes(rng, 24)
        blocks = rng.integers(0, 5, 24)
        ledger, members = ReleaseLedger(), []
        for place in range(9):
            wanted = np.isin(blocks, rng.permutation(5)[: rng.integers(1, 5)]) ^ (rng.random(24) < 0.08)
            if wanted.sum() < least:
                continue
            asked_for += 1
            if refused(ledger, asked(rows[wanted]), least) is None:
                ledger = ledger.with_release(str(place), asked(rows[wanted]))
                members.append(wanted)
        members = members[:6]
        admitted += len(members)
        found += any(True for _ in telling(members, least, 2))
    print(f"{found} of {sequences} sequences tell of fewer than {least} rows; {admitted} of {asked_for} releases admitted")
    assert found == 0 and admitted > 2 * sequences


def test_control_with_the_pair_rule_alone_combinations_tell_of_few_firms(monkeypatch):
    monkeypatch.setattr("privacy.disclosure.differencing._Comparison.require_no_combination", lambda _self: None)
    with pytest.raises(AssertionError):
        test_no_combination_of_what_was_admitted_tells_of_few_firms(100)


def test_it_refuses_no_more_than_it_must_where_little_was_asked():
    """A small word by trying all, or the release is admitted: with three releases nothing is left unproven."""
    rng, least, odd = np.random.default_rng(13), 3, 0
    for _ in range(300):
        rows = hashes(rng, 30)
        sets = [rng.random(30) < 0.5 for _ in range(3)]
        ledger = ReleaseLedger()
        for place, wanted in enumerate(sets[:2]):
            ledger = ledger.with_release(str(place), asked(rows[wanted]))
        if any(wanted.sum() < least for wanted in sets) or any(shares[2] == 0 for shares in telling(sets, least, 2)):
            continue
        odd += (refused(ledger, asked(rows[sets[2]]), least) is None) == any(True for _ in telling(sets, least, 2))
    assert odd == 0


def test_a_firm_with_a_row_for_each_month_is_one_firm():
    rng = np.random.default_rng(14)
    names = [(firm, month) for firm, month in product(range(60), range(24))]
    rows, firms = hashes(rng, len(names)), np.repeat(hashes(rng, 60), 24)
    whole = asked(rows, firms=firms)
    ledger = ReleaseLedger().with_release("all", whole)
    few = firms != firms[0]
    assert refused(ledger, asked(rows[few], firms=firms[few])) is not None, "24 rows less, and one firm"
    assert refused(ReleaseLedger().with_release("all", asked(rows)), asked(rows[few])) is None, "control: by rows alone they are a cohort"
    month = np.array([month != 23 for _, month in names])
    assert refused(ledger, asked(rows[month], firms=firms[month])) is None, "a month of all firms is a cohort"


def test_columns_that_no_earlier_release_had_are_not_compared_and_shared_ones_are():
    rng = np.random.default_rng(15)
    rows = hashes(rng, 300)
    ledger = ReleaseLedger().with_release("r", asked(rows, ("turnover", "age")))
    assert refused(ledger, asked(rows[1:], ("stock",))) is None
    assert refused(ledger, asked(rows[1:], ("stock", "age"))) is not None


def test_repeats_are_admitted_as_often_as_one_likes():
    rng = np.random.default_rng(16)
    rows = hashes(rng, 300)
    ledger = ReleaseLedger()
    for place in range(5):
        ledger.admit(asked(rng.permutation(rows)), COHORT)
        ledger = ledger.with_release(str(place), asked(rows))


def test_refits_inside_a_study_are_admitted_up_to_its_limit_and_nowhere_else():
    rng = np.random.default_rng(17)
    rows, study = hashes(rng, 300), Study("spring", 4)
    ledger = ReleaseLedger()
    for cut in range(4):
        ledger.admit(fit := asked(rows[cut:], study=study), COHORT)
        ledger = ledger.with_release(f"fit-{cut}", fit)
    assert "study" in refused(ledger, asked(rows, study=study)), "its approval is used up"
    for other in (None, Study("autumn", 4)):
        assert "difference" in refused(ledger, asked(rows[4:], study=other))
    assert refused(ledger, asked(rows[60:], study=Study("autumn", 4))) is None, "and what is far from all of them is not held up by refits"
    forgotten = ledger.without("fit-0").without("fit-1")
    assert "study" in refused(forgotten, asked(rows, study=study)), "what was forgotten still counts"


def test_a_study_does_not_cover_a_difference_from_what_was_released_outside():
    rng = np.random.default_rng(18)
    rows = hashes(rng, 300)
    ledger = ReleaseLedger().with_release("outside", asked(rows))
    assert "'outside'" in refused(ledger, asked(rows[1:], study=Study("spring", 10)))


def test_a_bank_with_fewer_rows_than_the_cohort_is_not_refused_for_that_but_for_differences():
    rng = np.random.default_rng(19)
    rows = hashes(rng, 40)
    ledger = ReleaseLedger()
    ledger.admit(first := asked(rows[:6]), COHORT)
    ledger = ledger.with_release("first", first)
    assert refused(ledger, asked(rows[:6])) is None
    assert refused(ledger, asked(rows[:7])) is not None and refused(ledger, asked(rows[:5])) is not None
    assert refused(ledger, asked(rows[:16])) is None
    assert refused(ledger, asked(rows[10:20])) is None


def test_a_refit_is_admitted_where_the_study_and_an_outside_release_began_with_the_same_rows():
    """The difference from the outside release is one that the study tells anyway."""
    rng = np.random.default_rng(21)
    rows, study = hashes(rng, 300), Study("spring", 10)
    ledger = ReleaseLedger().with_release("outside", asked(rows))
    ledger.admit(first := asked(rows, ("turnover", "age"), study=study), COHORT)
    ledger = ledger.with_release("first", first)
    assert refused(ledger, asked(rows[1:], study=study)) is None
    ledger = ledger.with_release("refit", asked(rows[1:], study=study))
    assert "'outside'" in refused(ledger, asked(rows[2:])), "outside the study it is a difference as ever"


@pytest.mark.parametrize("questions", [80, pytest.param(200, marks=pytest.mark.slow)])
def test_an_honest_analyst_is_held_up_only_where_a_fit_is_done_again_outside_its_study(questions):
    rng = np.random.default_rng(3)
    ledger, turned_down = ReleaseLedger(), []
    for place, question in enumerate(Analyst(rng, Book.drawn(rng, 20_000)).year()[:questions]):
        if refused(ledger, question.release) is None:
            ledger = ledger.with_release(str(place), question.release)
        else:
            turned_down.append(question.sort)
    print(f"{questions - len(turned_down)} of {questions} admitted")
    assert set(turned_down) <= {"refit outside", "repeat"}, "a repeat of what was turned down is turned down as well"
    assert len(turned_down) <= 0.05 * questions


def test_what_is_forgotten_leaves_no_row_behind_and_changes_no_other_answer():
    rng = np.random.default_rng(20)
    rows = hashes(rng, 500)
    ledger = ReleaseLedger().with_release("old", asked(rows[:300])).with_release("new", asked(rows[200:]))
    rest = ledger.without("old")
    assert set(rest.rows) == set(rows[200:])
    assert refused(rest, asked(rows[201:])) is not None and refused(rest, asked(rows[1:300])) is None
    assert refused(rest, replace(asked(rows[:300]), columns=("stock",))) is None
